// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"crypto/subtle"
	"sync"

	"github.com/nats-io/nats-server/v2/server"

	"codeberg.org/holdfast/holdfast/event"
)

// maxStrangers bounds the strangers that are connected at a time, so that they cannot use up the room of members.
const maxStrangers = 32

// strangerSweeps is after how many sweeps a stranger is sent away: joining takes seconds.
const strangerSweeps = 15

// admission decides who comes in and what they may do. It implements nats-server's Authentication.
type admission struct {
	admit func(event.SiteID) Role
	token string

	mu      sync.Mutex
	ns      *server.Server
	visits  map[uint64]visit
	strange int // strangers in visits
}

type visit struct {
	site   event.SiteID
	role   Role
	sweeps int
}

func newAdmission(admit func(event.SiteID) Role, token string) *admission {
	return &admission{admit: admit, token: token, visits: make(map[uint64]visit)}
}

// begin forgets the visitors of an engine that has ended.
func (a *admission) begin(ns *server.Server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ns, a.visits, a.strange = ns, make(map[uint64]visit), 0
}

// Check implements server.Authentication: true lets the connection in, with the permissions registered here.
func (a *admission) Check(c server.ClientAuthentication) bool {
	if c.Kind() != server.CLIENT {
		return false
	}
	state := c.GetTLSConnectionState()
	if state == nil {
		return a.checkSelf(c)
	}
	site, err := siteOfPeer(*state)
	if err != nil {
		return false
	}
	role := a.admit(site)
	if role != Member && role != Stranger {
		return false
	}
	ns, ok := a.note(c.GetID(), visit{site: site, role: role})
	if !ok {
		return false
	}
	acc, err := ns.LookupAccount(peersAccount)
	if err != nil {
		return false
	}
	c.RegisterUser(&server.User{Username: string(site), Account: acc, Permissions: permissionsOf(site, role)})
	return true
}

// checkSelf lets this process in: it comes over the pipe, without TLS, and knows the token.
func (a *admission) checkSelf(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if subtle.ConstantTimeCompare([]byte(o.Password), []byte(a.token)) != 1 {
		return false
	}
	if o.Username != storeAccount && o.Username != peersAccount {
		return false
	}
	a.mu.Lock()
	ns := a.ns
	a.mu.Unlock()
	if ns == nil {
		return false
	}
	acc, err := ns.LookupAccount(o.Username)
	if err != nil {
		return false
	}
	c.RegisterUser(&server.User{Username: o.Username, Account: acc})
	return true
}

// permissionsOf is the whole of what a peer may do. Whatever is not allowed here is denied.
func permissionsOf(site event.SiteID, role Role) *server.Permissions {
	publish := subjectOf(site, ">")
	if role == Stranger {
		publish = subjectOf(site, "join")
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{publish}},
		Subscribe: &server.SubjectPermission{Allow: []string{inboxOf(site) + ".>"}},
	}
}

func (a *admission) note(id uint64, v visit) (*server.Server, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ns == nil {
		return nil, false
	}
	if v.role == Stranger {
		if a.strange >= maxStrangers {
			return nil, false
		}
		a.strange++
	}
	a.visits[id] = v
	return a.ns, true
}

// refresh cuts everybody whose role has changed.
func (a *admission) refresh(ns *server.Server) {
	a.mu.Lock()
	var gone []uint64
	for id, v := range a.visits {
		if a.admit(v.site) != v.role {
			gone = append(gone, id)
		}
	}
	a.mu.Unlock()
	for _, id := range gone {
		_ = ns.DisconnectClientByID(id) // an error means that it has left by itself
	}
}

// sweep forgets those who have left and sends strangers away who stay too long.
func (a *admission) sweep(ns *server.Server) {
	open, err := connected(ns)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.strange = 0
	for id, v := range a.visits {
		v.sweeps++
		a.visits[id] = v
		// One whole interval of grace: the connection may be younger than the list.
		if !open[id] && v.sweeps > 1 {
			delete(a.visits, id)
			continue
		}
		if v.role == Stranger {
			a.strange++
			if v.sweeps > strangerSweeps {
				go ns.DisconnectClientByID(id)
			}
		}
	}
}

func (a *admission) present(ns *server.Server) map[event.SiteID]Role {
	open, err := connected(ns)
	if err != nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	sites := make(map[event.SiteID]Role)
	for id, v := range a.visits {
		if open[id] {
			sites[v.site] = v.role
		}
	}
	return sites
}

func connected(ns *server.Server) (map[uint64]bool, error) {
	list, err := ns.Connz(&server.ConnzOptions{Limit: 2 * maxPeerConns})
	if err != nil {
		return nil, err
	}
	open := make(map[uint64]bool, len(list.Conns))
	for _, c := range list.Conns {
		open[c.Cid] = true
	}
	return open, nil
}

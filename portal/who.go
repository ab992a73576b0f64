// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/web"
)

// Rights tells what somebody may do, so that menus show nothing that would be refused: an access.Service. What is not shown is
// refused all the same: routes are judged by web.Guard.
type Rights interface {
	Permitted(ctx context.Context, p access.Principal, authority event.AuthorityID) (map[access.Permission]access.Verdict, error)
	Grants(ctx context.Context, authority event.AuthorityID) ([]access.Grant, error)
	Policy(ctx context.Context, authority event.AuthorityID) (access.Policy, error)
}

// whoView is who is signed in, as the frame shows it.
type whoView struct {
	Name  string
	Roles []string
}

// addWho adds to a frame who is signed in, what they may see, and what this site does not know. A frame never fails: it stands
// around error pages, too. What cannot be found out is logged and not shown.
func (p *Portal) addWho(r *http.Request, t *texts, f *frame) {
	a, ok := web.ActorOf(r.Context())
	if !ok {
		return
	}
	f.SignedIn, f.Home, f.Limited = true, homeOf(a.Principal), a.Limited
	f.Person, f.Console = a.Kind == access.Person, a.Kind == access.Console
	f.may = p.permitted(r.Context(), a.Principal)
	f.Who = p.who(r.Context(), t, a.Principal, f.may)
	if !a.Limited && a.Kind != access.Visitor {
		f.Authorities = p.ownAuthorities(t, a.Principal)
	}
	if !a.Limited {
		f.Apart = p.apart(t, a.Principal)
	}
}

func (p *Portal) permitted(ctx context.Context, who access.Principal) map[access.Permission]access.Verdict {
	may, err := p.cfg.Access.Permitted(ctx, who, "")
	if err != nil {
		p.cfg.Logger.ErrorContext(ctx, "a menu cannot be made", "error", err)
	}
	return may
}

// who returns the name and the roles of whoever is signed in.
func (p *Portal) who(ctx context.Context, t *texts, who access.Principal, may map[access.Permission]access.Verdict) *whoView {
	v := &whoView{Name: t.t("who." + string(who.Kind))}
	if who.Kind != access.Person {
		return v
	}
	person, err := p.cfg.Directory.Person(ctx, who.Authority, directory.PersonID(who.ID))
	if err != nil {
		return v
	}
	if person.Readable == directory.Readable {
		v.Name = person.DisplayName
	}
	if who.Limited {
		return v
	}
	for _, role := range p.rolesOf(ctx, person, who.Authority, may) {
		v.Roles = append(v.Roles, t.t("role."+string(role)))
	}
	return v
}

// rolesOf returns the roles that a person holds by grants in force, in the order of access.Roles. Most people have no grant, and
// for them no grant is read.
func (p *Portal) rolesOf(ctx context.Context, person directory.Person, authority event.AuthorityID, may map[access.Permission]access.Verdict) []access.Role {
	granted := false
	for _, v := range may {
		granted = granted || v.Grant != ""
	}
	if !granted {
		return nil
	}
	grants, err := p.cfg.Access.Grants(ctx, authority)
	if err != nil {
		p.cfg.Logger.ErrorContext(ctx, "roles cannot be shown", "error", err)
		return nil
	}
	holds := func(role access.Role) bool {
		return slices.ContainsFunc(grants, func(g access.Grant) bool {
			return g.Role == role && g.InForce(p.cfg.Now()) &&
				(g.Person == person.ID || g.Function != "" && slices.Contains(person.Functions, g.Function))
		})
	}
	return slices.DeleteFunc(access.Roles(), func(role access.Role) bool { return !holds(role) })
}

// ownAuthorities returns the authorities that somebody sees: their own if it is here; at the console all that are here.
func (p *Portal) ownAuthorities(t *texts, who access.Principal) []authorityView {
	held := p.heldAuthorities(t)
	if who.Kind == access.Console {
		return held
	}
	return slices.DeleteFunc(held, func(a authorityView) bool { return a.ID != who.Authority })
}

// may reports whether who is signed in may do something in an authority; it is for buttons, not for doors.
func (p *Portal) may(r *http.Request, authority event.AuthorityID, need access.Permission) bool {
	a, _ := web.ActorOf(r.Context())
	_, err := p.cfg.Judge.Judge(r.Context(), a.Principal, authority, need)
	return err == nil
}

// sees reports whether somebody may know of an authority at all.
func sees(r *http.Request, authority event.AuthorityID) bool {
	a, ok := web.ActorOf(r.Context())
	return ok && (a.Kind == access.Console || a.Authority == authority)
}

// sitesOf returns the sites that an authority allows.
func (p *Portal) sitesOf(authority event.AuthorityID) []event.SiteID {
	for _, a := range p.cfg.Federation.Authorities() {
		if a.ID == authority {
			return a.Sites
		}
	}
	return nil
}

// apartAfter is when a page says that a site was not heard: until then nobody relies on what may have changed there.
const apartAfter = time.Minute

// apartView is a site that has not been heard for a while.
type apartView struct {
	Site  string
	Since time.Time // zero if it was never heard
}

// apart returns the sites whose news is missing here, of those that matter to who is signed in. Sessions ended, roles taken away
// and people sent away there are not known here, so every page says so.
func (p *Portal) apart(t *texts, who access.Principal) []apartView {
	var sites []event.SiteID
	if who.Kind != access.Console {
		sites = p.sitesOf(who.Authority)
	}
	lags := map[event.SiteID]eventlog.PeerLag{}
	for _, l := range p.cfg.Copies.Lag() {
		lags[l.Peer] = l
	}
	var out []apartView
	for _, m := range p.cfg.Federation.Members() {
		if m.Self || m.Pending || sites != nil && !slices.Contains(sites, m.ID) {
			continue
		}
		if heard := lags[m.ID].LastHeard; p.cfg.Now().Sub(heard) > apartAfter {
			out = append(out, apartView{Site: p.siteName(m.ID), Since: heard})
		}
	}
	slices.SortFunc(out, func(a, b apartView) int { return strings.Compare(a.Site, b.Site) })
	return out
}

// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/web"
)

// origin returns the address under which the browser sees this page. A forged Host header gains nothing: the browser signs
// the origin that it sees, and the authenticator has no passkey for another.
func (p *Portal) origin(r *http.Request) identity.Origin {
	scheme := "http://"
	if p.cfg.Sessions.Secure(r) {
		scheme = "https://"
	}
	at := strings.ToLower(r.Host)
	host, _, err := net.SplitHostPort(at)
	if err != nil {
		host = strings.Trim(at, "[]")
	}
	return identity.Origin{Host: host, URL: scheme + at}
}

// passkeysHere reports whether passkeys can work under the address that the browser asked for: one of the names (of all
// authorities, if authority is ""), and through TLS, or on the machine itself (Secure Contexts, W3C, 3.1).
func (p *Portal) passkeysHere(r *http.Request, authority event.AuthorityID) bool {
	o := p.origin(r)
	if net.ParseIP(o.Host) != nil || strings.HasPrefix(o.URL, "http://") && o.Host != "localhost" {
		return false
	}
	return slices.Contains(p.cfg.SignIn.Names(authority), o.Host)
}

// nameURL returns the address of a name: the browser's own, or that of a site which says that it is reached by that name. A name
// that is no site's own address leads to the port that the browser uses, if it came by a name, else to this site's.
func (p *Portal) nameURL(r *http.Request, name string) string {
	here := p.origin(r)
	if here.Host == name {
		return here.URL
	}
	for _, m := range p.cfg.Federation.Members() {
		if u, err := url.Parse(m.PortalURL); err == nil && u.Hostname() == name {
			return u.Scheme + "://" + u.Host
		}
	}
	from, err := url.Parse(here.URL)
	if err != nil || !slices.Contains(p.cfg.SignIn.Names(""), here.Host) {
		from, err = url.Parse(p.self().PortalURL)
	}
	if err == nil && from.Port() != "" {
		name = net.JoinHostPort(name, from.Port())
	}
	return "https://" + name
}

// namesBut returns the names other than the one that the browser asked for, as links to where one signs in.
func (p *Portal) namesBut(r *http.Request, authority event.AuthorityID) []linkView {
	var links []linkView
	for _, n := range p.cfg.SignIn.Names(authority) {
		if n != p.origin(r).Host {
			links = append(links, linkView{Name: n, URL: p.nameURL(r, n) + "/signin"})
		}
	}
	return links
}

// beginSignIn answers with the options for navigator.credentials.get. It costs one signature and stores nothing, so there is
// nothing that a flood of it could fill.
func (p *Portal) beginSignIn(w http.ResponseWriter, r *http.Request) error {
	options, err := p.cfg.SignIn.Identity.BeginSignIn(r.Context(), p.origin(r))
	if err != nil {
		return err
	}
	writeOptions(w, options)
	return nil
}

func (p *Portal) finishSignIn(w http.ResponseWriter, r *http.Request) error {
	answer, err := readAnswer(w, r)
	if err != nil {
		return err
	}
	who, err := p.cfg.SignIn.Identity.FinishSignIn(r.Context(), p.origin(r), answer)
	if err != nil {
		return p.turnedAway(r, access.ByPasskey, err)
	}
	if err := p.cfg.Sessions.Begin(w, r, who); err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, "", whereTo{To: p.wanted(w, r, who)})
	return nil
}

// whereTo tells passkey.js which page comes next.
type whereTo struct {
	To string `json:"to"`
}

// writeOptions answers with options, which are JSON already.
func writeOptions(w http.ResponseWriter, options []byte) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(options) // fails only if the client is gone
}

var errNotJSON = fault.New(fault.Invalid, "portal.not_json", "this is not what a passkey answers", "use the page's own button")

// readAnswer reads what passkey.js sends of a passkey: JSON, of at most identity.MaxAnswer bytes.
func readAnswer(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return nil, errNotJSON
	}
	answer, err := io.ReadAll(http.MaxBytesReader(w, r.Body, identity.MaxAnswer))
	if err != nil {
		return nil, web.BodyError(err)
	}
	return answer, nil
}

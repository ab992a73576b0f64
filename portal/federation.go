// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"cmp"
	"net/http"
	"slices"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/web"
)

// Member is a site of the federation as the portal shows it.
type Member struct {
	ID       event.SiteID
	Name     string
	Operator string
	// Box is a machine in the authority's own building, as opposed to a provider's data centre.
	Box bool
	// Pending sites wait for the word of a second operator.
	Pending bool
	// Removing are the operators that want the site removed, as long as they are not enough; none for most sites.
	Removing []string
	// PortalURL is where people reach the site, "" if they cannot.
	PortalURL string
	// Channels are the kinds of channels for which the site has a gateway; nil if it does not say.
	Channels []string
	Self     bool
}

// Authority is an authority as the portal shows it.
type Authority struct {
	ID             event.AuthorityID
	NameDE, NameEN string
	Sites          []event.SiteID
}

// Federation tells who belongs. It answers from memory and does not block.
type Federation interface {
	Members() []Member
	Authorities() []Authority
}

func (p *Portal) self() Member {
	for _, m := range p.cfg.Federation.Members() {
		if m.Self {
			return m
		}
	}
	return Member{}
}

// siteName returns how people call a site.
func (p *Portal) siteName(id event.SiteID) string {
	for _, m := range p.cfg.Federation.Members() {
		if m.ID == id && m.Name != "" {
			return m.Name
		}
	}
	return id.Short()
}

func (p *Portal) siteNames(ids []event.SiteID) []string {
	names := make([]string, 0, len(ids))
	for _, id := range ids {
		names = append(names, p.siteName(id))
	}
	return names
}

// authorityName returns the authority's name in a language, in the other one if there is none.
func authorityName(a Authority, l web.Language) string {
	if l == web.English {
		return cmp.Or(a.NameEN, a.NameDE, string(a.ID))
	}
	return cmp.Or(a.NameDE, a.NameEN, string(a.ID))
}

// heldAuthorities returns the authorities whose data this site may hold, ordered by name.
func (p *Portal) heldAuthorities(t *texts) []authorityView {
	self := p.self().ID
	var held []authorityView
	for _, a := range p.cfg.Federation.Authorities() {
		if slices.Contains(a.Sites, self) {
			held = append(held, authorityView{ID: a.ID, Name: authorityName(a, t.language), Sites: a.Sites})
		}
	}
	slices.SortFunc(held, func(a, b authorityView) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return held
}

// elsewhere returns the other sites at which an authority can be reached: people are sent there, data never comes here.
func (p *Portal) elsewhere(sites []event.SiteID, path string) []linkView {
	var links []linkView
	for _, m := range p.cfg.Federation.Members() {
		if !m.Self && m.PortalURL != "" && slices.Contains(sites, m.ID) {
			links = append(links, linkView{Name: m.Name, URL: m.PortalURL + path})
		}
	}
	return links
}

// elsewhereFor returns where the request's authority lives if it is not here. It tells its own people and the console only:
// nobody else is to learn from an error page which authorities there are.
func (p *Portal) elsewhereFor(r *http.Request) []linkView {
	id := event.AuthorityID(r.PathValue("authority"))
	if a, ok := web.ActorOf(r.Context()); !ok || a.Kind != access.Console && a.Authority != id {
		return nil
	}
	for _, a := range p.cfg.Federation.Authorities() {
		if a.ID == id && !slices.Contains(a.Sites, p.self().ID) {
			return p.elsewhere(a.Sites, "/")
		}
	}
	return nil
}

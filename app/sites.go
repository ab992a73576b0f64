// SPDX-License-Identifier: EUPL-1.2

package app

import (
	_ "time/tzdata" // a box in a cellar may lack the system's time zones

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog/jetstream"
	"codeberg.org/holdfast/holdfast/portal"
	"codeberg.org/holdfast/holdfast/site"
)

// portalSites shows the federation to the portal.
type portalSites struct{ federation *site.Federation }

// Members returns the member sites and, behind them, those that wait to be admitted.
func (p portalSites) Members() []portal.Member {
	var out []portal.Member
	removing := make(map[event.SiteID][]string)
	for _, r := range p.federation.Removing() {
		removing[r.Site] = r.Agreed
	}
	for _, m := range p.federation.Members() {
		shown := portalMember(m.Profile, m.Self, false)
		shown.Removing = removing[m.Site]
		out = append(out, shown)
	}
	for _, w := range p.federation.Pending() {
		out = append(out, portalMember(w.Profile, false, true))
	}
	return out
}

func portalMember(p site.Profile, self, pending bool) portal.Member {
	return portal.Member{ID: p.Site, Name: p.Name, Operator: p.Operator, Box: p.Kind == site.Box, Pending: pending, PortalURL: p.PortalURL,
		Channels: p.Channels, Self: self}
}

// Authorities returns all authorities of the federation.
func (p portalSites) Authorities() []portal.Authority {
	var out []portal.Authority
	for _, a := range p.federation.Authorities() {
		out = append(out, portal.Authority{ID: a.ID, NameDE: a.NameDE, NameEN: a.NameEN, Sites: a.Sites})
	}
	return out
}

// free returns the bytes that are free on the data folder's disk.
func (s *Site) free() (uint64, error) { return jetstream.FreeOf(s.data)() }

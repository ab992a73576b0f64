// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"cmp"
	"context"
	"encoding/json"
	"net"
	"net/url"
	"slices"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/portal"
	"codeberg.org/holdfast/holdfast/sheet"
)

// adminConfig is what the pages of administration work with.
func (s *Site) adminConfig() portal.AdminConfig {
	return portal.AdminConfig{
		Rights: s.access, Desk: s.deeds, Accounts: s.accounts, SignOut: s.tokens.EndAll, Guests: s.guests, Programs: s.programs,
		Audit: s.audit, AuditPages: s.log, Export: s.exportPerson, Erasures: s.portalErasures, PortalURLs: s.portalURLs,
		Letters: sheet.Invitations, QR: sheet.QRTitled,
		HasProvider: func(a event.AuthorityID) bool { return s.providers[a] != nil },
	}
}

// exportPerson returns all that is stored about a person as a document that people can read and programs, too.
func (s *Site) exportPerson(ctx context.Context, a event.AuthorityID, person directory.PersonID) ([]byte, error) {
	d, err := s.privacy.Export(ctx, a, person)
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(d, "", "  ")
}

func (s *Site) portalErasures(ctx context.Context, a event.AuthorityID) ([]portal.Erasure, error) {
	list, err := s.erasures(ctx, a)
	if err != nil {
		return nil, err
	}
	former := s.federation.Former(a)
	out := make([]portal.Erasure, 0, len(list))
	for _, e := range list {
		x := portal.Erasure{Person: e.Person, At: e.At, By: e.By, Confirmed: e.Confirmed, Missing: e.Missing}
		for _, f := range former {
			if !slices.Contains(e.Confirmed, f.Site) {
				x.Removed = append(x.Removed, cmp.Or(f.Name, f.Site.Short()))
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// portalURLs returns the addresses under which an authority's people reach the portal: each of the names, by the scheme and
// the port of our own address, and that one alone where there are no names.
func (s *Site) portalURLs(a event.AuthorityID) []string {
	own, err := url.Parse(s.config.Portal.URL)
	names := s.namesOf(a)
	if err != nil || len(names) == 0 {
		return []string{s.config.Portal.URL}
	}
	urls := make([]string, 0, len(names))
	for _, name := range names {
		u := url.URL{Scheme: own.Scheme, Host: name}
		if port := own.Port(); port != "" {
			u.Host = net.JoinHostPort(name, port)
		}
		urls = append(urls, u.String())
	}
	return urls
}

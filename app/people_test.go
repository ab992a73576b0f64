// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// codes invites somebody, lets them begin to enrol and returns their printed codes.
func (s *station) codes(person directory.PersonID) []string {
	t := s.w.t
	t.Helper()
	list, _, err := s.site.accounts.Invite(t.Context(), s.site.console(), nordtal, []directory.PersonID{person}, 0)
	s.w.must(err)
	p, err := s.site.accounts.UseInvitation(t.Context(), list[0].Secret)
	s.w.must(err)
	codes, _, err := s.site.accounts.IssueCodes(t.Context(), p)
	s.w.must(err)
	return codes
}

// enter signs in with a recovery code and returns the browser.
func (s *station) enter(code string) *http.Client {
	s.w.t.Helper()
	c := browser()
	if status, body := s.send(c, http.MethodPost, "/signin/code", url.Values{"code": {code}}); status != http.StatusSeeOther {
		s.w.t.Fatalf("signing in at %s answers %d: %.2000s", s.name, status, body)
	}
	return c
}

// sees waits until a page at the site answers a browser so. Cookies know no ports, so one browser has one session at all sites.
func (s *station) sees(c *http.Client, path string, want int) {
	s.w.t.Helper()
	s.w.eventually(fmt.Sprintf("%s answers %s with %d", s.name, path, want), func() error {
		if status, body := s.request(c, http.MethodGet, path); status != want {
			return fmt.Errorf("it answers %d: %.100s", status, body)
		}
		return nil
	})
}

// Issue 3 wants a second while connected; how long it took is printed. The test itself waits for longer, because a machine
// may be busy with other things.
func TestARoleTakenAwayAtAStopsWorkingAtB(t *testing.T) {
	w := newWorld(t, 2)
	w.authority(nordtal, 2)
	a, b := w.sites[0], w.sites[1]
	a.importAt(nordtal, table(erika, jonas))
	erikaID, form := a.named(nordtal, "Quastenflosser").ID, "/a/"+string(nordtal)+"/alarms/new"
	c := a.enter(a.codes(erikaID)[0])
	b.sees(c, "/", http.StatusOK)
	b.sees(c, form, http.StatusForbidden)
	var took []time.Duration
	for range 5 {
		g, _, err := a.GrantRole(t.Context(), nordtal, api.GrantDraft{Role: access.AlarmOfficer, Person: erikaID})
		w.must(err)
		b.sees(c, form, http.StatusOK)
		_, err = a.WithdrawRole(t.Context(), nordtal, g.Grant.ID)
		w.must(err)
		took = append(took, w.until("B refuses", func() bool {
			status, _ := b.request(c, http.MethodGet, form)
			return status == http.StatusForbidden
		}))
		b.sees(c, "/", http.StatusOK) // she is still somebody
	}
	slices.Sort(took)
	t.Logf("a role taken away at one site stopped working at the other after %v (median), %v (worst)", took[2], took[4])
}

// until asks as often as it can and returns how long it took.
func (w *world) until(what string, done func() bool) time.Duration {
	w.t.Helper()
	begun := time.Now()
	for n := 1; !done(); n++ {
		if n >= tries && time.Since(begun) > patience {
			w.t.Fatalf("waited %v until %s", time.Since(begun).Round(time.Second), what)
		}
	}
	return time.Since(begun)
}

func TestASessionGoesOnAtAnotherSiteAndEndsEverywhere(t *testing.T) {
	w := newWorld(t, 2)
	w.authority(nordtal, 2)
	a, b := w.sites[0], w.sites[1]
	a.importAt(nordtal, table(erika, jonas))
	codes := a.codes(a.named(nordtal, "Quastenflosser").ID)
	c, other := a.enter(codes[0]), a.enter(codes[1])
	people := "/a/" + string(nordtal) + "/people"
	a.sees(c, people, http.StatusOK)
	b.sees(c, people, http.StatusOK)
	a.end()
	// Nobody is asked for anything while the site of the session is gone.
	for _, who := range []*http.Client{c, other} {
		if status, _ := b.request(who, http.MethodGet, people); status != http.StatusOK {
			t.Errorf("B answers %d while A is away", status)
		}
	}
	keep := b.copyOf(c)
	if status, body := b.send(c, http.MethodPost, "/account/sessions/end", url.Values{}); status != http.StatusSeeOther {
		t.Fatalf("signing out everywhere answers %d: %.500s", status, body)
	}
	for _, who := range []*http.Client{c, other, keep} {
		if status, _ := b.request(who, http.MethodGet, people); status != http.StatusSeeOther {
			t.Errorf("B still answers %d", status)
		}
	}
	a.start()
	a.sees(other, people, http.StatusSeeOther)
	a.sees(keep, people, http.StatusSeeOther)
	// A code that was not used lets in again, at both.
	again := b.enter(codes[2])
	a.sees(again, people, http.StatusOK)
}

// copyOf returns another browser with the cookies of the first.
func (s *station) copyOf(c *http.Client) *http.Client {
	home := &url.URL{Scheme: "http", Host: s.portal, Path: "/"}
	out := browser()
	out.Jar.SetCookies(home, c.Jar.Cookies(home))
	return out
}

func TestACodeUsedAtTwoCutOffSitesEndsBothSessions(t *testing.T) {
	w := newWorld(t, 2)
	w.authority(nordtal, 2)
	a, b := w.sites[0], w.sites[1]
	a.importAt(nordtal, table(erika, jonas, fatma))
	erikaID, jonasID := a.named(nordtal, "Quastenflosser").ID, a.named(nordtal, "Zwergdommel").ID
	_, _, err := a.GrantRole(t.Context(), nordtal, api.GrantDraft{Role: access.Administrator, Person: jonasID})
	w.must(err)
	codes := a.codes(erikaID)
	w.same(a, b)
	w.cut(b, true)
	atA, atB := a.enter(codes[0]), b.enter(codes[0])
	people := "/a/" + string(nordtal) + "/people"
	a.sees(atA, people, http.StatusOK)
	b.sees(atB, people, http.StatusOK)
	w.cut(b, false)
	for _, c := range []*http.Client{atA, atB} {
		for _, s := range w.sites {
			s.sees(s.copyOf(c), people, http.StatusUnauthorized)
		}
	}
	w.eventually("person and administrator are told", func() error { return areTold(w.sms.messages(), codes[0], "+491713920101", "+491713920102") })
	for _, m := range w.sms.messages() {
		if m.To == "+491713920103" {
			t.Errorf("somebody else is told: %s", m.Text)
		}
	}
	for _, s := range w.sites {
		w.eventually(s.name+" has both uses in the audit", func() error { return s.bothUses(erikaID) })
		list, err := s.site.accounts.Warnings(t.Context(), nordtal)
		if err != nil || len(list) != 1 || list[0].Person != erikaID || list[0].What != "code_twice" || len(list[0].Sites) != 2 {
			t.Errorf("%s warns of %+v, %v", s.name, list, err)
		}
	}
	a.sees(b.enter(codes[1]), people, http.StatusOK)
}

// areTold reports whether each number has got a message, and that none holds the code.
func areTold(messages []message, code string, numbers ...string) error {
	for _, number := range numbers {
		if !slices.ContainsFunc(messages, func(m message) bool { return m.To == number }) {
			return fmt.Errorf("%s has no message", number)
		}
	}
	for _, m := range messages {
		if strings.Contains(m.Text, code) {
			return errors.New("a message holds the code")
		}
	}
	return nil
}

func (s *station) bothUses(person directory.PersonID) error {
	list, err := s.site.audit.Entries(s.w.t.Context(), nordtal, audit.Query{Actor: "person/" + string(person), Deed: "signin", Outcome: string(audit.Done)})
	if err != nil {
		return err
	}
	at := make(map[event.SiteID]int)
	for _, l := range list {
		if l.Way == string(access.ByCode) {
			at[l.Site]++
		}
	}
	if len(at) != 2 {
		return fmt.Errorf("it has %v", at)
	}
	return nil
}

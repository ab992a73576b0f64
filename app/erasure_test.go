// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity/authenticator"
)

// The third site is the box in the authority's cellar, as the last one to come.
func boxed(w *world) { w.box = 3 }

// Erasing is done when every site has said so, and every site shows how far it is; a site that was away says so when it is back.
func TestAnErasureIsCompleteWhenEverySiteHasConfirmedIt(t *testing.T) {
	w := newWorld(t, 4, named, boxed)
	w.authority(nordtal, 4)
	a, b, box, away := w.sites[0], w.sites[1], w.sites[2], w.sites[3]
	if !box.site.config.Box {
		t.Fatal("the box is none")
	}
	a.importAt(nordtal, table(erika, jonas))
	person := a.named(nordtal, "Quastenflosser").ID
	she := a.enrolled(person)
	session, phone := a.enter(she.printed[0]), she.phone
	for _, s := range w.sites {
		w.eventually(s.name+" knows her passkey", func() error { _, err := s.byPasskey(phone); return err })
		s.sees(s.copyOf(session), "/a/"+string(nordtal)+"/people", http.StatusOK)
	}
	w.same(w.sites...)
	box.shows(map[string]bool{"Erikas Schlüsselbund": true, "Quastenflosser": true}, modelFile)
	away.end()

	if _, code, err := holdfast(t, "person", "erase", "--authority", string(nordtal), string(person), "--yes", "--data", a.data); code != 0 {
		t.Fatal(err)
	}
	for _, s := range []*station{a, b, box} {
		s.erasure(person, []*station{a, b, box}, []*station{away})
		s.lostHer(person, phone, session, she.printed[1])
	}
	away.start()
	for _, s := range w.sites {
		s.erasure(person, w.sites, nil)
		s.lostHer(person, phone, session, she.printed[1])
	}
	w.same(w.sites...)
	for _, s := range w.sites {
		s.end()
		s.forgot(person)
		if found := s.holds(map[string]bool{"Erikas Schlüsselbund": true}, modelFile, localFile, logFolder); len(found) > 0 {
			t.Errorf("%s still has her passkey: %v", s.name, found)
		}
	}
}

// enrolled is somebody with a phone and a printed sheet.
type enrolled struct {
	phone   *authenticator.Device
	printed []string
}

func (s *station) enrolled(person directory.PersonID) enrolled {
	t, ctx, x := s.w.t, s.w.t.Context(), s.site.accounts
	t.Helper()
	list, _, err := x.Invite(ctx, s.site.console(), nordtal, []directory.PersonID{person}, 0)
	s.w.must(err)
	p, err := x.UseInvitation(ctx, list[0].Secret)
	s.w.must(err)
	e := enrolled{phone: authenticator.New(rand.Reader)}
	options, err := x.BeginPasskey(ctx, p, origin)
	s.w.must(err)
	answer, err := e.phone.Create(origin.URL, options)
	s.w.must(err)
	_, _, err = x.FinishPasskey(ctx, p, origin, "Erikas Schlüsselbund", answer)
	s.w.must(err)
	e.printed, _, err = x.IssueCodes(ctx, p)
	s.w.must(err)
	return e
}

// erasure waits until the site shows who has confirmed and who has not, by the API that 'holdfast erasures' uses.
func (s *station) erasure(person directory.PersonID, confirmed, missing []*station) {
	s.w.t.Helper()
	s.w.eventually(s.name+" shows how far the erasure is", func() error {
		list, err := s.Erasures(s.w.t.Context(), nordtal)
		if err != nil {
			return err
		}
		for _, e := range list {
			if e.Person == person && e.By == "operator" && e.Complete == (len(missing) == 0) && same(e.Confirmed, confirmed) && same(e.Missing, missing) {
				return nil
			}
		}
		return fmt.Errorf("it shows %+v", list)
	})
}

func same(ids []event.SiteID, sites []*station) bool {
	for _, s := range sites {
		if !slices.Contains(ids, s.id) {
			return false
		}
	}
	return len(ids) == len(sites)
}

// lostHer checks that nobody comes in as the erased person, by any way, and that the keys of her account open nothing.
func (s *station) lostHer(person directory.PersonID, phone *authenticator.Device, session *http.Client, code string) {
	t, w := s.w.t, s.w
	t.Helper()
	if _, err := s.byPasskey(phone); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("her passkey at %s: %v", s.name, err)
	}
	if status, body := s.send(browser(), http.MethodPost, "/signin/code", url.Values{"code": {code}}); status != http.StatusUnauthorized {
		t.Errorf("her code at %s answers %d: %.300s", s.name, status, body)
	}
	if status, _ := s.request(s.copyOf(session), http.MethodGet, "/a/"+string(nordtal)+"/people"); status == http.StatusOK {
		t.Errorf("her session goes on at %s", s.name)
	}
	if _, err := s.site.access.Judge(t.Context(), access.Principal{Kind: access.Person, Authority: nordtal, ID: string(person), Way: access.ByPasskey}, nordtal,
		access.SeePeople); !errors.Is(err, access.ErrForbidden) {
		t.Errorf("she has rights at %s: %v", s.name, err)
	}
	keys, err := s.site.accounts.KeysOf(t.Context(), nordtal, person)
	w.must(err)
	if len(keys) == 0 {
		t.Errorf("no key of her account is known at %s: the test proves nothing", s.name)
	}
	for _, k := range keys {
		if _, err := s.site.ring.Key(t.Context(), nordtal, k); err == nil {
			t.Errorf("%s still has the key %s of her account", s.name, k)
		}
	}
}

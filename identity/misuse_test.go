// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity/authenticator"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// A seized identity provider opens accounts until it is switched off, and leaves no way in behind.
func TestWhoComesByTheProviderLeavesNothingBehind(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	made := a.enrol(a.begin("Anna"), authenticator.New(rand.Reader), atNord)
	off := false
	a.cfg.ProviderOff = func(context.Context, event.AuthorityID) (bool, error) { return off, nil }
	p, err := a.OIDCSignIn(w.ctx(), nordtal, "anna@nordtal.test")
	ok(t, err)
	p.Begun = w.now
	ok(t, a.Standing(w.ctx(), p))
	_, spoken, err := a.AskVouching(w.ctx())
	ok(t, err)
	anna := w.people["Anna"]
	for what, try := range map[string]func() error{
		"begin a passkey": func() error { _, err := a.BeginPasskey(w.ctx(), p, atNord); return err },
		"finish a passkey": func() error {
			_, _, err := a.FinishPasskey(w.ctx(), p, atNord, "", []byte("{}"))
			return err
		},
		"remove a passkey": func() error { _, err := a.RemovePasskey(w.ctx(), p, nordtal, anna, made.ID); return err },
		"issue codes":      func() error { _, _, err := a.IssueCodes(w.ctx(), p); return err },
		"begin digits":     func() error { _, _, err := a.BeginTOTP(w.ctx(), p); return err },
		"remove digits":    func() error { _, err := a.RemoveTOTP(w.ctx(), p, nordtal, anna); return err },
		"hand over":        func() error { _, err := a.HandOver(w.ctx(), p, sued); return err },
		"vouch":            func() error { _, err := a.Vouch(w.ctx(), p, spoken, w.people["Bernd"]); return err },
	} {
		t.Run(what, func(t *testing.T) { refused(t, try(), access.ErrOwnKey) })
	}
	off = true
	refused(t, a.Standing(w.ctx(), p), ErrProviderOff)
}

func TestWrongDigitsUseTheCodeUp(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	p := a.begin("Anna")
	codes := a.sheet(p)
	secret, _, err := a.BeginTOTP(w.ctx(), p)
	ok(t, err)
	_, err = a.ConfirmTOTP(w.ctx(), p, secret, digits(t, secret, w.now))
	ok(t, err)
	for range wrongDigits {
		w.now = w.now.Add(10 * time.Minute)
		_, err = a.SignInWithCode(w.ctx(), codes[0], "000 000")
		refused(t, err, ErrTOTP)
	}
	w.now = w.now.Add(10 * time.Minute)
	_, err = a.SignInWithCode(w.ctx(), codes[0], digits(t, secret, w.now))
	refused(t, err, ErrCode)
	if left := a.account("Anna").CodesLeft; left != CodesPerSheet-1 {
		t.Errorf("%d codes are left", left)
	}
	_, err = a.SignInWithCode(w.ctx(), codes[1], digits(t, secret, w.now))
	ok(t, err)
}

func TestVouchingTwiceIsOneFactAndOftenIsRefused(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	anna := a.begin("Anna")
	vouch := func(n int) (written bool, err error) {
		r, err := a.Vouch(w.ctx(), anna, fmt.Sprintf("AAAA-%04d", n), w.people["Dora"])
		return len(r.Events) > 0, err
	}
	for i, want := range []bool{true, false} {
		if written, err := vouch(0); err != nil || written != want {
			t.Errorf("time %d: written %v, %v", i, written, err)
		}
	}
	for i := 1; i < maxVouchings; i++ {
		_, err := vouch(i)
		ok(t, err)
	}
	_, err := vouch(maxVouchings)
	refused(t, err, ErrVouchOften)
	w.now = w.now.Add(VouchingLife)
	_, err = vouch(maxVouchings)
	ok(t, err)
}

// However many passkeys come and go, one that was removed stays removed and one that is used stays.
func TestManyRemovalsBringNoPasskeyBack(t *testing.T) {
	var s state
	id := func(n int) string { return fmt.Sprintf("%016x", n) }
	add := func(n int) {
		s.addPasskey(readmodel.Entry{}, PasskeyAdded{ID: id(n), Host: nord, Session: session})
	}
	for n := range keepPasskeys {
		add(n)
	}
	s.remove(PasskeyRemoved{ID: id(50)})
	for n := 1; n < 3*keepPasskeys; n++ {
		s.remove(PasskeyRemoved{ID: id(n)})
		add(keepPasskeys + n - 1)
	}
	v := s.void()
	for _, p := range s.good(v) {
		if p.ID == id(50) {
			t.Error("a removed passkey is accepted again")
		}
	}
	if _, there := s.find(id(0), nord); !there || len(s.Passkeys) > keepPasskeys || len(s.Removed) > keepRemovals {
		t.Errorf("the oldest one is there: %v; %d passkeys, %d removals", there, len(s.Passkeys), len(s.Removed))
	}
}

func TestPeopleWithMoreRightsAreNotManaged(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	anna := a.begin("Anna")
	key := a.enrol(a.begin("Bernd"), authenticator.New(rand.Reader), atNord)
	above := fault.New(fault.Forbidden, "test.above", "no", "no")
	var asked []directory.PersonID
	a.cfg.MayManage = func(_ context.Context, _ access.Principal, persons []directory.PersonID) error {
		asked = append(asked, persons...)
		if slices.Contains(persons, w.people["Bernd"]) {
			return above
		}
		return nil
	}
	_, _, err := a.Invite(w.ctx(), anna, nordtal, ids(w, "Clara", "Bernd"), 0)
	refused(t, err, above)
	_, err = a.RemovePasskey(w.ctx(), anna, nordtal, w.people["Bernd"], key.ID)
	refused(t, err, above)
	_, _, err = a.Invite(w.ctx(), anna, nordtal, ids(w, "Clara"), 0)
	ok(t, err)
	n := len(asked)
	_, _, err = a.Invite(w.ctx(), console, nordtal, ids(w, "Bernd"), 0)
	ok(t, err)
	_, err = a.RemovePasskey(w.ctx(), anna, nordtal, w.people["Anna"], key.ID)
	refused(t, err, ErrPasskeyUnknown)
	if len(asked) != n {
		t.Error("the console, or somebody about themself, was asked about")
	}
}

// TestInvitingAgainIsTold: whoever invites somebody who is enrolled already could come in with that invitation in their name.
func TestInvitingAgainIsTold(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	anna := a.begin("Anna")
	a.enrol(a.begin("Bernd"), authenticator.New(rand.Reader), atNord)
	invite := func(by access.Principal, names ...string) {
		t.Helper()
		_, _, err := a.Invite(w.ctx(), by, nordtal, ids(w, names...), 0)
		ok(t, err)
		w.now = w.now.Add(time.Second)
	}
	warned := func() (list []Warning) {
		t.Helper()
		w.merge()
		list, err := b.Warnings(w.ctx(), nordtal)
		ok(t, err)
		return list
	}
	invite(console, "Bernd")
	invite(anna, "Clara")
	if list := warned(); len(list) != 0 {
		t.Fatalf("the console, or a first invitation, is warned of: %+v", list)
	}
	invite(anna, "Bernd", "Clara")
	list := warned()
	if len(list) != 1 || list[0].What != InvitedAgain || list[0].Person != w.people["Bernd"] || !slices.Equal(list[0].Sites, []event.SiteID{a.cfg.Self}) {
		t.Fatalf("warnings: %+v", list)
	}
	a.mute = true
	ok(t, a.Step(w.ctx()))
	a.mute = false
	w.now = w.now.Add(tellAgain)
	ok(t, a.Step(w.ctx()))
	ok(t, a.Step(w.ctx()))
	if len(w.told) != 1 || w.told[0].person != w.people["Bernd"] || !warned()[0].ToldPerson {
		t.Fatalf("told: %+v", w.told)
	}
	a.mute = true
	invite(anna, "Bernd")
	ok(t, a.Step(w.ctx()))
	a.mute = false
	w.now = w.now.Add(againTold)
	ok(t, a.Step(w.ctx()))
	if len(w.told) != 1 {
		t.Errorf("told a day later: %+v", w.told)
	}
}

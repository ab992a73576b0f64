// SPDX-License-Identifier: EUPL-1.2

package privacy

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/session"
)

const nordtal event.AuthorityID = "lk-nordtal"

var morning = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// rig is one site in memory with the real services about people; only what people come in with is made up.
type rig struct {
	t          *testing.T
	ctx        context.Context
	log        *eventlog.Log
	model      *readmodel.Model
	people     *directory.Service
	access     *access.Service
	alarms     *alarm.Service
	audit      *audit.Service
	guests     *guest.Service
	programs   *program.Service
	erased     []Erasure
	service    *Service
	anna, bert directory.Person
}

type anybody struct{ self event.SiteID }

func (anybody) Member(event.SiteID) bool                     { return true }
func (anybody) Allowed(event.SiteID, event.AuthorityID) bool { return true }
func (anybody) Operator(event.SiteID) string                 { return "one" }
func (anybody) Held() []event.AuthorityID                    { return []event.AuthorityID{nordtal} }
func (a anybody) Sites(event.AuthorityID) []alarm.Site {
	return []alarm.Site{{ID: a.self, Operator: "one"}}
}

func ok(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

const register = "Personalnummer;Nachname;Vorname;Mobil;E-Mail;Organisationseinheit;Funktion;Stellvertretung;Sprache\n" +
	"1;Quittenbaum;Anna;0171 3920001;anna@nordtal.example;Amt 32;S1;;de\n" +
	"2;Zwetschge;Bert;0171 3920002;bert@nordtal.example;Amt 32;;S1;de\n"

func newRig(t *testing.T) *rig {
	t.Helper()
	now := func() time.Time { return morning }
	rnd := rand.NewChaCha8([32]byte{7})
	id, err := seal.NewIdentity(rnd)
	ok(t, err)
	f, quiet := anybody{id.Site()}, slog.New(slog.DiscardHandler)
	r := &rig{t: t, ctx: t.Context()}
	ring, err := keyring.Open(":memory:", keyring.Config{Identity: id, Rand: rnd, Now: now})
	ok(t, err)
	t.Cleanup(func() { ok(t, ring.Close()) })
	ok(t, ring.Found(r.ctx, nordtal))
	r.log, err = eventlog.Open(r.ctx, eventlog.Config{Identity: id, Store: eventlog.NewMemory(now), Clock: event.NewClock(now), Rand: rnd,
		Policy: f, Keys: ring, Now: now, Logger: quiet})
	ok(t, err)
	r.model, err = readmodel.Open(r.ctx, readmodel.Config{Path: ":memory:", Source: r.log, Keys: ring, Self: id.Site(), Now: now, Logger: quiet,
		Folds: []readmodel.Fold{directory.Fold(), alarm.Fold(), access.Fold(), audit.Fold(), guest.Fold(), program.Fold(), session.Fold()}})
	ok(t, err)
	t.Cleanup(func() { ok(t, r.model.Close()) })
	r.people = directory.New(directory.Config{Log: r.log, Model: r.model, Keys: ring, Rand: rnd})
	r.access = access.New(access.Config{Log: r.log, Model: r.model, Directory: r.people, Held: func(a event.AuthorityID) bool { return a == nordtal }, Now: now, Rand: rnd})
	r.alarms = alarm.NewService(alarm.Config{Self: id.Site(), Log: r.log, Model: r.model, Directory: r.people, Federation: f, Keys: ring, Now: now, Rand: rnd, Logger: quiet})
	r.audit = audit.New(audit.Config{Self: id.Site(), Log: r.log, Model: r.model, Keys: ring, Now: now, Rand: rnd})
	r.guests = guest.New(guest.Config{Log: r.log, Model: r.model, Keys: ring, Federation: f, Access: r.access, Now: now, Rand: rnd, Logger: quiet})
	r.programs = program.New(program.Config{Self: id.Site(), Log: r.log, Model: r.model, Keys: ring, Directory: r.people, Federation: f, Access: r.access, Now: now, Rand: rnd, Logger: quiet})
	r.service = New(Config{Self: id.Site(), Model: r.model, Directory: r.people, Accounts: accounts{r}, Rights: r.access, Programs: r.programs,
		Guests: r.guests, Audit: r.audit, Erasures: func(context.Context, event.AuthorityID) ([]Erasure, error) { return r.erased, nil }, Now: now})
	_, err = r.people.Import(r.ctx, nordtal, directory.ImportOptions{}, strings.NewReader(register))
	ok(t, err)
	r.anna, r.bert = r.find("Quittenbaum"), r.find("Zwetschge")
	return r
}

func (r *rig) find(name string) directory.Person {
	list, _, err := r.people.People(r.ctx, nordtal, directory.Search{Text: name})
	ok(r.t, err)
	if len(list) != 1 {
		r.t.Fatalf("%q finds %d people", name, len(list))
	}
	return list[0]
}

// append writes a fact that another package's service would write in the course of things.
func (r *rig) append(class event.Class, d event.Draft) {
	r.t.Helper()
	receipt, err := r.log.Append(r.ctx, nordtal, class, d)
	ok(r.t, err, r.model.Wait(r.ctx, receipt.Log, receipt.Last))
}

func (r *rig) record(entries ...audit.Entry) {
	r.t.Helper()
	for _, e := range entries {
		ok(r.t, r.audit.Record(r.ctx, nordtal, e))
	}
	_, err := r.model.CatchUp(r.ctx)
	ok(r.t, err)
}

// accounts are two made-up accounts of the two people.
type accounts struct{ *rig }

func (a accounts) Account(_ context.Context, _ event.AuthorityID, id directory.PersonID) (identity.Account, error) {
	switch id {
	case a.anna.ID:
		return identity.Account{Person: a.anna, State: identity.StateEnrolled, CodesLeft: 9, TOTP: true, LastSignIn: morning, Missing: []string{"second passkey"},
			Passkeys: []identity.Passkey{{ID: "0123456789abcdef", Host: "portal.test", Label: "Annas Telefon", Added: morning}}}, nil
	case a.bert.ID:
		return identity.Account{Person: a.bert, Passkeys: []identity.Passkey{{Label: "Berts Telefon"}}}, nil
	}
	return identity.Account{}, identity.ErrPersonUnknown
}

func (a accounts) Warnings(context.Context, event.AuthorityID) ([]identity.Warning, error) {
	return []identity.Warning{{Person: a.anna.ID, What: "code_twice", At: morning}, {Person: a.bert.ID, What: "counter", At: morning}}, nil
}

func person(p directory.Person) access.Principal {
	return access.Principal{Kind: access.Person, Authority: nordtal, ID: string(p.ID), Way: access.ByPasskey}
}

var console = access.Principal{Kind: access.Console, Way: access.ByConsole}

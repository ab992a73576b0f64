// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	_ "embed"
	"fmt"
	"slices"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/secretcode"
)

//go:embed schema.sql
var schema string

// operator is the actor of what is done at a site's console.
var operator = access.Principal{Kind: access.Console}.Actor()

// What an account's state keeps at most. Older things are forgotten, the oldest first: an account that is used every day
// for ten years stays small.
const (
	keepSecrets  = 20
	keepPasskeys = 100
	keepRemovals = 3 * keepPasskeys // one passkey may be removed at several sites
	keepSets     = 6
	keepApps     = 4
	keepVouched  = 60
	keepUses     = 300
	keepFell     = 50
	keepTold     = 300
	keepKeys     = 100
)

// The kinds of things that are used once.
const (
	whatCode       = "code"
	whatInvitation = "invitation"
	whatLink       = "link"
	whatVouching   = "vouching"
)

// state is what the fold keeps of one account. Credentials stay sealed in it.
type state struct {
	Secrets  []secret    `json:"secrets,omitempty"`
	Passkeys []passkey   `json:"passkeys,omitempty"`
	Removed  []removal   `json:"removed,omitempty"`
	Sets     []codeSet   `json:"sets,omitempty"`
	Apps     []totpState `json:"apps,omitempty"`
	Vouched  []vouched   `json:"vouched,omitempty"`
	Uses     []use       `json:"uses,omitempty"`
	Fell     []fell      `json:"fell,omitempty"`
	Told     []string    `json:"told,omitempty"`
	// Keys are all keys that something of the account was ever sealed with.
	Keys []event.KeyID `json:"keys,omitempty"`
	// SignedIn is the youngest sign-in, Since the first enrolment, both in milliseconds since 1970 by the origin's clock.
	SignedIn int64 `json:"signedIn,omitempty"`
	Since    int64 `json:"since,omitempty"`
	// Day is the youngest day on which a sign-in was told.
	Day string `json:"day,omitempty"`
	// Counters are the highest ones that were told of each passkey.
	Counters map[string]uint32 `json:"counters,omitempty"`
}

type secret struct {
	What    string `json:"what"` // whatInvitation or whatLink
	ID      string `json:"id"`
	Hash    []byte `json:"hash"`
	Expires int64  `json:"expires"`
	Wall    int64  `json:"wall"`
	// Again says where somebody other than the console has invited a person who was enrolled already.
	Again event.SiteID `json:"again,omitempty"`
}

type passkey struct {
	PasskeyAdded
	Site event.SiteID `json:"site"`
	Wall int64        `json:"wall"`
}

type removal = PasskeyRemoved

type codeSet struct {
	CodesIssued
	Wall int64 `json:"wall"`
}

type totpState struct {
	TOTPSet
	Removed bool `json:"removed,omitempty"`
}

type vouched struct {
	Vouched
	Wall int64 `json:"wall"`
}

// use is one use of something that is good once. What names it: "code/SET/ID", "invitation/ID", "link/ID", "vouching/TICKET".
type use struct {
	What    string       `json:"what"`
	Session string       `json:"session"`
	Site    event.SiteID `json:"site"`
	Wall    int64        `json:"wall"`
}

type fell struct {
	CounterFell
	Site event.SiteID `json:"site"`
	Wall int64        `json:"wall"`
}

// Fold returns identity's part of the read model.
func Fold() readmodel.Fold {
	return readmodel.Typed[state]{
		Label:      "identity",
		OwnedRoots: []string{"account"},
		KnownKinds: []event.Kind{KindInvited, KindInvitationUsed, KindPasskeyAdded, KindPasskeyRemoved, KindCodesIssued, KindCodeUsed,
			KindTOTPSet, KindTOTPRemoved, KindLinkMade, KindLinkUsed, KindVouched, KindVouchingUsed, KindSignedIn, KindCounterFell, KindTold},
		SQL:       schema,
		ApplyFunc: apply,
		SaveFunc:  save,
	}
}

// accountSubject returns the subject of a person's account.
func accountSubject(id directory.PersonID) event.Subject { return event.Subject("account/" + id) }

func apply(s state, e readmodel.Entry) (state, error) {
	if e.Subject.Root() != "account" || !directory.PersonID(e.Subject.Part(1)).Valid() || e.Subject.Part(2) != "" {
		return s, fmt.Errorf("%s does not belong into %s", e.Kind, e.Subject)
	}
	if e.Class != event.Register {
		return s, fmt.Errorf("%s does not belong into the class %s", e.Kind, e.Class)
	}
	return s, appliers[e.Kind](&s, e)
}

// appliers is what each kind of fact does. A fact that no honest site writes (ids of another form, lists without an end)
// does nothing: it must not set aside an account that somebody needs tonight.
var appliers = map[event.Kind]func(*state, readmodel.Entry) error{
	KindInvited: with(func(s *state, e readmodel.Entry, f Invited) {
		x := secret{What: whatInvitation, ID: f.ID, Hash: f.Hash, Expires: f.Expires, Wall: e.Wall}
		if s.Since != 0 && e.Actor != operator {
			x.Again = e.Place.Site
		}
		s.addSecret(x)
	}),
	KindLinkMade: with(func(s *state, e readmodel.Entry, f LinkMade) {
		s.addSecret(secret{What: whatLink, ID: f.ID, Hash: f.Hash, Expires: f.Expires, Wall: e.Wall})
	}),
	KindInvitationUsed: with(func(s *state, e readmodel.Entry, f InvitationUsed) { s.used(e, whatInvitation+"/"+f.ID, f.Session) }),
	KindLinkUsed: with(func(s *state, e readmodel.Entry, f LinkUsed) {
		s.used(e, whatLink+"/"+f.ID, f.Session)
		s.signedIn(e)
	}),
	KindCodeUsed: with(func(s *state, e readmodel.Entry, f CodeUsed) {
		s.used(e, codeName(f.Set, f.Code), f.Session)
		s.signedIn(e)
	}),
	KindVouchingUsed: with(func(s *state, e readmodel.Entry, f VouchingUsed) {
		s.used(e, whatVouching+"/"+f.Ticket, f.Session)
		s.signedIn(e)
	}),
	KindPasskeyAdded: with(func(s *state, e readmodel.Entry, f PasskeyAdded) { s.addPasskey(e, f) }),
	KindPasskeyRemoved: with(func(s *state, _ readmodel.Entry, f PasskeyRemoved) {
		s.remove(f)
	}),
	KindCodesIssued: with(func(s *state, e readmodel.Entry, f CodesIssued) { s.addSet(e, f) }),
	KindTOTPSet: with(func(s *state, _ readmodel.Entry, f TOTPSet) {
		if len(f.Sealed) <= maxSealed {
			s.Apps = keep(append(s.Apps, totpState{TOTPSet: f}), keepApps)
			s.key(f.Key)
		}
	}),
	KindTOTPRemoved: with(func(s *state, _ readmodel.Entry, _ TOTPRemoved) {
		for i := range s.Apps {
			s.Apps[i].Removed = true
		}
	}),
	KindVouched: with(func(s *state, e readmodel.Entry, f Vouched) {
		if hex(f.Spoken, 32) && f.By.Valid() && hex(f.Session, 32) {
			s.Vouched = keep(append(s.Vouched, vouched{Vouched: f, Wall: e.Wall}), keepVouched)
		}
	}),
	KindSignedIn: with(func(s *state, e readmodel.Entry, f SignedIn) { s.signedInOn(e, f) }),
	KindCounterFell: with(func(s *state, e readmodel.Entry, f CounterFell) {
		if hex(f.Passkey, 16) && hex(f.Session, 32) {
			s.Fell = keep(append(s.Fell, fell{CounterFell: f, Site: e.Place.Site, Wall: e.Wall}), keepFell)
		}
	}),
	KindTold: with(func(s *state, _ readmodel.Entry, f Told) {
		if len(f.Warning) <= 200 && !slices.Contains(s.Told, f.Warning) {
			s.Told = keep(append(s.Told, f.Warning), keepTold)
		}
	}),
}

// with decodes a fact before it is applied.
func with[F any](do func(*state, readmodel.Entry, F)) func(*state, readmodel.Entry) error {
	return func(s *state, e readmodel.Entry) error {
		var f F
		if err := e.Decode(&f); err != nil {
			return err
		}
		do(s, e, f)
		return nil
	}
}

// keep returns the last n of a list.
func keep[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

const maxSealed = 4 << 10

func (s *state) addSecret(x secret) {
	if hex(x.ID, 16) && len(x.Hash) == 32 {
		s.Secrets = keep(append(s.Secrets, x), keepSecrets)
	}
}

func (s *state) used(e readmodel.Entry, what, session string) {
	if !hex(session, 32) || len(what) > 100 {
		return
	}
	if !slices.ContainsFunc(s.Uses, func(u use) bool { return u.What == what && u.Session == session }) {
		s.Uses = keep(append(s.Uses, use{What: what, Session: session, Site: e.Place.Site, Wall: e.Wall}), keepUses)
	}
}

// addPasskey keeps the first of several passkeys with one id: nobody can put another key in the place of one that is there.
func (s *state) addPasskey(e readmodel.Entry, f PasskeyAdded) {
	if !hex(f.ID, 16) || !hex(f.Session, 32) || f.Host == "" || len(f.Host) > 253 || len(f.Sealed) > maxSealed {
		return
	}
	s.key(f.Key)
	if slices.ContainsFunc(s.Passkeys, func(p passkey) bool { return p.ID == f.ID }) {
		return
	}
	s.Passkeys = append(s.Passkeys, passkey{PasskeyAdded: f, Site: e.Place.Site, Wall: e.Wall})
	if len(s.Passkeys) > keepPasskeys {
		// A removed one goes first: nobody loses the key they use because they have tried out many.
		i := max(0, slices.IndexFunc(s.Passkeys, func(p passkey) bool {
			return slices.ContainsFunc(s.Removed, func(r removal) bool { return r.ID == p.ID })
		}))
		s.Passkeys = slices.Delete(s.Passkeys, i, i+1)
	}
	s.enrolled(e)
}

// remove notes a removal. What is kept of them never loses one of a passkey that is kept: it would be accepted again.
func (s *state) remove(f PasskeyRemoved) {
	if !hex(f.ID, 16) || slices.Contains(s.Removed, f) {
		return
	}
	s.Removed = append(s.Removed, f)
	if len(s.Removed) > keepPasskeys {
		s.Removed = slices.DeleteFunc(s.Removed, func(r removal) bool {
			return !slices.ContainsFunc(s.Passkeys, func(p passkey) bool { return p.ID == r.ID })
		})
	}
	s.Removed = keep(s.Removed, keepRemovals)
}

func (s *state) addSet(e readmodel.Entry, f CodesIssued) {
	if !hex(f.Set, 16) || !hex(f.Session, 32) || len(f.Codes) > CodesPerSheet {
		return
	}
	for _, c := range f.Codes {
		if !secretcode.Valid(c.ID, codeIDLen) || len(c.Hash) != secretcode.HashLen || len(c.Salt) > 64 {
			return
		}
	}
	s.Sets = keep(append(s.Sets, codeSet{CodesIssued: f, Wall: e.Wall}), keepSets)
	s.enrolled(e)
}

func (s *state) enrolled(e readmodel.Entry) {
	if s.Since == 0 {
		s.Since = e.Wall
	}
}

func (s *state) signedIn(e readmodel.Entry) { s.SignedIn = max(s.SignedIn, e.Wall) }

func (s *state) signedInOn(e readmodel.Entry, f SignedIn) {
	s.signedIn(e)
	if len(f.Day) == len("2026-11-22") {
		s.Day = max(s.Day, f.Day)
	}
	if hex(f.Passkey, 16) && f.Counter > s.Counters[f.Passkey] && (len(s.Counters) < keepPasskeys || s.Counters[f.Passkey] > 0) {
		if s.Counters == nil {
			s.Counters = make(map[string]uint32)
		}
		s.Counters[f.Passkey] = f.Counter
	}
}

func (s *state) key(id event.KeyID) {
	if hex(string(id), 16) && !slices.Contains(s.Keys, id) && len(s.Keys) < keepKeys {
		s.Keys = append(s.Keys, id)
	}
}

// hex reports whether s has n lower-case hexadecimal characters.
func hex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

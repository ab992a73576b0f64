// SPDX-License-Identifier: EUPL-1.2

package program

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/readmodel"
)

func TestATokenWorksAtEverySiteUntilItIsWithdrawn(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	p, token := a.make(script())
	if p.Name != "Leitstelle" || p.State != Alive || p.MadeBy != administrator().Actor() || !p.Expires.Equal(morning.Add(DefaultLife)) || !p.LastUsed.IsZero() {
		t.Errorf("got %+v", p)
	}
	b.refuses(token) // has not heard of it
	w.exchange()
	got := b.comes(" " + strings.ToUpper(token) + "\n")
	if got.Kind != access.Program || got.Authority != nordtal || got.ID != string(p.ID) || got.Way != access.ByToken || got.Owner != "" ||
		!slices.Equal(got.Scopes, []access.Permission{access.RaiseAlarm, access.SeeAlarms}) {
		t.Errorf("got %+v", got)
	}
	ok(t, b.Standing(w.ctx, got))
	_, err := a.Withdraw(w.ctx, administrator(), nordtal, p.ID)
	ok(t, err)
	a.refuses(token)
	b.comes(token) // cut off
	w.exchange()
	b.refuses(token)
	if err := b.Standing(w.ctx, got); !errors.Is(err, ErrToken) {
		t.Errorf("a connection goes on: %v", err)
	}
	if p := b.program(p.ID); p.State != Gone || p.WithdrawnBy != administrator().Actor() {
		t.Errorf("got %+v", p)
	}
	_, err = b.Withdraw(w.ctx, administrator(), nordtal, p.ID)
	ok(t, err)
	secret := token[strings.LastIndex(token, "_")+1:]
	if raw := a.raw(); bytes.Contains(raw, []byte(secret)) || bytes.Contains(raw, []byte("Leitstelle")) {
		t.Error("the log tells a secret or a name")
	}
}

func TestAnAppPasswordIsForOnePersonAndOneProtocol(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	w.may[access.ManagePrograms] = false
	made, password, _, err := a.Make(w.ctx, person(anna), nordtal, Draft{Name: "Annas Telefon", Kind: CardDAV, Owner: anna})
	ok(t, err)
	for _, user := range []string{"anna.weiss@nordtal.example", "ANNA.WEISS@NORDTAL.EXAMPLE", string(anna)} {
		p, err := a.AuthenticateAs(w.ctx, CardDAV, user, password)
		ok(t, err)
		if p.Owner != string(anna) || p.ID != string(made.ID) || !slices.Equal(p.Scopes, []access.Permission{access.SeePeople}) {
			t.Errorf("got %+v", p)
		}
	}
	a.refuses(password)
	for name, try := range map[string]func() (access.Principal, error){
		"another protocol": func() (access.Principal, error) { return a.AuthenticateAs(w.ctx, LDAP, string(anna), password) },
		"another person":   func() (access.Principal, error) { return a.AuthenticateAs(w.ctx, CardDAV, string(bert), password) },
		"nobody":           func() (access.Principal, error) { return a.AuthenticateAs(w.ctx, CardDAV, "", password) },
		"an unknown user":  func() (access.Principal, error) { return a.AuthenticateAs(w.ctx, CardDAV, "x@y.example", password) },
		"a wrong password": func() (access.Principal, error) {
			return a.AuthenticateAs(w.ctx, CardDAV, string(anna), flip(password))
		},
		"an empty password": func() (access.Principal, error) { return a.AuthenticateAs(w.ctx, CardDAV, string(anna), "") },
		"the API":           func() (access.Principal, error) { return a.AuthenticateAs(w.ctx, API, string(anna), password) },
	} {
		if p, err := try(); err != ErrToken || !p.IsZero() { //nolint:errorlint // the very same
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
	w.gone = anna
	if _, err := a.AuthenticateAs(w.ctx, CardDAV, string(anna), password); !errors.Is(err, ErrToken) {
		t.Errorf("somebody who is gone comes in: %v", err)
	}
}

func TestWhoMayMakeAndWithdraw(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	own := Draft{Name: "Telefon", Kind: LDAP, Owner: anna}
	owned, _, _, err := a.Make(w.ctx, person(anna), nordtal, own)
	ok(t, err)
	api, _ := a.make(script())
	forbidden := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, access.ErrForbidden) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	tries := func() {
		t.Helper()
		_, _, _, err := a.Make(w.ctx, person(bert), nordtal, own)
		forbidden("another's app password", err)
		_, _, _, err = a.Make(w.ctx, person(anna), nordtal, Draft{Name: "x", Kind: API, Scopes: []access.Permission{access.SeePeople}, Owner: anna})
		forbidden("an API token of one's own", err)
		_, _, _, err = a.Make(w.ctx, access.Principal{Kind: access.Program, Authority: nordtal, ID: string(anna)}, nordtal, own)
		forbidden("a program's own", err)
		_, err = a.Withdraw(w.ctx, person(bert), nordtal, owned.ID)
		forbidden("withdrawing another's", err)
		_, err = a.Withdraw(w.ctx, person(bert), nordtal, "0000000000000000")
		forbidden("withdrawing what is not there", err)
		_, err = a.Withdraw(w.ctx, person(anna), nordtal, api.ID)
		forbidden("withdrawing the authority's", err)
	}
	w.may[access.ManagePrograms] = false
	tries()
	w.may[access.ManagePrograms], w.units = true, []directory.UnitID{"0123456789abcdef"} // an administrator of one unit
	tries()
	_, err = a.Withdraw(w.ctx, person(anna), nordtal, owned.ID)
	ok(t, err)
	w.units = nil
	if _, err := a.Withdraw(w.ctx, administrator(), nordtal, "0000000000000000"); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if _, _, _, err := a.Make(w.ctx, administrator(), suedtal, script()); !errors.Is(err, access.ErrNoAuthority) {
		t.Errorf("a foreign authority: got %v", err)
	}
}

func TestWrongDraftsAreRefused(t *testing.T) {
	w := newWorld(t, 1)
	for name, c := range map[string]struct {
		change func(*Draft)
		want   *fault.Fault
	}{
		"no name":                {func(d *Draft) { d.Name = " " }, ErrName},
		"two lines":              {func(d *Draft) { d.Name = "a\nb" }, ErrName},
		"a long name":            {func(d *Draft) { d.Name = strings.Repeat("x", MaxName+1) }, ErrName},
		"no kind":                {func(d *Draft) { d.Kind = "" }, ErrKind},
		"no scopes":              {func(d *Draft) { d.Scopes = nil }, ErrScopes},
		"unknown scope":          {func(d *Draft) { d.Scopes = []access.Permission{"everything"} }, ErrScopes},
		"over already":           {func(d *Draft) { d.Expires = morning }, ErrExpires},
		"for too long":           {func(d *Draft) { d.Expires = morning.Add(MaxLife + time.Second) }, ErrExpires},
		"an owner that is none":  {func(d *Draft) { d.Owner = "x" }, ErrOwner},
		"an unknown owner":       {func(d *Draft) { d.Owner = "0000000000000000" }, ErrOwner},
		"nobody's app password":  {func(d *Draft) { d.Kind, d.Scopes = LDAP, nil }, ErrOwner},
		"an app password's more": {func(d *Draft) { d.Kind, d.Owner = LDAP, anna }, ErrScopes},
	} {
		d := script()
		c.change(&d)
		if _, _, _, err := w.sites[0].Make(w.ctx, administrator(), nordtal, d); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, p := range []access.Permission{access.GrantRoles, access.SetPolicy, access.ErasePerson, access.ManageSite, access.ManagePrograms,
		access.ManageAccounts, access.OwnAccount, access.Vouch, access.AddAuthority, access.PlaceAuthority} {
		d := script()
		d.Scopes = append(d.Scopes, p)
		if _, _, _, err := w.sites[0].Make(w.ctx, administrator(), nordtal, d); !errors.Is(err, ErrScopes) {
			t.Errorf("a program is given %s: %v", p, err)
		}
	}
}

func TestAProgramEnds(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	p, token := a.make(script())
	who := a.comes(token)
	w.now = w.now.Add(DefaultLife)
	a.refuses(token)
	if err := a.Standing(w.ctx, who); !errors.Is(err, ErrToken) {
		t.Errorf("got %v", err)
	}
	if p := a.program(p.ID); p.State != Expired {
		t.Errorf("got %+v", p)
	}
	ok(t, a.Standing(w.ctx, person(anna)))
}

func TestTheLastUseIsShownAtOnceHereAndByTheDayElsewhere(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	p, token := a.make(script())
	facts := func() (n int) {
		for _, s := range w.sites {
			n += bytes.Count(s.raw(), []byte(`"`+string(KindUsed)+`"`))
		}
		return n
	}
	w.exchange()
	for range 5 {
		w.now = w.now.Add(time.Minute)
		a.comes(token)
	}
	if got := a.program(p.ID); !got.LastUsed.Equal(morning.Add(5*time.Minute)) || got.UsedAt != a.id {
		t.Errorf("here: got %+v", got)
	}
	if n := facts(); n != 1 {
		t.Errorf("%d facts on one day, want one", n)
	}
	w.exchange()
	if got := b.program(p.ID); !got.LastUsed.Equal(morning.Add(time.Minute)) || got.UsedAt != a.id {
		t.Errorf("elsewhere: got %+v", got)
	}
	b.comes(token) // the day is known already
	if n := facts() - 1; n != 1 {
		t.Errorf("%d facts of one day at two sites that see each other, want one", n)
	}
	w.now = w.now.Add(24 * time.Hour)
	w.fails = eventlog.ErrNoRoom
	b.comes(token) // a full disk does not lock it out
	w.fails = nil
}

func TestOfManyUsesAtOnceOneIsTold(t *testing.T) {
	w := newWorld(t, 1)
	_, token := w.sites[0].make(script())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := w.sites[0].Authenticate(w.ctx, token); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := bytes.Count(w.sites[0].raw(), []byte(`"`+string(KindUsed)+`"`)); n != 1 {
		t.Errorf("%d facts, want one", n)
	}
}

func TestEverythingOfAPersonIsWithdrawnAndForgotten(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	var passwords []string
	for _, k := range []Kind{LDAP, CardDAV, WebDAV} {
		_, password := a.make(Draft{Name: "Annas " + string(k), Kind: k, Owner: anna})
		passwords = append(passwords, password)
	}
	_, others := a.make(Draft{Name: "Berts", Kind: LDAP, Owner: bert})
	list, err := a.Owned(w.ctx, nordtal, anna)
	ok(t, err)
	if len(list) != 3 {
		t.Fatalf("got %+v", list)
	}
	var keys []readmodel.KeyRef
	for _, p := range list {
		var st state
		_, err := a.model.State(w.ctx, nordtal, p.ID.Subject(), &st)
		ok(t, err)
		keys = append(keys, readmodel.KeyRef{Authority: nordtal, KeyID: st.Key})
	}
	n, err := a.WithdrawAll(w.ctx, administrator(), nordtal, anna, true)
	ok(t, err)
	ok(t, a.model.KeysChanged(w.ctx, keys))
	if n != 3 {
		t.Errorf("%d withdrawn, want 3", n)
	}
	for i, k := range []Kind{LDAP, CardDAV, WebDAV} {
		if _, err := a.AuthenticateAs(w.ctx, k, string(anna), passwords[i]); !errors.Is(err, ErrToken) {
			t.Errorf("%s: got %v", k, err)
		}
	}
	list, err = a.Owned(w.ctx, nordtal, anna)
	ok(t, err)
	for _, p := range list {
		if p.Name != "" || p.Readable != directory.Erased || p.State != Gone {
			t.Errorf("got %+v", p)
		}
	}
	_, err = a.AuthenticateAs(w.ctx, LDAP, string(bert), others)
	ok(t, err)
	if n, err := a.WithdrawAll(w.ctx, administrator(), nordtal, anna, true); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	if _, err := a.WithdrawAll(w.ctx, administrator(), nordtal, "", true); !errors.Is(err, ErrOwner) {
		t.Errorf("nobody's: %v", err)
	}
}

func TestThereIsAnEndToPrograms(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	var drafts []event.Draft
	for i := range MaxPrograms + MaxOwned {
		f := Made{Key: "00112233445566aa", Kind: API, Hash: []byte("x"), Expires: morning.Add(time.Hour)}
		if i < MaxOwned {
			f.Owner = anna
		}
		drafts = append(drafts, event.Draft{Subject: ID(fmt.Sprintf("%016x", i)).Subject(), Kind: KindMade, Actor: "person/1", Data: f})
	}
	_, err := a.log.Append(w.ctx, nordtal, event.Register, drafts...)
	ok(t, err)
	_, err = a.model.CatchUp(w.ctx)
	ok(t, err)
	for _, d := range []Draft{script(), {Name: "x", Kind: LDAP, Owner: anna}} {
		if _, _, _, err := a.Make(w.ctx, administrator(), nordtal, d); !errors.Is(err, ErrTooMany) {
			t.Errorf("got %v", err)
		}
	}
	a.make(Draft{Name: "x", Kind: LDAP, Owner: bert})
	list, err := a.Programs(w.ctx, nordtal)
	ok(t, err)
	if len(list) != MaxPrograms+MaxOwned+1 {
		t.Errorf("%d listed", len(list))
	}
}

// Facts come to the same whatever the order in which they arrive: a withdrawal is final even if it sorts first, and a second
// secret for an id changes nothing.
func TestTheOrderOfFactsDoesNotMatter(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	p, token := a.make(script())
	_, err := b.log.Append(w.ctx, nordtal, event.Register,
		event.Draft{Subject: p.ID.Subject(), Kind: KindWithdrawn, Data: Withdrawn{}},
		event.Draft{Subject: p.ID.Subject(), Kind: KindMade, Data: Made{Key: "00112233445566aa", Kind: API, Hash: []byte("another"), Expires: morning.Add(time.Hour)}})
	ok(t, err)
	w.exchange()
	for _, n := range w.sites {
		n.refuses(token)
		if p := n.program(p.ID); p.State != Gone || p.Name != "Leitstelle" {
			t.Errorf("got %+v", p)
		}
	}
}

// flip changes the last character of a token.
func flip(token string) string {
	last := "0"
	if strings.HasSuffix(token, last) {
		last = "1"
	}
	return token[:len(token)-1] + last
}

func FuzzParse(f *testing.F) {
	f.Add("hf1_00112233445566aa_00112233445566778899aabbccddeeff")
	f.Add(" HF1_00112233445566AA_ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ ")
	f.Add("hf1__")
	f.Fuzz(func(t *testing.T, token string) {
		id, secret, valid := parse(token)
		if !valid {
			return
		}
		if len(secret) != secretBytes || tokenOf(id, secret) != strings.ToLower(strings.TrimSpace(token)) {
			t.Errorf("%q was read as %s", token, tokenOf(id, secret))
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	w := newWorld(b, 1)
	_, token := w.sites[0].make(script())
	for b.Loop() {
		w.sites[0].comes(token)
	}
}

func BenchmarkWrongToken(b *testing.B) {
	w := newWorld(b, 1)
	_, token := w.sites[0].make(script())
	token = flip(token)
	for b.Loop() {
		w.sites[0].refuses(token)
	}
}

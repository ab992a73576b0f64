// SPDX-License-Identifier: EUPL-1.2

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/secretcode"
)

func TestAGuestEntersOnceForOneIncident(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	g, code := a.invite("Dr. Änne Weiß, Feuerwehr")
	if g.Name != "Dr. Änne Weiß, Feuerwehr" || g.State != Waiting || g.InvitedBy != officer().Actor() || !g.Until.Equal(morning.Add(DefaultLife)) {
		t.Errorf("got %+v", g)
	}
	w.exchange()
	p := b.enter(strings.ToLower(strings.ReplaceAll(code, "-", " ")))
	if p.Kind != access.Visitor || p.Authority != nordtal || p.Incident != incident || p.Way != access.ByGuestCode || p.ID != string(g.ID) || len(p.Session) != 32 {
		t.Errorf("got %+v", p)
	}
	if _, err := b.Enter(w.ctx, code); !errors.Is(err, ErrCode) {
		t.Errorf("the code lets in twice at one site: %v", err)
	}
	b.wants(p, nil)
	a.wants(p, nil) // A does not know of the entering yet, but by its session's id it came by the current code
	w.exchange()
	a.wants(p, nil)
	if _, err := a.Enter(w.ctx, code); !errors.Is(err, ErrCode) {
		t.Errorf("the code lets in again at another site: %v", err)
	}
	if g := a.guest(g.ID); g.State != Inside || len(g.Sites) != 1 || g.Sites[0] != b.id {
		t.Errorf("got %+v", g)
	}
	if raw := a.raw(); bytes.Contains(raw, []byte("Weiß")) || bytes.Contains(raw, []byte(code)) || bytes.Contains(raw, []byte(strings.ReplaceAll(code, "-", ""))) {
		t.Error("the log tells a name or a code")
	}
}

func TestACodeUsedAtTwoSitesEndsBothSessions(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	g, code := a.invite("Feuerwehr")
	w.exchange()
	pa, pb := a.enter(code), b.enter(code) // cut off from each other
	a.wants(pa, nil)
	a.wants(pb, ErrTwice) // a token from the other half that somebody brings along
	b.wants(pb, nil)
	w.exchange()
	for _, n := range w.sites {
		n.wants(pa, ErrTwice)
		n.wants(pb, ErrTwice)
		if g := n.guest(g.ID); g.State != Twice || len(g.Sites) != 2 {
			t.Errorf("nobody is warned: %+v", g)
		}
		if _, err := n.Enter(w.ctx, code); !errors.Is(err, ErrCode) {
			t.Errorf("the code lets in once more: %v", err)
		}
	}
	_, fresh, _, err := b.Renew(w.ctx, officer(), nordtal, g.ID, time.Time{})
	ok(t, err)
	w.exchange()
	p := a.enter(fresh)
	a.wants(p, nil)
	a.wants(pa, ErrEnded)
	a.wants(pb, ErrEnded)
}

func TestSendingAwayWinsOverAnInvitationThatDidNotKnow(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	g, code := a.invite("Feuerwehr")
	w.exchange()
	p := a.enter(code)
	_, err := a.SendAway(w.ctx, officer(), nordtal, g.ID)
	ok(t, err)
	a.wants(p, ErrEnded)
	w.now = w.now.Add(time.Hour) // later, and yet B has not heard
	_, fresh, _, err := b.Renew(w.ctx, officer(), nordtal, g.ID, time.Time{})
	ok(t, err)
	pb := b.enter(fresh)
	b.wants(pb, nil)
	w.exchange()
	for _, n := range w.sites {
		n.wants(p, ErrEnded)
		n.wants(pb, ErrEnded)
		if g := n.guest(g.ID); g.State != Away || g.SentAwayBy != officer().Actor() {
			t.Errorf("got %+v", g)
		}
	}
	_, again, _, err := b.Renew(w.ctx, officer(), nordtal, g.ID, time.Time{})
	ok(t, err)
	b.wants(b.enter(again), nil)
	w.exchange()
	if g := a.guest(g.ID); g.State != Inside {
		t.Errorf("got %+v", g)
	}
	if _, err := a.SendAway(w.ctx, officer(), nordtal, "0000000000000000"); !errors.Is(err, ErrUnknown) {
		t.Errorf("a stranger: got %v", err)
	}
}

func TestAVisitEnds(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	g, code := a.invite("Feuerwehr")
	_, unused := a.invite("Polizei")
	p := a.enter(code)
	other := p
	other.Incident = "alarm/0000000000000002"
	a.wants(other, ErrEnded)
	other = p
	other.Authority = suedtal
	a.wants(other, ErrEnded)
	w.now = w.now.Add(DefaultLife)
	a.wants(p, ErrEnded)
	if _, err := a.Enter(w.ctx, unused); !errors.Is(err, ErrCode) {
		t.Errorf("an expired code: got %v", err)
	}
	if g := a.guest(g.ID); g.State != Expired {
		t.Errorf("got %+v", g)
	}
	a.wants(access.Principal{Kind: access.Person, Authority: nordtal, ID: "x"}, nil)
}

// However often somebody was sent away and came back: the last time counts.
func TestSendingAwayCountsHoweverOftenItWas(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	g, _ := a.invite("Feuerwehr")
	for range maxSendOff + 2 {
		_, err := a.SendAway(w.ctx, officer(), nordtal, g.ID)
		ok(t, err)
		if got := a.guest(g.ID); got.State != Away {
			t.Fatalf("got %+v", got)
		}
		_, _, _, err = a.Renew(w.ctx, officer(), nordtal, g.ID, time.Time{})
		ok(t, err)
	}
	if got := a.guest(g.ID); got.State != Waiting {
		t.Errorf("got %+v", got)
	}
}

func TestStrangersAndWrongDraftsAreRefused(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	for name, c := range map[string]struct {
		d    Draft
		want *fault.Fault
	}{
		"no name":       {Draft{Name: " ", Incident: incident}, ErrName},
		"a long name":   {Draft{Name: strings.Repeat("x", MaxName+1), Incident: incident}, ErrName},
		"two lines":     {Draft{Name: "a\nb", Incident: incident}, ErrName},
		"no incident":   {Draft{Name: "a"}, ErrIncident},
		"a person":      {Draft{Name: "a", Incident: "person/12c0"}, ErrIncident},
		"a part":        {Draft{Name: "a", Incident: "alarm/1/person/2"}, ErrIncident},
		"over already":  {Draft{Name: "a", Incident: incident, Until: morning}, ErrUntil},
		"for too long":  {Draft{Name: "a", Incident: incident, Until: morning.Add(MaxLife + time.Second)}, ErrUntil},
		"all incidents": {Draft{Name: "a", Incident: "alarm"}, ErrIncident},
	} {
		if _, _, _, err := a.Invite(w.ctx, officer(), nordtal, c.d); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, _, _, err := a.Invite(w.ctx, officer(), suedtal, Draft{Name: "a", Incident: incident}); !errors.Is(err, access.ErrNoAuthority) {
		t.Errorf("a foreign authority: got %v", err)
	}
	g, _ := a.invite("Feuerwehr")
	w.may[access.InviteGuests] = false
	_, _, _, invite := a.Invite(w.ctx, officer(), nordtal, Draft{Name: "a", Incident: incident})
	_, _, _, renew := a.Renew(w.ctx, officer(), nordtal, g.ID, time.Time{})
	_, away := a.SendAway(w.ctx, officer(), nordtal, g.ID)
	for _, err := range []error{invite, renew, away} {
		if !errors.Is(err, access.ErrForbidden) {
			t.Errorf("without the permission: got %v", err)
		}
	}
}

// A wrong code is refused in the same way whatever is wrong with it, and its tag keeps it from costing an argon2.
func TestWrongCodesAreRefusedCheaply(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	_, code := a.invite("Feuerwehr")
	wrong := []string{"", "x", code + "0", code[:len(code)-1], "UUUU-UUUU-UUUU", strings.Repeat("0", 100), "ÄÖÜÄ-ÖÜÄÖ-ÜÄÖÜ"}
	for i := range 300 {
		wrong = append(wrong, fmt.Sprintf("%012d", i))
	}
	for _, typed := range wrong {
		if _, err := a.Enter(w.ctx, typed); err != ErrCode { //nolint:errorlint // the very same
			t.Fatalf("%q: got %v", typed, err)
		}
	}
	key, err := w.ring.Named(w.ctx, nordtal, "id")
	ok(t, err)
	hits := 0
	for i := range 20_000 {
		if typed, valid := readCode(fmt.Sprintf("%012d", i)); valid && tagged(key.Secret, nordtal, typed) {
			hits++
		}
	}
	if hits > 60 {
		t.Errorf("%d of 20,000 wrong codes would cost an argon2, want about 20", hits)
	}
	a.enter(strings.NewReplacer("0", "o", "1", "l").Replace(code))
}

func TestOneOfManyWhoTypeTheSameCodeAtOnceGetsIn(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	_, code := a.invite("Feuerwehr")
	var wg sync.WaitGroup
	var mu sync.Mutex
	in := 0
	for range 8 {
		wg.Go(func() {
			_, err := a.Enter(w.ctx, code)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				in++
			case !errors.Is(err, ErrCode) && !errors.Is(err, ErrBusy):
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if in != 1 {
		t.Errorf("%d got in, want one", in)
	}
}

// Whoever has a code that let them in once must not keep the site busy with it, nor anybody else out.
func TestAUsedCodeDoesNotKeepTheSiteBusy(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	_, code := a.invite("Feuerwehr")
	_, other := a.invite("THW")
	a.enter(code)
	before := a.hashing.Entered()
	busy := 0
	for range 100 {
		if _, err := a.Enter(w.ctx, code); errors.Is(err, ErrBusy) {
			busy++
		} else if !errors.Is(err, ErrCode) {
			t.Fatal(err)
		}
	}
	if cost := a.hashing.Entered() - before; busy != 100-codeTries+1 || cost != codeTries-1 {
		t.Errorf("%d were turned away, %d hashes", busy, cost)
	}
	a.enter(other)
	w.now = w.now.Add(time.Minute)
	if _, err := a.Enter(w.ctx, code); !errors.Is(err, ErrCode) {
		t.Errorf("a minute later: %v", err)
	}
}

// Five hundred invitations are written as facts, without the argon2 that Invite would compute for each.
func TestThereIsAnEndToGuests(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	g, _ := a.invite("Feuerwehr")
	var drafts []event.Draft
	for i := range MaxGuests - 1 {
		id := ID(fmt.Sprintf("%016x", i))
		drafts = append(drafts, event.Draft{Subject: id.Subject(), Kind: KindInvited, Actor: "person/1",
			Data: Invited{Key: "00112233445566aa", Incident: incident, Code: Code{ID: event.ID(id), Mark: "0000"}, Until: morning.Add(time.Hour)}})
	}
	_, err := a.log.Append(w.ctx, nordtal, event.Register, drafts...)
	ok(t, err)
	_, err = a.model.CatchUp(w.ctx)
	ok(t, err)
	if _, _, _, err := a.Invite(w.ctx, officer(), nordtal, Draft{Name: "a", Incident: incident}); !errors.Is(err, ErrTooMany) {
		t.Errorf("got %v", err)
	}
	_, err = a.SendAway(w.ctx, officer(), nordtal, g.ID)
	ok(t, err)
	a.invite("Polizei")
}

func TestNamesAreForgottenAfterAWhile(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	g, _ := a.invite("Dr. Änne Weiß")
	forget := func(want int) {
		t.Helper()
		n, err := a.Forget(w.ctx, nordtal, 30*24*time.Hour)
		ok(t, err)
		if n != want {
			t.Fatalf("%d forgotten, want %d", n, want)
		}
	}
	forget(0)
	var key event.KeyID
	var st state
	_, err := a.model.State(w.ctx, nordtal, g.ID.Subject(), &st)
	ok(t, err)
	key = st.Key
	w.now = g.Until.Add(31 * 24 * time.Hour)
	forget(1)
	ok(t, a.model.KeysChanged(w.ctx, []readmodel.KeyRef{{Authority: nordtal, KeyID: key}}))
	if g := a.guest(g.ID); g.Name != "" || g.Readable != directory.Erased {
		t.Errorf("got %+v", g)
	}
	forget(0)
	if _, _, _, err := a.Renew(w.ctx, officer(), nordtal, g.ID, time.Time{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("somebody forgotten is renewed: %v", err)
	}
}

// The rule is a pure function of what is known and of the time.
func TestWhereAGuestStands(t *testing.T) {
	code := event.ID("00112233445566aa")
	first, second := string(code)+"0000000000000001", string(code)+"0000000000000002"
	base := state{Code: Code{ID: code}, Until: morning.Add(time.Hour)}
	with := func(change func(*state)) state { s := base; change(&s); return s }
	for name, c := range map[string]struct {
		s       state
		session string
		want    error
		at      State
	}{
		"nobody":                      {state{}, first, ErrEnded, Expired},
		"not heard of entering":       {base, first, nil, Waiting},
		"entered":                     {with(func(s *state) { s.Uses = []use{{Session: first}} }), first, nil, Inside},
		"another entered":             {with(func(s *state) { s.Uses = []use{{Session: first}} }), second, ErrTwice, Inside},
		"both entered":                {with(func(s *state) { s.Uses = []use{{Session: first}, {Session: second}} }), first, ErrTwice, Twice},
		"the same fact twice":         {with(func(s *state) { s.Uses = []use{{Session: first}, {Session: first}} }), first, nil, Inside},
		"of an older code":            {base, "aa" + first[2:], ErrEnded, Waiting},
		"sent away":                   {with(func(s *state) { s.Away = []sendOff{{ID: "a"}} }), first, ErrEnded, Away},
		"invited despite of that":     {with(func(s *state) { s.Away = []sendOff{{ID: "a"}}; s.Despite = []event.ID{"a"} }), first, nil, Waiting},
		"sent away twice, one known":  {with(func(s *state) { s.Away = []sendOff{{ID: "b"}, {ID: "a"}}; s.Despite = []event.ID{"a"} }), first, ErrEnded, Away},
		"over":                        {with(func(s *state) { s.Until = morning }), first, ErrEnded, Expired},
		"a session that is too short": {base, string(code), ErrEnded, Waiting},
	} {
		if got := c.s.standing(c.session, morning); !errors.Is(got, c.want) || c.want == nil && got != nil {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
		if got := c.s.at(morning); got != c.at {
			t.Errorf("%s: got %q, want %q", name, got, c.at)
		}
	}
}

func FuzzReadCode(f *testing.F) {
	f.Add("7KQ2-M9XD-4TEN")
	f.Add("o o o o i i i i l l l l")
	f.Fuzz(func(t *testing.T, typed string) {
		code, valid := readCode(typed)
		if !valid {
			return
		}
		if len(code) != codeChars || strings.Trim(code, secretcode.Alphabet) != "" {
			t.Errorf("%q was read as %q", typed, code)
		}
		if again, _ := readCode(secretcode.Grouped(code)); again != code {
			t.Errorf("%q is read as %q", secretcode.Grouped(code), again)
		}
	})
}

func BenchmarkStanding(b *testing.B) {
	w := newWorld(b, 1)
	_, code := w.sites[0].invite("Feuerwehr")
	p := w.sites[0].enter(code)
	for b.Loop() {
		ok(b, w.sites[0].Standing(w.ctx, p))
	}
}

func BenchmarkWrongCode(b *testing.B) {
	w := newWorld(b, 1)
	w.sites[0].invite("Feuerwehr")
	for i := 0; b.Loop(); i++ {
		if _, err := w.sites[0].Enter(w.ctx, fmt.Sprintf("%012d", i)); !errors.Is(err, ErrCode) {
			b.Fatal(err)
		}
	}
}

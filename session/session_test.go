// SPDX-License-Identifier: EUPL-1.2

package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/localstore"
)

func TestASessionOfOneSiteCountsAtTheOther(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	token, expires, err := a.Issue(t.Context(), person())
	ok(t, err)
	if want := morning.Add(DefaultLife); !expires.Equal(want) {
		t.Errorf("it expires at %v, want %v", expires, want)
	}
	got, due, err := b.Verify(t.Context(), token)
	ok(t, err)
	want := person()
	want.Session, want.Begun, want.Site = got.Session, morning, a.id.Site()
	if diff := cmp.Diff(want, got); diff != "" || !validID(got.Session) || due {
		t.Errorf("due %v: %s", due, diff)
	}
}

func TestIssueKeepsTheSessionThatTheWayInHasNamed(t *testing.T) {
	a := newWorld(t, 1).sites[0]
	p := person()
	p.Session = strings.Repeat("ab", 16)
	p.Begun = morning.Add(-time.Hour)
	if _, got := a.enter(p); got.Session != p.Session || !got.Begun.Equal(p.Begun) {
		t.Errorf("got %+v", got)
	}
	p.Begun = morning.Add(time.Minute)
	if _, got := a.enter(p); !got.Begun.Equal(morning) {
		t.Errorf("a session may not begin in the future: %v", got.Begun)
	}
}

func TestWhatWasEndedAtBIsRefusedAtAOnceThePagesHaveCome(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	token, p := a.enter(person())
	other, _ := a.enter(person())
	_, err := b.End(t.Context(), p)
	ok(t, err)
	b.wants(token, ErrEnded)
	a.wants(token, nil) // it has not heard of it yet
	w.exchange()
	a.wants(token, ErrEnded)
	a.wants(other, nil)
	if r, err := a.End(t.Context(), p); err != nil || r.Last != (eventlog.Position{}) {
		t.Errorf("ending it again wrote %v, %v", r.Last, err)
	}
	if _, _, err := a.Renew(t.Context(), p); !errors.Is(err, ErrEnded) {
		t.Errorf("an ended session was renewed: %v", err)
	}
}

func TestSignedOutEverywhere(t *testing.T) {
	w := newWorld(t, 3)
	a, b, c := w.sites[0], w.sites[1], w.sites[2]
	atA, p := a.enter(person())
	atB, _ := b.enter(person())
	a.endAll(p)
	a.wants(atA, ErrEnded)
	w.exchange()
	for _, n := range w.sites {
		n.wants(atA, ErrEnded)
		n.wants(atB, ErrEnded)
	}
	again, _ := b.enter(person())
	for _, n := range w.sites {
		n.wants(again, nil)
	}
	// Who signs out everywhere and in again at one site need not wait until the others have heard of it.
	b.endAll(p)
	fresh, _ := b.enter(person())
	c.wants(fresh, nil)
	c.wants(again, nil)
	w.exchange()
	c.wants(fresh, nil)
	c.wants(again, ErrEnded)
}

// On both sides of a cut somebody signs out everywhere, and in again. Neither side knew of the other's sessions.
func TestSignedOutOnBothSidesOfACutEndsAllSessions(t *testing.T) {
	for _, first := range []int{0, 1} {
		t.Run(fmt.Sprint("first at ", first), func(t *testing.T) {
			w := newWorld(t, 2)
			early, late := w.sites[first], w.sites[1-first]
			early.endAll(person())
			atEarly, _ := early.enter(person())
			w.now = w.now.Add(time.Minute)
			late.endAll(person())
			atLate, _ := late.enter(person())
			early.wants(atEarly, nil)
			late.wants(atLate, nil)
			w.exchange()
			for _, n := range w.sites {
				n.wants(atEarly, ErrEnded)
				n.wants(atLate, ErrEnded)
			}
			again, _ := early.enter(person())
			late.wants(again, nil)
		})
	}
}

func TestOnlySitesThatCountVouchForASession(t *testing.T) {
	w := newWorld(t, 3)
	a, b, c := w.sites[0], w.sites[1], w.sites[2]
	token, p := a.enter(person())
	renewed, _, err := b.Renew(t.Context(), p)
	ok(t, err)
	c.wants(renewed, nil)

	a.forbidden = true
	c.wants(token, ErrElsewhere)
	c.wants(renewed, ErrElsewhere) // it was begun at a site that the authority does not allow any more
	a.wants(token, ErrNotHere)
	if _, _, err := a.Issue(t.Context(), person()); !errors.Is(err, ErrNotHere) {
		t.Errorf("a forbidden site issued a session: %v", err)
	}
	a.forbidden = false
	c.wants(token, nil)

	a.removed = true
	c.wants(token, ErrElsewhere)
	a.removed, c.forbidden = false, true
	c.wants(token, ErrNotHere)
	b.wants(token, nil)

	stranger := newWorld(t, 4).sites[3]
	foreign, _ := stranger.enter(person())
	b.wants(foreign, ErrElsewhere)
}

func TestClocksMayDifferByFiveMinutes(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	a.skew = MaxSkew
	token, _ := a.enter(person())
	b.wants(token, nil)
	a.skew += time.Second
	token, _ = a.enter(person())
	b.wants(token, ErrClock)
	a.skew = -MaxSkew
	token, _ = a.enter(person())
	b.wants(token, nil)
}

func TestTheBoundariesOfExpiry(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	token, p := a.enter(person())
	for _, c := range []struct {
		after time.Duration
		want  error
		due   bool
	}{
		{0, nil, false}, {DefaultLife/2 - time.Second, nil, false}, {DefaultLife / 2, nil, true}, {DefaultLife - 1, nil, true},
		{DefaultLife, ErrExpired, false}, {24 * time.Hour, ErrExpired, false},
	} {
		w.now = morning.Add(c.after)
		if _, due, err := a.Verify(t.Context(), token); !errors.Is(err, c.want) || due != c.due {
			t.Errorf("after %v: due %v, %v", c.after, due, err)
		}
	}

	w.now = morning.Add(DefaultMax - 10*time.Minute)
	last, expires, err := a.Renew(t.Context(), p)
	ok(t, err)
	if want := morning.Add(DefaultMax); !expires.Equal(want) {
		t.Errorf("renewed until %v, want %v", expires, want)
	}
	if got, due, err := a.Verify(t.Context(), last); err != nil || due || !cmp.Equal(got, p) {
		t.Errorf("nothing more to renew: due %v, %v, %+v", due, err, got)
	}
	w.now = morning.Add(DefaultMax - 1)
	a.wants(last, nil)
	w.now = morning.Add(DefaultMax)
	a.wants(last, ErrExpired)
	if _, _, err := a.Renew(t.Context(), p); !errors.Is(err, ErrExpired) {
		t.Errorf("renewed beyond the maximum: %v", err)
	}
}

func TestASiteCutsByItsOwnLifeAndMax(t *testing.T) {
	w := newWorld(t, 1, func(c *Config) { c.Max, c.Life = MaxLife, MaxLife })
	w.sites = append(w.sites, w.site(1), w.site(2, func(c *Config) {
		c.MaxOf = func(_ context.Context, p access.Principal) time.Duration {
			if p.Way == access.ByVouching {
				return 20 * time.Minute
			}
			return 0
		}
	}))
	p := person()
	p.Way = access.ByVouching
	token, _ := w.sites[0].enter(p)
	w.now = morning.Add(19 * time.Minute)
	w.sites[2].wants(token, nil)
	w.now = morning.Add(20 * time.Minute)
	w.sites[2].wants(token, ErrExpired)
	w.sites[1].wants(token, nil)
	w.now = morning.Add(DefaultLife)
	w.sites[1].wants(token, ErrExpired)
	w.sites[0].wants(token, nil)
}

func TestChecksHaveTheLastWord(t *testing.T) {
	gone := fault.New(fault.Unauthenticated, "test.gone", "gone", "")
	var verdict error
	a := newWorld(t, 1, func(c *Config) {
		c.Checks = append(c.Checks, func(context.Context, access.Principal) error { return verdict })
	}).sites[0]
	token, _ := a.enter(person())
	a.wants(token, nil)
	verdict = gone
	a.wants(token, gone)
}

func TestTheConsoleIsKnownOnlyWhereItIs(t *testing.T) {
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprint("durable ", durable), func(t *testing.T) {
			w := newWorld(t, 1)
			local, err := localstore.Open(":memory:", func() time.Time { return w.now })
			ok(t, err)
			t.Cleanup(func() { ok(t, local.Close()) })
			set := func(c *Config) {
				if durable {
					c.Local = local
				}
			}
			a := w.site(1, set)
			w.sites = append(w.sites, a)
			one, p := a.enter(operator())
			two, _ := a.enter(operator())
			a.wants(one, nil)
			w.sites[0].wants(one, ErrElsewhere)
			_, err = a.End(t.Context(), p)
			ok(t, err)
			a.wants(one, ErrEnded)
			a.wants(two, nil)

			again := w.site(1, set) // the process is started again
			again.wants(one, ErrEnded)
			if durable {
				again.wants(two, nil)
			} else {
				again.wants(two, ErrEnded)
			}
			_, err = a.EndAll(t.Context(), operator(), "", access.Console, "")
			ok(t, err)
			a.wants(two, ErrEnded)
			three, _ := a.enter(operator())
			a.wants(three, nil)
			if len(a.log.Heads()) != 0 {
				t.Error("the console's sessions left facts")
			}
		})
	}
}

func TestSessionsAreForPeopleOnlyAndEndWithinTheirAuthority(t *testing.T) {
	a := newWorld(t, 1).sites[0]
	for _, p := range []access.Principal{
		{},
		{Kind: access.Program, Authority: nordtal, ID: "1", Way: access.ByToken},
		{Kind: access.Console, Authority: nordtal, Way: access.ByLink},
		{Kind: access.Person, Authority: nordtal, Way: access.ByCode},
		{Kind: access.Person, Authority: nordtal, ID: "a/b", Way: access.ByCode},
		{Kind: access.Person, Authority: "federation", ID: "a", Way: access.ByCode},
		{Kind: access.Person, Authority: nordtal, ID: "a", Way: access.ByCode, Session: "short"},
		{Kind: access.Person, Authority: nordtal, ID: "a", Way: access.ByCode, Incident: strings.Repeat("x", MaxTokenBytes)},
	} {
		if _, _, err := a.Issue(t.Context(), p); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", p, err)
		}
	}
	stranger := person()
	stranger.Authority = "lk-suedtal"
	for _, by := range []access.Principal{stranger, {}} {
		if _, err := a.EndAll(t.Context(), by, nordtal, access.Person, "1"); !errors.Is(err, ErrForeign) {
			t.Errorf("%+v: %v", by, err)
		}
	}
	if _, err := a.EndAll(t.Context(), person(), nordtal, access.Console, ""); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
	if _, err := a.EndAll(t.Context(), person(), nordtal, access.Program, "1"); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}

func TestTheLongestTokenFitsIntoACookie(t *testing.T) {
	a := newWorld(t, 1).sites[0]
	p := access.Principal{Kind: access.Visitor, Authority: "an-authority-whose-name-is-long-as-it-be", ID: strings.Repeat("f", 64),
		Session: strings.Repeat("ab", 16), Way: access.ByGuestCode, Begun: morning, Site: a.id.Site(),
		Epoch: strings.Repeat("a", 65), Limited: true, Incident: "alarm/" + strings.Repeat("f", 64), Owner: strings.Repeat("f", 64)}
	token, err := claims{Version: 1, Principal: p, Issuer: p.Site, Issued: morning.Unix(), Expires: morning.Unix() + 3600}.sign(a.id)
	ok(t, err)
	t.Logf("%d bytes", len(token))
}

func TestRefusalsAreAllUnauthenticated(t *testing.T) {
	for _, err := range []error{ErrNone, ErrMalformed, ErrExpired, ErrEnded, ErrElsewhere, ErrNotHere, ErrClock} {
		if fault.KindOf(err) != fault.Unauthenticated {
			t.Error(err)
		}
	}
}

func BenchmarkIssue(b *testing.B) {
	a := newWorld(b, 1).sites[0]
	for b.Loop() {
		if _, _, err := a.Issue(b.Context(), person()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, ended := range []int{0, 5, maxEnded} {
		b.Run(fmt.Sprint("ended=", ended), func(b *testing.B) {
			a := newWorld(b, 1).sites[0]
			for range ended {
				_, p := a.enter(person())
				_, err := a.End(b.Context(), p)
				ok(b, err)
			}
			token, _ := a.enter(person())
			for b.Loop() {
				if _, _, err := a.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

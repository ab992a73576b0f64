// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"encoding/json"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
)

// slowLink runs meanwhile once, while the answer to a pull is on its way.
type slowLink struct {
	link
	meanwhile func()
	done      bool
}

func (l *slowLink) Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error) {
	out, err := l.link.Request(ctx, to, verb, body)
	var req request
	if !l.done && json.Unmarshal(body, &req) == nil && len(req.Want) > 0 {
		l.done = true
		l.meanwhile()
	}
	return out, err
}

// whilePulling has a pull of the site overtaken.
func (s *testSite) whilePulling(meanwhile func()) {
	s.sync.Link = &slowLink{link: link{s.Self(), s.net}, meanwhile: meanwhile}
}

// An authority key has everything asked for again also if an answer that was asked for before it comes after it.
func TestAnAnswerThatABoxHasOvertakenMovesNoCursor(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, _ := world3(t, 1)
	keys, err := a.NewKeys(ctx, nordtal, 500)
	must(t, err)
	late := n.add(t, "")
	n.allow(a, b, rogue, late)
	late.maxUnopened = 50
	late.pull(t, a) // the rest finds no room
	a.grant(t, late)
	named := a.newKey(t)
	late.sync.Urgent = func(ctx context.Context, authority event.AuthorityID) ([]event.KeyID, error) {
		return late.Missing(ctx, authority, []event.KeyID{named.ID})
	}
	late.whilePulling(func() {
		_, err := late.sync.Fetch(ctx, a.Self())
		must(t, err)
		late.want(t, named.ID, nil)
	})
	late.pull(t, a)
	late.pull(t, a)
	for _, k := range keys {
		late.want(t, k.ID, nil)
	}
	if late.pull(t, a) != 0 {
		t.Error("the exchange does not come to rest")
	}
}

// So has a key that is given up.
func TestAnAnswerThatADamagedKeyHasOvertakenMovesNoCursor(t *testing.T) {
	ctx := context.Background()
	_, a, b, _, keys := world3(t, 20)
	_, err := b.db.Exec(`UPDATE vault SET sealed = zeroblob(length(sealed)) WHERE slot = (SELECT slot FROM secret WHERE id = ?)`, keys[3].ID)
	must(t, err)
	clear(b.Ring.keys)
	a.newKey(t)
	b.whilePulling(func() {
		found, err := b.Check(ctx, func(context.Context) error { return nil })
		if must(t, err); found != 1 {
			t.Errorf("%d keys are damaged: this test sees nothing", found)
		}
	})
	b.pull(t, a)
	b.pull(t, a)
	b.want(t, keys[3].ID, nil)
}

// So have keys for which there is room again.
func TestAnAnswerThatRoomHasOvertakenMovesNoCursor(t *testing.T) {
	ctx := context.Background()
	_, a, b, _, _ := world3(t, 1)
	b.maxKeys = 10
	keys, err := a.NewKeys(ctx, nordtal, 20)
	must(t, err)
	b.pull(t, a)
	a.newKey(t)
	b.whilePulling(func() {
		b.maxKeys = 100
		must(t, b.Tidy(ctx, nordtal))
	})
	b.pull(t, a)
	b.pull(t, a)
	for _, k := range keys {
		b.want(t, k.ID, nil)
	}
}

// What comes beside the changes leaves the cursor where it is, also at a site that is read for what pages wait for.
func TestKeysByNameLeaveTheCursorWhereItIs(t *testing.T) {
	ctx := context.Background()
	_, a, b, _, keys := world3(t, 1)
	before, err := b.Cursor(ctx, a.Self(), nordtal)
	must(t, err)
	records, err := a.recordsOf(ctx, nordtal, idsOf(keys), b.Self())
	must(t, err)
	_, err = b.mergeApart(ctx, a.Self(), nordtal, records)
	must(t, err)
	if after, err := b.Cursor(ctx, a.Self(), nordtal); err != nil || after != before {
		t.Errorf("the cursor went from %v to %v, %v", before, after, err)
	}
}

// asksAfter returns how often the site asks a peer for everything again because of so many deeds, one after the other.
func (s *testSite) asksAfter(t *testing.T, peer *testSite, times int, deed func()) (asks int) {
	t.Helper()
	for range times {
		s.pull(t, peer)
		if s.stands(t, peer) == (Cursor{}) {
			t.Fatal("nothing was pulled: this test sees nothing")
		}
		if deed(); s.stands(t, peer) == (Cursor{}) {
			asks++
		}
	}
	return asks
}

// stands returns how far the site has read a peer.
func (s *testSite) stands(t *testing.T, peer *testSite) Cursor {
	t.Helper()
	c, err := s.Cursor(t.Context(), peer.Self(), nordtal)
	must(t, err)
	return c
}

// Whoever makes boxes, and keys that wait for them, has everything asked for again a few times an hour, and uses up
// nobody else's asking.
func TestBoxesHaveEverythingAskedForAgainAFewTimesAnHour(t *testing.T) {
	_, a, b, rogue, _ := world3(t, 1)
	made := b.asked[askingMaker{nordtal, a.Self()}] // for the authority's first key
	if made.times != 1 {
		t.Errorf("asked %d times because of a", made.times)
	}
	invented := func() {
		id := randomID(t)
		rogue.sends(t, b, inventionsUnder(id, 1)...)
		rogue.sends(t, b, inventedBoxes(t, id, b, 1)...)
	}
	own := func() { rogue.sends(t, b, rogue.box(t, rogue.drawn(t, 1), b)) }
	for range 2 {
		if got := b.asksAfter(t, a, 10, invented); got != asksOfOthers {
			t.Errorf("boxes of invented makers had everything asked for again %d times", got)
		}
		if got := b.asksAfter(t, a, 10, own); got != asksOfMaker {
			t.Errorf("boxes of one site had everything asked for again %d times", got)
		}
		honest := func() { a.sends(t, b, a.box(t, a.drawn(t, 1), b)) }
		if got := b.asksAfter(t, a, 1, honest); got != 1 {
			t.Error("an honest site's box must wait")
		}
		if got := b.asksAfter(t, a, 3, invented); got != 0 {
			t.Errorf("boxes of invented makers had everything asked for again %d times more", got)
		}
		tidy := func() { must(t, b.Tidy(t.Context(), nordtal)) }
		if got := b.asksAfter(t, a, 2, tidy); got != 0 {
			t.Error("what was noted is asked for before its time")
		}
		b.now = b.now.Add(asksPause)
		if got := b.asksAfter(t, a, 2, tidy); got != 1 {
			t.Errorf("what was noted was asked for %d times", got)
		}
		b.now = b.now.Add(asksPause)
	}
}

// What was refused, or dropped, for lack of an authority key comes within the hour if its box could not have it asked
// for at once.
func TestWhatABoxCannotAskForComesWithinTheHour(t *testing.T) {
	ctx := context.Background()
	for name, before := range map[string]func(a, rogue, late *testSite){
		"no room": func(a, _, late *testSite) { late.pull(t, a) },
		"a false box": func(a, rogue, late *testSite) {
			rogue.sends(t, late, rogue.falseBox(t, a.held1(t).ID, late))
			late.pull(t, a)
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, a, b, rogue, _ := world3(t, 1)
			keys, err := a.NewKeys(ctx, nordtal, 30)
			must(t, err)
			late := n.add(t, t.TempDir())
			n.allow(a, b, rogue, late)
			late.maxUnopened = 5
			before(a, rogue, late)
			for _, maker := range []event.SiteID{"", a.Self()} {
				late.asked[askingMaker{nordtal, maker}] = asks{late.now, asksOfMaker}
			}
			a.grant(t, late)
			late.pull(t, a)
			if missing, err := late.Missing(ctx, nordtal, idsOf(keys)); err != nil || len(missing) == 0 {
				t.Fatalf("nothing is missing: this test sees nothing, %v", err)
			}
			must(t, late.Tidy(ctx, nordtal))
			if late.pull(t, a) != 0 {
				t.Error("it is asked for before its time")
			}
			late.now = late.now.Add(asksPause)
			must(t, late.Tidy(ctx, nordtal))
			late.pull(t, a)
			for _, k := range keys {
				late.reads(t, k)
			}
			if got := count(t, late, `SELECT count(*) FROM crowded`); got != 0 {
				t.Errorf("%d notes are left", got)
			}
		})
	}
}

// What is noted survives the end of the program, which forgets how often was asked.
func TestWhatIsToBeAskedForSurvivesARestart(t *testing.T) {
	n, a, _, rogue, _ := world3(t, 1)
	c := n.add(t, t.TempDir())
	n.allow(a, c, rogue)
	a.grant(t, c)
	c.pull(t, a)
	c.asked[askingMaker{nordtal, ""}] = asks{c.now, asksOfOthers}
	rogue.sends(t, c, inventedBoxes(t, "00000000000000aa", c, 1)...)
	c.pull(t, a)
	must(t, c.Close())
	c.open(t)
	must(t, c.Tidy(t.Context(), nordtal))
	if got := c.stands(t, a); got != (Cursor{}) {
		t.Errorf("the cursor stands at %v", got)
	}
}

// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// note writes one fact at a site, for an authority or the federation, that no fold knows.
func (n *node) note(authority event.AuthorityID) eventlog.Receipt {
	n.w.t.Helper()
	r, err := n.log.Append(n.w.ctx, authority, event.Operations, event.Draft{Subject: "authority/x", Kind: "test.Noted", Actor: "operator", Mode: event.Test})
	must(n.w.t, err)
	return r
}

func (n *node) closing(log eventlog.LogID) uint64 {
	n.w.t.Helper()
	last, closed := n.Federation.Closing(log)
	if !closed {
		n.w.t.Fatalf("at %s the log %s is not closed", n.name, log)
	}
	return last.Page
}

func (w *world) wantSameState(sites ...*node) {
	w.t.Helper()
	want, err := sites[0].Model.StateHash(w.ctx)
	must(w.t, err)
	for _, n := range sites[1:] {
		got, err := n.Model.StateHash(w.ctx)
		must(w.t, err)
		if got != want {
			w.t.Errorf("%s and %s have folded different states", sites[0].name, n.name)
		}
	}
}

func TestRemovingTakesTwoOtherOperators(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	must(t, a.AddAuthority(w.ctx, AuthorityDraft{ID: "kr-nordtal", NameDE: "Kreis", NameEN: "County",
		Sites: []event.SiteID{a.id.Site(), b.id.Site(), c.id.Site()}}))
	w.exchange()
	written := c.note("kr-nordtal")
	w.exchange()
	before, err := a.Ring.Granted(w.ctx, "kr-nordtal")
	must(t, err)

	must(t, a.Remove(w.ctx, c.id.Site(), false))
	w.exchange()
	if !b.Federation.Member(c.id.Site()) {
		t.Fatal("the word of one operator was enough")
	}
	removing := b.Federation.Removing()
	if len(removing) != 1 || removing[0].Site != c.id.Site() || !slices.Equal(removing[0].Agreed, []string{"Nordwerk"}) || removing[0].Needed != 2 {
		t.Fatalf("at b it is shown as %+v", removing)
	}
	must(t, a.Remove(w.ctx, c.id.Site(), false)) // once more changes nothing
	if got := len(a.Federation.Removing()[0].Agreed); got != 1 {
		t.Errorf("one operator counts %d times", got)
	}

	must(t, b.Remove(w.ctx, c.id.Site(), false))
	c.alone = true
	w.exchange()
	for _, n := range []*node{a, b} {
		if n.Federation.Member(c.id.Site()) || len(n.Federation.Removing()) != 0 || len(n.Federation.Removed()) != 1 {
			t.Errorf("at %s it is still a member", n.name)
		}
		if got := n.closing(written.Log); got != written.Last.Page {
			t.Errorf("at %s the log ends at page %d, want %d", n.name, got, written.Last.Page)
		}
	}
	w.wantSameState(a, b)
	after, err := a.Ring.Granted(w.ctx, "kr-nordtal")
	must(t, err)
	if len(before) != 3 || slices.Contains(after, c.id.Site()) || len(after) != 2 {
		t.Errorf("the authority's key was sealed to %v, now to %v", before, after)
	}
	must(t, a.Remove(w.ctx, c.id.Site(), false)) // and once more
}

func TestRefusedRemovalsSayWhatToDo(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	d := w.site("d") // a second site of the operator of a
	token := a.invite("NORDWERK")
	if _, err := d.join(token); err != nil {
		t.Fatal(err)
	}
	w.exchange()
	must(t, b.Endorse(w.ctx, d.id.Site()))
	w.exchange()
	d.enter(token)
	w.exchange()
	must(t, c.AddAuthority(w.ctx, AuthorityDraft{ID: "nur-hier", NameDE: "Nur hier", NameEN: "Only here", Sites: []event.SiteID{c.id.Site()}}))
	w.exchange()
	for _, tt := range []struct {
		name string
		at   *node
		site event.SiteID
		want error
	}{
		{"itself", a, a.id.Site(), ErrRemoveSelf},
		{"a site of one's own operator", d, a.id.Site(), ErrRemoveOwn},
		{"a stranger", a, w.site("e").id.Site(), ErrNoSuchMember},
		{"by a stranger", w.site("f"), a.id.Site(), ErrNotMember},
		{"the last site of an authority", a, c.id.Site(), ErrLastOfAuthority},
	} {
		if err := tt.at.Remove(w.ctx, tt.site, false); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if got := a.Federation.Removing(); len(got) != 0 {
		t.Errorf("refused votes are there: %+v", got)
	}
	must(t, a.Remove(w.ctx, c.id.Site(), true))
}

// The fact of a removal, and of a forbidding, names what was known of the site: without it a hostile one could go on by dating back,
// and what an honest one wrote would not count.
func TestRemovingAndForbiddingNameWhatWasKnown(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	sites := []event.SiteID{a.id.Site(), b.id.Site(), c.id.Site()}
	for _, id := range []event.AuthorityID{"kr-nordtal", "kr-suedtal"} {
		must(t, c.AddAuthority(w.ctx, AuthorityDraft{ID: id, NameDE: "Kreis", NameEN: "County", Sites: sites}))
	}
	if _, err := w.site("d").join(c.invite("Vierte eG")); err != nil {
		t.Fatal(err)
	}
	w.exchange()
	c.note("kr-nordtal")
	c.note("kr-nordtal")
	w.exchange()
	must(t, a.Forbid(w.ctx, "kr-nordtal", c.id.Site()))
	var forbidden Forbidden
	for _, e := range a.stated(KindForbidden) {
		must(t, e.Decode(&forbidden))
	}
	if len(forbidden.Heard) != 1 || forbidden.Heard[0].Page == 0 || len(forbidden.Named) != 1 || len(forbidden.Closes) != 1 || forbidden.Closes[0].Page != 2 {
		t.Errorf("forbidding names as heard %v, %v and closes %v; c has founded the authority in 1 log and written 2 pages in another",
			forbidden.Heard, forbidden.Named, forbidden.Closes)
	}
	must(t, a.Remove(w.ctx, c.id.Site(), false))
	var named, heard int
	for _, e := range a.stated(KindRemoved) {
		var r Removed
		must(t, e.Decode(&r))
		heard += len(r.Heard)
		for _, h := range r.Closes {
			named++
			if known, _ := a.log.Head(h.Branch); known.Page != h.Page || known.Hash != h.Hash {
				t.Errorf("%s is closed at page %d, known to page %d", h.Branch, h.Page, known.Page)
			}
		}
	}
	if known := len(a.knownOf(c.id.Site())); named != known || named < 2 {
		t.Errorf("removing names %d logs of %d", named, known)
	}
	want := a.Federation.snap.Load().facts.heardOf(func(by event.SiteID) bool { return by == c.id.Site() })
	if heard != len(want) || heard == 0 {
		t.Errorf("removing names %d facts as heard, want %v", heard, want)
	}
}

// stated returns what this site has said of a kind.
func (n *node) stated(kind event.Kind) (events []event.Event) {
	n.w.t.Helper()
	for _, h := range n.log.OwnHeads() {
		pages, err := n.log.Read(n.w.ctx, h.Branch, 0, 1<<20)
		must(n.w.t, err)
		for _, p := range pages {
			for _, e := range p.Events {
				if e.Kind == kind {
					events = append(events, e)
				}
			}
		}
	}
	return events
}

// Neither voter may hold the authority; what the removed site wrote for it counts nevertheless, as far as its other site had it.
func TestLogsThatNoVoterHoldsAreNamedByWhoeverHoldsThem(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	d := w.site("d")
	token := a.invite("Vierte eG")
	if _, err := d.join(token); err != nil {
		t.Fatal(err)
	}
	w.exchange()
	must(t, b.Endorse(w.ctx, d.id.Site()))
	w.exchange()
	d.enter(token)
	w.exchange()
	must(t, c.AddAuthority(w.ctx, AuthorityDraft{ID: "kr-nordtal", NameDE: "Kreis", NameEN: "County", Sites: []event.SiteID{c.id.Site(), d.id.Site()}}))
	w.exchange()
	written := c.note("kr-nordtal")
	w.exchange()
	d.alone = true
	must(t, a.Remove(w.ctx, c.id.Site(), false))
	w.exchange()
	must(t, b.Remove(w.ctx, c.id.Site(), false))
	c.alone = true
	w.exchange()
	if got := a.closing(written.Log); got != 0 {
		t.Fatalf("a knows nothing of the log and closes it at %d", got)
	}
	d.alone = false
	w.exchange()
	for _, n := range []*node{a, b, d} {
		if got := n.closing(written.Log); got != written.Last.Page {
			t.Errorf("at %s the log ends at page %d, want %d", n.name, got, written.Last.Page)
		}
	}
	w.wantSameState(a, b, d)
	facts := len(d.stated(KindRemoved))
	must(t, d.NameLogs(w.ctx))
	if got := len(d.stated(KindRemoved)); got != facts || facts == 0 {
		t.Error("logs are named again and again")
	}
}

// Both sides of a cut remove the same site and know its logs differently: the lower closing counts at all of them.
func TestOfTwoRemovalsTheLowerClosingCounts(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	must(t, a.AddAuthority(w.ctx, AuthorityDraft{ID: "kr-nordtal", NameDE: "Kreis", NameEN: "County",
		Sites: []event.SiteID{a.id.Site(), b.id.Site(), c.id.Site()}}))
	w.exchange()
	first := c.note("kr-nordtal")
	w.exchange()
	a.alone = true
	must(t, a.Remove(w.ctx, c.id.Site(), false))
	last := c.note("kr-nordtal")
	w.exchange() // b hears of the second page, a does not
	must(t, b.Remove(w.ctx, c.id.Site(), false))
	a.alone, c.alone = false, true
	w.exchange()
	for _, n := range []*node{a, b} {
		if n.Federation.Member(c.id.Site()) {
			t.Errorf("at %s it is still a member", n.name)
		}
		if got := n.closing(last.Log); got != first.Last.Page {
			t.Errorf("at %s the log ends at page %d, want %d", n.name, got, first.Last.Page)
		}
		if apart := (eventlog.Counted{Log: n.log}).Apart(); len(apart) != 1 || apart[0].Page != last.Last.Page {
			t.Errorf("at %s there is apart: %v", n.name, apart)
		}
	}
	w.wantSameState(a, b)
}

// endsOf returns where the logs of removed sites end for an authority's facts.
func endsOf(t *testing.T, members Membership, authority *script) *Federation {
	t.Helper()
	fed := NewFederation(cast[0].Site())
	authorities := map[event.AuthorityID]AuthorityState{nordtal: stateOf(t, authority)}
	fed.update(newSnapshot(cast[0].Site(), folded{members: members, authorities: authorities}, bootstrap{}))
	return fed
}

// nordtals are the facts of an authority that allows some of the cast.
func nordtals(allowed ...int) *script {
	s, f := new(script), AuthorityFounded{NameDE: "Landkreis Nordtal", NameEN: "Nordtal District"}
	for _, i := range allowed {
		f.Sites = append(f.Sites, cast[i].Site())
	}
	s.add(0, KindAuthorityFounded, f)
	return s
}

// close says where a removed site's log of the authority ends.
func (s *script) close(by, who int, class event.Class, page uint64) {
	log := logOf(who)
	log.Authority, log.Class = nordtal, class
	s.add(by, KindRemoved, Removed{Site: cast[who].Site(), Closes: []eventlog.Head{{Branch: eventlog.Branch{LogID: log}, Page: page}}})
}

// TestNobodyMovesTheEndsOfARemovedSitesLogsLater is a member that closes, long afterwards, what two others have closed properly; and
// one that names a log which it may not hold.
func TestNobodyMovesTheEndsOfARemovedSitesLogsLater(t *testing.T) {
	s := new(script)
	s.found()
	s.admit(0, 2)
	s.admit(0, 4)
	s.endorse(2, 4)
	s.admit(0, 6)
	s.endorse(2, 6)
	s.close(0, 4, event.Register, 900)
	s.close(2, 4, event.Register, 901) // this one removes it
	s.close(6, 4, event.Register, 1)
	s.close(2, 4, event.Register, 2)
	s.close(6, 4, event.Operations, 1)
	s.close(0, 4, event.Operations, 7)
	s.close(0, 4, event.Operations, 8)
	forbidden := nordtals(0, 4, 2)
	forbidden.add(2, KindForbidden, Forbidden{Site: cast[0].Site(), Withdraws: []event.ID{forbidden.entries[0].ID}})
	for name, tt := range map[string]struct {
		authority   *script
		named, late uint64
	}{
		"who closes is not allowed":                   {nordtals(0, 4), 900, 7},
		"who closes is allowed":                       {nordtals(0, 4, 6), 900, 1},
		"who has named a log is not allowed any more": {forbidden, 900, 7},
		"nobody who has named a log was ever allowed": {nordtals(4, 2), 900, 0},
		"nothing is known of the authority":           {new(script), 900, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s.wantAlways(t, 0, 2, 6)
			fed := endsOf(t, s.state(), tt.authority)
			for class, want := range map[event.Class]uint64{event.Register: tt.named, event.Operations: tt.late} {
				log := logOf(4)
				log.Authority, log.Class = nordtal, class
				if head, closed := fed.Closing(log); !closed || head.Page != want {
					t.Errorf("the log of class %s ends at page %d, %v, want %d", class, head.Page, closed, want)
				}
			}
		})
	}
}

// TestWhomAForbiddenSiteNamesClosesNoLog has a site that the authority does not allow any more name a third one, which was never allowed.
func TestWhomAForbiddenSiteNamesClosesNoLog(t *testing.T) {
	s := new(script)
	s.found()
	s.admit(0, 2)
	s.admit(0, 4)
	s.endorse(2, 4)
	s.admit(0, 6)
	s.endorse(2, 6)
	s.close(0, 4, event.Register, 900)
	s.close(2, 4, event.Register, 901)
	s.close(6, 4, event.Operations, 1)
	s.close(0, 4, event.Operations, 7)
	log := logOf(4)
	log.Authority, log.Class = nordtal, event.Operations
	authority := nordtals(0, 4, 2)
	founded := authority.entries[0].ID
	wantEnd := func(when string, want uint64) {
		t.Helper()
		if head, closed := endsOf(t, s.state(), authority).Closing(log); !closed || head.Page != want {
			t.Errorf("%s the log ends at page %d, %v, want %d", when, head.Page, closed, want)
		}
	}
	authority.add(0, KindForbidden, Forbidden{Site: cast[2].Site(), Withdraws: []event.ID{founded}})
	wantEnd("without the word of the forbidden site", 7)
	authority.add(2, KindAllowed, Allowed{Site: cast[6].Site()})
	wantEnd("with the word of the forbidden site", 7)
	fed := endsOf(t, s.state(), authority)
	if fed.Allowed(cast[6].Site(), nordtal) || !slices.ContainsFunc(fed.Former(nordtal), func(p Profile) bool { return p.Site == cast[6].Site() }) {
		t.Error("whom the forbidden site names is let in, or need not delete what it got while that was believed")
	}
	given := authority.allow(0, 6)
	wantEnd("when it is allowed properly", 1)
	authority.add(0, KindForbidden, Forbidden{Site: cast[6].Site(), Withdraws: given})
	wantEnd("when that is over", 1)
}

func TestManyLogsAreClosedInSeveralFacts(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	var heads []eventlog.Head
	for i := range maxClosings + 5 {
		id := eventlog.LogID{Authority: "kr-nordtal", Class: event.Audit, Site: c.id.Site(), Incarnation: hex16(i)}
		heads = append(heads, eventlog.Head{Branch: eventlog.Branch{LogID: id}, Page: uint64(i + 1)})
	}
	must(t, a.record(w.ctx, closings(c.id.Site(), heads)...))
	w.exchange()
	must(t, b.Remove(w.ctx, c.id.Site(), false))
	for i, h := range heads {
		if got := b.closing(h.Branch.LogID); got != uint64(i+1) {
			t.Fatalf("log %d ends at page %d", i, got)
		}
	}
}

func hex16(i int) string { return fmt.Sprintf("%016x", i) }

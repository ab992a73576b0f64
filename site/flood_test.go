// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

// flood is how many facts a hostile member writes at once.
const flood = 4_000

// worked counts what folding the membership has cost.
type worked struct{ decoded, encoded, applied int }

// counted is a Membership that counts how often it is read and written.
type counted struct {
	Membership
}

var working *worked // whose work counts at present; these tests do not run beside each other

func (c *counted) UnmarshalJSON(b []byte) error {
	working.decoded++
	return json.Unmarshal(b, &c.Membership)
}

func (c counted) MarshalJSON() ([]byte, error) {
	working.encoded++
	return json.Marshal(c.Membership)
}

// countedFold is the package's fold of the members, as the read model uses it.
func countedFold() readmodel.Fold {
	return readmodel.Group{Label: "site", Parts: []readmodel.Fold{readmodel.Typed[counted]{
		Label: memberPart.Label, OwnedRoots: memberPart.OwnedRoots, KnownKinds: memberPart.KnownKinds, AnyOrder: memberPart.AnyOrder,
		ApplyFunc: func(c counted, e readmodel.Entry) (counted, error) {
			working.applied++
			m, err := applyMembership(c.Membership, e)
			return counted{Membership: m}, err
		},
	}}}
}

// say writes facts to the site's register log as a hostile operator may, who leaves all checks out.
func (n *node) say(drafts ...event.Draft) {
	n.w.t.Helper()
	for part := range slices.Chunk(drafts, 2000) {
		_, err := n.log.Append(n.w.ctx, event.Federation, event.Register, part...)
		must(n.w.t, err)
	}
}

// TestARepeatedFactCostsNothing is a member that says one thing thousands of times, and others whose facts come behind that and between.
func TestARepeatedFactCostsNothing(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	a.say(event.Draft{Subject: SubjectMembers, Kind: KindDescribed, Data: Described{a.describe()}}) // late for who has the flood already
	drafts := make([]event.Draft, flood)
	for i := range drafts {
		drafts[i] = event.Draft{Subject: SubjectMembers, Kind: KindEndorsed, Data: Endorsed{c.id.Site()}}
	}
	w.now = w.now.Add(1e9)
	b.say(drafts...)
	w.exchange()
	d := a.describe()
	d.Name = "heard"
	must(t, a.Describe(w.ctx, d))
	w.exchange()

	working = new(worked)
	m, err := readmodel.Open(w.ctx, readmodel.Config{Path: ":memory:", Folds: []readmodel.Fold{countedFold()}, Source: c.log})
	must(t, err)
	defer m.Close()
	_, err = m.CatchUp(w.ctx)
	must(t, err)
	t.Logf("%d facts: applied %d, state read %d and written %d times", flood, working.applied, working.decoded, working.encoded)
	if working.applied > flood+100 || working.decoded > 10 || working.encoded > 10 {
		t.Errorf("%d facts cost %+v", flood, *working)
	}
	var state []byte
	_, err = m.State(w.ctx, event.Federation, SubjectMembers, &state)
	must(t, err)
	if len(state) > 32<<10 {
		t.Errorf("the state has %d bytes", len(state))
	}
	w.wantMembers(a, b, c)
	if m, _ := c.Federation.MemberOf(a.id.Site()); m.Name != "heard" {
		t.Error("what another site says behind the flood is not known")
	}
	if aside, err := c.Model.SetAside(w.ctx); err != nil || len(aside) > 0 {
		t.Errorf("set aside are %v, %v", aside, err)
	}
}

// TestAFloodOfDifferentFactsIsKeptApart is a member that says ever new things.
func TestAFloodOfDifferentFactsIsKeptApart(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	d := w.site("d")
	token := a.invite("Ostwerk")
	_, err := d.join(token)
	must(t, err)
	w.exchange()
	must(t, b.Endorse(w.ctx, d.id.Site()))
	var drafts []event.Draft
	for i := range 3 * maxSaid {
		drafts = append(drafts, event.Draft{Subject: SubjectMembers, Kind: KindEndorsed, Data: Endorsed{strangerOf(i)}})
	}
	b.say(drafts...)
	w.exchange()
	d.enter(token)
	w.exchange()
	w.wantMembers(a, b, c, d) // what it had said before counts
	must(t, a.Describe(w.ctx, Description{Name: "heard", Kind: Box}))
	w.exchange()
	for _, n := range w.sites {
		aside, err := n.Model.SetAside(w.ctx)
		must(t, err)
		if len(aside) != 1 || !aside[0].Apart || aside[0].Site != b.id.Site() || aside[0].Subject != SubjectMembers ||
			!strings.Contains(aside[0].Reason, b.id.Site().Short()) {
			t.Errorf("set aside at %s are %+v", n.name, aside)
		}
		if m, _ := n.Federation.MemberOf(a.id.Site()); m.Name != "heard" {
			t.Errorf("what another site says behind the flood is not known at %s", n.name)
		}
		if got, want := mustJSON(n.Federation.snap.Load().facts), mustJSON(a.Federation.snap.Load().facts); got != want {
			t.Errorf("%s has kept others than a", n.name)
		}
	}
	// Nor does a new log push out what was said before.
	before := mustJSON(a.Federation.Members())
	b.log.Reincarnate("hostile")
	b.say(drafts...)
	w.exchange()
	if got := mustJSON(a.Federation.Members()); got != before {
		t.Errorf("members were %s and are %s", before, got)
	}
}

func strangerOf(i int) event.SiteID {
	id, err := seal.NewIdentity(seeded(5000 + i))
	if err != nil {
		panic(err) // the source never fails
	}
	return id.Site()
}

// saidAt is a fact that a rapid test draws: its words, and where they are.
type saidAt struct {
	entry readmodel.Entry
	same  string
}

// drawSaid draws facts of one log. What is said, and of what size it is, are drawn apart, because who says it chooses both. One
// that is like no other is as facts about an authority are.
func drawSaid(t *rapid.T) (all []saidAt) {
	for range rapid.IntRange(1, 30).Draw(t, "facts") {
		f := saidAt{entry: readmodel.Entry{Event: event.Event{Kind: KindEndorsed}}}
		p := &f.entry.Place
		p.Page, p.Index = rapid.Uint64Range(1, 12).Draw(t, "page"), uint32(rapid.IntRange(0, 2).Draw(t, "index"))
		p.Hash[0] = byte(rapid.IntRange(0, 1).Draw(t, "branch"))
		what := rapid.IntRange(0, 9).Draw(t, "what")
		f.entry.Data = slices.Repeat([]byte{byte('0' + what)}, maxSaidBytes/8*rapid.IntRange(1, 3).Draw(t, "eighths"))
		if what > 0 {
			f.same = sameWords(f.entry)
		}
		if !slices.ContainsFunc(all, func(o saidAt) bool { return o.mark().compare(f.mark()) == 0 }) {
			all = append(all, f)
		}
	}
	return all
}

func (f saidAt) mark() mark { return markOf(f.entry.Place) }

// kept is what is kept of facts that arrive in that order.
func kept(order []saidAt) saidLog[mark] {
	s := make(saidBy[mark])
	for _, f := range order {
		s.put(f.entry, f.same, f.mark())
	}
	return *s[logKeyOf(order[0].entry.Place)]
}

// TestWhatIsKeptOfALogDependsOnTheSetOnly holds the bound to that, in any order and with any repetition.
func TestWhatIsKeptOfALogDependsOnTheSetOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawSaid(t)
		order := rapid.Permutation(all).Draw(t, "order")
		want, got := kept(all), kept(append(order, order[:len(order)/2]...))
		if mustJSON(want) != mustJSON(got) {
			t.Fatalf("kept are %s, want %s", mustJSON(got), mustJSON(want))
		}
		naive(t, all, got)
	})
}

// naive compares with the rule as it is told: of facts that say the same the first one, of those the first ones that fit.
func naive(t *rapid.T, all []saidAt, got saidLog[mark]) {
	slices.SortFunc(all, func(a, b saidAt) int { return a.mark().compare(b.mark()) })
	seen, total := make(map[string]bool), 0
	var first []mark
	for _, f := range all {
		if f.same != "" && seen[f.same] {
			continue
		}
		seen[f.same] = true
		if total += len(f.entry.Data); total > maxSaidBytes {
			if got.Cut == nil || got.Cut.compare(f.mark()) != 0 {
				t.Fatalf("it is cut at %v, want %v", got.Cut, f.mark())
			}
			break
		}
		first = append(first, f.mark())
	}
	if !slices.EqualFunc(first, got.Facts, func(m mark, f said[mark]) bool { return m == f.Fact && m == f.mark }) {
		t.Fatalf("kept are %s, want %s", mustJSON(got.Facts), mustJSON(first))
	}
}

// padded is an endorsement with a field that nobody knows.
type padded struct {
	Endorsed
	Junk string `json:"junk"`
}

// TestTheSameInMoreBytesMakesNoRoom is a log that says the same briefly and, dated before that, at length. Sites that get all of it
// at once take it by its dates, others page by page: they must come to the same.
func TestTheSameInMoreBytesMakesNoRoom(t *testing.T) {
	const page = 60 << 10
	var s script
	for i := range 2 * (maxSaidBytes/page + 1) {
		n := i % (maxSaidBytes/page + 1)
		at, fact := forged{stamp: 1000, page: 1}, any(Endorsed{strangerOf(n)})
		if i > n {
			at, fact = forged{stamp: 500, page: 2}, padded{Endorsed{strangerOf(n)}, strings.Repeat("x", page)}
		}
		s.forge(at, 2, KindEndorsed, fact)
		s.entries[i].Place.Index = uint32(n)
	}
	s.forge(forged{stamp: 600, page: 3}, 2, KindEndorsed, Endorsed{cast[3].Site()})
	byPage := mustJSON(s.state())
	slices.SortStableFunc(s.entries, func(a, b readmodel.Entry) int { return cmp.Compare(a.Place.Stamp, b.Place.Stamp) })
	if byDate := mustJSON(s.state()); byDate != byPage {
		t.Errorf("taken by its dates it comes to\n%s\npage by page to\n%s", byDate, byPage)
	}
}

// TestTheSameInOtherWordsUsesUpTheBound is a log that pads one endorsement ever differently.
func TestTheSameInOtherWordsUsesUpTheBound(t *testing.T) {
	var s script
	for i := range 3 * maxSaid {
		s.add(2, KindEndorsed, padded{Endorsed{cast[3].Site()}, fmt.Sprint(i)})
	}
	s.wantAlways(t)
	m := s.state()
	for key, l := range m.Said {
		if len(l.Facts) != maxSaid || l.Cut == nil {
			t.Errorf("%d facts are kept of %s, cut is %v", len(l.Facts), key, l.Cut)
		}
	}
}

func TestAnAuthorityIsForbiddenToASiteThatHasAllowedItselfAThousandTimes(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	must(t, a.AddAuthority(w.ctx, AuthorityDraft{ID: nordtal, NameDE: "Landkreis Nordtal", NameEN: "Nordtal District",
		Sites: []event.SiteID{a.id.Site(), b.id.Site()}}))
	w.exchange()
	drafts := make([]event.Draft, 5000)
	for i := range drafts {
		drafts[i] = event.Draft{Subject: SubjectOf(nordtal), Kind: KindAllowed, Data: Allowed{c.id.Site()}}
	}
	b.say(drafts...)
	w.exchange()
	if !a.Federation.Allowed(c.id.Site(), nordtal) {
		t.Fatal("it is not allowed at first")
	}
	if n := len(a.Federation.snap.Load().authorities[nordtal].live[c.id.Site()]); n != 1 {
		t.Errorf("%d allowances are to be withdrawn, want 1", n)
	}
	must(t, a.Forbid(w.ctx, nordtal, c.id.Site()))
	w.exchange()
	for _, n := range w.sites {
		if n.Federation.Allowed(c.id.Site(), nordtal) {
			t.Errorf("%s still allows it", n.name)
		}
	}
}

// TestADuelOfWithdrawalsEnds has two hostile sites make everybody calculate again and again.
func TestADuelOfWithdrawalsEnds(t *testing.T) {
	var s script
	s.authority(0, 0, 2, 4)
	for i := range 150 {
		s.allow(2, 3)
		s.entries[len(s.entries)-1].Place.Incarnation = another
		again := s.allow(0, 2)
		s.add(4, KindForbidden, Forbidden{Site: cast[2].Site(), Withdraws: append(again, s.entries[0].ID), Heard: []Heard{{another, uint64(i)}}})
	}
	state := stateOf(t, &s)
	list := state.all().inOrder()
	p := newPasses(list, foundingOf(list, castRank))
	n := 1
	for _, again := p.pass(); again; _, again = p.pass() {
		n++
	}
	if n < 2 || n > maxPasses+1 {
		t.Errorf("%d passes", n)
	}
	s.wantSites(t, 0, 4)
}

// drawFacts draws what a few sites of a few operators say who have no scruples: what they propose, of which operator, and what that
// has heard; whom they endorse; what they acknowledge, and how often.
func drawFacts(t *rapid.T) (list []*fact) {
	site := func(label string) event.SiteID { return cast[rapid.IntRange(0, 4).Draw(t, label)].Site() }
	for i := range rapid.IntRange(2, 30).Draw(t, "facts") {
		s := &saidFact{mark: mark{Page: uint64(i + 1)}, Stamp: event.Stamp(i + 1)}
		list = append(list, &fact{by: site("by"), incarnation: another, stamp: s.Stamp, said: s})
	}
	profile := func(site event.SiteID) Profile {
		return Profile{Site: site, Operator: fmt.Sprint("Operator ", rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "operator"))}
	}
	proposals := make(map[event.SiteID][]*fact)
	for _, f := range list {
		switch rapid.IntRange(0, 7).Draw(t, "kind") {
		case 0:
			f.Fact.Founded = &Founded{profile(f.by)}
		case 1, 2:
			f.Fact.Endorsed = &Endorsed{site("endorsed")}
		case 3, 4, 5:
			p := &Proposed{Profile: profile(site("proposed")), Heard: []string{}}
			for _, o := range rapid.SliceOfDistinct(rapid.SampledFrom(list), func(o *fact) uint64 { return o.Page }).Draw(t, "heard") {
				p.Heard = append(p.Heard, o.name())
			}
			f.Fact.Proposed = p
			proposals[p.Site] = append(proposals[p.Site], f)
		}
	}
	for _, f := range list {
		if about := proposals[f.by]; f.Fact == (MembershipFact{}) && len(about) > 0 {
			o := rapid.SampledFrom(about).Draw(t, "joined")
			f.Fact.Joined = &Joined{o.by, o.incarnation, o.Page, o.Hash, o.Index}
		}
	}
	return list
}

// bindEach binds as the rule is told: one binding after the other.
func bindEach(list []*fact, bindings []*binding, joined acknowledgements) []*fact {
	for _, b := range bindings {
		at := slices.Index(list, b.fact)
		var before, behind []*fact
		for _, f := range list[:at] {
			if b.binds(f, joined) {
				behind = append(behind, f)
			} else {
				before = append(before, f)
			}
		}
		list = slices.Concat(before, list[at:at+1], behind, list[at+1:])
	}
	return list
}

// TestBindingAllAtOnceIsBindingOneAfterTheOther holds the sweep to the rule, whatever is said.
func TestBindingAllAtOnceIsBindingOneAfterTheOther(t *testing.T) {
	moved := 0
	rapid.Check(t, func(t *rapid.T) {
		list, bindings, joined := bindingsIn(drawFacts(t), "")
		want, got := bindEach(list, bindings, joined), bindAll(list, bindings, joined)
		if !slices.Equal(want, got) {
			t.Fatalf("of %d facts with %d bindings the order is\n%s, want\n%s", len(list), len(bindings), pagesOf(got), pagesOf(want))
		}
		if len(bindings) > 1 && !slices.Equal(want, list) {
			moved++
		}
	})
	if moved == 0 {
		t.Error("nothing was ever moved by several bindings")
	}
	t.Logf("several bindings moved something %d times", moved)
}

func pagesOf(list []*fact) string {
	var pages []uint64
	for _, f := range list {
		pages = append(pages, f.Page)
	}
	return fmt.Sprint(pages)
}

// TestTwoMembersThatBindThousandsOfTimesDoNotSlowTheOthers has one propose the other again and again, which acknowledges each.
func TestTwoMembersThatBindThousandsOfTimesDoNotSlowTheOthers(t *testing.T) {
	const logs = 32
	s, p := new(script), proposalOf(4)
	s.found()
	s.admit(0, 2)
	for i := range logs * maxSaid {
		p.Heard = []string{fmt.Sprintf("%032x", i)}
		at := forged{incarnation: fmt.Sprintf("%016x", 16+i/maxSaid), stamp: event.Stamp(100 + i), page: uint64(i + 1)}
		s.forge(at, 2, KindProposed, p)
		place := s.entries[len(s.entries)-1].Place
		at.stamp += logs * maxSaid
		s.forge(at, 4, KindJoined, Joined{place.Site, place.Incarnation, place.Page, place.Hash, place.Index})
	}
	m := s.state()
	began := processorTime(t)
	roll := m.Roll("")
	took := processorTime(t) - began
	facts := len(m.facts(""))
	t.Logf("who belongs is calculated from %d facts in %v", facts, took)
	if facts < 2*logs*maxSaid || len(roll.Members) != 2 || len(roll.Pending) != 1 {
		t.Errorf("%d facts come to %d members, %d pending", facts, len(roll.Members), len(roll.Pending))
	}
}

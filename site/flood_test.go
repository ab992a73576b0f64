// SPDX-License-Identifier: EUPL-1.2

package site

import (
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

// TestWhatIsKeptOfALogDependsOnTheSetOnly holds the bound to that, in any order and with any repetition.
func TestWhatIsKeptOfALogDependsOnTheSetOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []said[int]
		for i := range rapid.IntRange(1, 30).Draw(t, "facts") {
			f := said[int]{mark: mark{Page: rapid.Uint64Range(1, 12).Draw(t, "page"), Index: uint32(rapid.IntRange(0, 2).Draw(t, "index"))}, Fact: i}
			f.Hash[0] = byte(rapid.IntRange(0, 1).Draw(t, "branch"))
			f.Bytes = maxSaidBytes / 8 * rapid.IntRange(1, 3).Draw(t, "eighths")
			if n := rapid.IntRange(0, 9).Draw(t, "what"); n > 0 {
				f.Same, f.Bytes = fmt.Sprint(n), maxSaidBytes/8*(1+n%3) // who says the same uses as many bytes
			}
			if !slices.ContainsFunc(all, func(o said[int]) bool { return o.compare(f.mark) == 0 }) {
				all = append(all, f)
			}
		}
		var want, got saidLog[int]
		for _, f := range all {
			want.put(f)
		}
		order := rapid.Permutation(all).Draw(t, "order")
		for _, f := range append(order, order[:len(order)/2]...) {
			got.put(f)
		}
		if mustJSON(want) != mustJSON(got) {
			t.Fatalf("kept are %s, want %s", mustJSON(got), mustJSON(want))
		}
		naive(t, all, got)
	})
}

// naive compares with the rule as it is told: of facts that say the same the first one, of those the first ones that fit.
func naive(t *rapid.T, all []said[int], got saidLog[int]) {
	slices.SortFunc(all, func(a, b said[int]) int { return a.compare(b.mark) })
	seen, total := make(map[string]bool), 0
	var kept []said[int]
	for _, f := range all {
		if f.Same != "" && seen[f.Same] {
			continue
		}
		seen[f.Same] = true
		if total += f.Bytes; total > maxSaidBytes {
			if got.Cut == nil || got.Cut.compare(f.mark) != 0 {
				t.Fatalf("it is cut at %v, want %v", got.Cut, f.mark)
			}
			break
		}
		kept = append(kept, f)
	}
	if mustJSON(kept) != mustJSON(got.Facts) && len(kept)+len(got.Facts) > 0 {
		t.Fatalf("kept are %s, want %s", mustJSON(got.Facts), mustJSON(kept))
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
	list := state.Said.inOrder()
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

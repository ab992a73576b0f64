// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/seal"
)

// forged is a fact that somebody states later than he says.
type forged struct {
	incarnation string // "" is the log in which he has always written
	stamp       event.Stamp
	page        uint64 // 0 is the next one
	hash        byte
}

// forge adds a fact at a place of the forger's choice.
func (s *script) forge(at forged, by int, kind event.Kind, data any) {
	s.add(by, kind, data)
	p := &s.entries[len(s.entries)-1].Place
	p.Stamp, p.Hash[0] = at.stamp, at.hash
	if at.incarnation != "" {
		p.Incarnation = at.incarnation
	}
	if at.page > 0 {
		p.Page = at.page
	}
}

func (s *script) state() (m Membership) {
	for _, e := range s.entries {
		m, _ = applyMembership(m, e)
	}
	return m
}

// hearing is a proposal that says what its operator has said so far.
func (s *script) hearing(by, who int) Proposed {
	p := proposalOf(who)
	p.Heard = s.state().heardOf(func(site event.SiteID) bool { return operatorOf(castRank(site)) == operatorOf(by) })
	return p
}

// admit has a site proposed by one that says what it had heard, and has it acknowledge that.
func (s *script) admit(by, who int) {
	s.add(by, KindProposed, s.hearing(by, who))
	s.join(who, len(s.entries)-1)
}

// join has a site acknowledge the proposal that is the n-th fact.
func (s *script) join(who, n int) {
	p := s.entries[n].Place
	s.add(who, KindJoined, Joined{p.Site, p.Incarnation, p.Page, p.Hash, p.Index})
}

// wantAlways compares the members for several orders in which the facts may arrive.
func (s *script) wantAlways(t *testing.T, members ...int) {
	t.Helper()
	s.want(t, members...)
	random := seeded(7)
	order := make([]int, len(s.entries))
	for i := range order {
		order[i] = i
	}
	want := mustJSON(s.state())
	for range 6 {
		for i := len(order) - 1; i > 0; i-- {
			j := int(random.Uint64() % uint64(i+1))
			order[i], order[j] = order[j], order[i]
		}
		if got := s.fold(t, order); mustJSON(got) != want || mustJSON(got.Roll("")) != mustJSON(s.roll(t)) {
			t.Fatalf("arriving as %v the facts come to something else", order)
		}
	}
}

const another = "00000000000000ff"

// founded is a federation of a founder and the site of a second operator, before and since there is Proposed.Heard.
var founded = map[string]func() *script{
	"old": func() *script {
		s := new(script)
		s.found()
		s.propose(0, 2)
		return s
	},
	"new": func() *script {
		s := new(script)
		s.found()
		s.admit(0, 2)
		return s
	},
}

// TestNobodyIsAdmittedByDatingBack is the founder who says that he had admitted somebody before there was a second operator.
func TestNobodyIsAdmittedByDatingBack(t *testing.T) {
	for name, found := range founded {
		t.Run(name+": in the same log", func(t *testing.T) {
			for _, who := range []int{1, 4} {
				s := found()
				s.forge(forged{stamp: 1}, 0, KindProposed, proposalOf(who))
				s.wantAlways(t, 0, 2)
			}
		})
	}
	for name, at := range map[string]forged{
		"in another log":                       {incarnation: another, stamp: 1, page: 1},
		"in a log that sorts first":            {incarnation: "0000000000000000", stamp: 1, page: 1},
		"in a fork of the log":                 {stamp: 1, page: 1, hash: 9},
		"in a fork of the page that was heard": {stamp: 2, page: 2, hash: 0xff},
		"before the founding, in another log":  {incarnation: another, stamp: 0, page: 1},
	} {
		for _, who := range []int{1, 4} {
			for heard, p := range map[string]Proposed{"": proposalOf(who), "that claims to have heard nothing": hearingNothing(who)} {
				t.Run(fmt.Sprintf("%s: site %d %s", name, who, heard), func(t *testing.T) {
					s := founded["new"]()
					s.forge(at, 0, KindProposed, p)
					s.wantAlways(t, 0, 2)
				})
			}
		}
	}
	t.Run("by another site of the operator", func(t *testing.T) {
		s := new(script)
		s.found()
		s.admit(0, 1)
		s.admit(0, 2)
		s.forge(forged{incarnation: another, stamp: 3, page: 1}, 1, KindProposed, proposalOf(4))
		s.wantAlways(t, 0, 1, 2)
	})
	t.Run("with a founding under another name", func(t *testing.T) {
		s := new(script)
		s.found()
		s.admit(0, 1)
		s.admit(0, 2)
		other := profileOf(0)
		other.Operator = operatorOf(6)
		s.forge(forged{incarnation: another, stamp: 0, page: 1}, 0, KindFounded, Founded{other})
		s.forge(forged{incarnation: another, stamp: 1, page: 2}, 0, KindProposed, proposalOf(4))
		s.wantAlways(t, 0, 1, 2)
	})
	t.Run("it counts as one of two endorsements", func(t *testing.T) {
		s := founded["new"]()
		s.forge(forged{incarnation: another, stamp: 1, page: 1}, 0, KindProposed, proposalOf(4))
		s.endorse(2, 4)
		s.wantAlways(t, 0, 2, 4)
	})
}

// called is a proposal of a site under an operator's name, with the site's own consent.
func called(who int, operator string) Proposed {
	p := proposalOf(who)
	p.Operator = operator
	p.Consent = cast[who].Sign("join", consent(p.Federation, p.Invitation, p.Profile))
	return p
}

// TestASiteThatAcknowledgesTwiceBringsNobodyIn is a founder with a second site of his, which says later that it had joined by
// another proposal: as the site of another operator, before there was one.
func TestASiteThatAcknowledgesTwiceBringsNobodyIn(t *testing.T) {
	forgedName := func(s *script) {
		s.forge(forged{incarnation: another, stamp: 1, page: 1}, 0, KindProposed, called(1, "Strohmann"))
	}
	acknowledge := func(s *script) {
		s.join(1, len(s.entries)-1)
		p := &s.entries[len(s.entries)-1].Place
		p.Incarnation, p.Stamp, p.Page = another, 1, 1
	}
	t.Run("the first one being true", func(t *testing.T) {
		s := new(script)
		s.found()
		s.admit(0, 1)
		s.admit(0, 2)
		forgedName(s)
		acknowledge(s)
		s.wantAlways(t, 0, 1, 2)
	})
	t.Run("having said nothing before", func(t *testing.T) {
		s := new(script)
		s.found()
		s.add(0, KindProposed, s.hearing(0, 1))
		s.admit(0, 2)
		forgedName(s)
		acknowledge(s)
		s.wantAlways(t, 0, 1, 2)
	})
	t.Run("having been invited by another operator", func(t *testing.T) {
		s := founded["new"]()
		s.add(2, KindProposed, s.hearing(2, 1))
		s.endorse(0, 1)
		forgedName(s)
		acknowledge(s)
		s.wantAlways(t, 0, 2) // whose site it is there are two opinions of
	})
	t.Run("what the true proposal binds stays bound", func(t *testing.T) {
		s := new(script)
		s.found()
		s.admit(0, 2)
		s.forge(forged{incarnation: another, stamp: 1, page: 1}, 0, KindProposed, proposalOf(4))
		s.forge(forged{incarnation: another, stamp: 1, page: 2}, 0, KindProposed, hearingNothing(2))
		s.join(2, len(s.entries)-1)
		p := &s.entries[len(s.entries)-1].Place
		p.Incarnation, p.Stamp = another, 0
		s.wantAlways(t, 0, 2)
	})
	t.Run("nor do many of its acknowledgements choose the founding", func(t *testing.T) {
		s := new(script)
		s.found()
		s.admit(0, 1)
		s.admit(0, 2)
		other := profileOf(0)
		other.Operator = "Strohmann"
		s.forge(forged{incarnation: another, stamp: 0, page: 1}, 0, KindFounded, Founded{other})
		heard := []string{nameOf(s.entries[len(s.entries)-1])}
		for i := range 3 {
			p := proposalOf(1)
			p.Heard = heard
			s.forge(forged{incarnation: hex16(0xa0 + i), stamp: 1, page: 2}, 0, KindProposed, p)
			s.join(1, len(s.entries)-1)
			s.entries[len(s.entries)-1].Place.Incarnation = hex16(0xa0 + i)
		}
		s.wantAlways(t, 0, 1, 2)
	})
}

// TestWhoTakesAnotherNameIsBoundNevertheless is a founder and a second site of his that bring in an accomplice with a date before
// the second operator, while one of them or both say that they are somebody else.
func TestWhoTakesAnotherNameIsBoundNevertheless(t *testing.T) {
	for name, renamed := range map[string][]int{"the accomplice": {1}, "the founder": {0}, "both": {0, 1}} {
		for where, at := range map[string]forged{"now": {incarnation: hex16(7), stamp: 99, page: 1}, "long ago": {incarnation: hex16(7), stamp: 0, page: 1}} {
			t.Run(name+" "+where, func(t *testing.T) {
				s := new(script)
				s.found()
				s.admit(0, 1)
				s.admit(0, 2)
				for _, who := range renamed {
					s.forge(at, who, KindProposed, called(who, "Somebody else"))
				}
				s.forge(forged{incarnation: another, stamp: 2, page: 1}, 1, KindProposed, proposalOf(4))
				s.wantAlways(t, 0, 1, 2)
			})
		}
	}
	t.Run("the inviter of the second operator", func(t *testing.T) {
		s := new(script)
		s.found()
		s.admit(0, 1)
		s.admit(1, 2)
		s.add(1, KindProposed, called(1, "Somebody else"))
		s.forge(forged{incarnation: another, stamp: 1, page: 1}, 0, KindProposed, proposalOf(4))
		s.wantAlways(t, 0, 1, 2)
	})
}

// TestWhoTakesAnotherOperatorsNameDoesNotBindIt is the name used the other way round: to move what that operator has said.
func TestWhoTakesAnotherOperatorsNameDoesNotBindIt(t *testing.T) {
	for name, by := range map[string]int{"the founder": 0, "another site of his": 1} {
		for said, data := range map[string]struct {
			kind event.Kind
			fact func() any
		}{
			"in a proposal": {KindProposed, func() any { return called(by, operatorOf(2)) }},
			"in a founding of itself": {KindFounded, func() any {
				p := profileOf(by)
				p.Operator = operatorOf(2)
				return Founded{p}
			}},
			"in a founding of the other": {KindFounded, func() any {
				p := profileOf(2)
				p.Operator = operatorOf(0)
				return Founded{p}
			}},
		} {
			t.Run(name+" "+said, func(t *testing.T) {
				s := founded["new"]()
				s.admit(0, 4)
				s.endorse(2, 4)
				s.admit(0, 1)
				s.endorse(2, 1)
				s.propose(2, 6) // who acknowledges nothing, as before there was Joined
				s.endorse(4, 6)
				s.admit(2, 5)
				s.endorse(6, 5)
				s.wantAlways(t, 0, 1, 2, 4, 5, 6)
				s.add(by, data.kind, data.fact())
				s.add(by, KindProposed, hearingNothing(7))
				s.join(7, len(s.entries)-1)
				s.wantAlways(t, 0, 1, 2, 4, 5, 6)
			})
		}
	}
}

func hearingNothing(who int) Proposed {
	p := proposalOf(who)
	p.Heard = []string{}
	return p
}

// TestWhoClaimsToHaveHeardNothingUndoesNothing is the same founder who wants to be rid of members that others know.
func TestWhoClaimsToHaveHeardNothingUndoesNothing(t *testing.T) {
	all := func() *script {
		s := founded["new"]()
		s.admit(0, 4)
		s.endorse(2, 4)
		s.propose(0, 1) // a site of his own that has not acknowledged anything yet
		s.endorse(4, 1)
		s.admit(2, 6) // whom another operator has proposed, and he has endorsed
		s.endorse(0, 6)
		s.propose(2, 5)
		s.endorse(6, 5)
		s.wantAlways(t, 0, 1, 2, 4, 5, 6)
		return s
	}
	for name, stamp := range map[string]event.Stamp{"now": 99, "before the second operator": 1} {
		t.Run(name, func(t *testing.T) {
			s := all()
			s.forge(forged{incarnation: another, stamp: stamp, page: 1}, 0, KindProposed, hearingNothing(1))
			s.join(1, len(s.entries)-1)
			s.wantAlways(t, 0, 1, 2, 4, 5, 6)
		})
	}
	t.Run("nor does it move what another operator says", func(t *testing.T) {
		s := founded["new"]()
		s.admit(0, 4)
		s.endorse(2, 4)
		s.propose(2, 6) // who acknowledges nothing, as before there was Joined
		s.endorse(4, 6)
		s.admit(2, 5)
		s.endorse(6, 5)
		s.add(0, KindProposed, hearingNothing(1))
		s.join(1, len(s.entries)-1)
		s.endorse(4, 1)
		s.wantAlways(t, 0, 1, 2, 4, 5, 6)
	})
	t.Run("nor postpone its own removal", func(t *testing.T) {
		s := all()
		s.remove(2, 0, 9, 1)
		s.remove(4, 0, 9, 1)
		s.forge(forged{incarnation: another, stamp: 1, page: 1}, 0, KindProposed, hearingNothing(7))
		s.forge(forged{incarnation: another, stamp: 1, page: 2}, 0, KindRemoved, Removed{Site: cast[2].Site()})
		s.wantAlways(t, 1, 2, 4, 5, 6)
	})
}

// vote adds a vote that names what the site to be removed had said by then.
func (s *script) vote(by, who int, facts int) {
	heard := (&script{s.entries[:facts]}).state().heardOf(func(site event.SiteID) bool { return site == cast[who].Site() })
	s.add(by, KindRemoved, Removed{Site: cast[who].Site(), Heard: heard})
}

// TestWhatNobodyHadHeardOfARemovedSiteDoesNotCount is a site that goes on dating back when it has been removed.
func TestWhatNobodyHadHeardOfARemovedSiteDoesNotCount(t *testing.T) {
	four := func() *script {
		s := founded["new"]()
		s.admit(0, 4)
		s.endorse(2, 4)
		s.admit(4, 6)
		s.endorse(0, 6)
		return s
	}
	for name, at := range map[string]forged{"in its log": {stamp: 6}, "in another one": {incarnation: another, stamp: 6, page: 1}} {
		t.Run(name, func(t *testing.T) {
			s := four()
			n := len(s.entries)
			s.vote(0, 4, n)
			s.vote(2, 4, n)
			s.forge(at, 4, KindProposed, proposalOf(3))
			s.propose(6, 3) // as if for the first time
			s.wantAlways(t, 0, 2, 6)
		})
	}
	t.Run("what one of the voters had heard stays", func(t *testing.T) {
		s := four()
		s.propose(0, 3)
		s.endorse(4, 3) // site 2 has not heard that yet
		s.vote(0, 4, len(s.entries))
		s.vote(2, 4, 0)
		s.wantAlways(t, 0, 2, 3, 6)
	})
	t.Run("what none had heard is taken back", func(t *testing.T) {
		s := four()
		s.propose(0, 3)
		n := len(s.entries)
		s.endorse(4, 3)
		s.vote(0, 4, n)
		s.vote(2, 4, n)
		s.wantAlways(t, 0, 2, 6)
		s.endorse(2, 3)
		s.wantAlways(t, 0, 2, 3, 6)
	})
	t.Run("a vote from before there was this field goes by dates", func(t *testing.T) {
		s := four()
		s.propose(0, 3)
		n := len(s.entries)
		s.endorse(4, 3)
		s.vote(0, 4, n)
		s.remove(2, 4, 9, 1)
		s.wantAlways(t, 0, 2, 3, 6)
	})
	t.Run("a vote may be in several facts", func(t *testing.T) {
		s := four()
		s.propose(0, 3)
		s.endorse(4, 3)
		s.vote(0, 4, len(s.entries))
		s.vote(0, 4, 0)
		s.vote(2, 4, 0)
		s.wantAlways(t, 0, 2, 3, 6)
	})
}

func TestAnEndorsementThatComesFirstCountsWhenTheProposalComes(t *testing.T) {
	s := founded["new"]()
	s.endorse(2, 4)
	s.propose(0, 4)
	s.wantAlways(t, 0, 2, 4)
	// Of who was no member when he said so, nothing counts.
	s = founded["new"]()
	s.endorse(4, 6)
	s.propose(0, 4)
	s.endorse(2, 4)
	s.propose(0, 6)
	s.wantAlways(t, 0, 2, 4)
}

func TestWhoWaitsIsLookedAtAgainWhenASiteHasGone(t *testing.T) {
	s := founded["new"]()
	s.propose(0, 4)
	s.want(t, 0, 2)
	s.remove(0, 2, 9, 1) // the only other operator
	s.wantAlways(t, 0, 4)
}

// TestASiteAcknowledgesOnceByWhatItJoined joins real sites.
func TestASiteAcknowledgesOnceByWhatItJoined(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	w.exchange()
	for _, at := range w.sites {
		facts, joined := at.Federation.snap.Load().facts.facts(""), 0
		for _, f := range facts {
			if f.Fact.Joined != nil {
				joined++
			}
		}
		if firm := firm(facts, acknowledged(facts)); joined != 2 || len(firm) != 2 {
			t.Errorf("at %s %d sites have acknowledged, and %d proposals are firm, want 2", at.name, joined, len(firm))
		}
	}
	w.wantMembers(a, b, c)
}

// signed is a page that a site signs whenever it likes, as a hostile one may.
func signed(t *testing.T, by *node, h eventlog.Header, drafts ...event.Event) []byte {
	t.Helper()
	h.Log = eventlog.LogID{Authority: event.Federation, Class: event.Register, Site: by.id.Site(), Incarnation: h.Log.Incarnation}
	p, err := eventlog.SignPage(by.id, h, drafts)
	must(t, err)
	return p.Raw()
}

// TestAFounderWhoDatesBackAdmitsNobody is the whole attack, with real logs: at every site, whoever hears of what first.
func TestAFounderWhoDatesBackAdmitsNobody(t *testing.T) {
	for _, same := range []bool{true, false} {
		t.Run(fmt.Sprintf("same log %v", same), func(t *testing.T) {
			w := newWorld(t)
			a, b := w.site("a"), w.site("b")
			must(t, a.Found(w.ctx, "Nordwerk", a.describe()))
			began := w.now
			w.now = w.now.Add(1e9)
			b.enter(a.invite("Südwerk"))
			w.exchange()
			page := forgedProposal(t, w, a, event.StampAt(began)+1, same)
			_, err := b.log.Accept(w.ctx, [][]byte{page})
			must(t, err)
			_, err = b.Model.CatchUp(w.ctx)
			must(t, err)
			_, err = b.Refresh(w.ctx)
			must(t, err)
			if n := len(b.Federation.Members()); n != 2 || len(b.Federation.Pending()) != 1 {
				t.Errorf("%d members and %d that wait, want 2 and 1", n, len(b.Federation.Pending()))
			}
		})
	}
}

// forgedProposal is a page of a's in which it admits a site of its own, dated as it likes.
func forgedProposal(t *testing.T, w *world, a *node, stamp event.Stamp, same bool) []byte {
	t.Helper()
	x, err := seal.NewIdentity(seeded(99))
	must(t, err)
	pub, cert := x.SealingKey()
	p := Proposed{Profile: Profile{Site: x.Site(), Operator: "Nordwerk", SealKey: pub, SealCert: cert,
		Description: Description{Name: "x", Kind: Provider}}, Invitation: "00000000000000aa", Federation: a.id.Site(), Heard: []string{}}
	p.Consent = x.Sign("join", consent(p.Federation, p.Invitation, p.Profile))
	data, err := json.Marshal(p)
	must(t, err)
	h := eventlog.Header{Log: eventlog.LogID{Incarnation: another}, Number: 1, Wall: w.now.UnixMilli()}
	if same {
		i := slices.IndexFunc(a.log.OwnHeads(), func(h eventlog.Head) bool { return h.Branch.Class == event.Register })
		head := a.log.OwnHeads()[i]
		h.Log.Incarnation, h.Number, h.Prev = head.Branch.Incarnation, head.Page+1, head.Hash
	}
	return signed(t, a, h, event.Event{ID: "00000000000000aa", Subject: SubjectMembers, Kind: KindProposed, Stamp: stamp, Data: data})
}

// hostile draws a history in which everybody forges dates, logs and branches, claims to have heard what he likes, takes several
// names and acknowledges several proposals.
func hostile(t *rapid.T) *script {
	s := history(t)
	for range rapid.IntRange(1, 25).Draw(t, "forged") {
		by, who := rapid.IntRange(0, 7).Draw(t, "by"), rapid.IntRange(0, 7).Draw(t, "who")
		at := forged{stamp: event.Stamp(rapid.IntRange(0, 40).Draw(t, "stamp")), page: rapid.Uint64Range(1, 6).Draw(t, "page"),
			hash: byte(rapid.IntRange(0, 1).Draw(t, "branch"))}
		if rapid.Bool().Draw(t, "in another log") {
			at.incarnation = another
		}
		heard := s.state().heardOf(func(event.SiteID) bool { return true })
		heard = heard[:rapid.IntRange(0, len(heard)).Draw(t, "heard")]
		switch rapid.IntRange(0, 4).Draw(t, "what") {
		case 0:
			p := called(who, operatorOf(rapid.SampledFrom([]int{who, by, 8}).Draw(t, "called")))
			p.Heard = heard
			s.forge(at, by, KindProposed, p)
		case 1:
			s.forge(at, by, KindEndorsed, Endorsed{cast[who].Site()})
		case 2:
			head := eventlog.Head{Branch: eventlog.Branch{LogID: logOf(who)}, Page: at.page}
			head.Branch.Authority = rapid.SampledFrom([]event.AuthorityID{event.Federation, nordtal}).Draw(t, "of")
			s.forge(at, by, KindRemoved, Removed{Site: cast[who].Site(), Heard: heard, Closes: []eventlog.Head{head}})
		case 3:
			p := s.entries[rapid.IntRange(0, len(s.entries)-1).Draw(t, "which")].Place
			s.forge(at, by, KindJoined, Joined{p.Site, p.Incarnation, p.Page, p.Hash, p.Index})
		case 4:
			p := profileOf(by)
			p.Operator = operatorOf(who)
			s.forge(at, by, KindFounded, Founded{p})
		}
		s.entries[len(s.entries)-1].Place.Hash[1] = byte(len(s.entries)) // no two pages have one hash
	}
	return s
}

// TestWhoeverForgesWhatTheRollIsOfTheSetOnly has the facts of a hostile history arrive in any order, the state stored between.
func TestWhoeverForgesWhatTheRollIsOfTheSetOnly(t *testing.T) {
	authority := nordtals(0, 2)
	ends := func(m Membership) string { return mustJSON(endsOf(t, m, authority).Removed()) }
	rapid.Check(t, func(t *rapid.T) {
		s := hostile(t)
		want := s.state()
		var got Membership
		for _, i := range rapid.Permutation(indexes(s)).Draw(t, "order") {
			got, _ = applyMembership(got, s.entries[i])
			if rapid.IntRange(0, 4).Draw(t, "stored") == 0 {
				stored := mustJSON(got)
				got = Membership{}
				if err := json.Unmarshal([]byte(stored), &got); err != nil {
					t.Fatal(err)
				}
			}
		}
		if diff := cmp.Diff(mustJSON(want), mustJSON(got)); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(ends(want), ends(got)); diff != "" {
			t.Fatal(diff)
		}
		for _, founder := range []event.SiteID{"", cast[0].Site()} {
			if diff := cmp.Diff(mustJSON(want.Roll(founder)), mustJSON(got.Roll(founder))); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

func indexes(s *script) []int {
	order := make([]int, len(s.entries))
	for i := range order {
		order[i] = i
	}
	return order
}

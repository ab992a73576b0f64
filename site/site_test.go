// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

var update = flag.Bool("update", false, "write the golden files anew")

// cast is eight sites of four operators: 0 and 1 are the first one's, and so on.
var cast = func() (ids []*seal.Identity) {
	for i := range 8 {
		id, err := seal.NewIdentity(seeded(1000 + i))
		if err != nil {
			panic(err) // the source never fails
		}
		ids = append(ids, id)
	}
	return ids
}()

func operatorOf(i int) string { return fmt.Sprintf("Operator %d", i/2) }

func profileOf(i int) Profile {
	pub, cert := cast[i].SealingKey()
	return Profile{Site: cast[i].Site(), Operator: operatorOf(i), SealKey: pub, SealCert: cert,
		Description: Description{Name: fmt.Sprintf("site %d", i), Kind: Provider}}
}

func proposalOf(i int) Proposed {
	p := Proposed{Profile: profileOf(i), Invitation: "00000000000000aa", Federation: cast[0].Site()}
	p.Consent = cast[i].Sign("join", consent(p.Federation, p.Invitation, p.Profile))
	return p
}

// script is a history: each fact sorts behind the one before.
type script struct{ entries []readmodel.Entry }

func (s *script) add(by int, kind event.Kind, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		panic(err) // plain values
	}
	n := len(s.entries)
	log := eventlog.LogID{Authority: event.Federation, Class: event.Register, Site: cast[by].Site(), Incarnation: "0000000000000001"}
	s.entries = append(s.entries, readmodel.Entry{
		Event:     event.Event{ID: event.ID(fmt.Sprintf("%016x", n)), Subject: SubjectMembers, Kind: kind, Data: b},
		Authority: log.Authority, Class: log.Class, Log: log,
		Place: event.Place{Stamp: event.Stamp(n + 1), Site: log.Site, Incarnation: log.Incarnation, Page: uint64(n + 1)},
	})
}

func (s *script) found()              { s.add(0, KindFounded, Founded{profileOf(0)}) }
func (s *script) propose(by, who int) { s.add(by, KindProposed, proposalOf(who)) }
func (s *script) endorse(by, who int) { s.add(by, KindEndorsed, Endorsed{cast[who].Site()}) }
func (s *script) remove(by, who int, page uint64, hash byte) {
	head := eventlog.Head{Branch: eventlog.Branch{LogID: logOf(who)}, Page: page, Hash: eventlog.Hash{hash}}
	other := head
	other.Branch.Authority = nordtal
	s.add(by, KindRemoved, Removed{Site: cast[who].Site(), Closes: []eventlog.Head{head, other}})
}

func logOf(i int) eventlog.LogID {
	return eventlog.LogID{Authority: event.Federation, Class: event.Register, Site: cast[i].Site(), Incarnation: "0000000000000001"}
}

// fold applies the entries in the order of the permutation.
func (s *script) fold(t interface{ Fatal(...any) }, order []int) Membership {
	var m Membership
	for _, i := range order {
		var err error
		if m, err = applyMembership(m, s.entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (s *script) roll(t interface{ Fatal(...any) }) Roll {
	order := make([]int, len(s.entries))
	for i := range order {
		order[i] = i
	}
	return s.fold(t, order).Roll("")
}

func (s *script) want(t *testing.T, members ...int) {
	t.Helper()
	var want, got []event.SiteID
	for _, i := range members {
		want = append(want, cast[i].Site())
	}
	for _, m := range s.roll(t).Members {
		got = append(got, m.Site)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRules(t *testing.T) {
	t.Run("one operator admits alone until there are two", func(t *testing.T) {
		var s script
		s.found()
		s.propose(0, 1)
		s.want(t, 0, 1)
		s.propose(1, 2)
		s.want(t, 0, 1, 2)
		s.propose(0, 4)
		s.endorse(1, 4)
		s.want(t, 0, 1, 2)
		s.endorse(2, 4)
		s.want(t, 0, 1, 2, 4)
	})
	t.Run("who is no member has no voice", func(t *testing.T) {
		var s script
		s.found()
		s.propose(6, 7)
		s.endorse(4, 7)
		s.want(t, 0)
		s.propose(0, 2)
		s.propose(0, 4)
		s.endorse(4, 4)
		s.endorse(6, 4)
		s.want(t, 0, 2)
	})
	t.Run("a second founding changes nothing", func(t *testing.T) {
		var s script
		s.found()
		s.propose(0, 2)
		s.add(2, KindFounded, Founded{profileOf(2)})
		s.want(t, 0, 2)
	})
	t.Run("a founding of another site does not count where the founder is known", func(t *testing.T) {
		var s script
		s.add(2, KindFounded, Founded{profileOf(2)})
		s.found()
		order := []int{0, 1}
		if got := s.fold(t, order).Roll(cast[0].Site()); len(got.Members) != 1 || got.Members[0].Site != cast[0].Site() {
			t.Errorf("got %+v", got.Members)
		}
	})
	t.Run("a proposal without the site's consent is passed over", func(t *testing.T) {
		var s script
		s.found()
		p := proposalOf(2)
		p.Operator = "Operator 0"
		s.add(0, KindProposed, p)
		s.want(t, 0)
	})
	t.Run("a fact in a log whose origin it does not name is passed over", func(t *testing.T) {
		var s script
		s.found()
		s.propose(0, 2)
		s.propose(0, 4)
		s.endorse(2, 4)
		s.entries[3].Log.Site = cast[6].Site()
		s.want(t, 0, 2)
	})
}

func TestRemoving(t *testing.T) {
	three := func() *script {
		s := new(script)
		s.found()
		s.propose(0, 2)
		s.propose(0, 4)
		s.endorse(2, 4)
		return s
	}
	t.Run("takes two operators, the own one not counted", func(t *testing.T) {
		s := three()
		s.remove(4, 4, 9, 1)
		s.remove(0, 4, 9, 1)
		s.want(t, 0, 2, 4)
		s.remove(2, 4, 9, 1)
		s.want(t, 0, 2)
	})
	t.Run("one other operator suffices if there is only one", func(t *testing.T) {
		s := new(script)
		s.found()
		s.propose(0, 2)
		s.remove(2, 2, 9, 1)
		s.want(t, 0, 2)
		s.remove(0, 2, 9, 1)
		s.want(t, 0)
	})
	t.Run("the last member stays", func(t *testing.T) {
		s := new(script)
		s.found()
		s.remove(0, 0, 9, 1)
		s.want(t, 0)
	})
	t.Run("a removed site does not come back and has no voice", func(t *testing.T) {
		s := three()
		s.remove(0, 4, 9, 1)
		s.remove(2, 4, 9, 1)
		s.propose(0, 4)
		s.endorse(2, 4)
		s.remove(4, 0, 9, 1)
		s.want(t, 0, 2)
	})
	t.Run("of two closings the lower page wins, of equal ones the lower hash", func(t *testing.T) {
		for _, tt := range []struct {
			pages  [3]uint64
			hashes [3]byte
			page   uint64
			hash   byte
			last   uint64
		}{
			{[3]uint64{9, 7, 8}, [3]byte{1, 9, 1}, 7, 9, 9},
			{[3]uint64{9, 9, 9}, [3]byte{5, 3, 4}, 9, 3, 9},
			{[3]uint64{8, 7, 9}, [3]byte{1, 1, 1}, 7, 1, 8},
		} {
			s := three()
			s.propose(0, 6)
			s.endorse(2, 6)
			for i, by := range []int{0, 2, 6} { // the third vote comes when the site is gone already
				s.remove(by, 4, tt.pages[i], tt.hashes[i])
			}
			fed := NewFederation(cast[0].Site())
			fed.update(newSnapshot(cast[0].Site(), folded{members: s.fold(t, []int{8, 7, 6, 5, 4, 3, 2, 1, 0})}, bootstrap{}))
			authoritys := logOf(4)
			authoritys.Authority = nordtal
			head, closed := fed.Closing(authoritys)
			if !closed || head.Page != tt.page || head.Hash != (eventlog.Hash{tt.hash}) {
				t.Errorf("closed at %d %x, %v", head.Page, head.Hash[0], closed)
			}
			// Of the federation's own log everything counts that one of the voters had heard, so everybody may fetch it.
			if head, closed := fed.Closing(logOf(4)); !closed || head.Page != tt.last {
				t.Errorf("the federation's log is closed at %d, %v, want %d", head.Page, closed, tt.last)
			}
			unnamed := logOf(4)
			unnamed.Class = event.Operations
			if head, closed := fed.Closing(unnamed); !closed || head.Page != 0 {
				t.Errorf("a log that nobody named is closed at %d, %v", head.Page, closed)
			}
			if _, closed := fed.Closing(logOf(2)); closed || fed.Member(cast[4].Site()) {
				t.Error("a member's log is closed, or the removed site is a member")
			}
		}
	})
}

// history draws facts of all kinds by all sites, sensible or not.
func history(t *rapid.T) *script {
	s := new(script)
	s.found()
	for range rapid.IntRange(1, 25).Draw(t, "facts") {
		by, who := rapid.IntRange(0, 7).Draw(t, "by"), rapid.IntRange(0, 7).Draw(t, "who")
		switch rapid.IntRange(0, 5).Draw(t, "what") {
		case 0, 1:
			s.propose(by, who)
		case 2, 3:
			s.endorse(by, who)
		case 4:
			s.remove(by, who, uint64(by), 1)
		case 5:
			s.add(by, KindDescribed, Described{Description{Name: fmt.Sprint("renamed ", len(s.entries)), Kind: Box}})
		}
	}
	return s
}

func TestTheOrderOfArrivalDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := history(t)
		order := make([]int, len(s.entries))
		for i := range order {
			order[i] = i
		}
		want := s.fold(t, order)
		shuffled := append(rapid.Permutation(order).Draw(t, "order"), order[:1]...) // and one comes twice
		got := s.fold(t, shuffled)
		if diff := cmp.Diff(mustJSON(want), mustJSON(got)); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(mustJSON(want.Roll("")), mustJSON(got.Roll(""))); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestNobodyIsAdmittedByOneOfTwoOperators looks at every prefix of a history: whoever appears as a member must have been
// proposed or endorsed, so far, by members of enough operators, counted by a naive model.
func TestNobodyIsAdmittedByOneOfTwoOperators(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := history(t)
		before := map[event.SiteID]string{cast[0].Site(): operatorKey(operatorOf(0))}
		for n := 2; n <= len(s.entries); n++ {
			now := map[event.SiteID]string{}
			for _, m := range (&script{s.entries[:n]}).roll(t).Members {
				now[m.Site] = operatorKey(m.Operator)
			}
			operators := map[string]bool{} // of those that stay: where a site is removed, who waits may need fewer
			for site, o := range before {
				if _, stays := now[site]; stays {
					operators[o] = true
				}
			}
			for site := range now {
				if _, was := before[site]; was {
					continue
				}
				agreed := map[string]bool{}
				for _, e := range s.entries[:n] {
					if o, member := before[e.Log.Site]; member && strings.Contains(string(e.Data), string(site)) && e.Kind != KindRemoved {
						agreed[o] = true
					}
				}
				if len(agreed) < min(2, len(operators)) {
					t.Fatalf("site %s was admitted by %d of %d operators", site.Short(), len(agreed), len(operators))
				}
			}
			before = now
		}
	})
}

func TestPoliciesDoNotDependOnTheOrderOfArrival(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s script
		sites := []event.SiteID{cast[0].Site(), cast[2].Site()}
		s.add(0, KindAuthorityFounded, AuthorityFounded{"Landkreis Nordtal", "Nordtal District", sites})
		s.add(2, KindAuthorityFounded, AuthorityFounded{"Stadt Nordtal", "Nordtal City", sites[:1]})
		for range rapid.IntRange(0, 12).Draw(t, "facts") {
			by, who := rapid.IntRange(0, 3).Draw(t, "by"), cast[rapid.IntRange(0, 3).Draw(t, "who")].Site()
			if rapid.Bool().Draw(t, "allow") {
				s.add(by, KindAllowed, Allowed{who})
				continue
			}
			f := Forbidden{Site: who, Withdraws: []event.ID{event.ID(fmt.Sprintf("%016x", rapid.IntRange(0, 12).Draw(t, "of")))}}
			if rapid.Bool().Draw(t, "heard") {
				f.Heard = []Heard{{"0000000000000001", rapid.Uint64Range(0, 14).Draw(t, "up to")}}
			}
			if rapid.Bool().Draw(t, "named") {
				f.Named = []string{}
				for _, e := range s.entries {
					if rapid.Bool().Draw(t, "this one") {
						f.Named = append(f.Named, nameOf(e))
					}
				}
			}
			s.add(by, KindForbidden, f)
		}
		order := make([]int, len(s.entries))
		for i := range order {
			order[i] = i
			s.entries[i].Subject = SubjectOf("lk-nordtal")
		}
		fold := func(order []int) (a AuthorityState) {
			for _, i := range order {
				a, _ = applyAuthority(a, s.entries[i])
			}
			return a
		}
		want, got := fold(order), fold(rapid.Permutation(order).Draw(t, "order"))
		st := got.stand(castRank)
		if diff := cmp.Diff(mustJSON(want), mustJSON(got)); diff != "" || st.founding.NameDE != "Landkreis Nordtal" {
			t.Fatal(diff, st.founding.NameDE)
		}
		if len(st.sites()) == 0 {
			t.Fatal("nobody is allowed any more, so everything would be lost")
		}
	})
}

// nameOf names a fact as a site does that has heard it, of which it keeps no stamp.
func nameOf(e readmodel.Entry) string {
	place := e.Place
	place.Stamp = 0
	return digest(place.Key())
}

// castRank has the cast admitted one after the other.
func castRank(site event.SiteID) int {
	return slices.IndexFunc(cast, func(id *seal.Identity) bool { return id.Site() == site })
}

// policyOf folds the script's facts as those of one authority.
func policyOf(t *testing.T, s *script) standing {
	t.Helper()
	return stateOf(t, s).stand(castRank)
}

func stateOf(t *testing.T, s *script) (a AuthorityState) {
	t.Helper()
	for i := range s.entries {
		s.entries[i].Subject = SubjectOf("lk-nordtal")
		var err error
		if a, err = applyAuthority(a, s.entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func TestOfSitesThatForbidEachOtherOneStays(t *testing.T) {
	var s script
	both := []event.SiteID{cast[0].Site(), cast[2].Site()}
	s.add(0, KindAuthorityFounded, AuthorityFounded{"Landkreis Nordtal", "Nordtal District", both})
	founding := []event.ID{s.entries[0].ID}
	s.add(0, KindForbidden, Forbidden{Site: both[1], Withdraws: founding})
	s.add(2, KindForbidden, Forbidden{Site: both[0], Withdraws: founding})
	if got := policyOf(t, &s).sites(); !slices.Equal(got, both[:1]) {
		t.Fatalf("allowed are %v, want the one that was forbidden last", got)
	}
	// What did not count then does not count when somebody else is allowed later, who has nothing yet.
	s.add(0, KindAllowed, Allowed{cast[3].Site()})
	if got := policyOf(t, &s).sites(); !slices.Contains(got, both[0]) {
		t.Errorf("allowed are %v: the only site that has everything is not", got)
	}
}

func TestASiteThatWasAllowedAgainIsClosedWhereItWasForbiddenLast(t *testing.T) {
	var s script
	both := []event.SiteID{cast[0].Site(), cast[2].Site()}
	head := func(page uint64) []eventlog.Head {
		l := logOf(2)
		l.Authority = "lk-nordtal"
		return []eventlog.Head{{Branch: eventlog.Branch{LogID: l}, Page: page}}
	}
	s.add(0, KindAuthorityFounded, AuthorityFounded{"Landkreis Nordtal", "Nordtal District", both})
	s.add(0, KindForbidden, Forbidden{Site: both[1], Withdraws: []event.ID{s.entries[0].ID}, Closes: head(3)})
	s.add(0, KindAllowed, Allowed{both[1]})
	again := []event.ID{s.entries[2].ID}
	s.add(0, KindForbidden, Forbidden{Site: both[1], Withdraws: again, Closes: head(9)})
	s.add(0, KindForbidden, Forbidden{Site: both[1], Withdraws: again, Closes: head(8)})
	got := policyOf(t, &s).closings[both[1]]
	if len(got) != 1 || got[0].Page != 8 {
		t.Errorf("the site's log is closed at %v, want page 8: what it wrote while it was allowed again counts", got)
	}
}

func TestAnIDThatAnotherSiteHasCopiedDisplacesNoMembershipFact(t *testing.T) {
	var s script
	s.found()
	s.propose(0, 1)
	s.endorse(0, 1)
	forged := s.entries[2]
	forged.Place.Site, forged.Log.Site = cast[2].Site(), cast[2].Site()
	forged.Place.Stamp = 1
	state, err := applyMembership(Membership{}, forged)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.entries {
		if state, err = applyMembership(state, e); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(state.facts("")); n != 4 {
		t.Errorf("%d facts, want all 4", n)
	}
}

func TestAPinCountsUntilTheFactsKnow(t *testing.T) {
	self := cast[2].Site()
	pins := bootstrap{cast[0].Site(), []Member{{Profile: profileOf(0)}, {Profile: profileOf(2)}, {Profile: profileOf(4)}}}
	fed := NewFederation(self)
	fed.update(newSnapshot(self, folded{}, pins))
	if !fed.Member(self) || len(fed.Peers()) != 2 || !fed.Allowed(cast[4].Site(), event.Federation) {
		t.Error("a site that has just joined does not know those it was told of")
	}
	var s script
	s.found()
	s.propose(0, 2)
	s.propose(0, 4) // pending here: the endorsement has not arrived yet
	fed.update(newSnapshot(self, folded{members: s.fold(t, []int{0, 1, 2})}, pins))
	if !fed.Member(cast[4].Site()) {
		t.Error("a pinned site was lost because facts are still missing")
	}
	s.endorse(2, 4)
	s.remove(0, 4, 3, 1)
	s.remove(2, 4, 3, 1)
	fed.update(newSnapshot(self, folded{members: s.fold(t, []int{0, 1, 2, 3, 4, 5})}, pins))
	if fed.Member(cast[4].Site()) || fed.Operator(cast[4].Site()) != "" {
		t.Error("a pin holds against a removal")
	}
}

func TestTheStoredFormOfFactsStays(t *testing.T) {
	head := eventlog.Head{Branch: eventlog.Branch{LogID: logOf(2)}, Page: 7, Hash: eventlog.Hash{1, 2}}
	full := profileOf(0)
	full.Addresses, full.PortalURL = []string{"192.0.2.1:7443"}, "https://a.example.org"
	named := full.Description
	named.Names = []string{"a.example.org", "holdfast.example.org"}
	able, unable := full.Description, full.Description
	able.Channels, unable.Channels = []string{"sms", "email"}, []string{}
	proposal, heard := proposalOf(2), proposalOf(2)
	heard.Heard = []string{}
	// A kind that has got a field has a file of its newer form too; the older one stays, because it is in logs.
	for kind, fact := range map[event.Kind]any{
		KindDescribed + ".channels":    &Described{able},
		KindDescribed + ".no-channels": &Described{unable},
		KindDescribed + ".names":       &Described{named},
		KindForbidden + ".heard":       &Forbidden{cast[2].Site(), []event.ID{"00000000000000aa"}, []eventlog.Head{head}, []Heard{{"0000000000000001", 7}}, nil},
		KindForbidden + ".named": &Forbidden{Site: cast[2].Site(), Withdraws: []event.ID{"00000000000000aa"}, Closes: []eventlog.Head{head},
			Heard: []Heard{{"0000000000000001", 7}}, Named: []string{"000102030405060708090a0b0c0d0e0f"}},
		KindFounded:             &Founded{full},
		KindProposed + ".heard": &heard,
		KindJoined:              &Joined{cast[0].Site(), "0000000000000001", 7, eventlog.Hash{1, 2}, 3},
		KindRemoved + ".heard":  &Removed{Site: cast[2].Site(), Closes: []eventlog.Head{head}, Heard: []string{"000102030405060708090a0b0c0d0e0f"}},
		KindProposed:            &proposal,
		KindEndorsed:            &Endorsed{cast[2].Site()},
		KindRemoved:             &Removed{Site: cast[2].Site(), Closes: []eventlog.Head{head}},
		KindDescribed:           &Described{full.Description},
		KindAuthorityFounded:    &AuthorityFounded{"Landkreis Nordtal", "Nordtal District", []event.SiteID{cast[0].Site()}},
		KindAllowed:             &Allowed{cast[2].Site()},
		KindForbidden:           &Forbidden{cast[2].Site(), []event.ID{"00000000000000aa"}, []eventlog.Head{head}, nil, nil},
	} {
		t.Run(string(kind), func(t *testing.T) {
			got, err := json.MarshalIndent(fact, "", "  ")
			must(t, err)
			path := filepath.Join("testdata", string(kind)+".json")
			if *update {
				must(t, os.MkdirAll("testdata", 0o755), os.WriteFile(path, append(got, '\n'), 0o644))
			}
			want, err := os.ReadFile(path)
			must(t, err)
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Error(diff)
			}
			// What was stored is read back in full.
			must(t, json.Unmarshal(want, fact))
			again, err := json.MarshalIndent(fact, "", "  ")
			must(t, err)
			if string(again) != string(got) {
				t.Error("reading a stored fact loses something")
			}
		})
	}
	var m MembershipFact
	stored, err := os.ReadFile(filepath.Join("testdata", string(KindProposed)+".json"))
	must(t, err)
	if !m.decode(event.Event{Kind: KindProposed, Data: stored}) || !m.checked() {
		t.Error("a stored proposal is no longer believed")
	}
}

func FuzzToken(f *testing.F) {
	id, err := seal.NewIdentity(seeded(1))
	must(f, err)
	good, err := Token{Federation: id.Site(), Inviter: id.Site(), Addresses: []string{"192.0.2.1:7443"}, Invitation: "00000000000000aa",
		Secret: make([]byte, 32), Name: "b", Operator: "Südwerk", Expires: 1}.Sign(id)
	must(f, err)
	f.Add(good)
	f.Add("." + good)
	f.Add("e30.e30")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := ParseToken(text)
		if err != nil {
			return
		}
		if !tok.wellFormed() {
			t.Fatal("a malformed token was taken")
		}
		b := len(text) / 3
		if text[b] != 'x' && text[b] != ' ' {
			// Whatever parses is signed: another byte in it must not go unnoticed (the last bits of base64 aside).
			if other, err := ParseToken(text[:b] + "x" + text[b+1:]); err == nil && mustJSON(other) != mustJSON(tok) {
				t.Fatal("a changed token was taken")
			}
		}
	})
}

func FuzzServeJoin(f *testing.F) {
	w := newWorld(f)
	a := w.site("a")
	must(f, a.Found(w.ctx, "Nordwerk", a.describe()))
	f.Add([]byte(`{"inviter":"x","invitation":"00000000000000aa","secret":"AA=="}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := a.ServeJoin(w.ctx, cast[3].Site(), body); err == nil {
			t.Fatal("somebody joined without an invitation")
		}
	})
}

// TestFormerSitesAreRemembered lists who may still have what it was given: sites that were removed, or are not allowed any more.
func TestFormerSitesAreRemembered(t *testing.T) {
	members := new(script)
	members.found()
	members.propose(0, 2)
	members.propose(0, 4)
	members.endorse(2, 4)
	members.propose(0, 6)
	members.endorse(2, 6)
	members.remove(0, 4, 9, 1)
	members.remove(2, 4, 9, 1)
	order := make([]int, len(members.entries))
	for i := range order {
		order[i] = i
	}
	roll := members.fold(t, order)
	var s script
	s.add(0, KindAuthorityFounded, AuthorityFounded{"Landkreis Nordtal", "Nordtal District", []event.SiteID{cast[0].Site(), cast[2].Site(), cast[4].Site()}})
	s.add(0, KindForbidden, Forbidden{Site: cast[2].Site(), Withdraws: []event.ID{s.entries[0].ID}})
	fed := NewFederation(cast[0].Site())
	fed.update(newSnapshot(cast[0].Site(), folded{members: roll, authorities: map[event.AuthorityID]AuthorityState{"lk-nordtal": stateOf(t, &s)}}, bootstrap{}))
	var got []event.SiteID
	for _, p := range fed.Former("lk-nordtal") {
		got = append(got, p.Site)
		if p.Operator == "" {
			t.Errorf("nothing is known of %s", p.Site)
		}
	}
	want := slices.Sorted(slices.Values([]event.SiteID{cast[2].Site(), cast[4].Site()}))
	if !slices.Equal(got, want) {
		t.Errorf("former sites are %v, want %v", got, want)
	}
	if fed.Former("stadt") != nil {
		t.Error("an authority that is not known had sites")
	}
}

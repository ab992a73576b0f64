// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
)

func sitesOf(who ...int) []event.SiteID {
	var sites []event.SiteID
	for _, i := range who {
		sites = append(sites, cast[i].Site())
	}
	return slices.Sorted(slices.Values(sites))
}

// authority founds the authority at a site, and returns the founding as what a withdrawal names.
func (s *script) authority(by int, who ...int) []event.ID {
	s.add(by, KindAuthorityFounded, AuthorityFounded{"Landkreis Nordtal", "Nordtal District", sitesOf(who...)})
	return []event.ID{s.entries[len(s.entries)-1].ID}
}

func (s *script) allow(by, who int) []event.ID {
	s.add(by, KindAllowed, Allowed{cast[who].Site()})
	return []event.ID{s.entries[len(s.entries)-1].ID}
}

// backdate gives the last fact a place between those of two others.
func (s *script) backdate(behind int) {
	s.entries[len(s.entries)-1].Place.Stamp = s.entries[behind].Place.Stamp
	s.entries[len(s.entries)-1].Place.Incarnation = "zzzz000000000001" // sorts behind the other of the same stamp and site
}

// wantSites folds the facts forwards and backwards: the order of arrival makes no difference.
func (s *script) wantSites(t *testing.T, who ...int) {
	t.Helper()
	state := stateOf(t, s)
	var reverse AuthorityState
	for _, e := range slices.Backward(s.entries) {
		reverse, _ = applyAuthority(reverse, e)
	}
	if mustJSON(state) != mustJSON(reverse) {
		t.Error("the order of arrival makes a difference")
	}
	if got := state.stand(castRank).sites(); !slices.Equal(got, sitesOf(who...)) {
		var short []int
		for _, site := range got {
			short = append(short, castRank(site))
		}
		slices.Sort(short)
		t.Errorf("allowed are %v, want %v", short, who)
	}
}

func TestNobodyLetsHimselfIn(t *testing.T) {
	t.Run("by allowing himself", func(t *testing.T) {
		var s script
		s.authority(0, 0, 2)
		s.allow(4, 4)
		s.wantSites(t, 0, 2)
		s.allow(2, 5) // who is allowed may allow others
		s.allow(5, 6)
		s.wantSites(t, 0, 2, 5, 6)
	})
	t.Run("by forbidding the others", func(t *testing.T) {
		var s script
		founding := s.authority(0, 0, 2)
		s.add(4, KindForbidden, Forbidden{Site: cast[0].Site(), Withdraws: founding})
		s.wantSites(t, 0, 2)
	})
	t.Run("by founding it again", func(t *testing.T) {
		var s script
		s.authority(0, 0, 2)
		s.authority(4, 0, 2, 4)
		s.wantSites(t, 0, 2)
	})
	t.Run("by having founded it before", func(t *testing.T) {
		var s script
		s.authority(4, 0, 2, 4)
		s.authority(0, 0, 2)
		s.wantSites(t, 0, 2)
	})
	t.Run("by dating back behind his own allowance to come", func(t *testing.T) {
		var s script
		s.authority(0, 0, 2)
		s.add(0, KindForbidden, Forbidden{Site: cast[4].Site()})
		s.allow(4, 4)
		s.backdate(0)
		s.wantSites(t, 0, 2)
	})
}

func TestWhoIsForbiddenIsNotHeardAnyMore(t *testing.T) {
	forbidden := func(heard []Heard) (s script, founding []event.ID) {
		founding = s.authority(0, 0, 2, 4)
		s.allow(2, 5)
		s.add(0, KindForbidden, Forbidden{Site: cast[2].Site(), Withdraws: founding, Heard: heard})
		return s, founding
	}
	known := []Heard{{"0000000000000001", 2}}
	t.Run("what it said before stays", func(t *testing.T) {
		s, _ := forbidden(known)
		s.wantSites(t, 0, 4, 5)
	})
	t.Run("what it says later does not count", func(t *testing.T) {
		s, _ := forbidden(known)
		s.allow(2, 2)
		s.allow(2, 6)
		s.wantSites(t, 0, 4, 5)
		// Site 6 may have believed it: it leaves again.
		if got := stateOf(t, &s).stand(castRank).withdrawn(); !slices.Equal(got, sitesOf(2, 6)) {
			t.Errorf("%d sites have to leave, want 2", len(got))
		}
	})
	t.Run("what it dates back does not count", func(t *testing.T) {
		s, founding := forbidden(known)
		s.allow(2, 2)
		s.backdate(1)
		s.add(2, KindForbidden, Forbidden{Site: cast[4].Site(), Withdraws: founding})
		s.backdate(1)
		s.wantSites(t, 0, 4, 5)
	})
	t.Run("what nobody had heard does not count", func(t *testing.T) {
		s, _ := forbidden([]Heard{})
		s.wantSites(t, 0, 4)
	})
	t.Run("a withdrawal from before there was this field goes by dates", func(t *testing.T) {
		s, _ := forbidden(nil)
		s.allow(2, 6)
		s.backdate(1)
		s.wantSites(t, 0, 4, 5, 6)
	})
	t.Run("allowed again it is heard again", func(t *testing.T) {
		s, _ := forbidden(known)
		s.allow(4, 2)
		s.allow(2, 6)
		s.wantSites(t, 0, 2, 4, 5, 6)
	})
	t.Run("the founder's founding stays", func(t *testing.T) {
		var s script
		founding := s.authority(0, 0, 2)
		s.add(2, KindForbidden, Forbidden{Site: cast[0].Site(), Withdraws: founding, Heard: []Heard{}})
		s.wantSites(t, 2)
		s.allow(0, 0)
		s.wantSites(t, 2)
	})
}

// TestASecondPageOfANumberIsNotHeard is a forbidden site that signs another page under a number that was heard.
func TestASecondPageOfANumberIsNotHeard(t *testing.T) {
	var s script
	founding := s.authority(0, 0, 2, 4)
	s.allow(2, 5)
	st := stateOf(t, &s)
	named := st.namesOf(cast[2].Site(), st.stand(castRank))
	s.add(0, KindForbidden, Forbidden{Site: cast[2].Site(), Withdraws: founding, Heard: st.heardOf(cast[2].Site()), Named: named})
	s.allow(2, 2)
	s.allow(2, 6)
	for i := range s.entries[3:] {
		fork := &s.entries[3+i].Place
		fork.Page, fork.Stamp, fork.Hash = s.entries[1].Place.Page, s.entries[1].Place.Stamp, eventlog.Hash{9, byte(i)}
	}
	s.wantSites(t, 0, 4, 5)
}

// TestWhatLetsSomebodyInIsNamedFirst is a site that floods the facts of an authority, and is forbidden.
func TestWhatLetsSomebodyInIsNamedFirst(t *testing.T) {
	var s script
	founding := s.authority(0, 0, 2)
	for page := range 3 * maxSaid {
		s.allow(2, 2)
		s.entries[len(s.entries)-1].Place.Incarnation = fmt.Sprintf("%016x", 2+page/maxSaid)
	}
	s.allow(2, 5)
	st := stateOf(t, &s)
	named := st.namesOf(cast[2].Site(), st.stand(castRank))
	if len(named) != maxNamedHere {
		t.Errorf("%d facts are named, want %d", len(named), maxNamedHere)
	}
	withdraws := founding
	for _, a := range st.stand(castRank).live[cast[2].Site()] {
		withdraws = append(withdraws, a.id)
	}
	s.add(0, KindForbidden, Forbidden{Site: cast[2].Site(), Withdraws: withdraws, Named: named})
	s.wantSites(t, 0, 5)
}

// TestAForbiddenFounderDoesNotComeBackByFoundingAgain is a founder that its authority has forbidden, and that founds it
// again in another log and dates that back.
func TestAForbiddenFounderDoesNotComeBackByFoundingAgain(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	must(t, a.AddAuthority(w.ctx, AuthorityDraft{ID: nordtal, NameDE: "Landkreis Nordtal", NameEN: "Nordtal District",
		Sites: []event.SiteID{a.id.Site(), b.id.Site(), c.id.Site()}}))
	w.exchange()
	must(t, b.Forbid(w.ctx, nordtal, a.id.Site()))
	w.exchange()
	for _, n := range []*node{b, c} {
		if n.Federation.Allowed(a.id.Site(), nordtal) || !n.Federation.Allowed(n.id.Site(), nordtal) {
			t.Fatal("the world is not as it should be")
		}
	}
	data, err := json.Marshal(AuthorityFounded{"Behörde", "Authority", []event.SiteID{a.id.Site()}})
	must(t, err)
	page := signed(t, a, eventlog.Header{Log: eventlog.LogID{Incarnation: another}, Number: 1, Wall: w.now.UnixMilli()},
		event.Event{ID: "00000000000000aa", Subject: SubjectOf(nordtal), Kind: KindAuthorityFounded, Stamp: 5, Data: data})
	for _, n := range []*node{b, c} {
		n.accept(page)
		got, _ := n.Federation.Authority(nordtal)
		if n.Federation.Allowed(a.id.Site(), nordtal) || len(got.Sites) != 2 || got.NameDE != "Landkreis Nordtal" {
			t.Errorf("at %s the forbidden site is allowed again, or others are not any more: %+v", n.name, got)
		}
		must(t, n.Reconcile(w.ctx))
	}
	granted, err := b.Ring.Granted(w.ctx, nordtal)
	if err != nil || slices.Contains(granted, a.id.Site()) {
		t.Errorf("b has sealed the authority's newest key, made after the withdrawal, to %v: %v", granted, err)
	}
}

// accept has a site take pages as they are, and look at what comes of them.
func (n *node) accept(pages ...[]byte) {
	n.w.t.Helper()
	_, err := n.log.Accept(n.w.ctx, pages)
	must(n.w.t, err)
	_, err = n.Model.CatchUp(n.w.ctx)
	must(n.w.t, err)
	_, err = n.Refresh(n.w.ctx)
	must(n.w.t, err)
}

// TestOfSeveralFoundingsByOneSiteThatCountsWhichWithdrawalsHeard has a founder that was forbidden found its authority
// again, and date that back.
func TestOfSeveralFoundingsByOneSiteThatCountsWhichWithdrawalsHeard(t *testing.T) {
	again := func(s *script, incarnation string, who ...int) {
		at := forged{incarnation: incarnation, stamp: 0, page: 1}
		s.forge(at, 0, KindAuthorityFounded, AuthorityFounded{"x", "x", sitesOf(who...)})
	}
	named := func(s *script, by int, withdraws []event.ID) {
		t.Helper()
		st := stateOf(t, s)
		names := st.namesOf(cast[0].Site(), st.stand(castRank))
		s.add(by, KindForbidden, Forbidden{Site: cast[0].Site(), Withdraws: withdraws, Named: names})
	}
	for name, who := range map[string][]int{
		"of itself alone": {0},
		"of another site": {3},
		"of nobody":       {},
		"of all":          {0, 2, 3, 4},
	} {
		t.Run(name, func(t *testing.T) {
			var s script
			named(&s, 2, s.authority(0, 0, 2, 4))
			again(&s, another, who...)
			s.wantSites(t, 2, 4)
		})
		t.Run(name+", withdrawn by page numbers", func(t *testing.T) {
			var s script
			founding := s.authority(0, 0, 2, 4)
			heard := stateOf(t, &s).heardOf(cast[0].Site())
			s.add(2, KindForbidden, Forbidden{Site: cast[0].Site(), Withdraws: founding, Heard: heard})
			again(&s, another, who...)
			s.wantSites(t, 2, 4)
		})
		t.Run(name+", having left by itself", func(t *testing.T) {
			var s script
			named(&s, 0, s.authority(0, 0, 2, 4))
			again(&s, another, who...)
			s.wantSites(t, 2, 4)
		})
		t.Run(name+", with a withdrawal of its own and one of a site that was admitted later", func(t *testing.T) {
			var s script
			named(&s, 2, s.authority(0, 0, 2, 4))
			again(&s, another, append(who, 3)...)
			heard := []string{nameOf(s.entries[len(s.entries)-1])}
			for _, by := range []int{0, 3} {
				at := forged{incarnation: another, stamp: 1, page: 2}
				s.forge(at, by, KindForbidden, Forbidden{Site: cast[0].Site(), Named: heard})
			}
			s.wantSites(t, 2, 4)
		})
	}
	t.Run("the one that was withdrawn where it was heard", func(t *testing.T) {
		var s script
		s.authority(0, 0, 2, 4)
		again(&s, another, 0, 2)
		again(&s, hex16(7), 0, 3)
		named(&s, 2, []event.ID{s.entries[1].ID, s.entries[2].ID})
		again(&s, hex16(8), 0)
		s.wantSites(t, 2, 3, 4)
	})
	t.Run("whatever else it has said before it was forbidden", func(t *testing.T) {
		var s script
		founding := s.authority(0, 0, 2)
		for i := range 3 * maxNamedHere {
			at := forged{incarnation: hex16(16 + i/maxSaid), stamp: 0, page: uint64(i + 1)}
			s.forge(at, 0, KindAllowed, Allowed{strangerOf(i)})
		}
		named(&s, 2, founding)
		again(&s, another, 0)
		if got := stateOf(t, &s).stand(castRank); len(got.live[cast[0].Site()]) > 0 || len(got.live[cast[2].Site()]) != 1 {
			t.Error("it has come back")
		}
	})
}

func TestFactsWhoseAuthorityIsNotKnownYetLetNobodyLeave(t *testing.T) {
	var s script
	s.authority(0, 0)
	s.allow(0, 2)
	s.allow(2, 4)
	s.entries = slices.Delete(s.entries, 1, 2) // it has not arrived here yet
	st := policyOf(t, &s)
	if got := st.withdrawn(); len(got) > 0 {
		t.Errorf("%d sites have to leave", len(got))
	}
	s.wantSites(t, 0)
}

func TestAPolicyFactThatMakesNoSenseIsPassedOver(t *testing.T) {
	var s script
	s.add(0, KindAuthorityFounded, AuthorityFounded{"", "x", sitesOf(0)})
	s.add(0, KindAllowed, Allowed{"nobody"})
	s.add(0, KindForbidden, Forbidden{Site: cast[2].Site(), Heard: make([]Heard, maxHeard+1)})
	s.add(0, KindForbidden, Forbidden{Site: cast[2].Site(), Named: make([]string, maxNamedHere+1)})
	s.add(0, KindFounded, Founded{profileOf(0)})
	if st := stateOf(t, &s); len(st.Said) > 0 {
		t.Errorf("%+v", st)
	}
	s.authority(0, 0)
	s.entries[5].Place.Site = cast[2].Site()
	if st := stateOf(t, &s); len(st.Said) > 0 {
		t.Error("a fact in another site's place was taken")
	}
}

func TestOnlyAnAuthoritysOwnSitesSayWhomItAllows(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	must(t, a.AddAuthority(w.ctx, AuthorityDraft{ID: nordtal, NameDE: "Landkreis Nordtal", NameEN: "Nordtal District",
		Sites: []event.SiteID{a.id.Site(), b.id.Site()}}))
	w.exchange()
	for _, err := range []error{c.Allow(w.ctx, nordtal, c.id.Site()), c.Forbid(w.ctx, nordtal, b.id.Site())} {
		if f := fault.Of(err); !errors.Is(err, ErrNotItsSite) || f.WayOut == "" || !strings.Contains(f.Message, "a, invited") && !strings.Contains(f.Message, "invited, a") {
			t.Errorf("got %v", err)
		}
	}
	// A hostile operator leaves the check out.
	must(t, c.record(w.ctx, event.Draft{Subject: SubjectOf(nordtal), Kind: KindAllowed, Data: Allowed{c.id.Site()}}),
		c.record(w.ctx, event.Draft{Subject: SubjectOf(nordtal), Kind: KindAuthorityFounded,
			Data: AuthorityFounded{"Nordtal", "Nordtal", []event.SiteID{a.id.Site(), b.id.Site(), c.id.Site()}}}))
	w.exchange()
	for _, n := range w.sites {
		if n.Federation.Allowed(c.id.Site(), nordtal) || !n.Federation.Allowed(b.id.Site(), nordtal) {
			t.Errorf("%s believes it", n.name)
		}
		if got, _ := n.Federation.Authority(nordtal); got.NameDE != "Landkreis Nordtal" {
			t.Errorf("%s calls it %s", n.name, got.NameDE)
		}
	}
	wantNothing(t, w, c)
	if _, err := c.Request(w.ctx, a.id.Site(), keyring.Verb, []byte(`{"want":[{"authority":"lk-nordtal"}]}`)); !errors.Is(err, keyring.ErrForbidden) {
		t.Errorf("it asks for keys: %v", err)
	}
	// Said at one of its sites, it counts; and forbidden again it cannot undo that by saying it had been allowed before.
	must(t, b.Allow(w.ctx, nordtal, c.id.Site()))
	w.exchange()
	must(t, c.Forbid(w.ctx, nordtal, b.id.Site()))
	w.exchange()
	must(t, a.Forbid(w.ctx, nordtal, c.id.Site()))
	w.exchange()
	if err := c.Allow(w.ctx, nordtal, c.id.Site()); !errors.Is(err, ErrNotItsSite) {
		t.Errorf("got %v", err)
	}
	must(t, a.Allow(w.ctx, nordtal, b.id.Site()))
	w.exchange()
	for _, n := range w.sites {
		got, _ := n.Federation.Authority(nordtal)
		if want := slices.Sorted(slices.Values([]event.SiteID{a.id.Site(), b.id.Site()})); !slices.Equal(got.Sites, want) {
			t.Errorf("at %s %d sites are allowed", n.name, len(got.Sites))
		}
	}
}

func TestTheNamesOfAnAuthorityAreThoseOfItsSites(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	for n, names := range map[*node][]string{a: {"holdfast.example.org", "a.example.org"}, b: {"holdfast.example.org", "localhost"}, c: {"c.example.org"}} {
		d := n.describe()
		d.Names = names
		must(t, n.Describe(w.ctx, d))
	}
	must(t, a.AddAuthority(w.ctx, AuthorityDraft{ID: nordtal, NameDE: "Landkreis Nordtal", NameEN: "Nordtal District",
		Sites: []event.SiteID{a.id.Site(), b.id.Site()}}))
	w.exchange()
	if got, want := c.Federation.Names(nordtal), []string{"a.example.org", "holdfast.example.org", "localhost"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := c.Federation.Names(event.Federation); len(got) != 4 {
		t.Errorf("got %v", got)
	}
	if got := c.Federation.Names("lk-nowhere"); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if m, _ := a.Federation.MemberOf(c.id.Site()); !slices.Equal(m.Names, []string{"c.example.org"}) {
		t.Errorf("got %v", m.Names)
	}
	for _, bad := range [][]string{{""}, {"A.example.org"}, {"a.example.org:8443"}, {"192.0.2.1"}, {"[::1]"}, {"::1"}, {"a..b"}, {"-a.b"}, {"a.b-"},
		{"a.b."}, {"https://a.b"}, {"ä.example"}, {"a_b.example"}, {strings.Repeat("a", 64) + ".b"}, {strings.Repeat("a.", 130) + "b"}, {"a.b", "a.b"}, make([]string, maxNames+1)} {
		d := a.describe()
		d.Names = bad
		if err := a.Describe(w.ctx, d); !errors.Is(err, ErrProfile) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"localhost", "box", "a-1.example.org", "xn--mller-kva.example", "1a.2b.example"} {
		if !isHost(good) {
			t.Errorf("%q is no host", good)
		}
	}
}

func TestASiteTellsForWhichChannelsItHasGateways(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	for n, channels := range map[*node][]string{a: {}, b: {"sms"}} {
		d := n.describe()
		d.Channels = channels
		must(t, n.Describe(w.ctx, d))
	}
	w.exchange()
	for _, tc := range []struct {
		of, at     *node
		sms, email bool
	}{{a, c, false, false}, {b, a, true, false}, {c, b, true, true}} { // c does not say
		m, _ := tc.at.Federation.MemberOf(tc.of.id.Site())
		if sms, email := m.Gateway("sms"), m.Gateway("email"); sms != tc.sms || email != tc.email {
			t.Errorf("%s at %s: %v %v", tc.of.name, tc.at.name, sms, email)
		}
	}
	must(t, a.AddAuthority(w.ctx, AuthorityDraft{ID: nordtal, NameDE: "Landkreis Nordtal", NameEN: "Nordtal District",
		Sites: []event.SiteID{a.id.Site(), b.id.Site()}}))
	w.exchange()
	for at, here := range map[*node]bool{a: false, b: true} {
		got := at.Federation.Gateways(nordtal, "sms", "email")
		want := []Gateway{{"sms", []event.SiteID{b.id.Site()}, here}, {"email", []event.SiteID{}, false}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("at %s: %v", at.name, got)
		}
	}
	for _, bad := range [][]string{{""}, {"SMS"}, {"sms", "sms"}, {"a b"}, {strings.Repeat("a", 33)}, make([]string, maxChannels+1)} {
		d := a.describe()
		d.Channels = bad
		if err := a.Describe(w.ctx, d); !errors.Is(err, ErrProfile) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

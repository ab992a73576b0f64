// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// arriving is a source of plain maps whose pages arrive bit by bit.
type arriving struct {
	pages   map[eventlog.Branch][]*eventlog.Page
	visible map[eventlog.Branch]int
}

func (s *arriving) Heads() (heads []eventlog.Head) {
	for b, ps := range s.pages {
		if n := s.visible[b]; n > 0 {
			heads = append(heads, eventlog.Head{Branch: b, Page: ps[n-1].Number, Hash: ps[n-1].Hash})
		}
	}
	return heads
}

func (s *arriving) Read(_ context.Context, b eventlog.Branch, after uint64, _ int) ([]*eventlog.Page, error) {
	return s.pages[b][min(int(after), s.visible[b]):s.visible[b]], nil
}

// randomFact draws one fact about few subjects, so that they meet; now and then one that no honest site writes.
func randomFact(rt *rapid.T) event.Event {
	subject := rapid.SampledFrom([]event.Subject{"grant/g1", "grant/g2", "approval/a1", "approval/a2", policySubject}).Draw(rt, "subject")
	people := rapid.SampledFrom([]string{"anna", "bert"})
	var kind event.Kind
	var data any
	switch n := rapid.IntRange(0, 5).Draw(rt, "kind"); {
	case subject == policySubject:
		kind, data = KindPolicySet, PolicySet{MassAlarmFrom: n, SessionMaxMinutes: 60}
	case subject.Root() == "grant" && n < 4:
		kind, data = KindGranted, Granted{Role: rapid.SampledFrom([]Role{Auditor, AlarmOfficer}).Draw(rt, "role"),
			Person: directory.PersonID(people.Draw(rt, "person")), Until: rapid.Int64Range(0, 3).Draw(rt, "until") * noon.UnixMilli()}
	case subject.Root() == "grant":
		kind, data = KindWithdrawn, Withdrawn{Grant: rapid.SampledFrom([]string{"g1", "g2"}).Draw(rt, "grant")}
	case n < 2:
		kind, data = KindApprovalAsked, ApprovalAsked{Deed: DeedRaiseAlarm, Args: json.RawMessage(fmt.Sprint(n)), Expires: noon.UnixMilli()}
	default:
		kind, data = []event.Kind{KindApproved, KindApproved, KindRefused, KindApprovalWithdrawn}[n-2], Approved{Result: fmt.Sprint(n)}
	}
	raw, err := json.Marshal(data)
	if err != nil {
		rt.Fatal(err)
	}
	at := noon.Add(time.Duration(rapid.IntRange(0, 20).Draw(rt, "at")) * time.Second)
	return event.Event{Subject: subject, Kind: kind, Actor: "person/" + people.Draw(rt, "actor"), Stamp: event.StampAt(at), Wall: at.UnixMilli(), Data: raw}
}

var threeSites = []event.SiteID{"site-1", "site-2", "site-3"}

func branchOf(site event.SiteID) eventlog.Branch {
	return eventlog.Branch{LogID: eventlog.LogID{Authority: nordtal, Class: event.Register, Site: site, Incarnation: "0123456789abcdef"}}
}

// randomPages draws the logs of three sites, whose clocks agree on nothing.
func randomPages(rt *rapid.T) map[eventlog.Branch][]*eventlog.Page {
	all := make(map[eventlog.Branch][]*eventlog.Page)
	for _, site := range threeSites {
		b := branchOf(site)
		for number := range rapid.IntRange(0, 4).Draw(rt, "pages") {
			p := &eventlog.Page{Header: eventlog.Header{Log: b.LogID, Number: uint64(number + 1), Wall: noon.UnixMilli()}, StoredAt: noon}
			for i := range rapid.IntRange(1, 4).Draw(rt, "events") {
				e := randomFact(rt)
				id := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", b, number, i))
				e.ID = event.ID(fmt.Sprintf("%x", id[:8]))
				p.Events = append(p.Events, e)
			}
			if number > 0 {
				p.Prev = all[b][number-1].Hash
			}
			p.Hash = sha256.Sum256(fmt.Appendf(nil, "%s %d", b, number))
			all[b] = append(all[b], p)
		}
	}
	return all
}

func openModel(t testing.TB, src *arriving) *readmodel.Model {
	t.Helper()
	m, err := readmodel.Open(context.Background(), readmodel.Config{Path: ":memory:", Folds: []readmodel.Fold{Fold()}, Source: src, Self: "site-1"})
	ok(t, err)
	return m
}

// shown is everything that can be read at two moments, and the state.
func shown(t testing.TB, m *readmodel.Model) (out []any) {
	t.Helper()
	ctx := context.Background()
	_, err := m.CatchUp(ctx)
	ok(t, err)
	hash, err := m.StateHash(ctx)
	ok(t, err)
	aside, err := m.SetAside(ctx)
	ok(t, err)
	out = append(out, hash, len(aside))
	for _, now := range []time.Time{noon.Add(-time.Hour), noon.Add(time.Hour)} {
		s := New(Config{Model: m, Now: func() time.Time { return now }})
		grants, err := s.Grants(ctx, nordtal)
		ok(t, err)
		approvals, err := s.Approvals(ctx, nordtal)
		ok(t, err)
		policy, err := s.Policy(ctx, nordtal)
		ok(t, err)
		out = append(out, grants, approvals, policy)
		ok(t, m.View(ctx, func(q readmodel.Query) error {
			for _, p := range []directory.PersonID{"anna", "bert"} {
				h, err := grantsHeld(ctx, q, nordtal, p, nil, now)
				ok(t, err)
				out = append(out, fmt.Sprintf("%v", h))
			}
			return nil
		}))
	}
	return out
}

// Whatever the order in which pages arrive, states and views are the same everywhere.
func TestAnyOrderOfArrivalShowsTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pages := randomPages(rt)
		whole := &arriving{pages: pages, visible: make(map[eventlog.Branch]int)}
		for b, ps := range pages {
			whole.visible[b] = len(ps)
		}
		first := openModel(t, whole)
		defer first.Close()
		want := shown(t, first)

		slow := &arriving{pages: pages, visible: make(map[eventlog.Branch]int)}
		m := openModel(t, slow)
		defer m.Close()
		for left := true; left; {
			left = false
			for _, site := range threeSites {
				b := branchOf(site)
				ps := pages[b]
				slow.visible[b] += rapid.IntRange(0, len(ps)-slow.visible[b]).Draw(rt, "arrive")
				left = left || slow.visible[b] < len(ps)
			}
			if left {
				shown(t, m)
			}
		}
		if diff := cmp.Diff(want, shown(t, m)); diff != "" {
			rt.Error(diff)
		}
		if diff := cmp.Diff(plainly(pages), fmt.Sprint(want[2:][3:5])); diff != "" {
			rt.Errorf("not what a plain reading gives: %s", diff)
		}
	})
}

// plainly says, without any order but that of the first granting, which grants anna and bert have an hour before noon.
func plainly(pages map[eventlog.Branch][]*eventlog.Page) string {
	withdrawn, first, where := map[string]bool{}, map[string]Granted{}, map[string]event.Place{}
	for _, ps := range pages {
		for _, p := range ps {
			for i, e := range p.Events {
				id := e.Subject.Part(1)
				place := p.PlaceOf(i)
				switch e.Kind {
				case KindWithdrawn:
					var f Withdrawn
					_ = json.Unmarshal(e.Data, &f)
					withdrawn[id] = withdrawn[id] || f.Grant == id
				case KindGranted:
					if at, known := where[id]; !known || place.Compare(at) < 0 {
						var f Granted
						_ = json.Unmarshal(e.Data, &f)
						first[id], where[id] = f, place
					}
				}
			}
		}
	}
	var out []any
	for _, p := range []directory.PersonID{"anna", "bert"} {
		var list []held
		for _, id := range []string{"g1", "g2"} {
			if g, known := first[id]; known && !withdrawn[id] && g.Person == p && (g.Until == 0 || g.Until > noon.Add(-time.Hour).UnixMilli()) {
				list = append(list, held{id: id, role: g.Role})
			}
		}
		out = append(out, fmt.Sprintf("%v", list))
	}
	return fmt.Sprint(out)
}

func TestWhatDoesNotBelongIsSetAside(t *testing.T) {
	entry := func(subject event.Subject, kind event.Kind, data string) readmodel.Entry {
		return readmodel.Entry{Event: event.Event{Subject: subject, Kind: kind, Data: json.RawMessage(data)}}
	}
	for _, e := range []readmodel.Entry{
		entry("grant/1", KindPolicySet, `{}`), entry("policy/access", KindGranted, `{}`), entry("approval/1", KindWithdrawn, `{}`),
		entry("grant", KindGranted, `{}`), entry("grant/1/2", KindGranted, `{}`), entry("grant/1", KindGranted, `7`),
		entry("grant/1", KindWithdrawn, `[]`), entry("approval/1", KindApprovalAsked, `"x"`), entry("approval/1", KindApproved, `0`),
		entry("policy/access", KindPolicySet, `[]`),
	} {
		if s, err := apply(State{}, e); err == nil {
			t.Errorf("%s under %s with %s: %+v", e.Kind, e.Subject, e.Data, s)
		}
	}
}

func TestOneRequestKeepsABoundedNumberOfDecisions(t *testing.T) {
	var s State
	for i := range maxDecisions + 10 {
		var err error
		s, err = apply(s, readmodel.Entry{Event: event.Event{Subject: "approval/1", Kind: KindApproved, Actor: strings.Repeat("x", i), Data: json.RawMessage(`{}`)}})
		ok(t, err)
	}
	if n := len(s.Approval.Decisions); n != maxDecisions {
		t.Errorf("%d decisions", n)
	}
}

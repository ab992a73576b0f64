// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
)

var update = flag.Bool("update", false, "write the golden files of new kinds; old ones stay for ever")

// facts has one of every kind, with every field set.
func facts() map[event.Kind]any {
	site := event.SiteID(strings.Repeat("a", 52))
	return map[event.Kind]any{
		KindRaised: &Raised{TextDE: "Hochwasser", TextEN: "Flood", Mode: event.Exercise, Audience: directory.Audience{Everyone: true},
			Ranking: []event.SiteID{site}, Channels: []directory.ChannelKind{"email", "sms"}, TakeoverAfterMillis: 5000,
			Recipients: 2, WithoutChannel: 1, Chunks: 1, LinkExpires: 1795521600},
		KindRecipientsNamed: &RecipientsNamed{People: []Named{{Person: "ffeeddccbbaa0099", Unit: "0011223344556677", Channels: []directory.ChannelKind{"sms"}}}},
		KindAccepted:        &Accepted{Channel: "sms", Wave: Closing, Ref: "m-1", Site: site, Tries: 2, Unsecured: true},
		KindRefused:         &Refused{Channel: "sms", Wave: Closing, Reason: "sms.http_400", Final: true, Site: site, Tries: 2},
		KindReplied:         &Replied{Kind: Coming, ETAMinutes: 20, Via: site},
		KindCancelled:       &Cancelled{Raised: "00112233445566aa", TextDE: "Fehlalarm", TextEN: "false alarm"},
		KindAllClear:        &AllClear{Raised: "00112233445566aa", TextDE: "Pegel fällt", TextEN: "water falls"},
		KindCallerReported:  &CallerReported{Site: site, Wave: Closing, Pending: 7},
		KindTakenOver:       &TakenOver{Site: site, Rank: 1, Wave: Closing, SilentMillis: 5012, Pending: 7},
		KindCallingOrdered:  &CallingOrdered{Raised: "00112233445566aa", Wave: Closing},
		KindClockDiffered:   &ClockDiffered{Fact: "00112233445566aa", Site: site, AheadMillis: -7862400000, By: site},
	}
}

func TestTheStoredFormOfEveryFactStays(t *testing.T) {
	all := facts()
	for _, k := range Kinds() {
		f := all[k]
		if f == nil {
			t.Fatalf("%s has no sample", k)
		}
		got, err := json.MarshalIndent(f, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join("testdata", "fact", string(k)+".json")
		want, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) && *update {
			want = append(got, '\n')
			err = os.WriteFile(name, want, 0o644)
		}
		if err != nil {
			t.Fatalf("%v (for a new kind, run the test with -update)", err)
		}
		if d := cmp.Diff(string(want), string(got)+"\n"); d != "" {
			t.Errorf("%s: %s", k, d)
		}
	}
}

// told folds facts in the given order, each a second after the one before.
func told(t *testing.T, list ...any) State {
	t.Helper()
	var s State
	for i, f := range list {
		e := readmodel.Entry{Event: event.Event{ID: event.ID(strings.Repeat("0", 15) + string(rune('a'+i))), Wall: int64(1000 * i), Stamp: event.Stamp(i)}}
		switch f := f.(type) {
		case Raised:
			e.Kind = KindRaised
		case RecipientsNamed:
			e.Kind = KindRecipientsNamed
		case Accepted:
			e.Kind = KindAccepted
		case Refused:
			e.Kind = KindRefused
		case Replied:
			e.Kind = KindReplied
		case Cancelled:
			e.Kind = KindCancelled
		case AllClear:
			e.Kind = KindAllClear
		case CallerReported:
			e.Kind, e.Place.Site = KindCallerReported, f.Site
		case TakenOver:
			e.Kind, e.Place.Site = KindTakenOver, f.Site
		case CallingOrdered:
			e.Kind = KindCallingOrdered
		case ClockDiffered:
			e.Kind, e.Place.Site = KindClockDiffered, f.By
		}
		var err error
		if e.Data, err = json.Marshal(f); err != nil {
			t.Fatal(err)
		}
		if s, err = Apply(s, e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestTheClosingThatCountsRefersToTheAlarm(t *testing.T) {
	for name, c := range map[string]struct {
		list []any
		want Ending
	}{
		"open":                               {[]any{Raised{}}, StillOpen},
		"all-clear":                          {[]any{Raised{}, AllClear{Raised: "000000000000000a"}}, WasCleared},
		"cancelled":                          {[]any{Raised{}, Cancelled{Raised: "000000000000000a"}}, WasCancelled},
		"a wrong clock sorts it before":      {[]any{Cancelled{Raised: "000000000000000b"}, Raised{}}, WasCancelled},
		"it refers to something else":        {[]any{Raised{}, Cancelled{Raised: "000000000000000f"}}, StillOpen},
		"of two the first counts":            {[]any{Raised{}, AllClear{Raised: "000000000000000a"}, Cancelled{Raised: "000000000000000a"}}, WasCleared},
		"only a closing has arrived":         {[]any{AllClear{Raised: "000000000000000a"}}, StillOpen},
		"a second raising changes nothing":   {[]any{Raised{TextDE: "x"}, Raised{TextDE: "y"}, AllClear{Raised: "000000000000000b"}}, StillOpen},
		"an empty reference is no reference": {[]any{AllClear{}}, StillOpen},
	} {
		s := told(t, c.list...)
		if got, _ := s.Alarm.Closing(); got.Ending != c.want {
			t.Errorf("%s: got %q, want %q", name, got.Ending, c.want)
		}
	}
}

func TestOrdersAndNotesAreBoundedAndEachSiteSpeaksForItself(t *testing.T) {
	list := []any{Raised{}}
	for range 3 * MaxOrders {
		list = append(list, CallingOrdered{Raised: "000000000000000a"})
	}
	if s := told(t, list...); len(s.Alarm.Orders) != MaxOrders || s.Alarm.Orders[0].Raised != s.Alarm.Event {
		t.Errorf("got %d orders of %d", len(s.Alarm.Orders), len(list)-1)
	}
	list = []any{ClockDiffered{Fact: "f", Site: "a", AheadMillis: 7, By: "b"}, ClockDiffered{Fact: "f", Site: "a", AheadMillis: 8, By: "b"}}
	for i := range 3 * notesPerSite {
		list = append(list, ClockDiffered{Fact: event.ID(rune('A' + i)), Site: "a", By: "rogue"})
	}
	s := told(t, append(list, ClockDiffered{Fact: "f", Site: "a", AheadMillis: 9, By: "c"})...)
	if got := s.Clocks.of("f"); len(got) != 2 || got[0].AheadMillis != 7 || got[1].AheadMillis != 9 || len(s.Clocks.Notes) != 2+notesPerSite {
		t.Errorf("got %+v, %d notes", got, len(s.Clocks.Notes))
	}
	if n := s.Clocks.warning("f", "c"); n == nil || n.AheadMillis != 9 {
		t.Errorf("a site shows another's note and not its own: %+v", n)
	}
	data, _ := json.Marshal(ClockDiffered{Fact: "f", Site: "a", By: "somebody else"})
	forged := readmodel.Entry{Event: event.Event{Kind: KindClockDiffered, Data: data}, Place: event.Place{Site: "rogue"}}
	if s, err := Apply(State{}, forged); err != nil || len(s.Clocks.Notes) != 0 {
		t.Errorf("a site speaks for another: %+v, %v", s.Clocks, err)
	}
}

func TestStatusAndWhatIsDue(t *testing.T) {
	kinds := func(k ...directory.ChannelKind) []directory.ChannelKind { return k }
	both := kinds("sms", "email")
	for name, c := range map[string]struct {
		named         []directory.ChannelKind
		list          []any
		want          Status
		call, closing []directory.ChannelKind
	}{
		"nothing yet":                    {both, nil, StatusPending, both, nil},
		"no channel":                     {nil, nil, StatusWithout, nil, nil},
		"called by one":                  {both, []any{Accepted{Channel: "sms"}}, StatusSilent, kinds("email"), kinds("sms")},
		"called by both":                 {both, []any{Accepted{Channel: "sms"}, Accepted{Channel: "email"}}, StatusSilent, nil, kinds("email", "sms")},
		"refused for now":                {both, []any{Refused{Channel: "sms"}}, StatusPending, both, nil},
		"refused for good by one":        {both, []any{Refused{Channel: "sms", Final: true}}, StatusPending, kinds("email"), nil},
		"refused for good by all":        {both, []any{Refused{Channel: "sms", Final: true}, Refused{Channel: "email", Final: true}}, StatusFailed, nil, nil},
		"refused, then taken elsewhere":  {kinds("sms"), []any{Refused{Channel: "sms", Final: true}, Accepted{Channel: "sms"}}, StatusSilent, nil, kinds("sms")},
		"called twice by one site":       {kinds("sms"), []any{Accepted{Channel: "sms", Site: "a"}, Accepted{Channel: "sms", Site: "a"}}, StatusSilent, nil, kinds("sms")},
		"called by two sites":            {both, []any{Accepted{Channel: "sms", Site: "a"}, Accepted{Channel: "sms", Site: "b", Unsecured: true}}, StatusSilent, kinds("email"), kinds("sms")},
		"called three times, told once":  {kinds("sms"), []any{Accepted{Channel: "sms"}, Accepted{Channel: "sms"}, Accepted{Channel: "sms"}, Accepted{Channel: "sms", Wave: Closing}}, StatusSilent, nil, nil},
		"told twice that it is over":     {kinds("sms"), []any{Accepted{Channel: "sms"}, Accepted{Channel: "sms", Wave: Closing}, Accepted{Channel: "sms", Wave: Closing}}, StatusSilent, nil, nil},
		"told that it is over":           {both, []any{Accepted{Channel: "sms"}, Accepted{Channel: "sms", Wave: Closing}}, StatusSilent, kinds("email"), nil},
		"closing refused for good":       {both, []any{Accepted{Channel: "sms"}, Refused{Channel: "sms", Wave: Closing, Final: true}}, StatusSilent, kinds("email"), nil},
		"replied before any receipt":     {both, []any{Replied{Kind: Safe}}, StatusSafe, both, nil},
		"the last reply counts":          {both, []any{Accepted{Channel: "sms"}, Replied{Kind: Coming, ETAMinutes: 5}, Replied{Kind: Cannot}}, StatusCannot, kinds("email"), kinds("sms")},
		"a reply of a kind to come":      {both, []any{Accepted{Channel: "sms"}, Replied{Kind: "hurt"}}, StatusSilent, kinds("email"), kinds("sms")},
		"a channel that was not planned": {kinds("email"), []any{Accepted{Channel: "sms"}}, StatusSilent, kinds("email"), kinds("sms")},
	} {
		r := row{Named: true, Channels: c.named, Person: told(t, c.list...).Person}
		if got := r.status(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if d := cmp.Diff(c.call, r.due(Call)); d != "" {
			t.Errorf("%s, due in the call: %s", name, d)
		}
		if d := cmp.Diff(c.closing, r.due(Closing)); d != "" {
			t.Errorf("%s, due in the closing: %s", name, d)
		}
		r.Named = false
		if r.status() != "" || r.due(Call) != nil {
			t.Errorf("%s: counted before being named", name)
		}
	}
}

func TestCountersAreTheSameWhateverComesFirst(t *testing.T) {
	states := []row{
		{}, {Named: true, Unit: "u", Channels: []directory.ChannelKind{"sms", "email"}},
		{Person: told(t, Accepted{Channel: "sms"}, Accepted{Channel: "sms"}).Person},
		{Named: true, Unit: "u", Channels: []directory.ChannelKind{"sms", "email"}, Person: told(t, Accepted{Channel: "sms"}, Accepted{Channel: "sms"}).Person},
		{Named: true, Unit: "u", Channels: []directory.ChannelKind{"sms", "email"}, Person: told(t, Accepted{Channel: "sms"}, Accepted{Channel: "sms"}, Replied{Kind: Safe}).Person},
	}
	direct := make(tallies)
	direct.move(states[0], states[4])
	for _, way := range [][]int{{0, 1, 3, 4}, {0, 2, 3, 4}, {0, 2, 3, 1, 3, 4}, {0, 4, 0, 4}} {
		got := make(tallies)
		for i := 1; i < len(way); i++ {
			got.move(states[way[i-1]], states[way[i]])
		}
		for d, want := range direct {
			if diff := cmp.Diff(want, got[d]); diff != "" {
				t.Errorf("way %v, %v: %s", way, d, diff)
			}
		}
	}
	all := direct[total]
	if all.Recipients != all.Coming+all.Cannot+all.Safe+all.Silent+all.Without+all.Pending+all.Failed {
		t.Errorf("the statuses do not add up: %+v", all)
	}
}

// What one site can say again and again about an alarm does not make the alarm's state grow with it.
func TestTheStateOfAnAlarmIsBounded(t *testing.T) {
	closings := func(n int, of func(int) event.ID) (list []any) {
		for i := range n {
			list = append(list, AllClear{Raised: of(i)})
		}
		return list
	}
	first := event.ID("000000000000000a")
	invented := func(i int) event.ID { return event.ID(fmt.Sprintf("%016x", 0xf000+i)) }
	s := told(t, append([]any{Raised{}}, closings(20, func(int) event.ID { return first })...)...)
	if n := len(s.Alarm.Closings); n != 1 {
		t.Errorf("of twenty closings of one alarm %d are kept", n)
	}
	s = told(t, append(append([]any{Raised{}}, closings(20, invented)...), Cancelled{Raised: first})...)
	if c, closed := s.Alarm.Closing(); len(s.Alarm.Closings) != 1 || !closed || c.Ending != WasCancelled {
		t.Errorf("beside closings of invented alarms %+v is kept", s.Alarm.Closings)
	}
	if s = told(t, closings(200, invented)...); len(s.Alarm.Closings) != maxClosings {
		t.Errorf("of 200 closings of an unknown alarm %d are kept", len(s.Alarm.Closings))
	}
}

func TestNobodyGivesASignForAnotherSite(t *testing.T) {
	e := readmodel.Entry{Event: event.Event{ID: "000000000000000a", Kind: KindCallerReported, Data: []byte(`{"site":"first","pending":3}`)}}
	e.Place.Site = "rogue"
	s, err := Apply(State{}, e)
	if err != nil || len(s.Caller.Sites) != 0 {
		t.Errorf("a site speaks for another one: %+v, %v", s.Caller, err)
	}
	e.Place.Site = "first"
	if s, err = Apply(s, e); err != nil || s.Caller.Sites["first"].Pending != 3 {
		t.Errorf("a site does not speak for itself: %+v, %v", s.Caller, err)
	}
}

func TestTakeoversAreBounded(t *testing.T) {
	var list []any
	for i := range 3 * MaxTakeovers {
		list = append(list, TakenOver{Site: "s", Rank: i})
	}
	s := told(t, append(list, CallerReported{Site: "s", Pending: 4})...)
	if n := len(s.Caller.Takeovers); n != MaxTakeovers || s.Caller.Takeovers[n-1].Rank != 3*MaxTakeovers-1 || s.Caller.Sites["s"].Pending != 4 {
		t.Errorf("got %d takeovers, the last %+v", n, s.Caller.Takeovers[n-1])
	}
}

func TestALateEventAndARebuildGiveTheSameBoard(t *testing.T) {
	w := newWorld(t, 20, "one", "two")
	first, second := w.stations[0], w.stations[1]
	w.net.Cut(first.name, second.name)
	a := first.raise(Draft{Ranking: w.ranking()})
	w.run(3)
	link := Link{Authority: nordtal, Alarm: a.ID, Person: w.order[3], Expires: noon.Add(time.Hour)}
	key, _ := w.Named(t.Context(), nordtal, linkKey)
	token := tokenOf(t, link, key.Secret)
	v, err := second.service.ReplyView(t.Context(), token)
	if err != nil || v.Known || v.Reply != nil {
		t.Fatalf("before the alarm is known: %+v, %v", v, err)
	}
	if _, _, err := second.service.Reply(t.Context(), token, Coming, 20); err != nil {
		t.Fatal(err)
	}
	w.net.HealAll()
	w.run(3)
	w.converged()
	for _, s := range w.stations {
		b := s.board(a.ID)
		if b.Total.Coming != 1 || b.Total.Silent != 19 || b.Total.Replied() != 1 {
			t.Errorf("got %+v", b.Total)
		}
		if err := s.model.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b.Total, s.board(a.ID).Total); d != "" {
			t.Errorf("after a rebuild: %s", d)
		}
	}
	v, err = first.service.ReplyView(t.Context(), token)
	if err != nil || !v.Known || v.Reply == nil || v.Reply.ETAMinutes != 20 || v.Reply.Via != second.name || v.Alarm.Raised.TextDE == "" {
		t.Errorf("after healing: %+v, %v", v, err)
	}
}

func TestTheLastReplyWinsAlsoAgainstAFasterClock(t *testing.T) {
	w := newWorld(t, 3, "one", "two")
	a := w.stations[0].raise(Draft{Ranking: w.ranking()})
	w.run(2)
	key, _ := w.Named(t.Context(), nordtal, linkKey)
	token := tokenOf(t, Link{Authority: nordtal, Alarm: a.ID, Person: w.order[0], Expires: noon.Add(time.Hour)}, key.Secret)
	w.now = w.now.Add(4 * time.Minute) // the first site's clock is fast
	if _, _, err := w.stations[0].service.Reply(t.Context(), token, Coming, 10); err != nil {
		t.Fatal(err)
	}
	w.run(0.5)
	w.now = w.now.Add(-4 * time.Minute)
	if _, r, err := w.stations[1].service.Reply(t.Context(), token, Cannot, 0); err != nil || r.Events[0].Mode != event.Exercise {
		t.Fatal(r, err)
	}
	w.run(1)
	for _, s := range w.stations {
		line, found, err := s.service.Person(t.Context(), nordtal, a.ID, w.order[0])
		if err != nil || !found || line.Status != StatusCannot {
			t.Errorf("got %+v, %v", line, err)
		}
	}
}

func TestRepliesAreChecked(t *testing.T) {
	w := newWorld(t, 1, "one")
	s := w.stations[0].service
	key, _ := w.Named(t.Context(), nordtal, linkKey)
	good := tokenOf(t, Link{Authority: nordtal, Alarm: sample.Alarm, Person: w.order[0], Expires: noon.Add(time.Hour)}, key.Secret)
	old := tokenOf(t, Link{Authority: nordtal, Alarm: sample.Alarm, Person: w.order[0], Expires: noon.Add(-MaxLinkValid - time.Hour)}, key.Secret)
	foreign := tokenOf(t, Link{Authority: "lk-anderswo", Alarm: sample.Alarm, Person: w.order[0], Expires: noon.Add(time.Hour)}, key.Secret)
	for name, c := range map[string]struct {
		token string
		kind  ReplyKind
		eta   int
		want  error
	}{
		"OK":                      {good, Coming, 1, nil},
		"OK, without minutes":     {good, Coming, 0, nil},
		"OK, safe":                {good, Safe, 0, nil},
		"ErrReply, kind":          {good, "maybe", 0, ErrReply},
		"ErrReply, too late":      {good, Coming, 1441, ErrReply},
		"ErrReply, negative":      {good, Coming, -1, ErrReply},
		"ErrReply, safe in 5 min": {good, Safe, 5, ErrReply},
		"ErrLinkExpired":          {old, Safe, 0, ErrLinkExpired},
		"ErrNotHere":              {foreign, Safe, 0, ErrNotHere},
		"ErrLink":                 {good[:46], Safe, 0, ErrLink},
	} {
		if _, _, err := s.Reply(t.Context(), c.token, c.kind, c.eta); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestRaisingNamesEverybodyInSmallChunks(t *testing.T) {
	w := newWorld(t, 1203, "one")
	a, r, err := w.stations[0].service.Raise(t.Context(), nordtal, Draft{TextDE: strings.Repeat("\u0001", MaxTextRunes), TextEN: strings.Repeat("𝄞", MaxTextRunes),
		Mode: event.Test, Audience: directory.Audience{Persons: w.order}, Channels: []directory.ChannelKind{directory.SMS}})
	if err != nil {
		t.Fatal(err)
	}
	if a.Raised.Chunks != 3 || len(r.Events) != 4 || r.Events[3].Kind != KindRaised || a.Raised.Recipients != 1203 {
		t.Errorf("got %d chunks, %d events", a.Raised.Chunks, len(r.Events))
	}
	for _, e := range r.Events {
		if len(e.Data) > event.MaxEventBytes-1024 {
			t.Errorf("%s is %d bytes long", e.Kind, len(e.Data))
		}
	}
	if d := cmp.Diff([]directory.ChannelKind{directory.SMS}, a.Raised.Channels); d != "" {
		t.Error(d)
	}
	p, err := w.stations[0].service.Preview(t.Context(), nordtal, directory.Audience{Everyone: true})
	if err != nil || p.People != 1203 || p.PerChannel[directory.Email] != 1203 || p.WithoutChannel != 0 {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, _, err := w.stations[0].service.Raise(t.Context(), nordtal, Draft{TextDE: "x", Mode: event.Test}); !errors.Is(err, ErrNobody) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := w.stations[0].service.Cancel(t.Context(), nordtal, "00112233445566aa", Words{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
	var _ eventlog.Appender = w.stations[0].log
}

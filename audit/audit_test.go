// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
)

var signin = Entry{Deed: "signin", Actor: "person/12c0", Way: "passkey", From: "192.0.2.7", Object: "account/12c0", Outcome: Done, Grant: "g1", Count: 1}

func TestALineSaysWhoWhatWhenAndFromWhere(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	ok(t, a.Record(w.ctx, nordtal, signin))
	lines := a.lines(nordtal, Query{})
	if len(lines) != 1 {
		t.Fatalf("%d lines, want one", len(lines))
	}
	l := lines[0]
	if diff := cmp.Diff(signin, l.Entry); diff != "" {
		t.Error(diff)
	}
	if l.Site != a.id.Site() || !l.At.Equal(w.now) || l.Readable != Readable || l.ID == "" || l.Stamp == 0 || !l.Since.IsZero() {
		t.Errorf("%+v", l)
	}
	if err := a.Record(w.ctx, forbidden, signin); !errors.Is(err, eventlog.ErrSiteNotAllowed) {
		t.Errorf("a line of a foreign authority: %v", err)
	}
}

func TestAnAddressIsNowhereInTheClear(t *testing.T) {
	w := newWorld(t, 1)
	dir := t.TempDir()
	a := w.site(filepath.Join(dir, "read.db"))
	ok(t, a.ring.Found(w.ctx, nordtal))
	ok(t, a.Record(w.ctx, nordtal, signin))
	ok(t, a.Record(w.ctx, "", signin))
	a.Gather(nordtal, signin)
	ok(t, a.Flush(w.ctx))
	if n := len(a.lines(nordtal, Query{})); n != 2 {
		t.Fatalf("%d lines, want two", n)
	}
	stored := append(a.export(nordtal), a.export(event.Federation)...)
	for _, p := range append(a.pages(nordtal), a.pages(event.Federation)...) {
		stored = append(stored, p.Raw()...)
	}
	ok(t, a.model.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	ok(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		ok(t, err)
		stored = append(stored, b...)
	}
	if bytes.Contains(stored, []byte(signin.From)) {
		t.Error("the address is stored in the clear")
	}
}

func TestWhatBelongsToNobodyHasAPseudonymForItsSource(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	ok(t, a.Record(w.ctx, "", signin))
	l := a.lines("", Query{})[0]
	if l.From != "~9" || l.Readable != Pseudonym {
		t.Errorf("%+v", l)
	}
	stranger := w.site(":memory:") // it holds no key of nordtal
	ok(t, stranger.Record(w.ctx, nordtal, signin))
	if l := stranger.lines(nordtal, Query{})[0]; l.From != "~9" || l.Readable != Pseudonym {
		t.Errorf("without a key: %+v", l)
	}
}

func TestEntriesAreCutToTheirBounds(t *testing.T) {
	long := strings.Repeat("ä", 500)
	e := Entry{Deed: long, Actor: long, Way: long, From: long, Object: "/enrol?token=secret", Code: "a\x00b\x1b[31m", Grant: long, Outcome: "odd", Count: -3}.bounded()
	for name, c := range map[string]struct {
		got  string
		most int
	}{"deed": {e.Deed, maxDeed}, "actor": {e.Actor, maxActor}, "way": {e.Way, maxWay}, "from": {e.From, maxFrom}, "grant": {e.Grant, maxGrant}} {
		if len(c.got) > c.most || len(c.got) < c.most-3 || !strings.HasPrefix(long, c.got) {
			t.Errorf("%s has %d bytes", name, len(c.got))
		}
	}
	if e.Object != "/enrol" || e.Code != "ab[31m" || e.Outcome != Done || e.Count != 1 {
		t.Errorf("%+v", e)
	}
}

func TestAMonthHasOneKeyAtASite(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { ok(t, a.Record(w.ctx, nordtal, signin)) })
	}
	group.Wait()
	a.fold()
	again := New(a.cfg) // as after a restart
	ok(t, again.Record(w.ctx, nordtal, signin))
	w.now = w.now.AddDate(0, 0, 9) // December
	ok(t, a.Record(w.ctx, nordtal, signin))
	opened := 0
	for _, p := range a.pages(nordtal) {
		for _, e := range p.Events {
			if e.Kind == KindMonthOpened {
				opened++
			}
		}
	}
	if opened != 2 {
		t.Errorf("%d keys were made in two months", opened)
	}
}

func TestTwoSitesMayOpenTheSameMonth(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	ok(t, a.Record(w.ctx, nordtal, signin))
	ok(t, b.Record(w.ctx, nordtal, signin))
	// The pages arrive before the keys.
	for _, p := range b.pages(nordtal) {
		_, err := a.log.Accept(w.ctx, [][]byte{p.Raw()})
		ok(t, err)
	}
	if lines := a.lines(nordtal, Query{}); len(lines) != 2 || lines[0].Readable == lines[1].Readable {
		t.Errorf("%+v", lines)
	}
	w.meet()
	for _, r := range w.sites {
		for _, l := range r.lines(nordtal, Query{}) {
			if l.Readable != Readable || l.From != signin.From {
				t.Errorf("%+v", l)
			}
		}
	}
	ok(t, a.Record(w.ctx, nordtal, signin))
	w.now = w.now.AddDate(1, 1, 0)
	if n, err := b.Expire(w.ctx, nordtal, 0); err != nil || n != 2 {
		t.Errorf("%d keys of the month expired, %v", n, err)
	}
	w.meet()
	if a.hash() != b.hash() {
		t.Error("the sites differ")
	}
}

func (r *rig) hash() string {
	r.w.t.Helper()
	h, err := r.model.StateHashOf(r.w.ctx, nordtal)
	ok(r.w.t, err)
	return fmt.Sprint(h)
}

func TestAddressesExpireAndLinesStay(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	ok(t, a.Record(w.ctx, nordtal, signin))
	w.meet()
	before := b.hash()
	w.now = time.Date(2026, 12, 30, 0, 0, 0, 0, time.UTC)
	if n, err := b.Expire(w.ctx, nordtal, 30); err != nil || n != 0 {
		t.Errorf("a day too early: %d, %v", n, err)
	}
	w.now = w.now.AddDate(0, 0, 1)
	if n, err := b.Expire(w.ctx, nordtal, 30); err != nil || n != 1 {
		t.Errorf("expired %d, %v", n, err)
	}
	if n, err := b.Expire(w.ctx, nordtal, 30); err != nil || n != 0 {
		t.Errorf("expired again %d, %v", n, err)
	}
	if l := b.lines(nordtal, Query{Deed: "signin"}); len(l) != 1 || l[0].Readable != Erased || l[0].From != "" || l[0].Actor != signin.Actor {
		t.Errorf("%+v", l)
	}
	if l := b.lines(nordtal, Query{Deed: DeedExpire}); len(l) != 1 || l[0].Count != 1 {
		t.Errorf("the expiry is not recorded: %+v", l)
	}
	w.meet()
	if l := a.lines(nordtal, Query{Deed: "signin"}); l[0].Readable != Erased {
		t.Errorf("elsewhere: %+v", l)
	}
	if _, err := Verify(bytes.NewReader(a.export(nordtal))); err != nil || before == b.hash() {
		t.Errorf("after expiry: %v", err)
	}
	// A key that was erased while its month still ran is not used again.
	ok(t, a.Record(w.ctx, nordtal, signin))
	id, _ := a.months.get(nordtal, "2026-12")
	w.early = true
	ok(t, a.ring.Erase(w.ctx, nordtal, id))
	ok(t, a.Record(w.ctx, nordtal, signin))
	if l := a.lines(nordtal, Query{Deed: "signin"}); l[0].Readable != Readable || l[1].Readable != Erased {
		t.Errorf("%+v", l)
	}
}

func TestNobodyTakesThePlaceOfALine(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	w.now = w.now.Add(time.Minute)
	ok(t, a.Record(w.ctx, nordtal, signin))
	pages := a.pages(nordtal)
	victim := pages[0].Events[len(pages[0].Events)-1]
	w.now = w.now.Add(-30 * time.Second) // an earlier stamp sorts first
	_, err := b.log.Append(w.ctx, nordtal, event.Audit, event.Draft{Subject: victim.Subject, Kind: KindRecorded, Actor: "person/ffff",
		Data: Recorded{Deed: "nothing", Outcome: Done, Count: 1}})
	ok(t, err)
	w.meet()
	for _, r := range w.sites {
		lines := r.lines(nordtal, Query{})
		if len(lines) != 2 || lines[0].Deed != "signin" || lines[0].Site != a.id.Site() || lines[1].Site != b.id.Site() {
			t.Errorf("%+v", lines)
		}
		if found := r.lines(nordtal, Query{Text: "nothing"}); len(found) != 1 {
			t.Errorf("%+v", found)
		}
	}
}

func TestFactsOfAnotherSubjectAreSetAside(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	_, err := a.log.Append(w.ctx, nordtal, event.Audit,
		event.Draft{Subject: "auditkey/2026-10", Kind: KindMonthOpened, Data: MonthOpened{Month: "2026-11", Key: "00112233445566aa"}},
		event.Draft{Subject: "auditkey/2026-11", Kind: KindRecorded, Data: Recorded{}},
		event.Draft{Subject: "audit/1/2", Kind: KindRecorded, Data: Recorded{}},
		event.Draft{Subject: "audit/2", Kind: KindRecorded, Data: []int{1}})
	ok(t, err)
	_, err = a.log.Append(w.ctx, nordtal, event.Register, event.Draft{Subject: "audit/3", Kind: KindRecorded, Data: Recorded{}})
	ok(t, err)
	_, err = a.model.CatchUp(w.ctx)
	ok(t, err)
	if aside, err := a.model.SetAside(w.ctx); err != nil || len(aside) != 5 {
		t.Errorf("%d set aside, %v", len(aside), err)
	}
}

func TestAPageIsFoundByEverythingThatIsInIt(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	for i := range 30 {
		e := signin
		e.Actor = fmt.Sprintf("person/%04x", i%3)
		if i%2 == 0 {
			e = Entry{Deed: "role.grant", Actor: e.Actor, Object: "grant/abcd", Outcome: Refused, Code: "access.forbidden"}
		}
		ok(t, w.sites[i%2].Record(w.ctx, nordtal, e))
		ok(t, a.Record(w.ctx, "other-town", e))
		w.now = w.now.Add(time.Second)
	}
	w.meet()
	start := w.now.Add(-30 * time.Second)
	for name, c := range map[string]struct {
		q    Query
		want int
	}{
		"everything":    {Query{}, 30},
		"word":          {Query{Text: "sign"}, 15},
		"words":         {Query{Text: "Role, GRANT"}, 15},
		"code":          {Query{Text: "forbid"}, 15},
		"actor's id":    {Query{Text: "0001"}, 10},
		"no such":       {Query{Text: "nothing"}, 0},
		"actor":         {Query{Actor: "person/0001"}, 10},
		"actor, prefix": {Query{Actor: "person/000"}, 0},
		"deed":          {Query{Deed: "signin"}, 15},
		"grant":         {Query{Grant: "g1"}, 15},
		"outcome":       {Query{Outcome: "refused"}, 15},
		"several":       {Query{Actor: "person/0001", Outcome: "done", Text: "passkey"}, 5},
		"time":          {Query{From: start.Add(10 * time.Second), Until: start.Add(20 * time.Second)}, 10},
		"time and word": {Query{From: start.Add(10 * time.Second), Until: start.Add(20 * time.Second), Text: "signin"}, 5},
		"odd signs":     {Query{Text: `"* AND ( NEAR`}, 0},
		"foreign signs": {Query{Text: "sign\u0301in é ı \U0001e2c0x"}, 0},
		"a long id":     {Query{Text: strings.Repeat("0001", 40)}, 0},
		"only signs":    {Query{Text: `"*(`}, 30},
		"hidden words":  {Query{Text: "\ue000"}, 30},
	} {
		t.Run(name, func(t *testing.T) {
			c.q.Limit = MaxLimit
			all := b.lines(nordtal, c.q)
			if len(all) != c.want {
				t.Errorf("%d lines, want %d", len(all), c.want)
			}
			var paged []Line
			for c.q.Limit = 4; ; c.q.After = paged[len(paged)-1].ID {
				page := b.lines(nordtal, c.q)
				paged = append(paged, page...)
				if len(page) < 4 {
					break
				}
			}
			if diff := cmp.Diff(all, paged); diff != "" {
				t.Error(diff)
			}
			for i := 1; i < len(all); i++ {
				if all[i].At.After(all[i-1].At) {
					t.Error("the newest does not come first")
				}
			}
		})
	}
	if _, err := b.Entries(w.ctx, nordtal, Query{After: "x.y"}); !errors.Is(err, ErrAfter) {
		t.Errorf("got %v", err)
	}
	if lines, err := b.Entries(w.ctx, "nowhere", Query{}); err != nil || len(lines) != 0 {
		t.Errorf("%v, %v", lines, err)
	}
	ok(t, b.model.Rebuild(w.ctx))
	if n := len(b.lines(nordtal, Query{Text: "signin"})); n != 15 {
		t.Errorf("%d lines after a rebuild", n)
	}
}

func TestWhatWasDoneUnderAWithdrawnGrantIsShown(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	ok(t, a.Record(w.ctx, nordtal, signin))
	withdrawn := a.lines(nordtal, Query{})[0].Stamp
	w.now = w.now.Add(time.Minute)
	ok(t, a.Record(w.ctx, nordtal, signin))
	refused, other := signin, signin
	refused.Outcome, other.Grant = Refused, "g2"
	ok(t, a.Record(w.ctx, nordtal, refused))
	ok(t, a.Record(w.ctx, nordtal, other))
	a.fold()
	lines, err := a.UnderWithdrawn(w.ctx, nordtal, []Withdrawn{{"g1", withdrawn}, {"", 0}, {"g3", 0}})
	if err != nil || len(lines) != 1 || lines[0].Stamp <= withdrawn || lines[0].Grant != "g1" {
		t.Errorf("%+v, %v", lines, err)
	}
}

func TestNoSecretOfAPathIsKept(t *testing.T) {
	for path, want := range map[string]string{
		"/enrol/mJc0zq3hX9vT1kYbR5aWn2LQ":                                                "/enrol/…",
		"/r/" + strings.Repeat("x", 300):                                                 "/r/…",
		"/a/lk-nordtal/people?q=Quastenflosser":                                          "/a/lk-nordtal/people",
		"/a/lk-nordtal/people/3c8e99fa2dfba5d3/edit":                                     "/a/lk-nordtal/people/3c8e99fa2dfba5d3/edit",
		"person/3c8e99fa2dfba5d3":                                                        "person/3c8e99fa2dfba5d3",
		"auditor person/3c8e99fa2dfba5d3 unit/5d33c8e99fa2dfba mJc0zq3hX9vT1kYbR5aWn2LQ": "auditor person/3c8e99fa2dfba5d3 unit/5d33c8e99fa2dfba …",
	} {
		if got := (Entry{Object: path}).bounded().Object; got != want {
			t.Errorf("%.40q becomes %q, want %q", path, got, want)
		}
	}
}

// downRing is a keyring whose disk is broken.
type downRing struct{ *keyring.Ring }

func (downRing) NewKeys(context.Context, event.AuthorityID, int) ([]keyring.Key, error) {
	return nil, errors.New("the disk is full")
}

func TestALineIsNotWrittenWithoutWhatItNeeds(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	a.Service.cfg.Keys = downRing{a.ring}
	for range 2 { // the second one must not wait for a lock
		if err := a.Record(w.ctx, nordtal, signin); err == nil {
			t.Error("recorded")
		}
	}
	a.Service.cfg.Keys = a.ring
	log := &failingLog{Log: a.log, fail: errors.New("no")}
	a.Service.cfg.Log = log
	for range 2 {
		if err := a.Record(w.ctx, nordtal, signin); err == nil {
			t.Error("recorded")
		}
	}
	log.fail = nil
	ok(t, a.Record(w.ctx, nordtal, signin))
	if l := a.lines(nordtal, Query{}); len(l) != 1 || l[0].Readable != Readable {
		t.Errorf("%+v", l)
	}
}

var _ Model = (*readmodel.Model)(nil)

// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/seal"
)

// replica is a site with everything that replication needs, behind real connections.
type replica struct {
	*door
	log *eventlog.Log
	rep *eventlog.Replicator
}

// openHouse is a policy under which all sites may hold everything.
type openHouse struct{}

func (openHouse) Member(event.SiteID) bool                     { return true }
func (openHouse) Allowed(event.SiteID, event.AuthorityID) bool { return true }
func (openHouse) Operator(s event.SiteID) string               { return string(s) }

func newReplica(t *testing.T, seed byte) *replica {
	t.Helper()
	r := &replica{door: &door{id: logtest.Identity(t, seed), roles: make(map[event.SiteID]Role)}}
	var err error
	r.Server, err = Start(Config{
		Identity: r.id, Dir: t.TempDir(), Listen: "127.0.0.1:0", Rand: rand.Reader, Now: time.Now, Logger: quiet(),
		Admit: func(event.SiteID) Role { return Member },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	r.log, err = eventlog.Open(t.Context(), eventlog.Config{
		Identity: r.id, Store: r.Store(), Clock: event.NewClock(time.Now), Rand: rand.Reader, Policy: openHouse{}, Now: time.Now, Logger: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// follow makes the replica exchange with another site at an address until the test ends.
func (r *replica) follow(t *testing.T, other *seal.Identity, addr string) {
	t.Helper()
	links := linksOf(t, r.id, addr)
	var err error
	r.rep, err = eventlog.NewReplicator(eventlog.ReplicatorConfig{
		Log: r.log, Link: links, Bulk: links.Bulk(), Policy: openHouse{}, Self: r.id.Site(), Now: time.Now, Logger: quiet(),
		Peers: func() []event.SiteID { return []event.SiteID{other.Site()} },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range eventlog.Verbs() {
		if err := r.Handle(verb, r.rep.Serve(verb)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { r.rep.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
}

// slowReplicas are two sites with a line between them.
func slowReplicas(t *testing.T, bytesPerSecond int, fill func(from *replica)) (from, to *replica, line *logtest.Line) {
	t.Helper()
	from, to = newReplica(t, 1), newReplica(t, 2)
	fill(from)
	line = logtest.NewLine(logtest.LineConfig{BytesPerSecond: bytesPerSecond, Delay: 30 * time.Millisecond})
	t.Cleanup(line.Close)
	there, err := line.Forth(to.Addr())
	if err != nil {
		t.Fatal(err)
	}
	back, err := line.Back(from.Addr())
	if err != nil {
		t.Fatal(err)
	}
	from.follow(t, to.id, there)
	to.follow(t, from.id, back)
	return from, to, line
}

// write appends one page of about so many KiB.
func (r *replica) write(t *testing.T, class event.Class, kib int) eventlog.Receipt {
	t.Helper()
	drafts := make([]event.Draft, kib)
	for i := range drafts {
		drafts[i] = event.Draft{Subject: "note/n", Kind: "note.Written", Mode: event.Test, Data: logtest.Dense(850, i)}
	}
	got, err := r.log.Append(t.Context(), "nordtal", class, drafts...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// pages returns how many pages of a class have come.
func (r *replica) pages(class event.Class) (n uint64) {
	for _, h := range r.log.Heads() {
		if h.Branch.Class == class {
			n += h.Page
		}
	}
	return n
}

// forth returns how many bytes have come through the line so far.
func forth(l *logtest.Line) int64 { n, _ := l.Carried(); return n }

// At this rate the answer of 700 KiB that once was asked for takes eight seconds, and nobody waited for more than five.
func TestAnImportComesOverASlowLineFromTheFirstSecondsOn(t *testing.T) {
	const rate, page = 90 << 10, 150
	_, to, line := slowReplicas(t, rate, func(from *replica) {
		for range 6 {
			from.write(t, event.Register, page)
		}
	})
	eventually(t, "bytes come", func() bool { return forth(line) >= 2*page<<10 })
	if to.pages(event.Register) == 0 {
		t.Errorf("after %d KiB no page of %d KiB is here", forth(line)>>10, page)
	}
}

// Whatever lies before it: a directory, or the receipts of an earlier alarm to thousands.
func TestAnAlarmOvertakesTheBulk(t *testing.T) {
	for _, class := range []event.Class{event.Register, event.Operations} {
		t.Run(string(class), func(t *testing.T) {
			const rate = 32 << 10
			from, to, line := slowReplicas(t, rate, func(from *replica) {
				for range 10 {
					from.write(t, class, 400)
				}
			})
			eventually(t, "the bulk is under way", func() bool { return forth(line) > 3*rate })
			r, err := from.log.Append(t.Context(), "nordtal", event.Operations, event.Draft{
				Subject: "alarm/7f3a", Kind: "alarm.Raised", Mode: event.Test, Urgent: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			before := forth(line)
			eventually(t, "the alarm is here", func() bool { return len(to.log.Branches(r.Log)) == 1 })
			if ahead := forth(line) - before; ahead > 4*rate {
				t.Errorf("%d KiB came before the alarm: %d s of the line", ahead>>10, ahead/rate)
			}
			if to.pages(class) >= 10 {
				t.Error("the bulk was there before the alarm")
			}
		})
	}
}

func TestALineThatBecomesSlowIsNotGivenUp(t *testing.T) {
	from, to, line := slowReplicas(t, 4<<20, func(from *replica) {
		for range 30 {
			from.write(t, event.Register, 300)
		}
	})
	eventually(t, "the bulk is under way", func() bool { return to.pages(event.Register) > 3 })
	line.SetRate(128 << 10)
	had := to.pages(event.Register)
	eventually(t, fmt.Sprintf("more than %d pages are here", had+1), func() bool { return to.pages(event.Register) > had+1 })
	if c := from.Peers(); c[to.id.Site()] != Member {
		t.Errorf("the connection was lost: %v", c)
	}
}

func TestBulkHasAConnectionOfItsOwn(t *testing.T) {
	d, peer := openDoor(t, 1, "127.0.0.1:0"), logtest.Identity(t, 2)
	d.set(peer, Member)
	l := linksOf(t, peer, d.Addr())
	for _, link := range []eventlog.Link{l, l.Bulk()} {
		if _, err := link.Request(within(t, 5*time.Second), d.id.Site(), "pages", nil); err != nil {
			t.Fatal(err)
		}
	}
	d.Server.mu.RLock()
	conns, err := d.engine.ns.Connz(&server.ConnzOptions{Username: true})
	d.Server.mu.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	remote := 0
	for _, c := range conns.Conns {
		if c.AuthorizedUser == string(peer.Site()) {
			remote++
		}
	}
	if remote != 2 {
		t.Errorf("the peer has %d connections, want one for bulk and one for the rest", remote)
	}
	if c := l.Connected(); len(c) != 1 {
		t.Errorf("connected to %v", c)
	}
	l.Keep(nil)
	if _, err := l.Bulk().Request(within(t, 5*time.Second), d.id.Site(), "pages", nil); err != nil {
		t.Errorf("after the links were closed the bulk does not come back: %v", err)
	}
}

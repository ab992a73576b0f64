// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

type directoryKind = directory.ChannelKind

const nordtal, suedtal event.AuthorityID = "lk-nordtal", "lk-suedtal"

// world is some sites of different operators with real logs, replicators and read models, on one thread and one clock.
type world struct {
	t        testing.TB
	now      time.Time
	net      *logtest.Network
	stations []*station
	people   map[directory.PersonID]directory.Person
	order    []directory.PersonID
	// got counts what the gateways took, by idempotency key; texts holds the last text of each.
	got   map[string]int
	texts map[string]Message
	first time.Time // when the first message was taken
	// running: real time and goroutines, for tests of Run. mu guards what gateways share then.
	running bool
	latency time.Duration
	mu      sync.Mutex
	// lost are the directions in which nothing arrives: requests one way, answers the other.
	lost map[[2]event.SiteID]bool
	// barred are the sites that may not hold an authority's data.
	barred map[event.AuthorityID][]event.SiteID
	// again counts messages taken for a second time while no site was cut off, paused or dead.
	again int
}

// station is one site.
type station struct {
	w        *world
	id       *seal.Identity
	name     event.SiteID
	operator string
	disk     *eventlog.Memory
	rnd      *rand.ChaCha8
	port     *logtest.Port
	log      *eventlog.Log
	rep      *eventlog.Replicator
	model    *readmodel.Model
	service  *Service
	caller   *Caller
	dead     bool
	paused   bool // as by SIGSTOP
	// perTick bounds the bytes of pages that the site's line carries in a tick, 0 for no bound; budget is what has come together.
	perTick, budget int
	skew            time.Duration // how far its wall clock is ahead
	// fail makes the site's gateways answer with an error; dieAfter kills the site in the middle of so many hand-overs.
	fail     func(kind directory.ChannelKind, to string) error
	dieAfter int
}

func newWorld(t testing.TB, people int, operators ...string) *world {
	w := &world{
		t: t, now: noon, net: logtest.NewNetwork(1), people: make(map[directory.PersonID]directory.Person),
		got: make(map[string]int), texts: make(map[string]Message), lost: make(map[[2]event.SiteID]bool),
	}
	for i := range people {
		p := directory.Person{ID: directory.PersonID(fmt.Sprintf("%016x", 0xa000+i)), Language: directory.German, Readable: directory.Readable,
			Units: []directory.UnitID{directory.UnitID(fmt.Sprintf("%016x", i%3))},
			Reachability: []directory.Channel{{Kind: directory.SMS, Address: fmt.Sprintf("+4917100%05d", i)},
				{Kind: directory.Email, Address: fmt.Sprintf("p%d@nordtal.example", i)}}}
		w.people[p.ID] = p
		w.order = append(w.order, p.ID)
	}
	for i, op := range operators {
		s := &station{w: w, operator: op, rnd: rand.NewChaCha8([32]byte{byte(i + 1)}), dieAfter: -1}
		id, err := seal.NewIdentity(s.rnd)
		if err != nil {
			t.Fatal(err)
		}
		s.id, s.name, s.disk = id, id.Site(), eventlog.NewMemory(s.clock)
		w.stations = append(w.stations, s)
	}
	for _, s := range w.stations {
		s.start()
	}
	return w
}

func (w *world) clock() time.Time {
	if w.running {
		return time.Now()
	}
	return w.now
}

// clock is the site's own wall clock, right or wrong.
func (s *station) clock() time.Time { return s.w.clock().Add(s.skew) }

// line is a site's way to the others: a port that is slow, or carries one way only.
type line struct{ s *station }

func (l line) Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error) {
	w, from := l.s.w, l.s.name
	gone := fault.New(fault.Unavailable, "test.lost", "lost", "")
	if w.lost[[2]event.SiteID{from, to}] {
		return nil, gone
	}
	slow := verb == eventlog.VerbPages && l.s.perTick > 0
	if slow {
		if l.s.budget < answerHead {
			return nil, gone // nothing fits yet
		}
		body = l.ask(body)
	}
	answer, err := l.s.port.Request(ctx, to, verb, body)
	if err != nil {
		return nil, err
	}
	if w.lost[[2]event.SiteID{to, from}] {
		return nil, gone
	}
	if slow {
		if len(answer) > l.s.budget {
			return nil, gone // still on its way
		}
		l.s.budget -= len(answer)
	}
	return answer, nil
}

// answerHead is more than what an answer has besides pages.
const answerHead = 512

// ask asks for no more than the line has room for now.
func (l line) ask(body []byte) []byte {
	var q map[string]json.RawMessage
	if err := json.Unmarshal(body, &q); err != nil {
		l.s.w.t.Fatal(err)
	}
	var most int
	if err := json.Unmarshal(q["maxBytes"], &most); err != nil {
		l.s.w.t.Fatal(err)
	}
	q["maxBytes"] = json.RawMessage(strconv.Itoa(min(most, l.s.budget-answerHead+1)))
	body, _ = json.Marshal(q)
	return body
}

// whole reports whether every site can do everything.
func (w *world) whole() bool {
	for _, s := range w.stations {
		if s.dead || s.paused {
			return false
		}
		for _, o := range w.stations {
			if w.lost[[2]event.SiteID{s.name, o.name}] || w.net.IsCut(s.name, o.name) {
				return false
			}
		}
	}
	return true
}

// pause stops the site's process for a time, as SIGSTOP does; the others hear nothing of it.
func (s *station) pause(seconds float64) {
	s.paused = true
	s.port.SetDown(true)
	s.w.run(seconds)
	s.paused = false
	s.port.SetDown(false)
	// Whatever the process was about to do it does first.
	if _, err := s.caller.Step(s.w.t.Context(), s.clock()); err != nil {
		s.w.t.Fatal(err)
	}
}

// The world is the policy, the federation, the directory and the keyring of its sites.

func (w *world) Operator(site event.SiteID) string {
	for _, s := range w.stations {
		if s.name == site {
			return s.operator
		}
	}
	return ""
}
func (w *world) Member(site event.SiteID) bool { return w.Operator(site) != "" }
func (w *world) Held() []event.AuthorityID     { return []event.AuthorityID{suedtal, nordtal} }

func (w *world) Allowed(site event.SiteID, authority event.AuthorityID) bool {
	return w.Member(site) && !slices.Contains(w.barred[authority], site)
}

func (w *world) Sites(authority event.AuthorityID) []Site {
	var sites []Site
	for _, s := range w.stations {
		if !w.Allowed(s.name, authority) {
			continue
		}
		sites = append(sites, Site{ID: s.name, Operator: s.operator, PortalURL: "https://" + s.operator + ".example"})
	}
	return sites
}

func (w *world) Resolve(context.Context, event.AuthorityID, directory.Audience) ([]directory.Recipient, error) {
	var list []directory.Recipient
	for _, id := range w.order {
		r := directory.Recipient{Person: id, Unit: w.people[id].Units[0]}
		for _, c := range w.people[id].Reachability {
			r.Channels = append(r.Channels, c.Kind)
		}
		list = append(list, r)
	}
	return list, nil
}

func (w *world) Contact(_ context.Context, _ event.AuthorityID, id directory.PersonID) (directory.Person, error) {
	p, ok := w.people[id]
	if !ok {
		return p, fault.New(fault.NotFound, "test.unknown", "unknown", "")
	}
	return p, nil
}

func (w *world) Named(_ context.Context, a event.AuthorityID, name string) (keyring.Key, error) {
	k := keyring.Key{ID: "k"}
	copy(k.Secret[:], string(a)+name)
	return k, nil
}

// gateway is a site's way to the gateway of one kind.
type gateway struct {
	s    *station
	kind directory.ChannelKind
}

func (g gateway) Kind() directory.ChannelKind { return g.kind }

func (g gateway) Send(_ context.Context, m Message) (SendResult, error) {
	s := g.s
	if s.fail != nil {
		if err := s.fail(g.kind, m.To); err != nil {
			return SendResult{}, err
		}
	}
	if s.w.latency > 0 {
		time.Sleep(s.w.latency)
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.w.first.IsZero() {
		s.w.first = s.w.clock()
	}
	if s.w.got[m.IdempotencyKey]++; s.w.got[m.IdempotencyKey] > 1 && s.w.whole() {
		s.w.again++
	}
	s.w.texts[m.IdempotencyKey] = m
	if s.dieAfter--; s.dieAfter == 0 {
		s.kill()
	}
	return SendResult{Ref: "ref-" + m.IdempotencyKey}, nil
}

// appender writes nothing once the site is dead: the hand-over was made, its receipt never was.
type appender struct{ s *station }

func (a appender) Append(ctx context.Context, authority event.AuthorityID, class event.Class, drafts ...event.Draft) (eventlog.Receipt, error) {
	if a.s.dead {
		return eventlog.Receipt{}, context.Canceled
	}
	return a.s.log.Append(ctx, authority, class, drafts...)
}

// start opens the site on its disk, as after a crash or a first start.
func (s *station) start() {
	t, w := s.w.t, s.w
	t.Helper()
	s.dead = false
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	var err error
	s.log, err = eventlog.Open(t.Context(), eventlog.Config{
		Identity: s.id, Store: s.disk, Clock: event.NewClock(s.clock), Rand: s.rnd, Policy: w, Now: s.clock, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.port = w.net.Join(s.name)
	s.port.SetDown(false)
	s.rep, err = eventlog.NewReplicator(eventlog.ReplicatorConfig{
		Log: s.log, Link: line{s}, Policy: w, Self: s.name, Now: s.clock, Steady: w.clock, Rand: s.rnd, Logger: logger,
		Folded: func(b eventlog.Branch) uint64 { return s.model.Folded(b) },
		Peers: func() (ids []event.SiteID) {
			for _, o := range w.stations {
				ids = append(ids, o.name)
			}
			return ids
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.port.Serve(s.rep)
	s.model, err = readmodel.Open(t.Context(), readmodel.Config{Path: ":memory:", Folds: []readmodel.Fold{Fold()}, Source: s.log, Self: s.name, Now: s.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.model.Close() })
	watch := Watch{Clock: s.rep.Clock, Timeline: &Timeline{}}
	s.service = NewService(Config{
		Self: s.name, Log: s.log, Model: s.model, Directory: w, Federation: w, Keys: w, Now: s.clock, Rand: s.rnd, Logger: logger, Watch: watch,
	})
	s.caller = NewCaller(CallerConfig{
		Self: s.name, Log: appender{s}, Work: Desk{s.model}, Directory: w, Federation: w, Keys: w,
		Channels:    []Channel{gateway{s, directory.SMS}, gateway{s, directory.Email}},
		Replication: Neighbours{Replicator: s.rep, Policy: w, Self: s.name, Now: s.clock},
		Now:         s.clock, Steady: w.clock, Logger: logger, Watch: watch,
	})
}

func (s *station) kill() {
	s.dead = true
	s.port.SetDown(true)
}

// exchange lets the site pull from everybody and fold.
func (s *station) exchange() {
	s.w.t.Helper()
	for _, o := range s.w.stations {
		if s.dead || s.paused || o == s {
			continue
		}
		if _, err := s.rep.Step(s.w.t.Context(), o.name); err != nil && fault.KindOf(err) != fault.Unavailable {
			s.w.t.Fatal(err)
		}
	}
	s.catchUp()
}

func (s *station) catchUp() {
	s.w.t.Helper()
	if s.dead {
		return
	}
	if _, err := s.model.CatchUp(s.w.t.Context()); err != nil {
		s.w.t.Fatal(err)
	}
}

// tick is a tenth of a second of everybody's life.
func (w *world) tick() {
	w.t.Helper()
	w.now = w.now.Add(100 * time.Millisecond)
	for _, s := range w.stations {
		if s.dead || s.paused {
			continue
		}
		s.budget = min(s.budget+s.perTick, 1<<20)
		s.rep.Beat()
		s.exchange()
		if _, err := s.caller.Step(w.t.Context(), s.clock()); err != nil {
			w.t.Fatal(err)
		}
		s.catchUp()
	}
}

// run ticks for so many seconds.
func (w *world) run(seconds float64) {
	w.t.Helper()
	for range int(seconds * 10) {
		w.tick()
	}
}

// until ticks until the condition holds, and fails after so many seconds.
func (w *world) until(what string, seconds float64, condition func() bool) {
	w.t.Helper()
	for range int(seconds * 10) {
		if condition() {
			return
		}
		w.tick()
	}
	w.t.Fatalf("not within %v s: %s (%d keys taken)", seconds, what, len(w.got))
}

// live runs every site in real time, with workers, until the test ends.
func (w *world) live(workers int) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	w.t.Cleanup(func() { cancel(); wg.Wait() })
	for _, s := range w.stations {
		s.caller.cfg.Workers = workers
		wg.Go(func() { s.rep.Run(ctx) })
		wg.Go(func() { s.model.Run(ctx) })
		wg.Go(func() { s.caller.Run(ctx) })
		changed, stop := s.log.Subscribe()
		wg.Go(func() {
			defer stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-changed:
					s.model.Wake()
				}
			}
		})
	}
}

// taken returns how many hand-overs of the wave were taken, and how many of them twice or more.
func (w *world) taken(wave Wave) (distinct, doubled int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, n := range w.got {
		if key[len(key)-1] == byte('0'+wave) {
			distinct++
			doubled += n - 1
		}
	}
	return distinct, doubled
}

func (s *station) raise(d Draft) Alarm {
	s.w.t.Helper()
	return s.raiseFor(nordtal, d)
}

func (s *station) raiseFor(authority event.AuthorityID, d Draft) Alarm {
	s.w.t.Helper()
	if d.Mode == "" {
		d.Mode = event.Exercise
	}
	if d.TextDE == "" {
		d.TextDE = "Hochwasser an der Nord"
	}
	d.Audience = directory.Audience{Everyone: true}
	a, _, err := s.service.Raise(s.w.t.Context(), authority, d)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return a
}

func (s *station) board(id ID) Board {
	s.w.t.Helper()
	b, err := s.service.Board(s.w.t.Context(), nordtal, id)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return b
}

// ranking names the sites in the order of the world.
func (w *world) ranking() (ids []event.SiteID) {
	for _, s := range w.stations {
		ids = append(ids, s.name)
	}
	return ids
}

// converged fails unless all living sites have the same state.
func (w *world) converged() {
	w.t.Helper()
	want := ""
	for _, s := range w.stations {
		if s.dead {
			continue
		}
		got, err := s.model.StateHash(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if want == "" {
			want = got
		}
		if got != want {
			w.t.Error("the sites' states differ")
		}
		if aside, err := s.model.SetAside(w.t.Context()); err != nil || len(aside) > 0 {
			w.t.Errorf("set aside: %v, %v", aside, err)
		}
	}
}

// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// Work tells a Caller what is due: a Desk.
type Work interface {
	Ongoing(ctx context.Context, since time.Time) ([]Ongoing, error)
	// Due returns people with something due, ordered by person: the first ones after the given one; DueDown the last ones
	// before it, backwards. "" is the list's end at which that begins.
	Due(ctx context.Context, authority event.AuthorityID, id ID, w Wave, after directory.PersonID, limit int) ([]Due, error)
	DueDown(ctx context.Context, authority event.AuthorityID, id ID, w Wave, before directory.PersonID, limit int) ([]Due, error)
	// DuePlace returns the person who has n people with something due before them, "" if there is none.
	DuePlace(ctx context.Context, authority event.AuthorityID, id ID, w Wave, n int) (directory.PersonID, error)
	// StillDue reports whether the hand-over is due, by what is folded now.
	StillDue(ctx context.Context, authority event.AuthorityID, id ID, w Wave, p directory.PersonID, k directory.ChannelKind) (bool, error)
	// Came returns the alarms that came to this site after since, the oldest first, at most limit.
	Came(ctx context.Context, since time.Time, limit int) ([]Alarm, error)
}

// Replication tells how far other sites have got. It answers from memory and does not block.
type Replication interface {
	// Replicated reports whether at least one other site has the position of the log on its disk.
	Replicated(log eventlog.LogID, pos eventlog.Position) bool
	// Unheard returns for how long no other site was heard that may hold the authority's logs.
	Unheard(authority event.AuthorityID) time.Duration
	// StaleSince reports that what the others had of the authority when they were last silent (a cut, a pause of this process) is
	// not folded here yet and still waited for, and since when, by the steady clock. It notices pauses by itself.
	StaleSince(authority event.AuthorityID) (since time.Time, stale bool)
	// Refresh makes it stale until the others that were heard lately have been asked again.
	Refresh(authority event.AuthorityID)
}

// CallerConfig is what a Caller works with. Log to Now are required.
type CallerConfig struct {
	Self        event.SiteID
	Log         eventlog.Appender
	Work        Work
	Directory   Directory
	Federation  Federation
	Keys        Keys
	Channels    []Channel // one of each kind
	Replication Replication
	// CaughtUp reports whether this site is ready to call after its start: its read model has folded what its own disk holds.
	// What others hold is Replication's to tell. Nil: it is.
	CaughtUp func(ctx context.Context) bool
	// Now is the wall clock, right or wrong: only the age of an alarm goes by it.
	Now    func() time.Time
	Logger *slog.Logger
	// Steady is a clock that nobody sets; every wait goes by it. Nil is Now, which is right for time.Now.
	Steady func() time.Time
	// Watch is what is known of clocks; Self is filled in, and a Timeline made if there is none.
	Watch Watch
	// Workers is how many hand-overs run at one time per channel. Zero: Step makes them itself, one after the other.
	Workers int
	// Window is how many hand-overs for one authority may lack a replicated receipt; zero means DefaultWindow.
	Window int
	// PerStep bounds the hand-overs of one Step without workers; zero means the window.
	PerStep int
	// SendTimeout bounds one hand-over; zero means 30 s.
	SendTimeout time.Duration
}

const (
	// DefaultWindow is few enough that a site's death doubles less than a hundredth of a large alarm.
	DefaultWindow = 50
	// stallAfter is how long a full window may wait for the other sites before one more window may begin.
	stallAfter = 2 * time.Second
	// planEvery is how often Run looks for changed alarms while it is busy.
	planEvery = 100 * time.Millisecond
	duePage   = 128
	queueLow  = 64
	maxPages  = 16
	// giveUpAddress is after how many tries a person who cannot be found or has no address counts as refused.
	giveUpAddress = 5
	// tellAfter is after how many failed tries the board is told.
	tellAfter = 3
)

// Caller hands over what is due while it is this site's turn (see MayCall). Step does one bounded piece of work; Run
// repeats it. A Caller has one owner; only Wake and Stats may be called by others.
type Caller struct {
	cfg      CallerConfig
	channels map[directory.ChannelKind]Channel
	kinds    []directory.ChannelKind
	wake     chan struct{}
	workers  sync.WaitGroup

	// Owned by Step.
	vigils  map[alarmKey]*vigil
	order   []alarmKey
	last    alarmKey // whose turn it was last
	planned time.Time
	// looked is when clocks were last looked at, came up to which arrival, sets how often our clock had been set then.
	looked, came time.Time
	sets         int

	mu      sync.Mutex // guards what workers share with Step
	tasks   map[taskKey]*task
	running map[directory.ChannelKind]int
	pause   map[directory.ChannelKind]time.Time
	windows map[event.AuthorityID]*window       // of the authorities with receipts that no other site holds, or hand-overs under way
	blocked bool                                // the last Step found a window full
	unheard map[event.AuthorityID]time.Duration // as of the last plan: how long no other site was heard
	stats   Stats
}

// Stats are counts since the start of the process, and the present.
type Stats struct {
	Accepted, Refused, Failed int
	// Running hand-overs are with a gateway now; Unreplicated ones have a receipt that no other site holds, and one might.
	Running, Unreplicated int
	// Calling counts the alarms for which this site is calling.
	Calling int
}

type alarmKey struct {
	authority event.AuthorityID
	id        ID
}

type taskKey struct {
	alarmKey
	wave   Wave
	person directory.PersonID
	kind   directory.ChannelKind
}

// task is one hand-over. It is made when it is first seen due and forgotten when it no longer is.
type task struct {
	taskKey
	state taskState
	tries int
	told  bool      // the board knows that it fails
	next  time.Time // not before
	// unwritten is a receipt that the log would not take: the message must not be sent again for that.
	unwritten *event.Draft
	// seen is the last pass over the alarm that found it due, done the pass in which it was done.
	seen, done int
}

type taskState int

const (
	idle   taskState = iota // not queued; next says when it may be
	queued                  // in its vigil's queue
	active                  // with a worker
	closed                  // receipt written; waiting for the read model to notice
)

// vigil is what the caller keeps per alarm that has something due.
type vigil struct {
	Vigil
	ongoing Ongoing
	stamps  map[event.SiteID]event.Stamp
	// reported and progress are when this site last gave a sign, and when a gateway last took or refused something.
	reported, progress time.Time
	// fresh is when it was last fresh; excused is how long the gateways were not tried since progress, because it was not.
	fresh       time.Time
	excused     time.Duration
	queue       []*task
	walk        walk
	waits       bool      // it is not fresh: it gives no sign and begins nothing
	asked       bool      // the others were asked before taking over
	pass, found int       // number of this pass over the alarm, and how many hand-overs it has queued
	exhausted   time.Time // the pass ended then; the next begins a little later
	dropped     bool
}

// NewCaller returns a caller that does nothing until Step or Run.
func NewCaller(c CallerConfig) *Caller {
	if c.Window <= 0 {
		c.Window = DefaultWindow
	}
	if c.PerStep <= 0 {
		c.PerStep = c.Window
	}
	if c.SendTimeout <= 0 {
		c.SendTimeout = 30 * time.Second
	}
	c.Watch.Self = c.Self
	if c.Watch.Timeline == nil {
		c.Watch.Timeline = &Timeline{}
	}
	caller := &Caller{
		cfg: c, channels: make(map[directory.ChannelKind]Channel), wake: make(chan struct{}, 1),
		vigils: make(map[alarmKey]*vigil), tasks: make(map[taskKey]*task),
		running: make(map[directory.ChannelKind]int), pause: make(map[directory.ChannelKind]time.Time),
		windows: make(map[event.AuthorityID]*window), unheard: make(map[event.AuthorityID]time.Duration),
	}
	for _, ch := range c.Channels {
		caller.channels[ch.Kind()] = ch
	}
	caller.kinds = slices.Sorted(maps.Keys(caller.channels))
	return caller
}

// Wake makes Run look at once. It does not block and may be called by anybody.
func (c *Caller) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Stats returns the counts. It may be called by anybody.
func (c *Caller) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	for _, n := range c.running {
		s.Running += n
	}
	for _, w := range c.windows {
		s.Unreplicated += w.len()
	}
	return s
}

// Run calls Step until ctx ends, and then waits for the hand-overs under way. Errors are logged and tried again.
func (c *Caller) Run(ctx context.Context) {
	defer c.workers.Wait()
	ticker := time.NewTicker(planEvery)
	defer ticker.Stop()
	for {
		if _, err := c.Step(ctx, c.cfg.Now()); err != nil && ctx.Err() == nil {
			c.cfg.Logger.Error("calling is held up", "err", err)
		}
		var soon <-chan time.Time
		if c.cfg.Workers > 0 && c.stalled() {
			// The window opens when another site acknowledges; nobody tells us, so look often while we wait for it.
			soon = time.After(2 * time.Millisecond)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-soon:
		case <-ticker.C:
		}
	}
}

// stalled reports whether the last Step left work undone because the window was full.
func (c *Caller) stalled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blocked
}

// Step looks at what is due, decides for which alarms this site calls now, and begins hand-overs as far as workers and
// window allow; without workers it makes them before it returns. It returns how many it began. It is deterministic
// without workers. now is the wall clock. It does nothing before the site has caught up.
func (c *Caller) Step(ctx context.Context, wall time.Time) (int, error) {
	now := wall
	if c.cfg.Steady != nil {
		now = c.cfg.Steady()
	}
	c.cfg.Watch.Timeline.note(wall, now)
	if c.cfg.CaughtUp != nil && !c.cfg.CaughtUp(ctx) {
		return 0, nil
	}
	c.settle(now)
	if err := c.noteClocks(ctx, now, wall); err != nil {
		c.cfg.Logger.Error("the clocks of alarms are not looked at; it is tried again", "err", err)
	}
	var planErr error // it holds up those alarms that it is about, and no other
	if c.cfg.Workers == 0 || now.Sub(c.planned) >= planEvery || now.Before(c.planned) || c.queueLow() {
		if planErr = c.plan(ctx, now, wall); ctx.Err() != nil {
			return 0, planErr
		}
		c.planned = now
	}
	return c.dispatch(ctx, now), planErr
}

// queueLow reports whether a queue runs dry while there is more to read.
func (c *Caller) queueLow() bool {
	for _, k := range c.order {
		v := c.vigils[k]
		if v.Calling && v.exhausted.IsZero() && len(v.queue) < queueLow/2 {
			return true
		}
	}
	return false
}

// plan brings the vigils up to date and fills their queues.
func (c *Caller) plan(ctx context.Context, now, wall time.Time) error {
	c.order = c.order[:0]
	list, err := c.cfg.Work.Ongoing(ctx, c.cfg.Watch.Timeline.earliest(wall.Add(-OpenFor)))
	if err != nil {
		return fmt.Errorf("look for alarms with something due: %w", err)
	}
	var errs []error
	present := make(map[alarmKey]bool, len(list))
	calling, held := 0, c.cfg.Federation.Held()
	for _, o := range list {
		if !slices.Contains(held, o.Authority) {
			continue // its log would take no receipt, so nobody would know whom this site has called
		}
		k := alarmKey{o.Authority, o.ID}
		present[k] = true
		v := c.watch(k, o, now)
		if !c.ready(v, now) {
			continue
		}
		if c.turn(ctx, v, now, wall); !v.Calling {
			continue
		}
		calling++
		unheard := c.cfg.Replication.Unheard(o.Authority)
		c.mu.Lock()
		c.unheard[o.Authority] = unheard
		c.mu.Unlock()
		c.order = append(c.order, k)
		if err := c.fill(ctx, k, v, now); err != nil {
			errs = append(errs, fmt.Errorf("of alarm %s of %s: %w", k.id, k.authority, err))
		}
	}
	c.forget(present)
	c.mu.Lock()
	c.stats.Calling = calling
	c.mu.Unlock()
	return errors.Join(errs...)
}

// watch returns the alarm's vigil with the news that has arrived since the last look.
func (c *Caller) watch(k alarmKey, o Ongoing, now time.Time) *vigil {
	v := c.vigils[k]
	if v == nil {
		v = &vigil{stamps: make(map[event.SiteID]event.Stamp), fresh: now}
		v.Vigil = Vigil{Self: c.cfg.Self, Since: now, News: make(map[event.SiteID]time.Time), Announced: make(map[event.SiteID]time.Time)}
		v.Ranking = o.Raised.Ranking
		v.walk = walkOf(v.Rank(v.Self))
		c.vigils[k] = v
	} else if v.ongoing.Start.Fact != o.Start.Fact { // another wave, or somebody has ordered the calling
		c.drop(v)
		v.Since, v.Calling, v.reported = now, false, time.Time{}
	}
	v.ongoing, v.Ranking = o, o.Raised.Ranking
	v.Delay = time.Duration(o.Raised.TakeoverAfterMillis) * time.Millisecond
	for site, sign := range o.Callers {
		if site == c.cfg.Self || sign.Stamp <= v.stamps[site] {
			continue
		}
		if v.stamps[site] = sign.Stamp; sign.CatchingUp {
			v.Announced[site] = now
		} else {
			v.News[site] = now
		}
	}
	return v
}

// turn decides whether this site calls for the alarm, and gives the sign of it that the others wait for.
func (c *Caller) turn(ctx context.Context, v *vigil, now, wall time.Time) {
	may := c.ours(v) && c.cfg.Watch.hold(&v.ongoing.Alarm, wall) == NotHeld && MayCall(v.Vigil, now)
	if !may {
		if v.Calling {
			c.drop(v)
			v.Calling = false
		}
		v.asked = false
		return
	}
	if !v.Calling && !c.askedFirst(ctx, v) {
		return
	}
	c.mu.Lock()
	if !v.Calling {
		v.tookSomething(now) // nothing was tried before
	}
	quiet := now.Sub(v.progress)
	c.mu.Unlock()
	if !v.Calling {
		v.Calling = c.report(ctx, v, now, v.Rank(v.Self) > 0)
		v.Began = now
		return
	}
	// A site whose gateways take nothing keeps trying, but is silent, so that the next one tries its own.
	if now.Sub(v.reported) >= v.Delay/3 && quiet < v.Delay {
		c.report(ctx, v, now, false)
	}
}

// ours reports whether anything is due on a channel that this site has.
func (c *Caller) ours(v *vigil) bool {
	return slices.ContainsFunc(c.kinds, func(k directory.ChannelKind) bool { return v.ongoing.Due[k] > 0 })
}

// report tells the other sites that this one calls. It returns whether the site may go on: if the log does not take the
// sign although others could read it, they will call, and this site had better not.
func (c *Caller) report(ctx context.Context, v *vigil, now time.Time, takeover bool) bool {
	o := v.ongoing
	kind, data := KindCallerReported, any(CallerReported{Site: v.Self, Wave: o.Wave, Pending: o.Pending})
	if takeover {
		kind = KindTakenOver
		data = TakenOver{Site: v.Self, Rank: v.Rank(v.Self), Wave: o.Wave, SilentMillis: v.Silence(now).Milliseconds(), Pending: o.Pending}
	}
	if !c.sign(ctx, v, kind, data) {
		return c.cfg.Replication.Unheard(o.Authority) >= heardLately
	}
	if takeover {
		c.cfg.Logger.Info("takes over calling", "authority", o.Authority, "alarm", o.ID, "rank", v.Rank(v.Self))
	}
	v.reported = now
	return true
}

func siteActor(s event.SiteID) string { return "site/" + s.Short() }

// drop takes back what is queued for the alarm; what is with a gateway goes on.
func (c *Caller) drop(v *vigil) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range v.queue {
		t.state = idle
	}
	v.queue, v.exhausted = nil, time.Time{}
	v.walk = walkOf(v.Rank(v.Self))
}

// forget drops alarms that have nothing due any more, with their tasks.
func (c *Caller) forget(present map[alarmKey]bool) {
	for k, v := range c.vigils {
		if present[k] {
			continue
		}
		c.drop(v)
		delete(c.vigils, k)
		c.mu.Lock()
		v.dropped = true
		maps.DeleteFunc(c.tasks, func(t taskKey, at *task) bool { return t.alarmKey == k && at.state != active })
		c.mu.Unlock()
	}
}

// fill reads the next people of the alarm into its queue, when it is running low.
func (c *Caller) fill(ctx context.Context, k alarmKey, v *vigil, now time.Time) error {
	if !v.exhausted.IsZero() && now.Sub(v.exhausted) >= v.rest() {
		c.mu.Lock()
		v.pass++
		c.mu.Unlock()
		v.exhausted, v.walk, v.found = time.Time{}, walkOf(v.Rank(v.Self)), 0
	}
	for range maxPages {
		if len(v.queue) >= queueLow || !v.exhausted.IsZero() {
			break
		}
		people, over, err := v.walk.next(ctx, c.cfg.Work, k, v.ongoing, duePage)
		if err != nil {
			v.exhausted = now // what is queued is called, and the next pass begins a little later
			return fmt.Errorf("read who is due: %w", err)
		}
		c.enqueue(k, v, people, now)
		if over {
			v.exhausted = now
			c.sweep(k, v)
		}
	}
	return nil
}

// rest returns how long to wait before the next pass: longer if the last one found only what has to wait anyway.
func (v *vigil) rest() time.Duration {
	if v.found == 0 {
		return 5 * planEvery
	}
	return planEvery
}

// enqueue queues what is due, is not under way already, and need not wait.
func (c *Caller) enqueue(k alarmKey, v *vigil, people []Due, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range people {
		for _, kind := range p.Channels {
			if c.channels[kind] == nil {
				continue
			}
			key := taskKey{k, v.ongoing.Wave, p.Person, kind}
			t := c.tasks[key]
			if t == nil {
				t = &task{taskKey: key}
				c.tasks[key] = t
			}
			t.seen = v.pass
			if t.state == idle && !now.Before(t.next) {
				t.state = queued
				v.queue = append(v.queue, t)
				v.found++
			}
		}
	}
}

// sweep forgets, at the end of a pass, the tasks that the pass did not find due: the read model has their receipts.
func (c *Caller) sweep(k alarmKey, v *vigil) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.tasks, func(key taskKey, t *task) bool {
		return key.alarmKey == k && t.seen < v.pass && (t.state == idle || t.state == closed && t.done < v.pass)
	})
}

// dispatch begins queued hand-overs, one of each alarm in turn, and returns how many. The turn goes on where it was when the last worker
// was taken: else the youngest alarm would get each worker that becomes free, and older ones none before it is done.
func (c *Caller) dispatch(ctx context.Context, now time.Time) int {
	began := 0
	next := slices.Index(c.order, c.last) + 1
	turn := slices.Concat(c.order[next:], c.order[:next])
	for {
		before := began
		for _, k := range turn {
			if c.cfg.Workers == 0 && began >= c.cfg.PerStep {
				return began
			}
			if t := c.take(c.vigils[k], now); t != nil {
				began++
				c.last = k
				c.begin(ctx, t, c.vigils[k])
			}
		}
		if began == before {
			return began
		}
	}
}

// take returns the first queued task of the alarm that may begin now, marked as active, or nil.
func (c *Caller) take(v *vigil, now time.Time) *task {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(v.queue) == 0 {
		return nil
	}
	if a := v.ongoing.Authority; !c.windowOf(a).open(c.cfg.Window, c.unheard[a] >= cutOff, now) {
		c.blocked = true
		return nil
	}
	for i, t := range v.queue {
		if c.cfg.Workers > 0 && c.running[t.kind] >= c.cfg.Workers || now.Before(c.pause[t.kind]) {
			continue
		}
		v.queue = slices.Delete(v.queue, i, i+1)
		c.begun(t)
		return t
	}
	return nil
}

// begin makes a hand-over, in a goroutine of its own if the caller has workers.
func (c *Caller) begin(ctx context.Context, t *task, v *vigil) {
	o := v.ongoing
	if c.cfg.Workers == 0 {
		c.handOver(ctx, t, o, v)
		return
	}
	c.workers.Go(func() {
		c.handOver(ctx, t, o, v)
		c.Wake()
	})
}

// settle lets go of the receipts that other sites hold by now.
func (c *Caller) settle(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for a, w := range c.windows {
		if w.settle(c.cfg.Replication.Replicated, now); w.empty() {
			delete(c.windows, a)
		}
	}
	c.blocked = false
}

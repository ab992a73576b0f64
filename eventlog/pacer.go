// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"errors"
	"math"
	"time"

	"codeberg.org/holdfast/holdfast/fault"
)

// Bounds of a pacer.
const (
	minAnswerBytes = 4 << 10 // half a second of 64 kbit/s; with less, frames and questions cost more than a tenth of the line
	minWindow      = 2 * minAnswerBytes
	maxWindow      = pullsUnderWay * maxAnswerBytes
	// fillTime is how much of a line's time may be under way: what is urgent waits behind it, and with less the line idles
	// while a question travels.
	fillTime = time.Second
	// maxRoundTrip bounds what counts as a line's own delay.
	maxRoundTrip = 2 * time.Second
	// assumedRate is what a line is taken to carry, in bytes per second, before anything is known: 16 kbit/s.
	assumedRate = 2000
	// leastRate is where answers that stay out stop to lower what a line is taken to carry: with less, one answer that comes
	// again would hardly raise it.
	leastRate = 100
	// minProgress is what an urgent answer must have to count as getting on: more than one that has nothing.
	minProgress = 256
	minPatience = 5 * time.Second
	maxPatience = 25 * time.Second
)

// pacer decides how much is asked of one peer at a time, so that answers fill the line from that peer to us and no more. It
// keeps a window: the bytes that may be asked for and not answered yet. A request asks for half of it, so that two are under
// way and the line does not idle in between. The window begins small and doubles while answers come at once; it then follows
// the time that answers take, so that what is under way is about fillTime of the line; a question that got no answer in
// time sets it back to the least. It goes by the injected clock, starts no goroutine, and is safe for concurrent use.
type pacer struct {
	now func() time.Time
	in  *inlet // its mutex guards all that follows

	window   int
	flying   int           // bytes asked for and not answered
	quickest time.Duration // the shortest time that a short answer took since the line came up: its delay
	measured bool          // quickest is one
	era      int           // counts how often the line came up
	rate     float64       // bytes per second that answers come at, smoothed; 0 is unknown
	got      int64         // bytes received so far
	gotAt    time.Time     // when the last of them came
}

// newPacer returns the pacer of one line that comes in there.
func newPacer(now func() time.Time, in *inlet) *pacer {
	p := &pacer{now: now, in: in, window: minWindow}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.pacers[p] = true
	return p
}

// asking is one request under way.
type asking struct {
	size     int // how many bytes the answer may have
	reserved int // what of them counts as under way
	urgent   bool
	whole    bool // all that was asked for has come, however short it was on the line
	flying   int  // what was under way when it began
	era      int  // pacer.era when it began
	began    time.Time
	got      int64     // pacer.got when it began
	gotAt    time.Time // pacer.gotAt when it began, or when it began if nothing else was under way
}

// take says how much may be asked for on that way. What is urgent never waits; operations wait while the site's lines are
// full, and bulk until the window has room as well, at most until ctx ends: then it returns ctx's error. Every asking that
// was taken is to be ended by done.
func (p *pacer) take(ctx context.Context, w way) (asking, error) {
	for {
		a, freed, ok := p.tryTake(w)
		if ok {
			return a, nil
		}
		look := time.NewTimer(holdFor / 10) // nobody tells when a hold has lasted long enough
		select {
		case <-freed:
		case <-look.C:
		case <-ctx.Done():
			look.Stop()
			return asking{}, ctx.Err()
		}
		look.Stop()
	}
}

func (p *pacer) tryTake(w way) (a asking, freed <-chan struct{}, ok bool) {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	size := p.size()
	if w != urgentWay && p.mustWait(w, size) {
		return asking{}, p.in.freed, false
	}
	a = p.begin(size)
	a.reserved, a.urgent = size, w == urgentWay
	p.flying += size
	return a, nil, true
}

// mustWait reports whether that many bytes more must not be asked for now. The caller holds the mutex.
func (p *pacer) mustWait(w way, size int) bool {
	switch {
	case p.in.holds(p.now()) && p.size() < maxAnswerBytes:
		return true
	case p.crawls() && p.in.crowded(p, size):
		return true
	}
	// A quarter of slack: when the window shrinks, what is under way is still of the old size, and a second question that
	// waits for it would leave the line idle.
	return w == bulkWay && p.flying > 0 && p.flying+size > p.window+p.window/4
}

// crawls reports whether the pacer is at the least that it may ask for. The caller holds the mutex.
func (p *pacer) crawls() bool { return p.window == minWindow }

// small is take for a question whose answer is nearly always much shorter than it might be: it never waits, and nothing
// waits for it.
func (p *pacer) small() asking {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	return p.begin(p.size())
}

// begin starts an asking that reserves nothing yet. The caller holds p.in.mu.
func (p *pacer) begin(size int) asking {
	a := asking{size: size, flying: p.flying, era: p.era, began: p.now(), got: p.got, gotAt: p.gotAt}
	if p.flying == 0 {
		a.gotAt = a.began
	}
	return a
}

// size is how much one request asks for. On a line that needs more than a second for the least, it is half of that: an
// alarm waits behind it. The caller holds the mutex.
func (p *pacer) size() int {
	if p.crawls() && p.rate > 0 && p.rate*fillTime.Seconds() < minAnswerBytes {
		return minAnswerBytes / 2
	}
	return min(max(p.window/2, minAnswerBytes), maxAnswerBytes)
}

// done tells how an asking ended: how many bytes came, or why none did.
func (p *pacer) done(a asking, bytes int, err error) {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.flying -= a.reserved
	p.in.free()
	now := p.now()
	took := max(0, now.Sub(a.began))
	if err == nil && a.urgent && bytes > minProgress {
		p.in.getsOn(now)
	}
	if err != nil {
		p.failed(took, err)
		return
	}
	p.got += int64(bytes)
	p.gotAt = now
	p.noteRate(float64(p.got-a.got), now.Sub(a.gotAt))
	p.noteQuickest(a, took)
	p.adjust(a, bytes, took)
}

// failed sets the window back if an answer stayed out. A refusal, and a line that is known to be down, say nothing of how
// much the line carries.
func (p *pacer) failed(took time.Duration, err error) {
	late := errors.Is(err, context.DeadlineExceeded) || fault.KindOf(err) == fault.Unavailable
	if late && took >= minPatience/2 {
		p.window = minWindow
		p.rate = max(p.rate/2, min(p.rate, leastRate))
	}
}

// noteQuickest takes a measurement of the line's delay in: of a short question while nothing else was under way. One that
// began before the line came up says how long connecting took.
func (p *pacer) noteQuickest(a asking, took time.Duration) {
	if a.era != p.era || a.reserved > 0 || a.flying > 0 {
		return
	}
	if took = min(took, maxRoundTrip); !p.measured || took < p.quickest {
		p.quickest, p.measured = took, true
	}
}

// noteRate takes a measurement in: what came between the last byte before a request and its answer. Small ones say more
// of the delay than of the rate.
func (p *pacer) noteRate(bytes float64, in time.Duration) {
	if in <= 0 || bytes < minAnswerBytes/4 {
		return
	}
	sample := bytes / in.Seconds()
	if p.rate == 0 {
		p.rate = sample
		return
	}
	p.rate += (sample - p.rate) / 4
}

// adjust moves the window so that answers take fillTime, or a good twice the line's delay if that is longer: with less, one
// of two answers is carried before the next question is there. Only an answer that was as large as it might be can make the
// window grow. Each answer moves it by half of its share, since those under way at the same time tell the same, and what it
// changes is seen only one round later.
func (p *pacer) adjust(a asking, bytes int, took time.Duration) {
	target := max(fillTime, p.quickest*9/4)
	full := a.whole || bytes >= a.size*2/3 // answers are made of whole things, so they are a little shorter than they might be
	if !full && took <= 2*target {
		return
	}
	factor := min(max(0.25, float64(target)/float64(max(took, 1))), 4)
	if factor < 4 {
		factor = math.Pow(factor, float64(a.size)/float64(p.window)/2)
	}
	p.window = min(max(int(float64(p.window)*min(factor, 2)), minWindow), maxWindow)
}

// fresh forgets the line's delay: it has come up anew, perhaps another way.
func (p *pacer) fresh() {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.measured = false
	p.era++
}

// patience is how long to wait for an answer of so many bytes, behind all that is under way, before the question counts as
// lost: four times what the line has needed lately, and five seconds.
func (p *pacer) patience(bytes int) time.Duration {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	rate := p.rate
	if rate == 0 {
		rate = assumedRate
	}
	expected := 4 * float64(bytes+p.flying) / rate * float64(time.Second)
	return min(minPatience+time.Duration(min(expected, float64(maxPatience))), maxPatience)
}

// fast reports whether the line takes whole answers: then several logs are fetched side by side.
func (p *pacer) fast() bool {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	return p.size() == maxAnswerBytes
}

// knowsDelay reports whether the line's delay has been measured since it came up.
func (p *pacer) knowsDelay() bool {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	return p.measured
}

// underWay returns how long the line needs for what was asked for and has not come, 0 if that is not known.
func (p *pacer) underWay() time.Duration {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	if p.rate == 0 {
		return 0
	}
	return time.Duration(min(float64(p.flying)/p.rate, maxPatience.Seconds()) * float64(time.Second))
}

// carries returns what the line is known to carry in bytes per second, 0 if that is not known.
func (p *pacer) carries() float64 {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	return p.rate
}

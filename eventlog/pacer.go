// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"errors"
	"math"
	"sync"
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

	mu       sync.Mutex
	window   int
	flying   int           // bytes asked for and not answered
	quickest time.Duration // the shortest time that a short answer took since the line came up: its delay
	measured bool          // quickest is one
	era      int           // counts how often the line came up
	rate     float64       // bytes per second that answers come at, smoothed; 0 is unknown
	got      int64         // bytes received so far
	gotAt    time.Time     // when the last of them came
	freed    chan struct{} // closed and replaced when something has become free
}

func newPacer(now func() time.Time) *pacer {
	return &pacer{now: now, window: minWindow, freed: make(chan struct{})}
}

// asking is one request under way.
type asking struct {
	size     int // how many bytes the answer may have
	reserved int // what of them counts as under way
	flying   int // what was under way when it began
	era      int // pacer.era when it began
	began    time.Time
	got      int64     // pacer.got when it began
	gotAt    time.Time // pacer.gotAt when it began, or when it began if nothing else was under way
}

// take says how much may be asked for. What is urgent never waits; what is not waits until the window has room, at most
// until ctx ends: then it returns ctx's error. Every asking that was taken is to be ended by done.
func (p *pacer) take(ctx context.Context, urgent bool) (asking, error) {
	for {
		a, freed, ok := p.tryTake(urgent)
		if ok {
			return a, nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return asking{}, ctx.Err()
		}
	}
}

func (p *pacer) tryTake(urgent bool) (a asking, freed <-chan struct{}, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := p.size()
	// A quarter of slack: when the window shrinks, what is under way is still of the old size, and a second question that waits
	// for it would leave the line idle.
	if !urgent && p.flying > 0 && p.flying+size > p.window+p.window/4 {
		return asking{}, p.freed, false
	}
	a = p.begin(size)
	a.reserved = size
	p.flying += size
	return a, nil, true
}

// small is take for a question whose answer is nearly always much shorter than it might be: it never waits, and nothing
// waits for it.
func (p *pacer) small() asking {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.begin(p.size())
}

// begin starts an asking that reserves nothing yet. The caller holds p.mu.
func (p *pacer) begin(size int) asking {
	a := asking{size: size, flying: p.flying, era: p.era, began: p.now(), got: p.got, gotAt: p.gotAt}
	if p.flying == 0 {
		a.gotAt = a.began
	}
	return a
}

// size is how much one request asks for. The caller holds p.mu.
func (p *pacer) size() int { return min(max(p.window/2, minAnswerBytes), maxAnswerBytes) }

// done tells how an asking ended: how many bytes came, or why none did.
func (p *pacer) done(a asking, bytes int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flying -= a.reserved
	close(p.freed)
	p.freed = make(chan struct{})
	now := p.now()
	took := max(0, now.Sub(a.began))
	if err != nil {
		p.failed(took, err)
		return
	}
	p.got += int64(bytes)
	p.gotAt = now
	p.noteRate(float64(p.got-a.got), now.Sub(a.gotAt))
	p.noteQuickest(a, took)
	p.adjust(a.size, bytes, took)
}

// failed sets the window back if an answer stayed out. A refusal, and a line that is known to be down, say nothing of how
// much the line carries.
func (p *pacer) failed(took time.Duration, err error) {
	late := errors.Is(err, context.DeadlineExceeded) || fault.KindOf(err) == fault.Unavailable
	if late && took >= minPatience/2 {
		p.window = minWindow
		p.rate /= 2
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
	if in <= 0 || bytes < minAnswerBytes/2 {
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
func (p *pacer) adjust(asked, bytes int, took time.Duration) {
	target := max(fillTime, p.quickest*9/4)
	full := bytes >= asked*2/3 // answers are made of whole things, so they are a little shorter than they might be
	if !full && took <= 2*target {
		return
	}
	factor := min(max(0.25, float64(target)/float64(max(took, 1))), 4)
	if factor < 4 {
		factor = math.Pow(factor, float64(asked)/float64(p.window)/2)
	}
	p.window = min(max(int(float64(p.window)*min(factor, 2)), minWindow), maxWindow)
}

// fresh forgets the line's delay: it has come up anew, perhaps another way.
func (p *pacer) fresh() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.measured = false
	p.era++
}

// patience is how long to wait for an answer of so many bytes, behind all that is under way, before the question counts as
// lost: four times what the line has needed lately, and five seconds.
func (p *pacer) patience(bytes int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	rate := p.rate
	if rate == 0 {
		rate = assumedRate
	}
	expected := time.Duration(float64(bytes+p.flying) / rate * float64(time.Second))
	return min(minPatience+4*expected, maxPatience)
}

// fast reports whether the line takes whole answers: then several logs are fetched side by side.
func (p *pacer) fast() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size() == maxAnswerBytes
}

// knowsDelay reports whether the line's delay has been measured since it came up.
func (p *pacer) knowsDelay() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.measured
}

// carries returns what the line is known to carry in bytes per second, 0 if that is not known.
func (p *pacer) carries() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate
}

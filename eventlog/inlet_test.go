// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"testing"
	"time"
)

// inletClock is a clock that the test moves.
type inletClock struct{ now time.Time }

func (c *inletClock) Now() time.Time { return c.now }

// sharing returns an inlet with the pacers of so many peers, all at their least.
func sharing(peers int) (*inletClock, *inlet, []*pacer) {
	c := &inletClock{time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)}
	in := newInlet()
	pacers := make([]*pacer, peers)
	for i := range pacers {
		pacers[i] = newPacer(c.Now, in)
	}
	return c, in, pacers
}

func TestOfManySlowPeersEachHasOneAnswerUnderWay(t *testing.T) {
	_, _, pacers := sharing(5)
	for _, p := range pacers {
		p.rate = 8000
		for range 3 {
			p.tryTake(bulkWay)
			p.tryTake(operationsWay)
		}
	}
	under := 0
	for _, p := range pacers {
		if under += p.flying; p.flying == 0 {
			t.Error("of one peer nothing is under way")
		}
	}
	if under > 6*minAnswerBytes { // one of each, and of the first a second one
		t.Errorf("%d bytes are under way over lines of 64 kbit/s", under)
	}
	if a, _, ok := pacers[0].tryTake(bulkWay); ok {
		t.Errorf("a second answer of %d bytes, beside %d, over lines of 64 kbit/s", a.size, under)
	}
	if _, _, ok := pacers[4].tryTake(urgentWay); !ok {
		t.Error("what is urgent was held back")
	}
	t.Run("AFastOneTakesNothingFromThem", func(t *testing.T) {
		_, _, pacers := sharing(2)
		pacers[0].window, pacers[1].rate = maxWindow, 8000
		pacers[0].tryTake(bulkWay)
		for range 2 {
			if _, _, ok := pacers[1].tryTake(operationsWay); !ok {
				t.Error("a slow peer waits for what a fast one has under way")
			}
		}
	})
	t.Run("GoodLinesDoNotWait", func(t *testing.T) {
		pacers[3].window = 16 * minWindow
		if _, _, ok := pacers[3].tryTake(bulkWay); !ok {
			t.Error("a peer with a good line waits for those with slow ones")
		}
	})
}

func TestOnALineThatNeedsSecondsForTheLeastItIsLess(t *testing.T) {
	_, _, pacers := sharing(1)
	p := pacers[0]
	for rate, want := range map[float64]int{0: minAnswerBytes, 2000: minAnswerBytes / 2, 8000: minAnswerBytes} {
		p.rate = rate
		if got := p.size(); got != want {
			t.Errorf("at %.0f bytes a second an answer may have %d, want %d", rate, got, want)
		}
	}
}

func TestWhatCanWaitIsNotBegunWhileAnAlarmComes(t *testing.T) {
	c, in, pacers := sharing(2)
	waits := func(w way) bool {
		a, _, ok := pacers[1].tryTake(w)
		if ok {
			pacers[1].done(a, 0, errAnswer)
		}
		return !ok
	}
	unanswered := in.hold(c.Now)
	c.now = c.now.Add(holdFor)
	if waits(bulkWay) {
		t.Error("the peer with the alarm does not answer, and bulk waits for ever")
	}
	unanswered()
	early := in.hold(c.Now)
	if waits(bulkWay) {
		t.Error("the rest has not had the time that it was held back")
	}
	early()
	c.now = c.now.Add(holdFor)
	release := in.hold(c.Now)
	if !waits(bulkWay) || !waits(operationsWay) || waits(urgentWay) {
		t.Error("while an alarm comes, something that can wait is begun, or what is urgent is not")
	}
	for range 3 {
		a, _, _ := pacers[0].tryTake(urgentWay)
		c.now = c.now.Add(holdFor - time.Second)
		pacers[0].done(a, 1000, nil)
		if !waits(bulkWay) {
			t.Error("the alarm gets on, and bulk is begun")
		}
	}
	c.now = c.now.Add(holdFor)
	if waits(bulkWay) {
		t.Error("the alarm does not get on, and bulk waits for ever")
	}
	release()
	c.now = c.now.Add(holdMost)
	again := in.hold(c.Now)
	if !waits(bulkWay) {
		t.Error("the next alarm holds nothing back")
	}
	again()
	if waits(bulkWay) || pacers[0].flying+pacers[1].flying != 0 {
		t.Errorf("nothing urgent comes, and bulk waits; %d bytes count as under way", pacers[0].flying+pacers[1].flying)
	}
	t.Run("OfAPeerThatGivesALittle", func(t *testing.T) {
		c.now = c.now.Add(holdMost)
		began := c.now
		defer in.hold(c.Now)()
		for waits(bulkWay) {
			a, _, _ := pacers[0].tryTake(urgentWay)
			c.now = c.now.Add(holdFor - time.Second)
			pacers[0].done(a, 1000, nil)
			if c.now.Sub(began) > 2*holdMost {
				t.Fatal("it holds everything back for ever")
			}
		}
	})
	t.Run("BegunInTheRestAfterAnother", func(t *testing.T) {
		c.now = c.now.Add(2 * holdMost)
		first := in.hold(c.Now)
		c.now = c.now.Add(holdFor)
		first()
		c.now = c.now.Add(holdFor - time.Second)
		defer in.hold(c.Now)()
		for i := range 3 {
			a, _, _ := pacers[0].tryTake(urgentWay)
			c.now = c.now.Add(time.Second)
			pacers[0].done(a, 1000, nil)
			if !waits(bulkWay) {
				t.Errorf("%d s after the rest the alarm gets on, and bulk is begun", i)
			}
		}
	})
	t.Run("OnAGoodLine", func(t *testing.T) {
		c.now = c.now.Add(2 * holdMost)
		defer in.hold(c.Now)()
		pacers[1].window = maxWindow
		if waits(bulkWay) {
			t.Error("on a good line bulk waits for an alarm")
		}
	})
}

// TestMembersThatTakeTurnsHoldTheRestBackForHalfOfTheTime has two members whose urgent logs never end: they take turns, or neither
// ever lets go.
func TestMembersThatTakeTurnsHoldTheRestBackForHalfOfTheTime(t *testing.T) {
	for name, lasts := range map[string]time.Duration{"a turn each": holdMost, "short turns": 3 * time.Second, "without an end": time.Hour} {
		t.Run(name, func(t *testing.T) {
			c, in, pacers := sharing(3)
			var release [2]func()
			var end [2]time.Time
			held, all, begun := 0, 0, c.now
			for ; c.now.Sub(begun) < 10*time.Minute; c.now = c.now.Add(time.Second) {
				for i := range release {
					if release[i] != nil && !c.now.Before(end[i]) {
						release[i]()
						release[i] = nil
					}
					if release[i] == nil && c.now.Sub(begun) >= time.Duration(i)*lasts/2 {
						release[i], end[i] = in.hold(c.Now), c.now.Add(lasts)
					}
					a, _, _ := pacers[i].tryTake(urgentWay)
					pacers[i].done(a, minProgress+1, nil)
				}
				all++
				a, _, ok := pacers[2].tryTake(operationsWay)
				if !ok {
					held++
					continue
				}
				pacers[2].done(a, 0, errAnswer)
			}
			if held > all/2+1 {
				t.Errorf("operations waited in %d of %d looks, want half", held, all)
			}
			if held < all/10 && lasts < time.Hour {
				t.Errorf("operations waited in %d of %d looks: what is urgent holds nothing back any more", held, all)
			}
		})
	}
}

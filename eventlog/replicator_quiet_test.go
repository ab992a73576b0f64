// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// late makes every exchange of heads with the site take that long.
func (s *testSite) late(took time.Duration) {
	honest := s.rep.Serve(eventlog.VerbHeads)
	s.port.Handle(eventlog.VerbHeads, func(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
		time.Sleep(took / 2)
		answer, err := honest(ctx, peer, body)
		time.Sleep(took / 2)
		return answer, err
	})
}

// runAll runs the sites, and with keys lets them ask each other for keys every second, as keyring.Syncer does.
func (f *federation) runAll(keys bool) (stop func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan struct{}, len(f.sites))
	for i, s := range f.sites {
		go func() {
			time.Sleep(time.Duration(i) * 700 * time.Millisecond)
			s.rep.Run(ctx)
			done <- struct{}{}
		}()
	}
	if keys {
		go f.askForKeys(ctx)
	}
	return func() {
		cancel()
		for range f.sites {
			<-done
		}
		time.Sleep(10 * time.Second) // until every question has ended
	}
}

func (f *federation) askForKeys(ctx context.Context) {
	for ctx.Err() == nil {
		for i, s := range f.sites {
			other := f.sites[(i+1)%len(f.sites)].name
			_ = s.rep.Paced(ctx, other, false, func(context.Context, int) (int, error) { return 100, nil })
		}
		time.Sleep(time.Second)
	}
}

func TestOnASlowLineNobodyIsSilent(t *testing.T) {
	for _, took := range []time.Duration{300 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second} {
		for _, keys := range []bool{false, true} {
			if took >= 4*time.Second && !keys {
				continue // longer than heardLately: a line too slow to carry a word
			}
			t.Run(fmt.Sprintf("%v, keys %t", took, keys), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFederation(t, "a", "b")
					f.running = true
					for _, s := range f.sites {
						s.late(took)
					}
					stop := f.runAll(keys)
					time.Sleep(30 * time.Second)
					stale, all := 0, 3000
					for range all {
						time.Sleep(100 * time.Millisecond)
						if !f.sites[1].rep.Fresh("nordtal") {
							stale++
						}
					}
					if stale > 0 {
						t.Errorf("in %d of %d looks a site waits for another one that is there all the time", stale, all)
					}
					stop()
				})
			})
		}
	}
}

func TestWhoIsToBeAskedIsAskedAtOnceOnASlowLineToo(t *testing.T) {
	const took = time.Second
	synctest.Test(t, func(t *testing.T) {
		f := newFederation(t, "a", "b")
		f.running = true
		for _, s := range f.sites {
			s.late(took)
		}
		stop := f.runAll(true)
		time.Sleep(30 * time.Second)
		for i := range 20 {
			f.sites[1].rep.Refresh("nordtal")
			// One exchange may be under way, which does not count; what nobody has answered ends only after two seconds.
			asked := time.Now()
			for !f.sites[1].rep.Fresh("nordtal") {
				time.Sleep(10 * time.Millisecond)
			}
			if waited := time.Since(asked); i > 0 && waited > took+50*time.Millisecond {
				t.Errorf("an answer that takes %v was there after %v", took, waited)
			}
			time.Sleep(2500*time.Millisecond - time.Since(asked)) // in the pause after the exchange
		}
		stop()
	})
}

func TestWhatCountsAsAWord(t *testing.T) {
	start := func(t *testing.T) (a *testSite, b *listener) {
		f := newFederation(t, "a", "b")
		a, b = f.sites[0], f.sites[1].listen()
		b.folded = 1 << 40
		b.after(0, false, "at the start")
		b.step(a)
		b.after(100*time.Millisecond, true, "after the start")
		return a, b
	}
	// keys is an answer with keys that is so long under way.
	keys := func(b *listener, from *testSite, took time.Duration) {
		_ = b.rep.Paced(t.Context(), from.name, false, func(context.Context, int) (int, error) {
			b.f.now = b.f.now.Add(took)
			return 100, nil
		})
	}
	t.Run("keys", func(t *testing.T) {
		a, b := start(t)
		for range 7 {
			b.after(time.Second, true, "keys come")
			keys(b, a, 100*time.Millisecond)
		}
		b.step(a)
		b.after(0, true, "and then heads")
	})
	t.Run("the first after a silence", func(t *testing.T) {
		a, b := start(t)
		b.after(5*time.Second, true, "nothing is heard")
		keys(b, a, 100*time.Millisecond)
		b.after(0, false, "keys come again")
		b.step(a)
		b.after(100*time.Millisecond, true, "and heads")
	})
	t.Run("heads stay out", func(t *testing.T) {
		a, b := start(t)
		b.f.net.Cut(a.name, b.name)
		for range 4 {
			b.step(a)
			b.after(time.Second, true, "keys come over another connection")
			keys(b, a, 0)
		}
		b.f.net.Heal(a.name, b.name)
		a.step(b.testSite)
		b.after(0, false, "what the other one did meanwhile is not known")
		b.step(a)
		b.after(100*time.Millisecond, true, "and now it is")
	})
	t.Run("heads are old", func(t *testing.T) {
		a, b := start(t)
		for range 16 {
			b.after(time.Second, true, "keys come")
			keys(b, a, 0)
		}
		a.step(b.testSite)
		b.after(0, false, "heads come for the first time in 16 s")
	})
	t.Run("a late answer", func(t *testing.T) {
		a, b := start(t)
		b.after(time.Second, true, "a moment later")
		keys(b, a, 8*time.Second) // asked for before the other one went silent
		b.after(0, true, "an answer that was under way for so long is no end of a silence")
		b.after(2*time.Second, true, "still nothing is heard")
		a.step(b.testSite)
		b.after(0, false, "the silence was not hidden by the late answer")
	})
	t.Run("a request that is answered late", func(t *testing.T) {
		a, b := start(t)
		asked, log := b.f.now, b.append("nordtal", "one").Log
		b.slow = 20 * time.Second
		question, err := json.Marshal(map[string]any{"log": log, "target": map[string]any{"page": 1, "hash": eventlog.Hash{}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.port.Request(t.Context(), b.name, eventlog.VerbPages, question); err != nil {
			t.Fatal(err)
		}
		b.slow = 0
		if heard := b.heard(a); !heard.Equal(asked) {
			t.Errorf("the other one was heard %v after its request", heard.Sub(asked))
		}
		b.after(0, true, "that it was there so long ago is no end of a silence")
		a.step(b.testSite)
		b.after(0, false, "the silence was not hidden by the late answer")
	})
	t.Run("silent again while it is waited for", func(t *testing.T) {
		a, b := start(t)
		b.after(5*time.Second, true, "nothing is heard")
		b.pages = 0
		a.append("nordtal", "one")
		b.step(a) // the end of the silence
		b.step(a)
		b.after(5*time.Second, false, "it has named a page, and is silent again")
		a.step(b.testSite)
		b.pages = 1
		b.rep.PullOnly(t.Context(), a.name)
		b.after(100*time.Millisecond, false, "the page is here, and what came after it is not known")
		b.step(a)
		b.after(100*time.Millisecond, true, "and now it is")
	})
}

// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

// announces makes a site say that it has a million pages of a log.
func (s *testSite) announces(log eventlog.LogID) {
	claim := fmt.Sprintf(`{"session":"x","upTo":1,"heads":[{"branch":%s,"page":1000000,"hash":"%064x","version":1}]}`, logJSON(log), 7)
	s.port.Handle(eventlog.VerbHeads, func(context.Context, event.SiteID, []byte) ([]byte, error) { return []byte(claim), nil })
}

// gives makes a site answer every question for pages with what part returns.
func (s *testSite) gives(part func() (first *eventlog.Hash, bytes []byte)) {
	s.port.Handle(eventlog.VerbPages, func(context.Context, event.SiteID, []byte) ([]byte, error) {
		first, bytes := part()
		head := map[string]any{"stretch": true, "more": true, "count": 0}
		if first != nil {
			head["first"] = first.String()
		}
		raw, err := json.Marshal(head)
		if err != nil {
			return nil, err
		}
		return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...), bytes...), nil
	})
}

// drips makes a site give one byte of a large page at a time, each as late as it may.
func (s *testSite) drips(log eventlog.LogID, pause time.Duration) {
	s.announces(log)
	var mu sync.Mutex
	n := 0
	s.gives(func() (*eventlog.Hash, []byte) {
		time.Sleep(pause)
		mu.Lock()
		defer mu.Unlock()
		b := []byte{0, 7, 0, 0, 'x'}[min(n, 4)]
		n++
		return nil, []byte{b}
	})
}

// behind makes the pages of a site come over a line of so many bytes per second, and counts them.
func (s *testSite) behind(rate int) (carried func() int) {
	return behindOneLine(rate, "", []*testSite{s}, eventlog.VerbPages)
}

// behindOneLine makes the answers of some sites to such questions come over one line, to one site only if that is named, and
// counts the bytes.
func behindOneLine(rate int, to event.SiteID, sites []*testSite, verbs ...string) (carried func() int) {
	line := make(chan int, 1)
	line <- 0
	for _, s := range sites {
		for _, verb := range verbs {
			s.port.Handle(verb, overLine(line, rate, to, s.rep.Serve(verb)))
		}
	}
	return func() int { n := <-line; line <- n; return n }
}

type handler = func(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error)

func overLine(line chan int, rate int, to event.SiteID, serve handler) handler {
	return func(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
		answer, err := serve(ctx, peer, body)
		if to != "" && peer != to {
			return answer, err
		}
		n := <-line
		time.Sleep(time.Duration(float64(len(answer)) / float64(rate) * float64(time.Second)))
		line <- n + len(answer)
		return answer, err
	}
}

// runs lets sites run until the function returns.
func (f *federation) runs(t *testing.T, sites []*testSite, during func(ctx context.Context)) {
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, s := range sites {
		wg.Go(func() { s.rep.Run(ctx) })
	}
	defer wg.Wait()
	defer stop()
	during(ctx)
}

// arrives returns how long it takes until sites of two operators have it.
func (s *testSite) arrives(ctx context.Context, t *testing.T, r eventlog.Receipt) time.Duration {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	if err := s.rep.Wait(ctx, r.Log, r.Last, 2); err != nil {
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
	return time.Since(began)
}

// In the bubble time passes only while everybody waits.
func TestWhoGivesByDropsKeepsNoLogFromComing(t *testing.T) {
	alarm := func(a *testSite, what string) eventlog.Receipt { return a.alarm(what) }
	record := func(a *testSite, what string) eventlog.Receipt { return a.record("nordtal", what) }
	tests := []struct {
		name    string
		write   func(a *testSite, what string) eventlog.Receipt
		members []string
		allowed int // how many of the members the authority allows; 0 is all
		pause   time.Duration
		within  time.Duration
	}{
		{"AnAlarm", alarm, []string{"a", "b", "m"}, 0, 4 * time.Second, 2 * time.Second},
		{"AnAlarmFromManyAtOnce", alarm, []string{"a", "b", "m", "m2", "m3", "m4"}, 0, 4 * time.Second, 2 * time.Second},
		{"AnAlarmInQuickTurns", alarm, []string{"a", "b", "m", "m2"}, 0, 50 * time.Millisecond, 2 * time.Second},
		{"AnAlarmFromWhoIsNotAllowed", alarm, []string{"a", "b", "m"}, 2, 4 * time.Second, 200 * time.Millisecond},
		{"ARecord", record, []string{"a", "b", "m"}, 0, 4 * time.Second, 15 * time.Second},
		{"ARecordFromManyAtOnce", record, []string{"a", "b", "m", "m2", "m3", "m4"}, 0, 4 * time.Second, 25 * time.Second},
		{"ARecordInQuickTurns", record, []string{"a", "b", "m", "m2"}, 0, 50 * time.Millisecond, 15 * time.Second},
		{"ARecordFromWhoIsNotAllowed", record, []string{"a", "b", "m"}, 2, 4 * time.Second, 2 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFederation(t, test.members...)
				f.running = true
				a := f.sites[0]
				for _, s := range f.sites[:test.allowed] {
					f.allowed["nordtal"] = append(f.allowed["nordtal"], s.name)
				}
				log := test.write(a, "zero").Log
				for _, m := range f.sites[2:] {
					f.net.Cut(a.name, m.name)
					m.drips(log, test.pause)
				}
				f.runs(t, f.sites[:2], func(ctx context.Context) {
					for i := range 5 {
						time.Sleep(20*time.Second + time.Duration(i)*300*time.Millisecond)
						took := a.arrives(ctx, t, test.write(a, fmt.Sprint(i)))
						t.Logf("%d: %v", i, took)
						if took > test.within {
							t.Errorf("it came after %v", took)
						}
					}
				})
			})
		})
	}
}

// alarmOf returns how long an alarm of three times so many KiB takes from so many holders to a site behind one line
// of 64 kbit/s, and how many bytes are sent.
func alarmOf(t *testing.T, kib, holders int) (took time.Duration, sent int) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a", "b", "d", "e", "g", "h", "i"}
		f := newFederation(t, append([]string{"c"}, names[:holders]...)...)
		f.running = true
		c, a := f.sites[0], f.sites[1]
		carried := behindOneLine(8000, c.name, f.sites[1:], eventlog.VerbPages, eventlog.VerbHeads)
		f.runs(t, f.sites, func(context.Context) {
			time.Sleep(20 * time.Second)
			began, before := time.Now(), carried()
			var drafts []event.Draft
			for i := range 3 {
				drafts = append(drafts, event.Draft{Subject: "note/large", Kind: "note.Written", Mode: event.Test, Data: logtest.Dense(kib<<10, i), Urgent: true})
			}
			r, err := a.log.Append(t.Context(), "nordtal", event.Operations, drafts...)
			if err != nil {
				t.Fatal(err)
			}
			has := func(h eventlog.Head) bool { return h.Branch.LogID == r.Log && h.Page >= r.Last.Page }
			for !slices.ContainsFunc(c.log.Heads(), has) {
				time.Sleep(100 * time.Millisecond)
				if time.Since(began) > time.Hour {
					t.Fatal("the alarm does not come")
				}
			}
			took, sent = time.Since(began), carried()-before
		})
	})
	return took, sent
}

func TestALargeAlarmTakesNoLongerTheMoreHoldIt(t *testing.T) {
	alone, bytes := alarmOf(t, 49, 1)
	for _, holders := range []int{2, 3, 7} {
		took, sent := alarmOf(t, 49, holders)
		t.Logf("%d holders: %v and %d bytes, from one alone %v and %d", holders, took, sent, alone, bytes)
		if took > alone*8/5 {
			t.Errorf("from %d holders it took %v, from one %v", holders, took, alone)
		}
	}
}

// A page that says that it will soon be whole is waited for, and so is what is still on the line.
func TestAnAlarmOfThreeSecondsComesFromOneHolder(t *testing.T) {
	alone, bytes := alarmOf(t, 10, 1)
	took, sent := alarmOf(t, 10, 2)
	t.Logf("2 holders: %v and %d bytes, from one alone %v and %d", took, sent, alone, bytes)
	if sent > bytes*6/5 || took > alone*6/5 {
		t.Errorf("from 2 holders it took %v and %d bytes, from one %v and %d", took, sent, alone, bytes)
	}
}

// floods makes a site give garbage, the beginning of a page that is as large as one may be, as fast as a line of its own is.
func (s *testSite) floods(log eventlog.LogID, rate int) {
	s.announces(log)
	var mu sync.Mutex
	n := 0
	s.gives(func() (*eventlog.Hash, []byte) {
		part := make([]byte, 4096)
		mu.Lock()
		if n%128 == 0 {
			part = append([]byte{0, 7, 0xff, 0xff}, part[4:]...)
		}
		n++
		mu.Unlock()
		time.Sleep(time.Duration(float64(len(part)) / float64(rate) * float64(time.Second)))
		return nil, part
	})
}

// In a turn that goes on by drops, only the first page waits: its giver has shown what it gives.
func TestWhoGivesByDropsDelaysReceiptsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFederation(t, "a", "b", "m")
		f.running = true
		a, b, m := f.sites[0], f.sites[1], f.sites[2]
		log := a.append("nordtal", "zero").Log
		f.net.Cut(a.name, m.name)
		m.drips(log, 4*time.Second)
		f.runs(t, []*testSite{a, b}, func(ctx context.Context) {
			time.Sleep(20 * time.Second)
			late := 0
			for i := range 20 {
				took := a.arrives(ctx, t, a.append("nordtal", fmt.Sprint(i)))
				if took > time.Second {
					late++
				}
				t.Logf("%d: %v", i, took)
				if took > 4*time.Second {
					t.Errorf("it came after %v", took)
				}
				time.Sleep(time.Second)
			}
			if late > 2 {
				t.Errorf("%d of 20 receipts were late", late)
			}
		})
	})
}

// What a giver of garbage sends looks like a large page until all of it is here.
func TestWhoGivesGarbageAsFastAsTheLineIsKeepsNoAlarmFromComing(t *testing.T) {
	for name, test := range map[string]struct {
		members int
		within  time.Duration
	}{"One": {1, 6 * time.Second}, "Two": {2, 40 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFederation(t, append([]string{"a", "b"}, []string{"m", "m2"}[:test.members]...)...)
				f.running = true
				a, b := f.sites[0], f.sites[1]
				next := a.alarm("zero")
				log := next.Log
				a.behind(8000)
				f.net.Cut(a.name, b.name)
				for _, m := range f.sites[2:] {
					f.net.Cut(a.name, m.name)
					m.floods(log, 8000)
				}
				f.runs(t, []*testSite{a, b}, func(ctx context.Context) {
					time.Sleep(5 * time.Second) // the garbage has begun
					f.net.Heal(a.name, b.name)
					for i := range 5 {
						took := a.arrives(ctx, t, next)
						time.Sleep(20*time.Second + time.Duration(i)*300*time.Millisecond)
						next = a.alarm(fmt.Sprint(i))
						t.Logf("%d: %v", i, took)
						if took > test.within {
							t.Errorf("it came after %v", took)
						}
					}
				})
			})
		})
	}
}

// A page comes over a slow line in turns; between two of them somebody else is asked.
func TestNobodySpoilsWhatAnotherHolderHasGivenOfAPage(t *testing.T) {
	turns := func(t *testing.T, spoil func() (*eventlog.Hash, []byte)) (turns int) {
		f := newFederation(t, "a", "b", "m")
		a, b, m := f.sites[0], f.sites[1], f.sites[2]
		log := a.largePage(event.Register, 500<<10).Log
		m.announces(log)
		m.gives(spoil)
		f.slow(2000)
		for ; turns < 500 && len(b.log.Heads()) == 0; turns++ {
			b.step(a)
			if spoil != nil {
				_, _ = b.rep.Step(t.Context(), m.name) // the refusal of garbage is no news
			}
		}
		return turns
	}
	alone := turns(t, nil)
	garbage := make([]byte, 4096)
	tests := map[string]func() (*eventlog.Hash, []byte){
		"AnotherPageEachTime": func() (*eventlog.Hash, []byte) {
			var h eventlog.Hash
			_, _ = rand.Read(h[:])
			return &h, nil
		},
		"Garbage":      func() (*eventlog.Hash, []byte) { return nil, append([]byte{0, 7, 0, 0}, garbage...) },
		"AFewBytes":    func() (*eventlog.Hash, []byte) { return nil, []byte{0, 7} },
		"EmptyPages":   func() (*eventlog.Hash, []byte) { return nil, garbage },
		"PagesTooLong": func() (*eventlog.Hash, []byte) { return nil, []byte{0xff, 0xff, 0xff, 0xff, 1} },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			got := turns(t, spoil)
			t.Logf("%d turns, %d without", got, alone)
			if got > 2*alone+2 {
				t.Errorf("it took %d turns of the honest holder, %d without the other one", got, alone)
			}
		})
	}
}

func TestASlowHolderDoesNotKeepAFastOneOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFederation(t, "a", "b", "c")
		f.running = true
		a, b, c := f.sites[0], f.sites[1], f.sites[2]
		r := a.largePage(event.Register, 500<<10)
		b.step(a)
		f.net.Cut(b.name, c.name)
		a.behind(2000)
		b.behind(200000)
		f.runs(t, f.sites, func(ctx context.Context) {
			time.Sleep(20 * time.Second) // the slow one has begun
			f.net.HealAll()
			took := c.arrives(ctx, t, r)
			t.Logf("%v", took)
			if took > 40*time.Second {
				t.Errorf("the page came after %v, the slow line alone takes 250 s", took)
			}
		})
	})
}

// slowly returns how long three pages take to a third site over slow lines, and how many bytes are sent. Others may look on.
func slowly(t *testing.T, holders, drips int) (took time.Duration, sent int) {
	synctest.Test(t, func(t *testing.T) {
		f := newFederation(t, append([]string{"a", "b", "c"}, []string{"m", "m2", "m3", "m4"}[:drips]...)...)
		f.running = true
		a, b, c := f.sites[0], f.sites[1], f.sites[2]
		var r eventlog.Receipt
		for range 3 {
			r = a.largePage(event.Register, 400<<10)
		}
		for _, m := range f.sites[3:] {
			f.net.Cut(a.name, m.name)
			f.net.Cut(b.name, m.name)
			m.drips(r.Log, 4*time.Second)
		}
		if holders == 1 {
			f.net.Cut(b.name, c.name)
			f.net.Cut(a.name, b.name)
		} else {
			for b.step(a) > 0 {
			}
		}
		fromA, fromB := a.behind(4000), b.behind(4000)
		f.runs(t, f.sites[:3], func(ctx context.Context) {
			began := time.Now()
			for !c.rep.Replicated(r.Log, r.Last) || len(c.log.Heads()) == 0 || c.log.Heads()[0].Page < r.Last.Page {
				time.Sleep(100 * time.Millisecond)
				if time.Since(began) > time.Hour {
					t.Fatal("the pages do not come")
				}
			}
			took, sent = time.Since(began), fromA()+fromB()
		})
	})
	return took, sent
}

func TestSeveralGiversOverSlowLines(t *testing.T) {
	alone, bytes := slowly(t, 1, 0)
	t.Run("TwoHoldersDoNotSendTheSame", func(t *testing.T) {
		took, sent := slowly(t, 2, 0)
		t.Logf("%v and %d bytes, from one alone %v and %d", took, sent, alone, bytes)
		if sent > bytes*110/100 || took > alone*120/100 {
			t.Errorf("it took %v and %d bytes, from one alone %v and %d", took, sent, alone, bytes)
		}
	})
	t.Run("WhoGivesByDropsTakesLessThanHalfOfTheTime", func(t *testing.T) {
		for _, drips := range []int{1, 4} {
			took, sent := slowly(t, 1, drips)
			t.Logf("%d: %v and %d bytes, alone %v and %d", drips, took, sent, alone, bytes)
			if took > alone*2 {
				t.Errorf("with %d that give by drops it took %v, without %v", drips, took, alone)
			}
		}
	})
}

// reads is a log that takes its time to read and says how much is being read.
type reads struct {
	eventlog.Copies
	mu    sync.Mutex
	bytes int
	most  int
}

func (l *reads) Read(ctx context.Context, b eventlog.Branch, after uint64, maxBytes int) ([]*eventlog.Page, error) {
	l.note(maxBytes)
	defer l.note(-maxBytes)
	time.Sleep(100 * time.Millisecond)
	return l.Copies.Read(ctx, b, after, maxBytes)
}

func (l *reads) note(bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += bytes
	l.most = max(l.most, l.bytes)
}

func TestWhoAsksForMuchAndTakesLittleIsReadForInBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFederation(t, "a", "b", "m", "m2", "m3", "m4", "m5")
		f.running = true
		a, b := f.sites[0], f.sites[1]
		r := a.record("nordtal", "one")
		log := &reads{Copies: a.log}
		rep, err := eventlog.NewReplicator(eventlog.ReplicatorConfig{Log: log, Link: a.port, Policy: f, Self: a.name, Peers: f.peers, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		target, err := json.Marshal(a.log.Heads()[0].Hash)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(s *testSite, how string) error {
			q := fmt.Sprintf(`{"log":%s,"after":{"page":0,"hash":"%s"},"target":{"page":1,"hash":%s},%s}`, logJSON(r.Log), eventlog.Hash{}, target, how)
			_, err := rep.Serve(eventlog.VerbPages)(t.Context(), s.name, []byte(q))
			return err
		}
		var wg sync.WaitGroup
		for i, m := range f.sites[2:] {
			how := []string{`"maxBytes":256,"stretch":true,"from":2600000`, `"maxBytes":700000`}[i%2]
			for range 64 {
				wg.Go(func() {
					if err := ask(m, how); err != nil {
						t.Error(err)
					}
				})
			}
		}
		time.Sleep(time.Millisecond) // all of them wait or are read for
		began := time.Now()
		if err := ask(b, `"maxBytes":256,"stretch":true`); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("who asks for little waited %v", took)
		}
		wg.Wait()
		if log.most > 32<<20 {
			t.Errorf("%d bytes were read at once", log.most)
		}
	})
}

// SPDX-License-Identifier: EUPL-1.2

package router

import (
	"encoding/binary"
	"io"
	"math"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	addrA = netip.MustParseAddr("10.77.1.2")
	addrB = netip.MustParseAddr("10.77.2.2")
	addrC = netip.MustParseAddr("10.77.3.2")
)

// device stands in for a tun device: packets that its host sends, and those that arrived with their times.
type device struct {
	out  chan []byte
	once sync.Once

	mu      sync.Mutex
	arrived []arrival
}

type arrival struct {
	number uint32
	size   int
	at     time.Time
}

func newDevice() *device { return &device{out: make(chan []byte)} }

func (d *device) Read(b []byte) (int, error) {
	p, ok := <-d.out
	if !ok {
		return 0, io.EOF
	}
	return copy(b, p), nil
}

func (d *device) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arrived = append(d.arrived, arrival{binary.BigEndian.Uint32(b[20:]), len(b), time.Now()})
	return len(b), nil
}

func (d *device) Close() error {
	d.once.Do(func() { close(d.out) })
	return nil
}

// packet returns an IPv4 packet of that size with a number in it.
func packet(to netip.Addr, number uint32, size int) []byte {
	p := make([]byte, size)
	p[0] = 0x45
	copy(p[16:20], to.AsSlice())
	binary.BigEndian.PutUint32(p[20:], number)
	return p
}

// bench is a router between three hosts.
type bench struct {
	*Router
	a, b, c *device
}

// inVirtualTime runs f with a bench; time passes only while everybody waits.
func inVirtualTime(t *testing.T, seed uint64, f func(t *testing.T, n bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := bench{New(seed), newDevice(), newDevice(), newDevice()}
		for at, d := range map[netip.Addr]*device{addrA: n.a, addrB: n.b, addrC: n.c} {
			if err := n.Attach(at, d); err != nil {
				t.Fatal(err)
			}
		}
		f(t, n)
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
}

// send sends n packets from A to B, one every so often, waits until nothing is under way, and returns what arrived at
// B.
func (n bench) send(count, size int, every time.Duration) []arrival {
	for i := range count {
		n.a.out <- packet(addrB, uint32(i), size)
		time.Sleep(every)
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	n.b.mu.Lock()
	defer n.b.mu.Unlock()
	return n.b.arrived
}

func near(got, want, share float64) bool { return math.Abs(got-want) <= share*want }

func TestAPerfectLineDeliversAtOnceInOrder(t *testing.T) {
	inVirtualTime(t, 1, func(t *testing.T, n bench) {
		begin := time.Now()
		got := n.send(1000, 100, 0)
		if len(got) != 1000 {
			t.Fatalf("%d packets arrived", len(got))
		}
		for i, a := range got {
			if a.number != uint32(i) || a.at != begin || a.size != 100 {
				t.Fatalf("packet %d: %+v, began %v", i, a, begin)
			}
		}
	})
}

func TestTheBottleneckGivesItsRate(t *testing.T) {
	for _, rate := range []int{16_000, 64_000, 512_000, 8_000_000} {
		inVirtualTime(t, 1, func(t *testing.T, n bench) {
			n.Line(addrA, addrB).Set(Conditions{BitsPerSecond: rate, Delay: 30 * time.Millisecond})
			begin := time.Now()
			// Twice as much as the line carries, for 20 s.
			size := 1000
			every := time.Duration(float64(size*8) / float64(2*rate) * float64(time.Second))
			got := n.send(int(20*time.Second/every), size, every)
			bytes := 0
			for _, a := range got {
				if a.at.Sub(begin) < 20*time.Second {
					bytes += a.size
				}
			}
			if measured := float64(bytes*8) / 20; !near(measured, float64(rate), 0.05) {
				t.Errorf("%d bit/s: measured %.0f", rate, measured)
			}
			if c := n.Line(addrA, addrB).Count(); c.Overflowed == 0 || c.Delivered+c.Overflowed != c.Offered {
				t.Errorf("%d bit/s: %+v", rate, c)
			}
		})
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	inVirtualTime(t, 1, func(t *testing.T, n bench) {
		l := n.Line(addrA, addrB)
		l.Set(Conditions{BitsPerSecond: 80_000, QueueBytes: 5000}) // 10 kB/s
		begin := time.Now()
		got := n.send(20, 1000, 0)
		if len(got) != 5 || l.Count().Overflowed != 15 {
			t.Fatalf("%d arrived, %+v", len(got), l.Count())
		}
		if took := got[4].at.Sub(begin); took != 500*time.Millisecond {
			t.Errorf("the last packet of a full queue took %v", took)
		}
	})
	if q := (Conditions{BitsPerSecond: 64_000}).queue(); q != 15_000 {
		t.Errorf("the queue of 64 kbit/s has %d bytes", q)
	}
	if q := (Conditions{BitsPerSecond: 8_000_000}).queue(); q != 200_000 {
		t.Errorf("the queue of 8 Mbit/s has %d bytes", q)
	}
}

func TestWhatIsUnderWayIsBoundedWithoutABottleneck(t *testing.T) {
	inVirtualTime(t, 1, func(t *testing.T, n bench) {
		l := n.Line(addrA, addrB)
		l.Set(Conditions{Delay: time.Second})
		got := n.send(20_000, 1000, 0)
		if len(got) != maxUnderWay/1000 || l.Count().Overflowed != int64(20_000-len(got)) {
			t.Errorf("%d arrived, %+v", len(got), l.Count())
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.underWay != 0 {
			t.Errorf("%d bytes are still counted as under way", l.underWay)
		}
	})
}

func TestDelayAndJitterKeepTheOrder(t *testing.T) {
	inVirtualTime(t, 2, func(t *testing.T, n bench) {
		n.Line(addrA, addrB).Set(Conditions{Delay: 100 * time.Millisecond, Jitter: 50 * time.Millisecond})
		begin := time.Now()
		got := n.send(500, 100, time.Millisecond)
		least, most := time.Hour, time.Duration(0)
		for i, a := range got {
			if a.number != uint32(i) {
				t.Fatalf("packet %d arrived as %d", a.number, i)
			}
			took := a.at.Sub(begin.Add(time.Duration(i) * time.Millisecond))
			least, most = min(least, took), max(most, took)
		}
		const ms = time.Millisecond
		if len(got) != 500 || least < 100*ms || most < 140*ms || most > 150*ms {
			t.Errorf("%d packets took %v to %v", len(got), least, most)
		}
	})
}

func TestSharesOfLossDuplicatesAndOvertaking(t *testing.T) {
	inVirtualTime(t, 3, func(t *testing.T, n bench) {
		l := n.Line(addrA, addrB)
		l.Set(Conditions{Delay: 50 * time.Millisecond, Loss: 0.2, Duplicate: 0.1, Reorder: 0.05})
		got := n.send(20_000, 100, time.Millisecond)
		c := l.Count()
		lost, twice, ahead := float64(c.Lost), float64(c.Duplicated), float64(c.Reordered)
		if !near(lost, 4000, 0.05) || !near(twice, 1600, 0.1) || !near(ahead, 800, 0.1) {
			t.Errorf("%+v", c)
		}
		if int64(len(got)) != c.Delivered || c.Delivered != c.Offered-c.Lost+c.Duplicated {
			t.Errorf("%d arrived, %+v", len(got), c)
		}
		overtook := 0
		for i, a := range got[1:] {
			if a.number < got[i].number {
				overtook++
			}
		}
		if !near(float64(overtook), 800, 0.2) {
			t.Errorf("%d packets were overtaken", overtook)
		}
	})
}

func TestOneWayCutLeavesTheOtherWayAndOtherHosts(t *testing.T) {
	inVirtualTime(t, 1, func(t *testing.T, n bench) {
		n.Line(addrA, addrB).Set(Conditions{Cut: true})
		if got := n.send(50, 100, time.Millisecond); len(got) != 0 {
			t.Errorf("%d packets came through a cut", len(got))
		}
		n.b.out <- packet(addrA, 1, 100)
		n.a.out <- packet(addrC, 2, 100)
		n.c.out <- packet(addrB, 3, 100)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(n.a.arrived) != 1 || len(n.c.arrived) != 1 || len(n.b.arrived) != 1 {
			t.Errorf("%v %v %v", n.a.arrived, n.b.arrived, n.c.arrived)
		}
		if c := n.Line(addrA, addrB).Count(); c.Cut != 50 || c.Offered != 50 {
			t.Errorf("%+v", c)
		}
		n.Line(addrA, addrB).Set(Conditions{})
		if got := n.send(50, 100, time.Millisecond); len(got) != 51 {
			t.Errorf("%d packets came after mending", len(got))
		}
	})
}

func TestFlappingIsGoodAndCutInTurn(t *testing.T) {
	inVirtualTime(t, 1, func(t *testing.T, n bench) {
		n.Line(addrA, addrB).Set(Conditions{Flap: 5 * time.Second})
		got := n.send(200, 100, 100*time.Millisecond)
		if len(got) != 100 {
			t.Fatalf("%d of 200 packets came through", len(got))
		}
		for _, a := range got {
			if a.number/50%2 == 1 {
				t.Fatalf("packet %d came through", a.number)
			}
		}
	})
}

func TestSharedLinesShareTheirRate(t *testing.T) {
	inVirtualTime(t, 1, func(t *testing.T, n bench) {
		access := NewLine(1)
		access.Set(Conditions{BitsPerSecond: 80_000, QueueBytes: 100_000})
		n.Share(access, addrA, addrC)
		n.Share(access, addrB, addrC)
		begin := time.Now()
		for i := range 10 {
			n.a.out <- packet(addrC, uint32(i), 1000)
			n.b.out <- packet(addrC, uint32(100+i), 1000)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(n.c.arrived) != 20 || n.c.arrived[19].at.Sub(begin) != 2*time.Second {
			t.Errorf("%d arrived, the last %v", len(n.c.arrived), n.c.arrived[len(n.c.arrived)-1].at.Sub(begin))
		}
	})
}

func TestOtherConditionsDoNotOvertakeWhatIsUnderWay(t *testing.T) {
	inVirtualTime(t, 1, func(t *testing.T, n bench) {
		l := n.Line(addrA, addrB)
		l.Set(Conditions{BitsPerSecond: 8000, QueueBytes: 3000}) // 1 kB/s
		for i := range 3 {
			n.a.out <- packet(addrB, uint32(i), 1000)
		}
		synctest.Wait()
		l.Set(Conditions{BitsPerSecond: 8_000_000, QueueBytes: 4000})
		n.a.out <- packet(addrB, 3, 1000)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(n.b.arrived) != 4 || n.b.arrived[3].number != 3 {
			t.Errorf("%+v; %+v", n.b.arrived, l.Count())
		}
	})
}

// fates returns which packets of a thousand get lost.
func fates(seed uint64, first Conditions) (lost []int) {
	l := NewLine(seed)
	l.Set(first)
	for i := range 1000 {
		if i == 500 {
			l.Set(Conditions{Loss: 0.3})
		}
		if arrivals := l.plan(100, time.Unix(int64(i), 0)); i >= 500 && len(arrivals) == 0 {
			lost = append(lost, i)
		}
	}
	return lost
}

func TestTheSameSeedHasTheSameAccidentsWhateverWasBefore(t *testing.T) {
	same := func(a, b []int) bool {
		if len(a) != len(b) {
			return false
		}
		for i := range a {
			if a[i] != b[i] {
				return false
			}
		}
		return true
	}
	a := fates(7, Conditions{})
	if b := fates(7, Conditions{Cut: true}); !same(a, b) || len(a) == 0 {
		t.Error("accidents depend on the conditions before")
	}
	if b := fates(8, Conditions{}); same(a, b) {
		t.Error("two seeds have the same accidents")
	}
	x, y := New(1), New(1)
	x.Line(addrA, addrB)
	there, back := way{addrA, addrB}, way{addrB, addrA}
	if x.seedOf(there) != y.seedOf(there) || x.seedOf(there) == x.seedOf(back) {
		t.Error("the seed of a line must come from its ends alone")
	}
	_, _ = x.Close(), y.Close()
}

func TestWhatIsForNobodyIsDroppedAndCounted(t *testing.T) {
	inVirtualTime(t, 1, func(t *testing.T, n bench) {
		n.a.out <- packet(netip.MustParseAddr("10.77.9.9"), 1, 100)
		n.a.out <- []byte{0x60, 0, 0, 0}
		n.a.out <- nil
		synctest.Wait()
		if n.Strays() != 3 {
			t.Errorf("%d strays", n.Strays())
		}
		if err := n.Attach(addrA, newDevice()); err == nil {
			t.Error("two devices at one address")
		}
	})
}

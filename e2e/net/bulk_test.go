// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package net_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	_ "modernc.org/sqlite"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/e2e/net/router"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// backlog is what lies before an alarm: how many people there are before, and what makes the bulk.
type backlog struct {
	name   string
	people int
	make   func(w *world) error
}

// The two kinds of bulk. An import goes to the register, which is another log than the alarm's. Receipts of an earlier
// alarm go to a log that waits for alarms; the earlier alarm itself lies before the alarm in its own log, whose pages can
// only be accepted one after the other.
var (
	anImport   = backlog{"import of 3,000", 30, importMany}
	manyCalled = backlog{"receipts of 800", shortPeople, callEverybody}
)

func importMany(w *world) error {
	w.importPeople(peopleFile(w.t, 3030))
	return nil
}

// callEverybody raises an alarm to all and waits until A has called them.
func callEverybody(w *world) error {
	alarm, err := w.raise(directory.Audience{Everyone: true})
	if err != nil {
		return err
	}
	return eventually(callPatience, "everybody is called", func() error {
		if n := w.phones.Count().ByAlarm[string(alarm.ID)]; n < alarm.People-alarm.WithoutChannel {
			return fmt.Errorf("%d are called", n)
		}
		return nil
	})
}

// The bounds of what an alarm may wait for: three seconds of the line, what the alarm itself needs with its key and the
// chatter of two peers, and what an earlier alarm to 800 people needs, if there is one: its page has 64 KiB, and 13 packed.
// They are counted in bytes that the line has carried, so no slow machine makes the test fail.
const (
	aheadSeconds = 3
	aheadBytes   = 16 << 10
	earlierBytes = 16 << 10
	aheadFrom    = 64_000 // bits a second: on slower lines the queue of the line alone may hold longer
)

// bulkShare is how much of a line bulk must use, and keptShare how much of it must come to rest as pages and as the keys
// of those in them, where two whole pages could have come: what is fetched in vain uses a line, too.
const (
	bulkShare = 0.8
	keptShare = 0.5
)

// bulk is what was measured behind one line.
type bulk struct {
	rate    int
	before  string        // what lay before the alarm
	arrival time.Duration // from raising at A until C knows the alarm
	atB     time.Duration // the same for B, which has a good line
	ahead   int64         // bytes that the line carried to C until C knew the alarm
	used    float64       // share of the line, after that
	kept    float64       // share of the line that has become pages and keys on C's disk
	pages   float64       // how many of the largest pages the line could have carried meanwhile
	faults  []error
}

// TestAnAlarmOvertakesBulk makes a bulk at A, with C behind a slow line, and then raises an alarm to one person.
func TestAnAlarmOvertakesBulk(t *testing.T) {
	var table []*bulk
	for _, c := range []struct {
		rate   int
		before backlog
		short  bool
	}{
		{16_000, anImport, false}, {64_000, anImport, false}, {256_000, anImport, true}, {512_000, anImport, false},
		{64_000, manyCalled, false}, {256_000, manyCalled, true},
	} {
		if testing.Short() && !c.short {
			continue
		}
		t.Run(fmt.Sprintf("%s at %d kbit per s", c.before.name, c.rate/1000), func(t *testing.T) {
			b := measureBulk(t, c.rate, c.before)
			table = append(table, b)
			b.judge(t)
		})
	}
	printBulk(table)
}

func printBulk(table []*bulk) {
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "line to C kbit/s\tbefore the alarm\talarm at C after s\tkB before it"+
		"\tline used by bulk %\tof it kept %\t")
	for _, b := range table {
		fmt.Fprintf(w, "%d\t%s\t%.1f\t%.1f\t%.0f\t%.0f\t%s\n", b.rate/1000, b.before, b.arrival.Seconds(),
			float64(b.ahead)/1000, 100*b.used, 100*b.kept, inOneLine(b.faults))
	}
	_ = w.Flush()
}

// inOneLine puts errors into one line, which may be empty.
func inOneLine(list []error) string {
	words := make([]string, len(list))
	for i, err := range list {
		words[i] = err.Error()
	}
	return strings.Join(words, "; ")
}

func (b *bulk) judge(t *testing.T) {
	t.Helper()
	for _, err := range b.faults {
		t.Error(err)
	}
	if b.rate >= aheadFrom && b.ahead > b.excused() {
		t.Errorf("the line carried %d bytes before the alarm was there; %d are excused", b.ahead, b.excused())
	}
	if b.before != anImport.name {
		return // the rest is soon through: too little to measure a share
	}
	if b.used < bulkShare {
		t.Errorf("bulk uses %.0f %% of the line", 100*b.used)
	}
	if b.kept < keptShare && b.pages > 2 {
		t.Errorf("only %.0f %% of what the line can carry becomes pages and keys", 100*b.kept)
	}
}

func measureBulk(t *testing.T, rate int, before backlog) *bulk {
	w := newScenarioWorld(t, 1, before.people)
	b, c := &bulk{rate: rate, before: before.name}, w.sites[2]
	found, err := w.sites[0].client.People(t.Context(), authority, directory.Search{Limit: 1})
	w.must(err)
	line := w.accessLine(c)
	w.must(eventually(patience, "the sites have made their connections", line.quiet))
	line.limit(rate)
	fmt.Printf("%d kbit/s: %s\n", rate/1000, before.name)
	w.must(before.make(w))

	b.note(b.raiseToOne(w, line.down, found.People[0].ID))
	fmt.Printf("%d kbit/s: %.1f s, %d kB on the line before the alarm was at C; at B after %.1f s\n",
		rate/1000, b.arrival.Seconds(), b.ahead/1000, b.atB.Seconds())
	if before.name == anImport.name {
		b.note(b.measureShares(line.down, c))
	}
	return b
}

// raiseToOne raises an alarm to one person at A and waits until C knows it.
func (b *bulk) raiseToOne(w *world, down *router.Line, person directory.PersonID) error {
	raised, carried := time.Now(), down.Count().DeliveredBytes
	alarm, err := w.raise(directory.Audience{Persons: []directory.PersonID{person}})
	if err != nil {
		return err
	}
	err = eventually(alarmPatience, "the alarm reaches C", func() error {
		if b.atB == 0 && w.sites[1].knows(w.t.Context(), alarm.ID) == nil {
			b.atB = time.Since(raised)
		}
		return w.sites[2].knows(w.t.Context(), alarm.ID)
	})
	b.arrival, b.ahead = time.Since(raised), down.Count().DeliveredBytes-carried
	return err
}

// excused is how many bytes may come before the alarm. What the alarm takes to B, which has a good line, this machine
// takes.
func (b *bulk) excused() int64 {
	bytes := int64(float64(b.rate)/8*(aheadSeconds+min(b.atB, b.arrival).Seconds())) + aheadBytes
	if b.before == manyCalled.name {
		bytes += earlierBytes
	}
	return bytes
}

// alarmPatience bounds the wait for the alarm at C.
const alarmPatience = 2 * time.Minute

func (b *bulk) note(err error) {
	if err != nil {
		b.faults = append(b.faults, err)
	}
}

// access is the line that all to and from a site share, one each way.
type access struct{ down, up *router.Line }

// accessLine gives a site a line of its own, with a delay and no bottleneck yet.
func (w *world) accessLine(s *station) access {
	a := access{router.NewLine(1), router.NewLine(2)}
	for _, o := range w.sites {
		if o != s {
			w.router.Share(a.down, o.addr, s.addr)
			w.router.Share(a.up, s.addr, o.addr)
		}
	}
	a.limit(0)
	return a
}

func (a access) limit(bitsPerSecond int) {
	for _, line := range []*router.Line{a.down, a.up} {
		line.Set(router.Conditions{BitsPerSecond: bitsPerSecond, Delay: 30 * time.Millisecond})
	}
}

// quiet returns nil if next to nothing comes for a second: all connections are made, and what the sites had for each other has
// come.
func (a access) quiet() error {
	before := a.down.Count().DeliveredBytes
	pass(time.Second)
	if came := a.down.Count().DeliveredBytes - before; came > quietBytes {
		return fmt.Errorf("%d bytes came within a second", came)
	}
	return nil
}

// quietBytes is more than two peers say in a second when nothing happens, and less than making one connection.
const quietBytes = 3 << 10

// knows returns nil when the site has the alarm and its recipient.
func (s *station) knows(ctx context.Context, id alarm.ID) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	b, err := s.client.Board(ctx, authority, id)
	if err == nil && b.Total.Recipients != 1 {
		err = fmt.Errorf("it knows %d recipients", b.Total.Recipients)
	}
	return err
}

// window is over how long a share is measured.
const window = 15 * time.Second

// measureShares measures how bulk uses the line, until it has been good enough in one of four windows: other programs
// use this machine, too. What comes to rest comes in whole pages, so it is measured over all windows together.
func (b *bulk) measureShares(down *router.Line, c *station) error {
	begin, stored := time.Now(), c.stored()
	for range 4 {
		from, carried := time.Now(), down.Count().DeliveredBytes
		pass(window)
		b.used = max(b.used, float64(down.Count().DeliveredBytes-carried)/b.room(from))
		b.kept, b.pages = float64(c.stored()-stored)/b.room(begin), b.room(begin)/eventlog.MaxPageBytes
		if b.used >= bulkShare && b.kept >= keptShare {
			return nil
		}
		if c.behind() == 0 {
			return errors.New("the bulk was through before it could be measured")
		}
	}
	return nil
}

// room returns the bytes that the line could carry since then.
func (b *bulk) room(since time.Time) float64 {
	return float64(b.rate) / 8 * time.Since(since).Seconds()
}

// behind returns how many pages the site knows of and lacks; -1 if it does not say.
func (s *station) behind() (pages int) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	status, err := s.client.Status(ctx)
	if err != nil {
		return -1
	}
	for _, l := range status.Lag {
		pages += int(l.BehindPages)
	}
	return pages
}

// stored returns the bytes of a site's logs and keys on its disk.
func (s *station) stored() (bytes int64) {
	_ = filepath.WalkDir(filepath.Join(s.data, "log"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	return bytes + s.keys()
}

// keys returns the bytes of the keys that a site holds: as they are sealed, without what stands around them.
func (s *station) keys() (bytes int64) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data, "keyring.db")+"?mode=ro")
	if err != nil {
		return 0
	}
	defer db.Close()
	if err := db.QueryRow("SELECT coalesce(sum(length(sealed)), 0) FROM vault").Scan(&bytes); err != nil {
		return 0
	}
	return bytes
}

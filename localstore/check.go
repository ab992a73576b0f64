// SPDX-License-Identifier: EUPL-1.2

package localstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/salvage"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumOf is the CRC-32C of an entry as it is stored, each part behind its length. SQLite has no checksums, and a flipped bit in the
// word that our logs go on under, or in a pin, must not be believed.
func sumOf(bucket, key string, value []byte, expires int64) int64 {
	sum := uint32(0)
	add := func(b []byte) {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(b)))
		sum = crc32.Update(crc32.Update(sum, castagnoli, size[:]), castagnoli, b)
	}
	add([]byte(bucket))
	add([]byte(key))
	add(value)
	add(binary.BigEndian.AppendUint64(nil, uint64(expires)))
	return int64(sum)
}

// whole reports whether the entry is what was written, as far as that can be told.
func (e entry) whole() bool {
	return !e.sum.Valid || e.sum.Int64 == sumOf(e.bucket, e.key, e.value, e.expires)
}

// makeTables makes what is missing. Tables of a version that knew no sums get them, and its program may go on using the file
// afterwards: what it changes loses its sum.
func makeTables(db *sql.DB) error {
	if _, err := db.Exec(schema); err != nil {
		return err
	}
	var columns int
	if err := db.QueryRow(`SELECT count(*) FROM pragma_table_info('entry') WHERE name = 'sum'`).Scan(&columns); err != nil {
		return err
	}
	if columns == 0 {
		if _, err := db.Exec(`ALTER TABLE entry ADD COLUMN sum INTEGER`); err != nil {
			return err
		}
	}
	_, err := db.Exec(`CREATE TRIGGER IF NOT EXISTS entry_unsummed AFTER UPDATE OF value, expires ON entry
		WHEN NEW.sum IS OLD.sum AND (NEW.value IS NOT OLD.value OR NEW.expires IS NOT OLD.expires)
		BEGIN UPDATE entry SET sum = NULL WHERE bucket = NEW.bucket AND key = NEW.key; END`)
	return err
}

// maxAside is how many damaged files are kept.
const maxAside = 2

func repair(path string, now time.Time) (*salvage.Damage, error) {
	if path == ":memory:" {
		return nil, nil
	}
	return fileAt(path).Repair(now)
}

func fileAt(path string) salvage.File {
	return salvage.File{Path: path, Schema: schema, Keep: maxAside}
}

// bucketRepair holds that the file was repaired, in files of versions before the repair itself noted it.
const (
	bucketRepair = "local.repair"
	keyRepair    = "last"
)

// TakeRepair calls do with what was done about a damaged file, at this or an earlier opening; not if there was nothing. It does that
// again until do has returned nil once. Entries that could be read go on; some may be missing, and of some an older form may have
// come back. So whoever relies on having the last word here (under which word our logs go on) begins anew in do.
func (s *Store) TakeRepair(ctx context.Context, do func(salvage.Damage) error) error {
	d, err := s.repaired(ctx)
	if d == nil || err != nil {
		return err
	}
	if err := do(*d); err != nil {
		return err
	}
	if err := errors.Join(s.Delete(ctx, bucketRepair, keyRepair), salvage.Forget(ctx, s.db)); err != nil {
		return fmt.Errorf("forget the repair of the local store: %w", err)
	}
	s.keepLayout()
	return nil
}

// keepLayout keeps where the tables of the file lie. A site without that opens all the same, also on a full disk: it is written at the
// next opening, and a repair until then looks where a new file has them.
func (s *Store) keepLayout() {
	if s.watch.path != "" {
		_ = fileAt(s.watch.path).KeepLayout(context.Background(), s.db)
	}
}

func (s *Store) repaired(ctx context.Context) (*salvage.Damage, error) {
	d, err := fileAt(s.watch.path).Noted(ctx, s.db)
	if d != nil || err != nil {
		return d, err
	}
	b, err := s.Get(ctx, bucketRepair, keyRepair)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d = new(salvage.Damage)
	if err := json.Unmarshal(b, d); err != nil {
		d.Reason = "unknown"
	}
	return d, nil
}

// watch is what a Store knows of its own file.
type watch struct {
	path      string // "" for one in memory
	board     atomic.Pointer[health.Board]
	suspected atomic.Bool // a reader has met a damaged page
}

func (w *watch) begin(path string, now func() time.Time) {
	if path != ":memory:" {
		w.path = path
	}
	w.board.Store(health.NewBoard(now, slog.New(slog.DiscardHandler)))
}

// Watch has the board told what is wrong with the store from now on.
func (s *Store) Watch(board *health.Board) {
	s.watch.board.Store(board)
	s.tellAside()
}

// note remembers that a page was damaged, for the next Check. It returns err.
func (w *watch) note(err error) error {
	if f := fault.OfDisk(err); f != nil && f.Code == fault.ErrFileDamaged.Code {
		w.suspected.Store(true)
	}
	return err
}

// Suspected reports whether a reader has met trouble since the last Check.
func (s *Store) Suspected() bool { return s.watch.suspected.Load() }

// valueOf opens the value of an entry that was read. A damaged entry is told, and is ErrNotFound: it is worth nothing to anybody.
// It keeps its place, so that what was used once is not used again.
func (s *Store) valueOf(e entry) ([]byte, error) {
	if e.whole() {
		return s.lock.open(e.bucket, e.key, e.value)
	}
	s.watch.board.Load().Tell(damagedEntry(e.bucket))
	return nil, ErrNotFound
}

func damagedEntry(bucket string) health.Condition {
	return health.Condition{Store: health.Local, Cause: health.Damaged, Detail: "bucket " + bucket,
		Message: "an entry of the local store is not what was written", Doing: "it is not used; it is written again, or expires",
		WayOut: "check this machine's disk and memory"}
}

// ErrDamaged is returned by Check for a file that must be opened anew, which repairs it.
var ErrDamaged = fault.New(fault.Unavailable, "local.damaged", "the local store on this site's disk is damaged",
	"use another site for a moment: the file is repaired when it is opened anew; check this machine's disk and memory")

// Check reads the whole file back: its form, and every entry. Damaged entries are told, those that are in order again are mended.
// It returns ErrDamaged if the file as such is damaged. It calls rest now and then, which may wait and whose error ends the check.
func (s *Store) Check(ctx context.Context, rest func(context.Context) error) error {
	s.watch.suspected.Store(false)
	reason, err := salvage.Integrity(ctx, s.db)
	if err != nil {
		return fmt.Errorf("check the local store: %w", err)
	}
	if reason != "" {
		s.watch.suspected.Store(true)
		return ErrDamaged.Because("%s", reason)
	}
	var list []health.Condition
	told := make(map[string]bool)
	err = s.eachStored(ctx, rest, func(e entry) {
		if !e.whole() && !told[e.bucket] {
			told[e.bucket] = true
			list = append(list, damagedEntry(e.bucket))
		}
	})
	if err != nil {
		return fmt.Errorf("check the local store: %w", err)
	}
	s.watch.board.Load().Replace(health.Local, health.Damaged, list)
	s.tellAside()
	return nil
}

// eachStored calls see for every entry, also for those that have expired.
func (s *Store) eachStored(ctx context.Context, rest func(context.Context) error, see func(entry)) error {
	var last entry
	for first := true; ; first = false {
		batch, err := s.storedAfter(ctx, last, first)
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, e := range batch {
			see(e)
		}
		last = batch[len(batch)-1]
		if err := rest(ctx); err != nil {
			return err
		}
	}
}

func (s *Store) storedAfter(ctx context.Context, after entry, first bool) (batch []entry, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT bucket, key, value, expires, sum FROM entry
		WHERE (bucket, key) > (?, ?) OR ? ORDER BY bucket, key LIMIT 256`, after.bucket, after.key, first)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		var e entry
		if err := rows.Scan(&e.bucket, &e.key, &e.value, &e.expires, &e.sum); err != nil {
			return nil, err
		}
		batch = append(batch, e)
	}
	return batch, nil
}

// tellAside tells of the damaged files that are kept.
func (s *Store) tellAside() {
	if s.watch.path == "" {
		return
	}
	files, err := fileAt(s.watch.path).Aside()
	if err != nil {
		return // the next check looks again
	}
	list := make([]health.Condition, 0, len(files))
	for _, f := range files {
		list = append(list, health.Condition{Detail: filepath.Base(f), Message: "a damaged local store is kept beside the new one",
			WayOut: "delete the file when nothing is missing"})
	}
	s.watch.board.Load().Replace(health.Local, health.SetAside, list)
}

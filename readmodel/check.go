// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"errors"
	"fmt"
	"os"

	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/health"
)

// defaultLongWAL is how many frames the write-ahead log may have before they are moved into the database: 16 MiB at the usual
// size of a page.
const defaultLongWAL = 4000

// round is a part of a write-ahead log: so many frames of the round with these salts.
type round struct {
	salts  [8]byte
	frames int64
}

// checkpointLong makes a checkpoint if the write-ahead log has become long.
func (e *engine) checkpointLong(ctx context.Context) error {
	if e.path == memoryPath {
		return nil
	}
	info, err := os.Stat(e.path + walSuffix)
	if err != nil || info.Size() < e.cfg.longWAL*walFrameBytes {
		return nil // there is none: nothing was written yet
	}
	w, err := openWAL(e.path)
	if w == nil || err != nil {
		return err
	}
	defer w.close()
	n, err := w.frames()
	if err != nil || n < e.cfg.longWAL {
		return err
	}
	_, err = e.checkpoint(ctx)
	return err
}

// checkpoint moves the write-ahead log into the database, as far as readers allow, and records the sums of its pages. whole says
// that everything was moved: then the database alone has the present content of every page. It returns errDamaged if the log is
// not what was written. The caller holds the write lock.
func (e *engine) checkpoint(ctx context.Context) (whole bool, err error) {
	if e.path == memoryPath {
		return true, nil
	}
	var busy, frames, moved int64
	if err := e.writer.QueryRowContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &frames, &moved); err != nil {
		return false, fmt.Errorf("empty the read model's write-ahead log: %w", err)
	}
	whole = busy == 0 && moved == frames
	if frames <= 0 {
		return whole, nil
	}
	w, err := openWAL(e.path)
	if err != nil {
		return false, err
	}
	defer w.close()
	if w == nil {
		return false, errDamaged.Because("its write-ahead log cannot be read")
	}
	if e.summed == (round{w.salts, frames}) {
		return whole, nil
	}
	sums, good, err := w.committed()
	if err != nil {
		return false, err
	}
	if good < frames {
		return false, errDamaged.Because("its write-ahead log is not what was written, from frame %d on", good+1)
	}
	if err := writeSums(e.path+sumsSuffix, sums); err != nil {
		return false, fmt.Errorf("record the sums of the read model: %w", err)
	}
	e.summed = round{w.salts, frames}
	return whole, nil
}

// check compares some pages after the given one with their sums, see checker.check. The caller holds the write lock.
func (e *engine) check(ctx context.Context, after uint32) (last uint32, done bool, err error) {
	if e.path == memoryPath {
		return after, true, nil
	}
	if after == 0 {
		e.summed = round{} // so that the write-ahead log is read back, too
	}
	whole, err := e.checkpoint(ctx)
	if err != nil {
		return after, false, err
	}
	c, err := newChecker(e.path)
	if c == nil || err != nil {
		return after, true, err
	}
	if whole {
		c.inLog = nil
	}
	return c.check(after)
}

// Check reads the whole database back and compares every page with the sum that was recorded when it was written. It calls rest
// after every few MiB; rest may wait, and its error ends the check. What is damaged is folded anew from the logs, and told to
// Config.Health; Check then returns the damage, and nil if all is well. Writing waits for a few milliseconds at a time.
func (m *Model) Check(ctx context.Context, rest func(context.Context) error) error {
	err := m.find(ctx, rest)
	if damaged(err) {
		return errors.Join(err, m.mend(ctx, err))
	}
	return err
}

// find returns the first damage.
func (m *Model) find(ctx context.Context, rest func(context.Context) error) (err error) {
	for page, done := uint32(0), false; !done && err == nil; {
		page, done, err = m.checkSome(ctx, page)
		if err == nil && !done {
			err = rest(ctx)
		}
	}
	return err
}

func (m *Model) checkSome(ctx context.Context, after uint32) (last uint32, done bool, err error) {
	if err := m.lock(ctx); err != nil {
		return after, false, err
	}
	defer m.unlock()
	if m.cur == nil {
		return after, false, ErrClosed
	}
	return m.cur.check(ctx, after)
}

// mend folds a damaged model anew. Where that fails, Run tries again.
func (m *Model) mend(ctx context.Context, cause error) error {
	tellDamaged(m.cfg.Health, cause)
	if err := m.Rebuild(ctx); err != nil {
		m.suspected.Store(true)
		return err
	}
	m.cfg.Health.Mend(health.Model, health.Damaged, "")
	return nil
}

// look has a database that a reader found damaged checked, and made anew if it is.
func (m *Model) look(ctx context.Context) error {
	if !m.suspected.Swap(false) {
		return nil
	}
	err := m.find(ctx, func(context.Context) error { return nil })
	if err == nil {
		err = m.quickCheck(ctx)
	}
	if damaged(err) {
		return m.mend(ctx, err)
	}
	return err
}

// quickCheck asks SQLite whether the database is well formed: its pages may be what was written, and that may be wrong.
func (m *Model) quickCheck(ctx context.Context) error {
	said := ""
	err := m.readRaw(ctx, func(e *engine) error {
		return e.readerDB.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&said)
	})
	if err == nil && said != "ok" {
		err = errDamaged.Because("it is not well formed")
	}
	return err
}

// judge turns what the database says of itself into a fault that a person can act on, and has a database that seems damaged
// looked at. Other errors stay as they are.
func (m *Model) judge(err error) error {
	if err == nil || !ours(err) {
		return err
	}
	if damaged(err) {
		m.suspected.Store(true)
		m.Wake()
		return errDamaged.With(err)
	}
	if f := fault.OfDisk(err); f != nil {
		return f
	}
	return err
}

// damaged reports whether err says that the database is not what was written.
func damaged(err error) bool { return errors.Is(err, errDamaged) || corrupt(err) }

func tellDamaged(b *health.Board, err error) {
	what := errDamaged.Because("%v", err)
	if f, ok := errors.AsType[*fault.Fault](err); ok && f.Code == errDamaged.Code {
		what = f
	}
	b.Tell(health.Condition{Store: health.Model, Cause: health.Damaged, Blocks: true, Message: what.Message,
		Doing: "it is folded anew from the logs", WayOut: "check this machine's disk and memory"})
}

// tell brings the board up to date after a catch-up.
func (m *Model) tell(err error) {
	full, fails := false, false
	switch f := fault.OfDisk(err); {
	case f == nil:
		fails = err != nil
	case f.Code == fault.ErrDiskFull.Code:
		full = true
	default:
		fails = true
	}
	m.cfg.Health.Set(full, health.Condition{Store: health.Model, Cause: health.Full, Blocks: true,
		Message: "the read model cannot be written: the disk is full", Doing: "it is tried again every second; what was written stays readable",
		WayOut: "make room on the data disk"})
	m.cfg.Health.Set(fails, health.Condition{Store: health.Model, Cause: health.Failing, Blocks: true,
		Message: fmt.Sprintf("the read model cannot get on: %v", err), Doing: "it is tried again every second; people see what was folded before",
		WayOut: "look at the data disk of this machine"})
	if err == nil && m.Behind() == 0 {
		m.cfg.Health.Mend(health.Model, health.Damaged, "")
	}
}

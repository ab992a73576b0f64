// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"errors"
	"fmt"
	"os"

	"codeberg.org/holdfast/holdfast/event"
)

const rebuildSuffix = ".rebuild"

// KeyRef names a key of an authority's keyring.
type KeyRef struct {
	Authority event.AuthorityID
	KeyID     event.KeyID
}

// KeysChanged saves again every subject whose Save has asked for one of these keys: they have arrived, or were erased.
// The names of the subjects are announced. Afterwards the write-ahead log is emptied, so that what was readable with an
// erased key is on the disk no more. It blocks until that is done.
func (m *Model) KeysChanged(ctx context.Context, keys []KeyRef) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	if m.cur == nil {
		return ErrClosed
	}
	m.mu.Lock()
	if m.rebuilding {
		m.changedKeys = append(m.changedKeys, keys...)
	}
	m.mu.Unlock()
	if err := m.cur.refresh(ctx, keys); err != nil {
		return fmt.Errorf("save again after keys have changed: %w", err)
	}
	return m.cur.emptyWAL(ctx)
}

// emptyWAL moves the write-ahead log into the database. A reader that is slower than the busy timeout leaves it for the
// next time.
func (e *engine) emptyWAL(ctx context.Context) error {
	if e.path == memoryPath {
		return nil
	}
	if _, err := e.checkpoint(ctx); err != nil {
		return err
	}
	var busy, frames, moved int
	err := e.writer.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &moved)
	if err != nil {
		return fmt.Errorf("empty the read model's write-ahead log: %w", err)
	}
	return nil
}

// Rebuild folds everything anew into a second database beside the running one, which goes on being read and written, and
// then puts it in its place: reading waits for some milliseconds, and every watcher gets Name{All: true}. It blocks until
// that is done. On an error the running database stays. One rebuild runs at a time; a second one waits for it.
func (m *Model) Rebuild(ctx context.Context) error {
	return m.rebuildIf(ctx, func(*engine) bool { return true })
}

// rebuildIf rebuilds if that is still needed when no other rebuild runs any more.
func (m *Model) rebuildIf(ctx context.Context, needed func(*engine) bool) error {
	if err := take(ctx, m.building); err != nil {
		return err
	}
	defer func() { <-m.building }()
	if err := m.lock(ctx); err != nil {
		return err
	}
	do := m.cur == nil || needed(m.cur)
	m.unlock()
	if !do {
		return nil
	}
	m.collectKeys(true)
	defer m.collectKeys(false)
	path := m.cfg.Path
	if path != memoryPath {
		path += rebuildSuffix
		if err := removeDatabase(path); err != nil {
			return fmt.Errorf("rebuild the read model: %w", err)
		}
	}
	// Nobody reads the new one yet, so it has a gate of its own.
	next, err := openEngine(ctx, &m.cfg, m.folds, path, &gate{})
	if err != nil {
		return fmt.Errorf("rebuild the read model: %w", err)
	}
	next.silent = true
	_, err = next.catchUp(ctx)
	if err == nil {
		err = m.swap(ctx, next)
	}
	if err != nil {
		next.close()
		_ = removeDatabase(path)
		return fmt.Errorf("rebuild the read model: %w", err)
	}
	return nil
}

func (m *Model) collectKeys(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rebuilding, m.changedKeys = on, nil
}

// swap brings next up to the present and puts it in the place of the running database.
func (m *Model) swap(ctx context.Context, next *engine) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	if m.cur == nil {
		return ErrClosed
	}
	// The running one notes the merges among the last pages; if it is damaged, it has none to give.
	if _, err := m.cur.catchUp(ctx); err != nil {
		m.cfg.Logger.Warn("the read model that is replaced could not catch up", "error", err)
	}
	if _, err := next.catchUp(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	keys := m.changedKeys
	m.mu.Unlock()
	if err := next.refresh(ctx, keys); err != nil {
		return err
	}
	if err := next.keep(ctx, m.cur.observations(ctx)); err != nil {
		return err
	}
	next.silent = false
	if err := m.gate.close(ctx); err != nil {
		return err
	}
	err := m.replace(ctx, next)
	m.gate.open()
	if err == nil {
		m.watchers.announce([]Name{{All: true}})
	}
	return err
}

// replace is called with the write lock held and the gate closed. SQLite finds the write-ahead log by the database's
// name, so both databases are closed while the file is renamed.
func (m *Model) replace(ctx context.Context, next *engine) error {
	old := m.cur
	if next.path == memoryPath {
		next.exclusive = &m.gate
		m.adopt(next)
		old.close()
		return nil
	}
	next.close()
	old.close()
	m.cur = nil
	if err := removeDatabase(old.path); err != nil {
		m.cfg.Logger.Warn("the read model that is replaced could not be removed", "error", err)
	}
	if err := errors.Join(os.Rename(next.path, old.path), os.Rename(next.path+sumsSuffix, old.path+sumsSuffix)); err != nil {
		// What is opened now is the old one or an empty one: right in either case, and caught up soon.
		m.cfg.Logger.Warn("the rebuilt read model could not be put in its place", "error", err)
	}
	e, err := openEngine(ctx, &m.cfg, m.folds, old.path, &m.gate)
	if err != nil {
		return err
	}
	m.adopt(e)
	return nil
}

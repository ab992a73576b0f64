// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
)

// Store implements eventlog.Store on the streams of a Server. Heads are kept in memory; they are read from the disk at
// the start and after every restart of the engine.
type Store struct {
	srv  *Server
	room room

	mu       sync.Mutex
	branches map[string]*branch // by stream name
	closed   bool

	doubt    *engine // an engine that has left a publish unanswered; guarded by mu
	settling sync.Mutex
	unread   bool // the engine was exchanged, its heads are not read yet; guarded by settling

	saving sync.Mutex
	saved  map[string]tail // what tails.json says
	rested time.Time       // until then tails.json is left alone; guarded by saving
}

var _ eventlog.Store = (*Store)(nil)

// branch is what we know of one stream.
type branch struct {
	id     eventlog.Branch
	stream string

	// appending is held by the one who appends or deletes.
	appending sync.Mutex

	mu     sync.Mutex
	exists bool // there is a stream
	first  uint64
	page   uint64 // the last page; first-1 if there is none
	hash   eventlog.Hash
	stat   eventlog.Stat
	broken string // why nothing more may be appended, "" if it may
	unsure bool   // a page of unknown fate may follow the last one
}

func (b *branch) head() (eventlog.Head, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return eventlog.Head{Branch: b.id, Page: b.page, Hash: b.hash}, b.exists && b.page >= b.first
}

func openStore(s *Server) (*Store, error) {
	st := &Store{
		srv: s, branches: make(map[string]*branch),
		room: room{free: s.cfg.Free, reserve: s.cfg.Reserve, now: s.cfg.Now},
	}
	var err error
	if st.saved, err = readTails(st.tailsPath()); err != nil {
		return nil, err
	}
	e, err := s.current()
	if err != nil {
		return nil, err
	}
	return st, st.load(context.Background(), e)
}

func (s *Store) tailsPath() string { return filepath.Join(s.srv.cfg.Dir, "tails.json") }

// load reads how far every stream goes, many at a time.
func (s *Store) load(ctx context.Context, e *engine) error {
	infos, err := e.list(ctx)
	if err != nil {
		return err
	}
	var work sync.WaitGroup
	slots := make(chan struct{}, 32)
	errs := make(chan error, len(infos))
	seen := make(map[string]bool, len(infos))
	for _, info := range infos {
		id, ok := branchOf(info.Config.Name)
		if !ok {
			continue
		}
		seen[info.Config.Name] = true
		b := s.branch(id)
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			errs <- s.loadHead(ctx, e, b, info)
		})
	}
	work.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	s.missing(seen)
	s.unmade(seen)
	return nil
}

// loadHead reads the last page of one stream and compares it with what was written down.
func (s *Store) loadHead(ctx context.Context, e *engine, b *branch, info *natsjs.StreamInfo) error {
	first, last := firstOf(info), info.State.LastSeq
	page, hash, broken := last, eventlog.Hash{}, ""
	for page >= first {
		msgs, err := e.fetch(ctx, b.stream, page, 1, 0)
		if err != nil {
			return err
		}
		if len(msgs) == 1 {
			var ok bool
			if hash, ok = hashOf(msgs[0], page); ok {
				break
			}
		}
		broken = fmt.Sprintf("page %d is damaged", page)
		page--
	}
	if t, ok := s.tail(b.stream); ok && broken == "" {
		switch {
		case t.Page > page:
			broken = fmt.Sprintf("page %d is missing", page+1)
		case t.Page == page && t.Hash != hash:
			broken = fmt.Sprintf("page %d is another one than it was", page)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.exists, b.first, b.page, b.hash, b.broken, b.unsure = true, first, page, hash, broken, false
	b.stat = eventlog.Stat{Born: info.State.FirstTime, Bytes: int64(info.State.Bytes)}
	return nil
}

// missing marks the branches that were written down and are gone: a stream whose files cannot be opened is passed over by
// the engine without a word.
func (s *Store) missing(seen map[string]bool) {
	s.saving.Lock()
	saved := s.saved
	s.saving.Unlock()
	for name := range saved {
		id, ok := branchOf(name)
		if seen[name] || !ok {
			continue
		}
		b := s.branch(id)
		b.mu.Lock()
		b.exists, b.broken = false, "page 1 is missing and so is all that follows"
		b.mu.Unlock()
	}
}

// branch returns what we know of a branch; nothing yet is a value too.
func (s *Store) branch(id eventlog.Branch) *branch {
	name := streamOf(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.branches[name]
	if b == nil {
		b = &branch{id: id, stream: name}
		s.branches[name] = b
	}
	return b
}

func (s *Store) known(id eventlog.Branch) *branch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.branches[streamOf(id)]
}

// Append implements eventlog.Store. Once the page is on its way to the disk, ctx no longer matters: Append waits for the
// disk's word, at most Config.Patience. If the engine does not answer, it is started again when the disk has room, and
// Append then says what became of the page.
func (s *Store) Append(ctx context.Context, id eventlog.Branch, p *eventlog.Page) error {
	if p.Log != id.LogID || !wellFormed(id) || len(p.Raw()) == 0 {
		return fmt.Errorf("page %d of %s does not belong to %s", p.Number, p.Log, id)
	}
	b := s.branch(id)
	b.appending.Lock()
	defer b.appending.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	e, err := s.settled(ctx)
	if err != nil {
		return err
	}
	if err := b.follows(p); err != nil {
		return err
	}
	if err := s.room.take(len(p.Raw())); err != nil {
		return err
	}
	err = s.put(ctx, e, b, p)
	if errors.Is(err, errUnanswered) {
		return s.resolve(context.WithoutCancel(ctx), e, b, p, err)
	}
	return s.conclude(e, b, p, err)
}

// conclude turns the engine's answer into the Store's.
func (s *Store) conclude(e *engine, b *branch, p *eventlog.Page, err error) error {
	switch {
	case err == nil:
		b.advance(p, s.srv.cfg.Now())
		return nil
	case errors.Is(err, errWrongLast):
		// Memory and disk disagree; the disk is right.
		s.suspect(e)
		b.doubt()
		return errors.Join(eventlog.ErrOutOfOrder, err)
	case errors.Is(err, errUnanswered):
		s.suspect(e)
		b.doubt()
		return errUnknown.With(err)
	default:
		return err
	}
}

func (b *branch) follows(p *eventlog.Page) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken != "" {
		return eventlog.ErrDamaged.Because("%s: %s", b.id, b.broken)
	}
	if !b.exists || b.page < b.first {
		if b.id.Fork == "" && p.Number != 1 {
			return eventlog.ErrOutOfOrder
		}
		return nil
	}
	if p.Number != b.page+1 {
		return eventlog.ErrOutOfOrder
	}
	return nil
}

func (b *branch) advance(p *eventlog.Page, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.Number == b.first {
		b.stat = eventlog.Stat{Born: now}
	}
	b.stat.Bytes += int64(len(p.Raw()))
	b.page, b.hash = p.Number, p.Hash
}

// put publishes the page, after making the stream if this is its first one.
func (s *Store) put(ctx context.Context, e *engine, b *branch, p *eventlog.Page) error {
	if err := s.ensure(ctx, e, b, p.Number); err != nil {
		return err
	}
	full := func() bool { return errors.Is(s.room.take(0), eventlog.ErrNoRoom) }
	return e.publish(b.stream, p, s.srv.cfg.Patience, full)
}

func (s *Store) ensure(ctx context.Context, e *engine, b *branch, first uint64) error {
	b.mu.Lock()
	exists, empty, was := b.exists, b.page < b.first, b.first
	b.mu.Unlock()
	if exists && (!empty || was == first) {
		return nil
	}
	if exists { // an empty stream that a crash left behind, for another first page
		if err := e.js.DeleteStream(ctx, b.stream); err != nil {
			return fmt.Errorf("%w: %w", errUnanswered, err)
		}
	}
	err := e.create(ctx, b.stream, first)
	if err == nil {
		err = s.srv.syncStream(b.stream)
	}
	if err != nil {
		if ctx.Err() != nil {
			s.suspect(e)
			return err
		}
		return fmt.Errorf("%w: %w", errUnanswered, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.exists, b.first, b.page, b.hash = true, first, first-1, eventlog.Hash{}
	return nil
}

// Read implements eventlog.Store. It goes on while the disk is full, but never beyond what was acknowledged. Whoever asks
// for what comes after the last page while a page of unknown fate may be there gets an answer only when it is known.
func (s *Store) Read(ctx context.Context, id eventlog.Branch, after uint64, maxBytes int) ([]*eventlog.Page, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b := s.known(id)
	if b == nil {
		return nil, nil
	}
	if err := s.certain(ctx, b, after); err != nil {
		return nil, err
	}
	b.mu.Lock()
	exists, first, last, broken := b.exists, b.first, b.page, b.broken
	b.mu.Unlock()
	if first > 0 {
		after = max(after, first-1)
	}
	if !exists || after >= last {
		if broken != "" {
			return nil, eventlog.ErrDamaged.Because("%s: %s", id, broken)
		}
		return nil, nil
	}
	count := int(min(last-after, maxFetch))
	msgs, err := s.fetch(ctx, b.stream, after+1, count, min(max(maxBytes, 1), maxFetchBytes))
	if err != nil {
		return nil, err
	}
	return decodeAll(msgs, id, after, maxBytes)
}

const (
	maxFetch      = 8192
	maxFetchBytes = 8 << 20
)

// fetch asks the engine, and once more if it was exchanged meanwhile.
func (s *Store) fetch(ctx context.Context, stream string, from uint64, count, maxBytes int) ([]*nats.Msg, error) {
	for {
		e, err := s.srv.current()
		if err != nil {
			return nil, err
		}
		msgs, err := e.fetch(ctx, stream, from, count, maxBytes)
		if err == nil {
			return msgs, nil
		}
		if now, cerr := s.srv.current(); cerr != nil || now == e {
			return nil, fault.New(fault.Unavailable, "log.unreadable", "the log cannot be read now", "try again").With(err)
		}
	}
}

func decodeAll(msgs []*nats.Msg, id eventlog.Branch, after uint64, maxBytes int) ([]*eventlog.Page, error) {
	pages := make([]*eventlog.Page, 0, len(msgs))
	size := 0
	for i, m := range msgs {
		if size += len(m.Data); i > 0 && size > maxBytes {
			break
		}
		number := after + uint64(i) + 1
		p, err := decode(m, id, number)
		if err != nil {
			if i > 0 {
				break // what came before is good; the next Read reports this page
			}
			return nil, eventlog.ErrDamaged.Because("page %d of %s: %v", number, id, err)
		}
		pages = append(pages, p)
	}
	if len(pages) == 0 {
		return nil, eventlog.ErrDamaged.Because("page %d of %s cannot be read", after+1, id)
	}
	return pages, nil
}

// Heads implements eventlog.Store. It asks the disk only after trouble.
func (s *Store) Heads(ctx context.Context) ([]eventlog.Head, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.settle(ctx); err != nil && !errors.Is(err, eventlog.ErrNoRoom) {
		return nil, err
	}
	s.mu.Lock()
	all := make([]*branch, 0, len(s.branches))
	for _, b := range s.branches {
		all = append(all, b)
	}
	s.mu.Unlock()
	heads := make([]eventlog.Head, 0, len(all))
	for _, b := range all {
		if h, ok := b.head(); ok {
			heads = append(heads, h)
		}
	}
	return heads, nil
}

// Damaged returns the branches that are known to be damaged and so take no more pages, with the reason. A damaged page in
// the middle of a branch is found only when it is read.
func (s *Store) Damaged() map[eventlog.Branch]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[eventlog.Branch]string)
	for _, b := range s.branches {
		b.mu.Lock()
		if b.broken != "" {
			found[b.id] = b.broken
		}
		b.mu.Unlock()
	}
	return found
}

// Stat implements eventlog.Store.
func (s *Store) Stat(id eventlog.Branch) eventlog.Stat {
	b := s.known(id)
	if b == nil {
		return eventlog.Stat{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.exists || b.page < b.first {
		return eventlog.Stat{}
	}
	return b.stat
}

// Space returns how many bytes are free on the disk of the logs, and how many of them are the reserve that nothing is written
// into. A disk that cannot be asked has as much as anybody wants.
func (s *Store) Space() (free, reserve uint64) { return s.room.space(), s.room.reserve }

// Delete implements eventlog.Store.
func (s *Store) Delete(ctx context.Context, id eventlog.Branch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b := s.known(id)
	if b == nil {
		return nil
	}
	b.appending.Lock()
	defer b.appending.Unlock()
	// Written down first: a crash in between must not make a deleted branch look like a lost one.
	if err := s.forgetTail(b.stream); err != nil {
		return fmt.Errorf("delete %s: %w", id, err)
	}
	e, err := s.srv.current()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.srv.cfg.Patience)
	defer cancel()
	if err := e.js.DeleteStream(ctx, b.stream); err != nil && !errors.Is(err, natsjs.ErrStreamNotFound) {
		return fault.New(fault.Unavailable, "log.undeleted", "the log "+id.String()+" cannot be deleted now", "try again").With(err)
	}
	// What the engine could not open it cannot delete either.
	if err := os.RemoveAll(s.srv.streamDir(b.stream)); err != nil {
		return fmt.Errorf("delete the files of %s: %w", id, err)
	}
	b.mu.Lock()
	b.exists, b.first, b.page, b.hash, b.broken = false, 0, 0, eventlog.Hash{}, ""
	b.mu.Unlock()
	return nil
}

// Close implements eventlog.Store: it refuses what comes after. The Server stays and is closed by its owner.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.saveTails()
}

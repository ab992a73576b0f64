// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"
)

// Memory is a Store in memory, for tests and for the simulator: it passes the same conformance suite as a real one, and
// it can be made to behave like a bad disk. It keeps only bytes, never a caller's values. The zero value is not usable;
// see NewMemory. It is safe for concurrent use.
type Memory struct {
	now func() time.Time

	mu       sync.Mutex
	branches map[Branch][]stored
	full     bool
	lying    bool
	failures []failure
}

// stored is a page as a disk has it. Bytes are never changed in place, so that images can share them.
type stored struct {
	raw    []byte
	number uint64
	hash   Hash
	at     time.Time
	synced bool
}

type failure struct {
	err  error
	keep bool
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store whose StoredAt comes from now.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{now: now, branches: make(map[Branch][]stored)}
}

// Append implements Store.
func (m *Memory) Append(ctx context.Context, branch Branch, p *Page) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return ErrNoRoom
	}
	pages := m.branches[branch]
	switch {
	case len(pages) > 0 && pages[len(pages)-1].number != p.Number-1:
		return ErrOutOfOrder
	case len(pages) == 0 && branch.Fork == "" && p.Number != 1:
		return ErrOutOfOrder
	}
	var failed failure
	if len(m.failures) > 0 {
		failed, m.failures = m.failures[0], m.failures[1:]
	}
	if failed.err != nil && !failed.keep {
		return failed.err
	}
	m.branches[branch] = append(pages, stored{
		raw: bytes.Clone(p.Raw()), number: p.Number, hash: p.Hash, at: m.now(), synced: !m.lying,
	})
	return failed.err
}

// Read implements Store.
func (m *Memory) Read(ctx context.Context, branch Branch, after uint64, maxBytes int) ([]*Page, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var pages []*Page
	size := 0
	for _, s := range m.after(branch, after) {
		size += len(s.raw)
		if len(pages) > 0 && size > maxBytes {
			break
		}
		p, err := s.page()
		if err != nil && len(pages) > 0 {
			break // the pages before the damaged one are still good
		}
		if err != nil {
			return nil, err
		}
		pages = append(pages, p)
	}
	return pages, nil
}

func (m *Memory) after(branch Branch, after uint64) []stored {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.branches[branch]
	i, _ := slices.BinarySearchFunc(all, after, func(s stored, after uint64) int {
		if s.number <= after {
			return -1
		}
		return 1
	})
	return all[i:len(all):len(all)]
}

func (s stored) page() (*Page, error) {
	if sha256.Sum256(s.raw) != s.hash {
		return nil, ErrDamaged.Because("page %d", s.number)
	}
	p, err := DecodePage(bytes.Clone(s.raw))
	if err != nil {
		return nil, ErrDamaged.With(err)
	}
	p.StoredAt = s.at
	return p, nil
}

// Heads implements Store. The heads are sorted by branch, so that a simulation is the same every time.
func (m *Memory) Heads(ctx context.Context) ([]Head, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	heads := make([]Head, 0, len(m.branches))
	for b, pages := range m.branches {
		last := pages[len(pages)-1]
		heads = append(heads, Head{b, last.number, last.hash})
	}
	sortHeads(heads)
	return heads, nil
}

// Stat implements Store.
func (m *Memory) Stat(branch Branch) (s Stat) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, p := range m.branches[branch] {
		if i == 0 {
			s.Born = p.at
		}
		s.Bytes += int64(len(p.raw))
	}
	return s
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, branch Branch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.branches, branch)
	return nil
}

// Close implements Store. The pages stay, so that the same Memory can be opened again like a disk.
func (m *Memory) Close() error { return nil }

// Full says whether the disk's reserve is used up: appending then returns ErrNoRoom.
func (m *Memory) Full(full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full = full
}

// LieAboutSync makes the disk acknowledge what it has not synced, from now on; see Crash.
func (m *Memory) LieAboutSync(lie bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lying = lie
}

// Crash is a loss of power: what was acknowledged while the disk lied about syncing is gone, with all that follows it in
// the same branch. Everything else stays.
func (m *Memory) Crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for b, pages := range m.branches {
		lost := slices.IndexFunc(pages, func(s stored) bool { return !s.synced })
		switch {
		case lost == 0:
			delete(m.branches, b)
		case lost > 0:
			m.branches[b] = pages[:lost:lost]
		}
	}
}

// FailAppend makes the next append that is otherwise in order return err. With keep the page is stored nonetheless:
// the answer got lost, not the page. Calls queue up.
func (m *Memory) FailAppend(err error, keep bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures = append(m.failures, failure{err, keep})
}

// Flip damages one byte in the middle of a stored page and reports whether there was such a page.
func (m *Memory) Flip(branch Branch, page uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	pages := slices.Clone(m.branches[branch])
	for i := range pages {
		if pages[i].number == page {
			pages[i].raw = bytes.Clone(pages[i].raw)
			pages[i].raw[len(pages[i].raw)/2] ^= 0x10
			m.branches[branch] = pages
			return true
		}
	}
	return false
}

// Image is the content of a Memory at one moment: a backup, or the disk of a cloned machine. It never changes.
type Image struct{ branches map[Branch][]stored }

// Snapshot returns the present content.
func (m *Memory) Snapshot() Image {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Image{cloneBranches(m.branches)}
}

// Restore replaces the content by the image's. Switches such as Full stay as they are.
func (m *Memory) Restore(image Image) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.branches = cloneBranches(image.branches)
}

func cloneBranches(branches map[Branch][]stored) map[Branch][]stored {
	c := make(map[Branch][]stored, len(branches))
	for b, pages := range branches {
		c[b] = slices.Clone(pages)
	}
	return c
}

func sortHeads(heads []Head) {
	slices.SortFunc(heads, func(a, b Head) int { return compareBranches(a.Branch, b.Branch) })
}

func compareBranches(a, b Branch) int {
	return cmp.Or(
		cmp.Compare(a.Authority, b.Authority), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Site, b.Site),
		cmp.Compare(a.Incarnation, b.Incarnation), cmp.Compare(a.Fork, b.Fork),
	)
}

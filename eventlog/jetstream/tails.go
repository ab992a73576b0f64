// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"time"

	"codeberg.org/holdfast/holdfast/eventlog"
)

// tail is how far a branch went at least. JetStream cuts a file short at the first damaged record when it has to rebuild
// its index, and then looks perfectly well; only somebody who remembers knows that pages are gone.
type tail struct {
	Page uint64        `json:"page"`
	Hash eventlog.Hash `json:"hash"`
}

// readTails reads what was written down. A missing file is an empty one; a damaged one is treated the same, since it only
// helps to find damage and must not be the reason that a site does not start.
func readTails(path string) (map[string]tail, error) {
	tails := make(map[string]tail)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return tails, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the tails of the logs: %w", err)
	}
	if json.Unmarshal(b, &tails) != nil {
		return make(map[string]tail), nil
	}
	return tails, nil
}

func (s *Store) tail(stream string) (tail, bool) {
	s.saving.Lock()
	defer s.saving.Unlock()
	t, ok := s.saved[stream]
	return t, ok
}

// tailsShare bounds how much of the disk's time the tails take: after a write they rest so many times as long as it took. With
// a few logs they are two seconds old at most; with five thousand on a slow disk some ten seconds.
const tailsShare = 50

// keepTails writes down how far the branches go, unless that was done just now. What comes after the last time is checked by
// its hashes and signatures alone: a file that is cut off there is not noticed.
func (s *Store) keepTails() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	begin := s.srv.cfg.Now()
	if begin.Before(s.rested) {
		return nil
	}
	err := s.saveTailsLocked()
	end := s.srv.cfg.Now()
	s.rested = end.Add(min(tailsShare*max(end.Sub(begin), 0), time.Minute))
	return err
}

// saveTails is keepTails at once, whatever it costs.
func (s *Store) saveTails() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	return s.saveTailsLocked()
}

// saveTailsLocked keeps of a damaged branch what it was before the damage. The caller holds saving.
func (s *Store) saveTailsLocked() error {
	next := maps.Clone(s.saved)
	s.mu.Lock()
	for name, b := range s.branches {
		b.mu.Lock()
		if b.exists && b.broken == "" && b.page >= b.first {
			next[name] = tail{b.page, b.hash}
		}
		b.mu.Unlock()
	}
	s.mu.Unlock()
	return s.writeTails(next)
}

func (s *Store) forgetTail(stream string) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	if _, ok := s.saved[stream]; !ok {
		return nil
	}
	next := maps.Clone(s.saved)
	delete(next, stream)
	return s.writeTails(next)
}

func (s *Store) writeTails(next map[string]tail) error {
	if maps.Equal(next, s.saved) {
		return nil
	}
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := s.srv.cfg.disk.Replace(s.tailsPath(), b); err != nil {
		return fmt.Errorf("write down the tails of the logs: %w", err)
	}
	s.saved = next
	return nil
}

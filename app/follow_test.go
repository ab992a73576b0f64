// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
)

func TestNewsThatOverflowedFoldTheModelAnew(t *testing.T) {
	w := newWorld(t, 1)
	w.authority(nordtal, 1)
	a := w.sites[0]
	a.importAt(nordtal, table(erika))
	names, stop := a.site.model.Watch()
	defer stop()
	var due keyNews
	due.add([]keyring.Changed{{Authority: nordtal, KeyID: "00000000000000ff"}})
	if len(due.refs) != 1 || due.all {
		t.Fatalf("one change is %+v", due)
	}
	due.add([]keyring.Changed{{}})
	due.add([]keyring.Changed{{Authority: nordtal, KeyID: "00000000000000ff"}})
	if len(due.refs) != 0 || !due.all {
		t.Fatalf("an overflow is %+v", due)
	}
	w.must(a.site.showKeys(t.Context(), due))
	w.eventually("everybody is told to look again", func() error {
		select {
		case n := <-names:
			if n.All {
				return nil
			}
		default:
		}
		return errors.New("they are not")
	})
	if a.named(nordtal, "Quastenflosser").Readable != directory.Readable {
		t.Error("people are gone")
	}
}

func TestAKeyThatChangedWhenTheSiteWasDyingIsSeenAtTheNextStart(t *testing.T) {
	w := newWorld(t, 1)
	w.authority(nordtal, 1)
	a := w.sites[0]
	a.importAt(nordtal, table(erika, jonas))
	person := a.named(nordtal, "Quastenflosser").ID
	key := a.keyOf(nordtal, person)
	w.eventually("it is kept how far the read model knows the keyring", func() error {
		if _, err := a.site.local.Get(t.Context(), bucketMeta, keyKeysShown); err != nil {
			return err
		}
		return nil
	})
	a.end()
	// The mark of another site's erasure is stored, and the site dies before its read model hears of it.
	ring, err := keyring.Open(filepath.Join(a.data, keyringFile), keyring.Config{Identity: a.site.identity, Rand: rand.Reader, Now: time.Now})
	w.must(err)
	w.must(ring.Erase(t.Context(), nordtal, key))
	w.must(ring.Close())
	a.start()
	a.readable(nordtal, person, directory.Erased)
	a.forgot(person)
	if a.named(nordtal, "Zwergdommel").Readable != directory.Readable {
		t.Error("somebody else is gone too")
	}
}

// keyOf returns the key that the person's fields are sealed with.
func (s *station) keyOf(id event.AuthorityID, person directory.PersonID) event.KeyID {
	s.w.t.Helper()
	var key event.KeyID
	err := s.site.model.View(s.w.t.Context(), func(q readmodel.Query) error {
		return q.QueryRowContext(s.w.t.Context(), `SELECT key FROM directory_person WHERE authority = ? AND id = ?`, id, person).Scan(&key)
	})
	if err == nil && key == "" {
		err = fmt.Errorf("person %s has no key", person)
	}
	s.w.must(err)
	return key
}

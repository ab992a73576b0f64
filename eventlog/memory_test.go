// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"errors"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

func wall() time.Time { return logtest.Start }

func TestMemoryConforms(t *testing.T) {
	logtest.Run(t, func(t *testing.T) logtest.Disk {
		m := eventlog.NewMemory(wall)
		return logtest.Disk{
			Open:  func(*testing.T) eventlog.Store { return m },
			Crash: func(*testing.T, eventlog.Store) { m.Crash() },
			Full:  func(_ *testing.T, _ eventlog.Store, full bool) { m.Full(full) },
			Damage: func(t *testing.T, _ eventlog.Store, b eventlog.Branch, page uint64) eventlog.Store {
				if !m.Flip(b, page) {
					t.Fatal("there is no such page")
				}
				return m
			},
		}
	})
}

func TestMemoryLosesWhatALyingDiskDidNotSync(t *testing.T) {
	m, w := eventlog.NewMemory(wall), logtest.NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	must(t, m.Append(t.Context(), b, w.Page(t, "one")))
	m.LieAboutSync(true)
	must(t, m.Append(t.Context(), b, w.Page(t, "two")))
	m.Crash()
	pages, err := m.Read(t.Context(), b, 0, 1<<20)
	must(t, err)
	if len(pages) != 1 {
		t.Errorf("got %d pages after the crash, want 1", len(pages))
	}
}

func TestMemoryFailsAsTold(t *testing.T) {
	m, w := eventlog.NewMemory(wall), logtest.NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	lost, kept := errors.New("lost"), errors.New("answer lost")
	m.FailAppend(lost, false)
	m.FailAppend(kept, true)
	p := w.Page(t, "one")
	if err := m.Append(t.Context(), b, p); !errors.Is(err, lost) {
		t.Errorf("got %v, want %v", err, lost)
	}
	if err := m.Append(t.Context(), b, p); !errors.Is(err, kept) {
		t.Errorf("got %v, want %v", err, kept)
	}
	if err := m.Append(t.Context(), b, p); !errors.Is(err, eventlog.ErrOutOfOrder) {
		t.Errorf("got %v, want ErrOutOfOrder: the page was kept", err)
	}
}

func TestMemoryRestoresAnImage(t *testing.T) {
	m, w := eventlog.NewMemory(wall), logtest.NewWriter(t, 1, 1)
	b := eventlog.Branch{LogID: w.Log}
	must(t, m.Append(t.Context(), b, w.Page(t, "one")))
	image := m.Snapshot()
	must(t, m.Append(t.Context(), b, w.Page(t, "two")))
	m.Restore(image)
	heads, err := m.Heads(t.Context())
	must(t, err)
	if len(heads) != 1 || heads[0].Page != 1 {
		t.Errorf("got %v, want page 1", heads)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
)

// A damaged page is asked for several times a second, by whoever tells the peers how far we are. That filled the log of the
// machine, 50 lines here, and nobody mended it before the next night.
func TestADamagedPageThatIsReadIsLoggedOnceAndMendedAtOnce(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	r.accepts(3, nil, w.Page(t, "a"), w.Page(t, "b"), w.Page(t, "c"))
	var said bytes.Buffer
	r.cfg.Logger = slog.New(slog.NewTextHandler(&said, nil))
	r.cfg.Elsewhere = func(eventlog.Head) bool { return true }
	b, sound := eventlog.Branch{LogID: w.Log}, r.append(note("x"))
	r.disk.Flip(b, 2)
	r.open()
	for range 50 {
		r.log.Durable(t.Context())
	}
	if n := strings.Count(said.String(), "\n"); n != 1 {
		t.Errorf("%d lines were logged:\n%s", n, said.String())
	}
	select {
	case <-r.log.Suspected():
	default:
		t.Fatal("nobody is told that there is something to check")
	}
	found, err := r.log.ScrubSuspected(t.Context())
	if err != nil || len(found) != 1 || found[0].Branch != b || found[0].Page != 2 || found[0].Last != 3 || !found[0].Deleted {
		t.Errorf("found is %+v, %v", found, err)
	}
	if _, held := r.log.Head(eventlog.Branch{LogID: sound.Log}); !held {
		t.Error("a log that is in order was deleted")
	}
	if again, err := r.log.ScrubSuspected(t.Context()); err != nil || len(again) != 0 {
		t.Errorf("what was mended is suspected again: %+v, %v", again, err)
	}
}

// Of a damaged only copy nothing can be mended, and whoever reads it meets the damage again and again.
func TestADamagedOnlyCopyIsCheckedAgainOnlyWhenSomebodyAsks(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	r.accepts(2, nil, w.Page(t, "a"), w.Page(t, "b"))
	b, elsewhere := eventlog.Branch{LogID: w.Log}, false
	r.cfg.Elsewhere = func(eventlog.Head) bool { return elsewhere }
	r.open()
	r.disk.Flip(b, 1)
	equal(t, "kept", scrub(t, r)[0].Deleted, false)
	for range 10 {
		r.log.Durable(t.Context())
	}
	if found, err := r.log.ScrubSuspected(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("it is checked again: %+v, %v", found, err)
	}
	elsewhere = true
	r.log.Suspect(b)
	if found, err := r.log.ScrubSuspected(t.Context()); err != nil || len(found) != 1 || !found[0].Deleted {
		t.Errorf("with another site that has it: %+v, %v", found, err)
	}
}

func TestReadingADamagedPageHasItsLogChecked(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	r.accepts(2, nil, w.Page(t, "a"), w.Page(t, "b"))
	b := eventlog.Branch{LogID: w.Log}
	r.disk.Flip(b, 1)
	if _, err := r.log.Read(t.Context(), b, 0, 1<<20); !errors.Is(err, eventlog.ErrDamaged) {
		t.Fatalf("got %v", err)
	}
	select {
	case <-r.log.Suspected():
	default:
		t.Error("nobody is told")
	}
}

func TestAScrubRestsAndEndsWhenItsRestDoes(t *testing.T) {
	r, w := newRig(t), logtest.NewWriter(t, 2, 1)
	r.accepts(2, nil, w.Page(t, "a"), w.Page(t, "b"))
	rests, enough := 0, errors.New("enough")
	_, err := r.log.ScrubGently(t.Context(), func(context.Context) error { rests++; return enough })
	if rests != 1 || !errors.Is(err, enough) {
		t.Errorf("%d rests, %v", rests, err)
	}
}

// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/event"
)

// Incarnation returns the word that the site's own logs go on under, "" if the next append draws a new one.
func (l *Log) Incarnation() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.incarnation
}

// Reincarnate gives up the present incarnation: the next append to any log goes to a new log. It is called when nobody
// can make sure that no other site holds more of our logs than we do. The reason is for the operator's log.
func (l *Log) Reincarnate(reason string) {
	l.mu.Lock()
	given := l.incarnation
	l.incarnation = ""
	l.mu.Unlock()
	if given == "" {
		return
	}
	l.cfg.Logger.Warn("own logs go on in a new incarnation", "given_up", given, "reason", reason)
	if l.cfg.OnIncarnation == nil {
		return
	}
	// If this cannot be kept, the next start finds the same reason, or its peers do not confirm the tails.
	if err := l.cfg.OnIncarnation(""); err != nil {
		l.cfg.Logger.Warn("cannot keep that the incarnation was given up", "error", err)
	}
}

// ensureIncarnation returns the present incarnation. If there is none it draws one and has it kept on the disk first.
func (l *Log) ensureIncarnation() (string, error) {
	l.drawMu.Lock()
	defer l.drawMu.Unlock()
	if have := l.Incarnation(); have != "" {
		return have, nil
	}
	drawn, err := l.drawIncarnation()
	if err != nil {
		return "", err
	}
	if l.cfg.OnIncarnation != nil {
		if err := l.cfg.OnIncarnation(drawn); err != nil {
			return "", fmt.Errorf("keep a new incarnation: %w", err)
		}
	}
	l.mu.Lock()
	l.incarnation = drawn
	l.mu.Unlock()
	return drawn, nil
}

func (l *Log) drawIncarnation() (string, error) {
	l.randMu.Lock()
	defer l.randMu.Unlock()
	for {
		var b [8]byte
		if _, err := io.ReadFull(l.cfg.Rand, b[:]); err != nil {
			return "", fmt.Errorf("draw an incarnation: %w", err)
		}
		if drawn := hex.EncodeToString(b[:]); !strings.HasPrefix(drawn, urgentPrefix) {
			return drawn, nil
		}
	}
}

// urgentPrefix is how the incarnations of urgent logs begin. Nobody draws such a word.
const urgentPrefix = "0a1a"

// urgentIncarnation returns the incarnation of the urgent logs that go with the others of an incarnation: one is taken, kept
// and given up with the other. To whoever does not know of it it is an incarnation like any other.
func urgentIncarnation(incarnation string) string {
	return urgentPrefix + incarnation[:min(len(incarnation), 12)]
}

// isUrgent reports whether the log holds only what is urgent, by its own word.
func (id LogID) isUrgent() bool { return strings.HasPrefix(id.Incarnation, urgentPrefix) }

// isOf reports whether a word is the incarnation, or that of the urgent logs that go with it.
func isOf(word, incarnation string) bool {
	return incarnation != "" && (word == incarnation || word == urgentIncarnation(incarnation))
}

// isCurrent reports whether our own logs are appended to under that word.
func (l *Log) isCurrent(word string) bool { return isOf(word, l.Incarnation()) }

// allUrgent reports whether nothing but what is urgent is to be appended.
func allUrgent(drafts []event.Draft) bool {
	return !slices.ContainsFunc(drafts, func(d event.Draft) bool { return !d.Urgent })
}

// Hold makes appends wait until Release, because peers are being asked whether they hold more of our logs than we do. An
// append waits at most Config.HoldLimit; then it goes on in a new incarnation, since a site must be writable alone.
// Nothing waits as long as there is no incarnation to go on with. Holding twice is holding once.
func (l *Log) Hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = make(chan struct{})
	}
}

// Release lets appends go on. Without Hold it does nothing.
func (l *Log) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held != nil {
		close(l.held)
		l.held = nil
	}
}

// settled waits until the log is not on hold. It returns ctx's error if that ends first.
func (l *Log) settled(ctx context.Context) error {
	l.mu.Lock()
	held := l.held
	if l.incarnation == "" {
		held = nil
	}
	l.mu.Unlock()
	if held == nil {
		return nil
	}
	limit := time.NewTimer(l.cfg.HoldLimit)
	defer limit.Stop()
	select {
	case <-held:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for other sites to confirm our logs: %w", ctx.Err())
	case <-limit.C:
		l.Reincarnate("no other site confirmed our logs in time")
		l.Release()
		return nil
	}
}

// newIDs draws n event ids with one read.
func (l *Log) newIDs(n int) ([]event.ID, error) {
	raw := make([]byte, 8*n)
	l.randMu.Lock()
	_, err := io.ReadFull(l.cfg.Rand, raw)
	l.randMu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("draw event ids: %w", err)
	}
	ids := make([]event.ID, n)
	for i := range ids {
		ids[i] = event.ID(hex.EncodeToString(raw[8*i : 8*i+8]))
	}
	return ids, nil
}

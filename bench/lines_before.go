// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

const (
	formerPause   = time.Second
	formerTimeout = 5 * time.Second // for one question, whatever has come of its answer
	formerAnswer  = 700 << 10
	// formerRounds bounds the answers that are taken from one log before the heads are asked for again.
	formerRounds = 12
)

// former replicates as sites did before they measured their lines (docs/adr/0015-slow-lines.md): one loop on one
// connection asks for the heads, then for whole pages of every log that it lacks, side by side, and goes on when all
// of them are answered. It asks today's Replicator, which still answers such questions, over today's connections.
type former struct {
	log  *eventlog.Log
	link eventlog.Link
	peer event.SiteID
}

// run replicates until ctx ends.
func (f former) run(ctx context.Context) {
	for ctx.Err() == nil {
		if f.round(ctx) {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(formerPause):
		}
	}
}

// round reports whether pages came and nothing failed: then there may be more.
func (f former) round(ctx context.Context) (more bool) {
	heads, err := f.heads(ctx)
	if err != nil {
		return false
	}
	var logs sync.WaitGroup
	var moved, failed atomic.Bool
	for _, h := range heads {
		logs.Go(func() {
			n, err := f.pull(ctx, h)
			if n > 0 {
				moved.Store(true)
			}
			if err != nil {
				failed.Store(true)
			}
		})
	}
	logs.Wait()
	return moved.Load() && !failed.Load()
}

// heads asks how far the peer's own logs go.
func (f former) heads(ctx context.Context) ([]eventlog.Head, error) {
	answer, err := f.request(ctx, eventlog.VerbHeads, map[string]any{"origin": f.peer})
	if err != nil {
		return nil, err
	}
	var message struct {
		Heads []eventlog.Head `json:"heads"`
	}
	err = json.Unmarshal(answer, &message)
	return message.Heads, err
}

// pull fetches what is lacking up to a head, and returns how many pages were stored.
func (f former) pull(ctx context.Context, target eventlog.Head) (stored int, err error) {
	for range formerRounds {
		ours, _ := f.log.Head(target.Branch)
		if ours.Page >= target.Page {
			break
		}
		answer, err := f.request(ctx, eventlog.VerbPages, map[string]any{
			"log": target.Branch.LogID, "after": ours, "target": target, "maxBytes": formerAnswer,
		})
		if err != nil {
			return stored, err
		}
		pages, err := wholePages(answer)
		if err != nil {
			return stored, err
		}
		n, err := f.log.Accept(ctx, pages)
		if stored += n; err != nil || n == 0 {
			return stored, err
		}
	}
	return stored, nil
}

func (f former) request(ctx context.Context, verb string, question any) ([]byte, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, formerTimeout)
	defer cancel()
	return f.link.Request(ctx, f.peer, verb, body)
}

// wholePages returns the pages of an answer. Each part of it has its length in front (u32, big-endian); the first is
// no page.
func wholePages(answer []byte) (pages [][]byte, err error) {
	for len(answer) >= 4 {
		end := 4 + int(binary.BigEndian.Uint32(answer))
		if end > len(answer) {
			break
		}
		pages, answer = append(pages, answer[4:end]), answer[end:]
	}
	if len(answer) > 0 || len(pages) == 0 {
		return nil, errors.New("an answer with pages is cut off")
	}
	return pages[1:], nil
}

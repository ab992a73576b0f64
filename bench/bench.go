// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/jetstream"
	"codeberg.org/holdfast/holdfast/seal"
)

// Options say how much is measured. The zero value means the defaults.
type Options struct {
	// Writers is how many write at a time, each one event after the other; 0 means 64.
	Writers int
	// Bytes is the size of an event's data; 0 means 1024.
	Bytes int
	// Duration is how long each side of a comparison runs; 0 means five seconds.
	Duration time.Duration
	// Dir is where the logs are put and removed again: the disk that is measured. "" means the directory for temporary
	// files, which on some machines is memory.
	Dir string
}

func (o Options) withDefaults() Options {
	if o.Writers == 0 {
		o.Writers = 64
	}
	if o.Bytes == 0 {
		o.Bytes = 1024
	}
	if o.Duration == 0 {
		o.Duration = 5 * time.Second
	}
	return o
}

// Metric is one figure. Ratio is Value divided by what Against names, 0 if it is compared with nothing.
type Metric struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Against string  `json:"against,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"`
}

const authority event.AuthorityID = "lk-nordtal"

// node is a site with the parts that are measured.
type node struct {
	id     *seal.Identity
	dir    string
	server *jetstream.Server
	log    *eventlog.Log
}

var quiet = slog.New(slog.DiscardHandler)

func newNode(ctx context.Context, parent, listen string) (*node, error) {
	id, err := seal.NewIdentity(rand.Reader)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "holdfast-bench-*")
	if err != nil {
		return nil, fmt.Errorf("make a directory to measure in: %w", err)
	}
	n := &node{id: id, dir: dir}
	n.server, err = jetstream.Start(jetstream.Config{
		Identity: id, Dir: dir, Listen: listen, Rand: rand.Reader, Now: time.Now, Logger: quiet,
		Admit: func(event.SiteID) jetstream.Role { return jetstream.Member },
	})
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	n.log, err = eventlog.Open(ctx, eventlog.Config{
		Identity: id, Store: n.server.Store(), Clock: event.NewClock(time.Now), Rand: rand.Reader, Policy: everybody{},
		Now: time.Now, Logger: quiet,
	})
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// close stops the site and removes what it has written.
func (n *node) close() error {
	var err error
	if n.server != nil {
		err = n.server.Close()
	}
	return errors.Join(err, os.RemoveAll(n.dir))
}

// everybody is a policy under which all sites are members and hold everything, each run by an operator of its own.
type everybody struct{}

func (everybody) Member(event.SiteID) bool                     { return true }
func (everybody) Allowed(event.SiteID, event.AuthorityID) bool { return true }
func (everybody) Operator(s event.SiteID) string               { return string(s) }

// note is an event's data: a text sealed for one person, as a reply is.
type note struct {
	Sealed []byte `json:"sealed"`
}

// text returns a plaintext whose sealed note is encoded in about so many bytes.
func text(bytes int) ([]byte, error) {
	const frame, sealing = len(`{"sealed":""}`), 1 + 12 + 16
	t := make([]byte, max(1, (bytes-frame)*3/4-sealing))
	_, err := rand.Read(t)
	return t, err
}

// writer returns a function that seals a text for one subject and appends it, and blocks until it is on the disk.
func (n *node) writer(i, bytes int) (func(context.Context) (eventlog.Receipt, error), error) {
	key, err := seal.NewKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	plain, err := text(bytes)
	if err != nil {
		return nil, err
	}
	subject := event.Subject(fmt.Sprintf("alarm/7f3a/person/%d", i))
	return func(ctx context.Context) (eventlog.Receipt, error) {
		sealed, err := key.Seal(rand.Reader, string(subject), plain)
		if err != nil {
			return eventlog.Receipt{}, err
		}
		return n.log.Append(ctx, authority, event.Operations, event.Draft{
			Subject: subject, Kind: "bench.Noted", Mode: event.Test, Data: note{sealed},
		})
	}, nil
}

// drive runs do from so many goroutines, each one call after the other, for the duration. It returns how many calls
// succeeded and how long each took, and the first error.
func drive(ctx context.Context, writers int, d time.Duration, do func(ctx context.Context, writer int) error) (tally, error) {
	var wg sync.WaitGroup
	var stop atomic.Bool
	took := make([][]time.Duration, writers)
	errs := make([]error, writers)
	begin := time.Now()
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	for i := range writers {
		wg.Go(func() {
			for !stop.Load() && ctx.Err() == nil {
				at := time.Now()
				if errs[i] = do(ctx, i); errs[i] != nil {
					stop.Store(true)
					return
				}
				took[i] = append(took[i], time.Since(at))
			}
		})
	}
	wg.Wait()
	t := tally{elapsed: time.Since(begin), took: slices.Concat(took...)}
	return t, errors.Join(append(errs, ctx.Err())...)
}

// tally is what a drive has done.
type tally struct {
	elapsed time.Duration
	took    []time.Duration
}

func (t *tally) add(o tally) {
	t.elapsed += o.elapsed
	t.took = append(t.took, o.took...)
}

func (t tally) perSecond() float64 { return float64(len(t.took)) / t.elapsed.Seconds() }

func (t tally) quantile(q float64) time.Duration {
	if len(t.took) == 0 {
		return 0
	}
	slices.Sort(t.took)
	return t.took[min(len(t.took)-1, int(q*float64(len(t.took))))]
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// encodedNote is what a plain publish carries: the same bytes as an event's data.
func encodedNote(bytes int) ([]byte, error) {
	plain, err := text(bytes)
	if err != nil {
		return nil, err
	}
	key, err := seal.NewKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	sealed, err := key.Seal(rand.Reader, "", plain)
	if err != nil {
		return nil, err
	}
	return json.Marshal(note{sealed})
}

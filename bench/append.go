// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"codeberg.org/holdfast/holdfast/eventlog"
)

// turn is for how long one side of a comparison writes before the other has its turn: short, so that whatever else the
// machine does hits both.
const turn = 250 * time.Millisecond

// Append measures acknowledged appends against plain synchronous publishes. It takes twice the duration.
func Append(ctx context.Context, o Options, report func(Metric)) error {
	o = o.withDefaults()
	ours, err := newNode(ctx, o.Dir, "")
	if err != nil {
		return err
	}
	plain, err := newPlain(o.Dir)
	if err != nil {
		return errors.Join(err, ours.close())
	}
	err = compare(ctx, o, ours, plain, report)
	return errors.Join(err, ours.close(), plain.close())
}

func compare(ctx context.Context, o Options, ours *node, plain *plainLog, report func(Metric)) error {
	writers := make([]func(context.Context) (eventlog.Receipt, error), o.Writers)
	for i := range writers {
		var err error
		if writers[i], err = ours.writer(i, o.Bytes); err != nil {
			return err
		}
	}
	body, err := encodedNote(o.Bytes)
	if err != nil {
		return err
	}
	var a, b tally
	for range max(2, o.Duration/turn) {
		t, err := drive(ctx, o.Writers, turn, func(ctx context.Context, i int) error {
			_, err := writers[i](ctx)
			return err
		})
		if err != nil {
			return fmt.Errorf("append: %w", err)
		}
		a.add(t)
		t, err = drive(ctx, o.Writers, turn, func(ctx context.Context, _ int) error { return plain.publish(ctx, body) })
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		b.add(t)
	}
	pages := uint64(0)
	for _, h := range ours.log.Heads() {
		pages += h.Page
	}
	report(Metric{Name: "log_append", Value: a.perSecond(), Unit: "events/s",
		Against: "plain synchronous JetStream publishes", Ratio: a.perSecond() / b.perSecond()})
	report(Metric{Name: "log_append_p50", Value: millis(a.quantile(.5)), Unit: "ms"})
	report(Metric{Name: "log_append_p99", Value: millis(a.quantile(.99)), Unit: "ms"})
	report(Metric{Name: "log_append_events_per_page", Value: float64(len(a.took)) / float64(max(1, pages)), Unit: "events"})
	report(Metric{Name: "plain_publish", Value: b.perSecond(), Unit: "events/s"})
	report(Metric{Name: "plain_publish_p50", Value: millis(b.quantile(.5)), Unit: "ms"})
	report(Metric{Name: "plain_publish_p99", Value: millis(b.quantile(.99)), Unit: "ms"})
	return nil
}

// plainLog is JetStream as anybody would use it: one stream, one publish per event, sync always.
type plainLog struct {
	dir string
	ns  *server.Server
	nc  *nats.Conn
	js  natsjs.JetStream
}

func newPlain(parent string) (*plainLog, error) {
	dir, err := os.MkdirTemp(parent, "holdfast-bench-plain-*")
	if err != nil {
		return nil, fmt.Errorf("make a directory to measure in: %w", err)
	}
	p := &plainLog{dir: dir}
	p.ns, err = server.NewServer(&server.Options{
		ServerName: "plain", DontListen: true, NoLog: true, NoSigs: true, JetStream: true, StoreDir: dir, SyncAlways: true,
	})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	go p.ns.Start()
	if !p.ns.ReadyForConnections(30 * time.Second) {
		return nil, errors.Join(errors.New("the plain nats-server did not start"), p.close())
	}
	if p.nc, err = nats.Connect("", nats.InProcessServer(p.ns)); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if p.js, err = natsjs.New(p.nc); err != nil {
		return nil, errors.Join(err, p.close())
	}
	_, err = p.js.CreateStream(context.Background(), natsjs.StreamConfig{Name: "plain", Subjects: []string{"plain"}, Storage: natsjs.FileStorage})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *plainLog) publish(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err := p.js.Publish(ctx, "plain", body)
	return err
}

func (p *plainLog) close() error {
	if p.nc != nil {
		p.nc.Close()
	}
	if p.ns != nil {
		p.ns.Shutdown()
		p.ns.WaitForShutdown()
	}
	return os.RemoveAll(p.dir)
}

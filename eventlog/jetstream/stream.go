// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"codeberg.org/holdfast/holdfast/eventlog"
)

const (
	hashHeader    = "Holdfast-Hash" // the page's hash, kept beside it
	subjectPrefix = "log."
	readPatience  = 10 * time.Second
)

// streamOf names the stream of a branch: the parts of the log's name joined by "_", which occurs in none of them.
func streamOf(b eventlog.Branch) string {
	name := strings.ReplaceAll(b.LogID.String(), "/", "_")
	if b.Fork != "" {
		name += "_" + b.Fork
	}
	return name
}

// branchOf is the reverse of streamOf; ok is false for a stream that is not ours.
func branchOf(stream string) (b eventlog.Branch, ok bool) {
	part := strings.Split(stream, "_")
	if len(part) == 5 {
		b.Fork, part = part[4], part[:4]
	}
	id, err := eventlog.ParseLogID(strings.Join(part, "/"))
	b.LogID = id
	return b, err == nil && wellFormed(b)
}

var forkPattern = regexp.MustCompile(`^([0-9a-f]{16})?$`)

// wellFormed keeps foreign names out of stream names, which are names of directories too.
func wellFormed(b eventlog.Branch) bool { return b.Check() == nil && forkPattern.MatchString(b.Fork) }

// create makes the stream of a branch whose first page is number first. Its caller makes its folders survive a power loss.
func (e *engine) create(ctx context.Context, name string, first uint64) error {
	cfg := natsjs.StreamConfig{
		Name: name, Subjects: []string{subjectPrefix + name}, Storage: natsjs.FileStorage, Replicas: 1,
		Retention: natsjs.LimitsPolicy, Discard: natsjs.DiscardNew, MaxMsgSize: maxPayload,
		DenyDelete: true, DenyPurge: true, AllowDirect: true,
		Metadata: map[string]string{"holdfast-first": strconv.FormatUint(first, 10)},
	}
	if first > 1 {
		cfg.FirstSeq = first
	}
	if _, err := e.js.CreateStream(ctx, cfg); err != nil {
		return fmt.Errorf("create the stream %s: %w", name, err)
	}
	return nil
}

// syncStream syncs the folders of a new stream, up to the one of all logs: the engine makes those above it with the first stream.
// Without that a power cut takes away the pages that were synced into them.
func (s *Server) syncStream(name string) error {
	top := filepath.Clean(s.cfg.Dir)
	for folder := filepath.Join(s.streamDir(name), "msgs"); len(folder) >= len(top); folder = filepath.Dir(folder) {
		if err := s.cfg.disk.Folder(folder); err != nil {
			return fmt.Errorf("sync the folders of the stream %s: %w", name, err)
		}
	}
	return nil
}

// list returns all streams. It asks in steps of 256.
func (e *engine) list(ctx context.Context) ([]*natsjs.StreamInfo, error) {
	lister := e.js.ListStreams(ctx)
	var all []*natsjs.StreamInfo
	for info := range lister.Info() {
		all = append(all, info)
	}
	if err := lister.Err(); err != nil {
		return nil, fmt.Errorf("list the streams: %w", err)
	}
	return all, nil
}

func firstOf(info *natsjs.StreamInfo) uint64 {
	n, err := strconv.ParseUint(info.Config.Metadata["holdfast-first"], 10, 64)
	if err != nil || n == 0 {
		return 1
	}
	return n
}

// The outcomes of publish.
var (
	errWrongLast  = errors.New("the stream's last page is another one")
	errUnanswered = errors.New("the embedded nats-server does not answer")
)

type publishAnswer struct {
	Sequence uint64 `json:"seq"`
	Error    *struct {
		Code        int    `json:"code"`
		ErrCode     uint16 `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
}

// publish stores the page and waits until it is synced. full is asked every second whether the disk has run full
// meanwhile, since then no answer will come.
func (e *engine) publish(stream string, p *eventlog.Page, patience time.Duration, full func() bool) error {
	m := nats.NewMsg(subjectPrefix + stream)
	m.Data = p.Raw()
	m.Header = nats.Header{
		natsjs.ExpectedLastSeqHeader: {strconv.FormatUint(p.Number-1, 10)},
		hashHeader:                   {p.Hash.String()},
	}
	m.Reply = e.store.NewRespInbox()
	come := make(chan *nats.Msg, 1)
	sub, err := e.store.ChanSubscribe(m.Reply, come)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnanswered, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := e.store.PublishMsg(m); err != nil {
		return fmt.Errorf("%w: %w", errUnanswered, err)
	}
	return e.await(come, p.Number, patience, full)
}

func (e *engine) await(come <-chan *nats.Msg, number uint64, patience time.Duration, full func() bool) error {
	step := time.NewTicker(time.Second)
	defer step.Stop()
	end := time.NewTimer(patience)
	defer end.Stop()
	for {
		select {
		case m := <-come:
			return readAnswer(m, number)
		case <-end.C:
			return errUnanswered
		case <-step.C:
			if full() || e.store.IsClosed() {
				return errUnanswered
			}
		}
	}
}

func readAnswer(m *nats.Msg, number uint64) error {
	var a publishAnswer
	if err := json.Unmarshal(m.Data, &a); err != nil { // an empty "503 no responders" among others
		return fmt.Errorf("%w: %q", errUnanswered, m.Header.Get("Status"))
	}
	switch {
	case a.Error == nil && a.Sequence == number:
		return nil
	case a.Error == nil:
		return fmt.Errorf("%w: page %d was stored as %d", errWrongLast, number, a.Sequence)
	case natsjs.ErrorCode(a.Error.ErrCode) == natsjs.JSErrCodeStreamWrongLastSequence:
		return errWrongLast
	case a.Error.ErrCode == 10047 || a.Error.ErrCode == 10023: // over max_store; insufficient resources
		return eventlog.ErrNoRoom
	default:
		return fmt.Errorf("%w: it refused: %s (%d)", errUnanswered, a.Error.Description, a.Error.ErrCode)
	}
}

type directGet struct {
	Seq      uint64 `json:"seq"`
	Batch    int    `json:"batch"`
	MaxBytes int    `json:"max_bytes,omitempty"`
}

// fetch reads pages from number from on, at most count of them. It returns them until one is missing, unreadable or not
// what was stored; an error only if the engine cannot be asked. The bytes it reads end with the page that reaches maxBytes.
func (e *engine) fetch(ctx context.Context, stream string, from uint64, count, maxBytes int) ([]*nats.Msg, error) {
	body, err := json.Marshal(directGet{from, count, maxBytes})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	// The channel has room for everything that can come, so the connection is never held up.
	come := make(chan *nats.Msg, count+2)
	inbox := e.store.NewRespInbox()
	sub, err := e.store.ChanSubscribe(inbox, come)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := e.store.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, body); err != nil {
		return nil, err
	}
	msgs := make([]*nats.Msg, 0, count)
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read the stream %s: %w", stream, context.Cause(ctx))
		case m := <-come:
			// 204 is the end of a batch, 404 nothing found; 503 that nobody listens.
			switch m.Header.Get("Status") {
			case "":
				msgs = append(msgs, m)
			case "204", "404":
				return msgs, nil
			default:
				return nil, fmt.Errorf("read the stream %s: status %s", stream, m.Header.Get("Status"))
			}
		}
	}
}

// decode turns a stored message into page number of the branch. Anything else is an error that says what is wrong.
func decode(m *nats.Msg, branch eventlog.Branch, number uint64) (*eventlog.Page, error) {
	if got := m.Header.Get(natsjs.SequenceHeader); got != strconv.FormatUint(number, 10) {
		return nil, fmt.Errorf("it is missing; the next one is %s", got)
	}
	p, err := eventlog.DecodePage(m.Data)
	if err != nil {
		return nil, err
	}
	if p.Number != number || p.Log != branch.LogID {
		return nil, fmt.Errorf("it is page %d of %s", p.Number, p.Log)
	}
	if want := m.Header.Get(hashHeader); want != p.Hash.String() {
		return nil, errors.New("its hash is not the stored one")
	}
	at, err := time.Parse(time.RFC3339Nano, m.Header.Get(natsjs.TimeStampHeaer))
	if err != nil {
		return nil, fmt.Errorf("its time is unreadable: %w", err)
	}
	p.StoredAt = at
	return p, nil
}

// hashOf returns the hash of a stored message's page if it is the one stored beside it.
func hashOf(m *nats.Msg, number uint64) (eventlog.Hash, bool) {
	h := eventlog.Hash(sha256.Sum256(m.Data))
	return h, m.Header.Get(natsjs.SequenceHeader) == strconv.FormatUint(number, 10) && m.Header.Get(hashHeader) == h.String()
}

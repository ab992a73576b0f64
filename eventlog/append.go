// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// Bounds of what waits for a page, for each authority and class.
const (
	maxWaitingEvents = 1 << 16
	maxWaitingBytes  = 64 << 20
)

// roomForEvents is what a page has for its events: the rest is magic, header, counts and signature.
const roomForEvents = MaxPageBytes - maxHeaderBytes - 128

var (
	errBusy = fault.New(fault.Exhausted, "log.busy", "more is being written at this site than its disk can take",
		"try again in a moment, or use another site")
	errUnconfirmed = fault.New(fault.Unavailable, "log.unconfirmed",
		"this site's disk did not confirm in time; the entry may be stored, or may yet appear",
		"look whether it is there before you do it again")
	errPartly = fault.New(fault.Unavailable, "log.partly", "only a part was written", "")
)

// Append implements Appender. Drafts that fit into one page are stored together or not at all; more are split over several
// pages, and if a later page fails the Receipt has the events of those before, and the error tells how many they are.
//
// It blocks until the events are synced, or ctx ends before they are in a page that is being written; while the log is on
// hold it waits. It returns ErrSiteNotAllowed, ErrNoRoom, a fault of kind Exhausted when too much is waiting already, of
// kind Invalid or TooLarge for a draft that is no event, and "log.unconfirmed" when the store could not tell: only then
// may the events still appear.
func (l *Log) Append(ctx context.Context, authority event.AuthorityID, class event.Class, drafts ...event.Draft) (Receipt, error) {
	if err := l.mayAppend(authority, class, len(drafts)); err != nil {
		return Receipt{}, err
	}
	if err := l.settled(ctx); err != nil {
		return Receipt{}, err
	}
	lane := l.lane(laneKey{authority, class, allUrgent(drafts)})
	var got Receipt
	for rest := drafts; len(rest) > 0; {
		b, n, err := l.prepare(rest)
		if err != nil {
			return got, partly(err, len(got.Events), len(drafts))
		}
		r, err := l.submit(ctx, lane, b)
		if err != nil {
			return got, partly(err, len(got.Events), len(drafts))
		}
		got.Log, got.Last = r.Log, r.Last
		got.Events = append(got.Events, r.Events...)
		rest = rest[n:]
	}
	return got, nil
}

func (l *Log) mayAppend(authority event.AuthorityID, class event.Class, drafts int) error {
	id := LogID{authority, class, l.self, "0000000000000000"}
	if err := id.Check(); err != nil || drafts == 0 {
		return fault.New(fault.Invalid, "log.append", "there is nothing to append, or nowhere",
			"this is a mistake in the program that wrote it").With(err)
	}
	if !l.cfg.Policy.Allowed(l.self, authority) {
		return ErrSiteNotAllowed
	}
	return nil
}

// partly says how much was written before err, if anything was.
func partly(err error, done, all int) error {
	if done == 0 {
		return err
	}
	cause := fault.Of(err)
	f := errPartly.Because("the first %d of %d entries are stored", done, all).With(err)
	f.Kind, f.WayOut = cause.Kind, cause.WayOut
	return f
}

// prepared is an event that lacks nothing but its stamp and wall clock, which are spliced into its encoded form: so the
// writers encode their events side by side, and whoever writes the page only copies bytes.
type prepared struct {
	event      event.Event
	after      event.Stamp
	head, tail []byte
}

// zeroStamp is where the encoded form has the stamp and the wall clock. The quotes of a JSON string are escaped, so that
// it cannot occur inside the values before it.
const zeroStamp = `,"stamp":0,"wall":0`

// stampBytes is how much longer the encoded form gets at most.
const stampBytes = 64

// prepare encodes as many of the drafts as fit into one page, at least one, and returns their number.
func (l *Log) prepare(drafts []event.Draft) (*batch, int, error) {
	n := min(len(drafts), MaxPageEvents)
	ids, err := l.newIDs(n)
	if err != nil {
		return nil, 0, err
	}
	b := newBatch(n)
	for i, d := range drafts[:n] {
		p, err := prepareOne(d, ids[i])
		if err != nil {
			return nil, 0, err
		}
		size := 4 + len(p.head) + len(p.tail) + stampBytes
		if b.size+size > roomForEvents {
			break
		}
		b.events = append(b.events, p)
		b.size += size
	}
	return b, len(b.events), nil
}

func prepareOne(d event.Draft, id event.ID) (prepared, error) {
	e := event.Event{ID: id, Subject: d.Subject, Kind: d.Kind, Actor: d.Actor, Grant: d.Grant, Mode: d.Mode, Keys: d.Keys}
	encoded, err := EncodeEvent(e)
	if err != nil {
		return prepared{}, err
	}
	if d.Data != nil {
		if e.Data, err = json.Marshal(d.Data); err != nil {
			return prepared{}, fmt.Errorf("encode %s of %s: %w", d.Kind, d.Subject, err)
		}
		// The data is the last field and encoded already; going through it a second time would cost more than all the rest.
		encoded = append(encoded[:len(encoded)-1], `,"data":`...)
		encoded = append(append(encoded, e.Data...), '}')
	}
	if len(encoded)+stampBytes > event.MaxEventBytes {
		return prepared{}, eventTooLarge(e, len(encoded)+stampBytes)
	}
	at := bytes.Index(encoded, []byte(zeroStamp))
	if at < 0 {
		return prepared{}, errors.New("the encoded event has no place for its stamp")
	}
	return prepared{event: e, after: d.After, head: encoded[:at], tail: encoded[at+len(zeroStamp):]}, nil
}

// appendTo appends the encoded form with stamp and wall clock.
func (p *prepared) appendTo(b []byte) []byte {
	b = append(b, p.head...)
	b = append(b, `,"stamp":`...)
	b = strconv.AppendUint(b, uint64(p.event.Stamp), 10)
	b = append(b, `,"wall":`...)
	b = strconv.AppendInt(b, p.event.Wall, 10)
	return append(b, p.tail...)
}

// writePage writes one page with all the batches. It is called by one goroutine at a time for each lane. What the store
// does is bounded by Config.StoreTimeout and not by the ctx of the one writer who happens to write for all.
func (l *Log) writePage(ctx context.Context, lane *lane, batches []*batch) (*Page, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.cfg.StoreTimeout)
	defer cancel()
	for range maxTries {
		incarnation, err := l.ensureIncarnation()
		if err != nil {
			return nil, err
		}
		if lane.urgent {
			incarnation = urgentIncarnation(incarnation)
		}
		r := l.record(LogID{lane.authority, lane.class, l.self, incarnation})
		if err := r.lock(ctx); err != nil {
			return nil, errBusy.With(err)
		}
		p, err := l.writeLocked(ctx, lane, r, batches)
		r.unlock()
		if !errors.Is(err, errAgain) {
			return p, err
		}
	}
	return nil, errBusy.Because("the log changed under every attempt")
}

// maxTries is how often a page is built anew because the log's head was not what we thought.
const maxTries = 4

// errAgain says that the page must be built anew.
var errAgain = errors.New("the log has changed, build the page again")

// writeLocked does one attempt. The caller holds the record's lock.
func (l *Log) writeLocked(ctx context.Context, lane *lane, r *record, batches []*batch) (*Page, error) {
	if !l.isCurrent(r.id.Incarnation) {
		return nil, errAgain // given up while we waited for the lock
	}
	branch := Branch{LogID: r.id}
	if err := l.resolve(ctx, lane, r); err != nil {
		return nil, err
	}
	head, _ := l.Head(branch)
	p, err := l.build(lane, Header{Log: r.id, Number: head.Page + 1, Prev: head.Hash, Wall: l.cfg.Now().UnixMilli()}, batches)
	if err != nil {
		return nil, err
	}
	err = l.cfg.Store.Append(ctx, branch, p)
	switch {
	case err == nil:
		l.put(r, branch, p)
		return p, nil
	case errors.Is(err, ErrNoRoom):
		return nil, err
	case errors.Is(err, ErrDamaged):
		l.Reincarnate("an own log is damaged")
		return nil, errAgain
	case errors.Is(err, ErrOutOfOrder):
		return nil, l.outOfOrder(ctx, lane, r)
	}
	return l.unsure(ctx, lane, r, p, err)
}

// unsure finds out whether a page is stored after the store could not tell. If the store still cannot, the page is kept
// in mind: until its fate is known nothing may be said about the page's number.
func (l *Log) unsure(ctx context.Context, lane *lane, r *record, p *Page, cause error) (*Page, error) {
	lane.unsure = append(lane.unsure, p)
	if len(lane.unsure) > maxUnsure {
		lane.unsure = lane.unsure[1:]
	}
	branch := Branch{LogID: r.id}
	pages, err := l.cfg.Store.Read(ctx, branch, p.Number-1, 1)
	if err == nil && len(pages) > 0 && pages[0].Hash == p.Hash {
		l.put(r, branch, p)
		lane.unsure = nil
		return p, nil
	}
	return nil, errUnconfirmed.With(errors.Join(cause, err))
}

// maxUnsure bounds the pages kept in mind; they all have the same number.
const maxUnsure = 16

// resolve looks whether a page of uncertain fate has been stored meanwhile.
func (l *Log) resolve(ctx context.Context, lane *lane, r *record) error {
	if len(lane.unsure) == 0 {
		return nil
	}
	if lane.unsure[0].Log != r.id {
		lane.unsure = nil // of an incarnation that was given up
		return nil
	}
	_, err := l.catchUp(ctx, lane, r)
	return err
}

// outOfOrder finds out why the store has another head than we thought. If the page there is one of ours whose fate was
// unknown, we go on after it; if not, somebody else writes our log, and we leave it to them.
func (l *Log) outOfOrder(ctx context.Context, lane *lane, r *record) error {
	found, err := l.catchUp(ctx, lane, r)
	if err != nil {
		return err
	}
	if !found {
		l.Reincarnate("the store has other pages of an own log than we wrote")
		if err := l.takeOver(ctx, r); err != nil {
			return err
		}
	}
	return errAgain
}

// takeOver notes the pages that the store has after our head.
func (l *Log) takeOver(ctx context.Context, r *record) error {
	branch := Branch{LogID: r.id}
	for {
		head, _ := l.Head(branch)
		pages, err := l.cfg.Store.Read(ctx, branch, head.Page, scrubBytes)
		if err != nil || len(pages) == 0 {
			return err
		}
		for _, p := range pages {
			l.put(r, branch, p)
		}
	}
}

// catchUp takes over the page after our head if it is one of those of uncertain fate, and reports whether it was.
func (l *Log) catchUp(ctx context.Context, lane *lane, r *record) (bool, error) {
	branch := Branch{LogID: r.id}
	head, _ := l.Head(branch)
	pages, err := l.cfg.Store.Read(ctx, branch, head.Page, 1)
	if err != nil {
		return false, errUnconfirmed.With(err)
	}
	if len(pages) == 0 {
		return false, nil
	}
	for _, p := range lane.unsure {
		if p.Hash == pages[0].Hash {
			l.put(r, branch, p)
			lane.unsure = nil
			return true, nil
		}
	}
	return false, nil
}

// build stamps the events in order and signs the page.
func (l *Log) build(lane *lane, h Header, batches []*batch) (*Page, error) {
	size, n := 0, 0
	for _, b := range batches {
		size += b.size
		n += len(b.events)
	}
	buffer := make([]byte, 0, size)
	events := make([]event.Event, 0, n)
	encoded := make([][]byte, 0, n)
	for _, b := range batches {
		b.first = uint32(len(events))
		for i := range b.events {
			e := &b.events[i]
			e.event.Stamp, e.event.Wall = l.stamp(subjectKey{lane.authority, e.event.Subject}, e.after)
			from := len(buffer)
			buffer = e.appendTo(buffer)
			encoded = append(encoded, buffer[from:])
			events = append(events, e.event)
		}
	}
	return signEncoded(l.cfg.Identity, h, events, encoded)
}

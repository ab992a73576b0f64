// SPDX-License-Identifier: EUPL-1.2

package logtest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/seal"
)

// Start is when the pages of a Writer begin.
var Start = time.Date(2027, 3, 1, 8, 0, 0, 0, time.UTC)

// Identity returns the site whose key is made of the given byte: the same in every run.
func Identity(t testing.TB, seed byte) *seal.Identity {
	t.Helper()
	id, err := seal.NewIdentity(bytes.NewReader(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Writer signs the pages of one log, one after the other. Copy it to sign two different pages of the same number.
type Writer struct {
	Identity *seal.Identity
	Log      eventlog.LogID
	Number   uint64
	Prev     eventlog.Hash
	Stamp    event.Stamp
}

// NewWriter returns a writer of the operations log of the authority "lk-nordtal", of the site and incarnation given by two
// small numbers.
func NewWriter(t testing.TB, site, incarnation byte) *Writer {
	t.Helper()
	id := Identity(t, site)
	log := eventlog.LogID{
		Authority: "lk-nordtal", Class: event.Operations, Site: id.Site(), Incarnation: fmt.Sprintf("%016x", incarnation),
	}
	return &Writer{Identity: id, Log: log, Stamp: event.StampAt(Start)}
}

// Page signs the next page, with one event for each text.
func (w *Writer) Page(t testing.TB, texts ...string) *eventlog.Page {
	t.Helper()
	events := make([]event.Event, len(texts))
	for i, text := range texts {
		events[i] = w.Event(text)
	}
	return w.PageOf(t, events...)
}

// Event returns an event with the next stamp.
func (w *Writer) Event(text string) event.Event {
	w.Stamp++
	return event.Event{
		ID: event.ID(fmt.Sprintf("%016x", uint64(w.Stamp))), Subject: "alarm/7f3a", Kind: "alarm.Noted",
		Stamp: w.Stamp, Wall: Start.UnixMilli(), Mode: event.Test, Data: []byte(`{"text":"` + text + `"}`),
	}
}

// PageOf signs the next page with the given events.
func (w *Writer) PageOf(t testing.TB, events ...event.Event) *eventlog.Page {
	t.Helper()
	h := eventlog.Header{Log: w.Log, Number: w.Number + 1, Prev: w.Prev, Wall: Start.UnixMilli()}
	p, err := eventlog.SignPage(w.Identity, h, events)
	if err != nil {
		t.Fatal(err)
	}
	w.Number, w.Prev = p.Number, p.Hash
	return p
}

// Large returns a text of n bytes.
func Large(n int) string { return strings.Repeat("x", n) }

// Dense returns a text of n characters that packing makes hardly shorter, as the sealed parts of events: another one for
// each number.
func Dense(n, number int) string {
	b := make([]byte, n*3/4+3)
	_, _ = rand.NewChaCha8([32]byte{byte(number), byte(number >> 8), byte(number >> 16)}).Read(b)
	return base64.RawStdEncoding.EncodeToString(b)[:n]
}

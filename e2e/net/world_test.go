// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package net_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/demo/phones"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/e2e/net/router"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/examples"
	"codeberg.org/holdfast/holdfast/site"
)

// authority is the one of all scenarios.
const authority = event.AuthorityID(examples.Westmark)

// world is sites behind a router, and the phones.
type world struct {
	t        *testing.T
	dir      string
	holdfast string
	router   *router.Router
	hosts    []*router.Host
	sites    []*station // A, B, C, and D where there is a rogue
	phones   *phones.Phones
	gateways phones.Addresses
	closers  []func()
}

// newWorld makes hosts, perfect lines and phones for the places. The sites have no folders yet. The world ends with the
// test.
func newWorld(t *testing.T, seed uint64, places ...place) *world {
	t.Helper()
	w := &world{t: t, holdfast: build(t), router: router.New(seed)}
	t.Cleanup(w.close)
	var err error
	w.dir, err = os.MkdirTemp("", "hf-net-") // short: a socket's path has 107 bytes at most
	w.must(err)
	w.startPhones(seed)
	for _, p := range places {
		w.add(p)
	}
	return w
}

// add gives the world one more site without a folder.
func (w *world) add(p place) *station {
	w.t.Helper()
	s := &station{place: p, holdfast: w.holdfast, host: w.newHost(p), data: filepath.Join(w.dir, p.label)}
	w.sites = append(w.sites, s)
	return s
}

func (w *world) newHost(p place) *router.Host {
	w.t.Helper()
	h, err := router.NewHost(p.addr)
	w.must(err)
	w.hosts = append(w.hosts, h)
	w.must(h.Join(w.router))
	return h
}

// startPhones puts phones, mailboxes and gateways into a namespace of their own. Nobody replies: the scenarios count
// calls.
func (w *world) startPhones(seed uint64) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w.phones = phones.New(ctx, seed, 0)
	host := w.newHost(place{addr: gateways})
	listening, ended := make(chan phones.Addresses, 1), make(chan error, 1)
	go func() {
		ended <- host.Do(func() error {
			return phones.Serve(ctx, w.phones, gateways.String(), func(a phones.Addresses) { listening <- a })
		})
	}()
	select {
	case w.gateways = <-listening:
	case err := <-ended:
		w.t.Fatalf("start the gateways: %v", err)
	}
	w.closers = append(w.closers, func() { cancel(); <-ended })
}

// close ends every process and removes every trace. After a failure it shows what the sites said last.
func (w *world) close() {
	for _, s := range w.sites {
		s.kill()
		if w.t.Failed() {
			w.t.Logf("the last words of site %s: %s", s.label, lastLines(s.data+".stderr", 6))
		}
	}
	for _, c := range w.closers {
		c()
	}
	_ = w.router.Close()
	for _, h := range w.hosts {
		_ = h.Close()
	}
	_ = os.RemoveAll(w.dir)
}

func lastLines(path string, n int) string {
	b, _ := os.ReadFile(path)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	var last strings.Builder
	for _, l := range lines[max(0, len(lines)-n):] {
		fmt.Fprintf(&last, "\n%.300s", l)
	}
	return last.String()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// eventually tries until it works, or until patience is over; the error then says what was waited for and what was in
// the way.
func eventually(patience time.Duration, what string, try func() error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited %v until %s: %w", patience, what, err)
		}
	}
}

// toEvery sets the conditions of all lines between sites, both ways. The ways to the gateways stay clean.
func (w *world) toEvery(c router.Conditions) {
	for _, from := range w.sites {
		for _, to := range w.sites {
			w.oneWay(from, to, c)
		}
	}
}

func (w *world) oneWay(from, to *station, c router.Conditions) {
	if from != to {
		w.router.Line(from.addr, to.addr).Set(c)
	}
}

// carried returns the bytes that the lines between sites have delivered so far.
func (w *world) carried() (bytes int64) {
	for _, from := range w.sites {
		for _, to := range w.sites {
			if from != to {
				bytes += w.router.Line(from.addr, to.addr).Count().DeliveredBytes
			}
		}
	}
	return bytes
}

// settleIn makes the sites as their operators would, founds the authority and imports its people, and waits until all
// sites have the same state.
func (w *world) settleIn(people []byte) {
	w.t.Helper()
	for i, s := range w.sites {
		w.must(w.found(i, s))
	}
	w.must(eventually(patience, "every site knows every other", w.allKnown))
	ids := make([]event.SiteID, len(w.sites))
	for i, s := range w.sites {
		ids[i] = s.id
	}
	a, ctx := w.sites[0].client, w.t.Context()
	w.must(a.AddAuthority(ctx, site.AuthorityDraft{
		ID: authority, NameDE: "Sozialversicherung Westmark", NameEN: "Westmark Social Insurance", Sites: ids,
	}))
	w.importPeople(people)
	w.must(eventually(patience, "the sites reach the same state", w.sameState))
}

// found makes the i-th site, has it admitted, and starts it.
func (w *world) found(i int, s *station) error {
	ctx := w.t.Context()
	verb := []string{"init"}
	if i > 0 {
		token, err := w.sites[0].client.Invite(ctx, s.name, s.operator, 0)
		if err != nil {
			return err
		}
		verb = []string{"join", token}
	}
	if err := errors.Join(s.make(verb...), s.setGateways(w.gateways)); err != nil {
		return err
	}
	if i > 1 {
		err := eventually(patience, "the second operator admits "+s.name, func() error { return w.admit(s) })
		if err != nil {
			return err
		}
	}
	return s.start()
}

// admit has the second operator endorse a site, which it may not have heard of yet.
func (w *world) admit(s *station) error {
	id, err := s.identity()
	if err != nil {
		return err
	}
	a, err := w.sites[1].client.Admit(w.t.Context(), id.Site())
	if err == nil && !a.Member {
		err = errors.New("one more operator is needed")
	}
	return err
}

func (w *world) allKnown() error {
	for _, s := range w.sites {
		status, err := s.client.Status(w.t.Context())
		if err != nil {
			return err
		}
		if len(status.Members) != len(w.sites) {
			return fmt.Errorf("%s knows %d of %d members", s.label, len(status.Members), len(w.sites))
		}
	}
	return nil
}

func (w *world) importPeople(file []byte) {
	w.t.Helper()
	options := directory.ImportOptions{Format: directory.CSV}
	_, err := w.sites[0].client.Import(w.t.Context(), authority, options, bytes.NewReader(file))
	w.must(err)
}

// sameState returns nil if all running sites have folded all that they know of and compute the same hash.
func (w *world) sameState() error {
	hash := ""
	for _, s := range w.sites {
		if s.proc == nil || s.rogue {
			continue
		}
		ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
		state, err := s.client.State(ctx)
		cancel()
		switch {
		case err != nil:
			return fmt.Errorf("ask %s for its state: %w", s.label, err)
		case state.BehindPages > 0:
			return fmt.Errorf("%s is %d pages behind", s.label, state.BehindPages)
		case hash != "" && state.Hash != hash:
			return fmt.Errorf("%s has another state", s.label)
		}
		hash = state.Hash
	}
	return nil
}

// raise raises an alarm at A; A, B and C call, in that order.
func (w *world) raise(audience directory.Audience) (api.RaisedAlarm, error) {
	draft := api.AlarmDraft{
		TextDE: "Übung: Die IT des Hauses ist ausgefallen. Bitte melden Sie sich mit einem Tipp auf den Link.",
		TextEN: "Exercise: the IT of the house is down. Please reply with one tap on the link.",
		Mode:   event.Exercise, Audience: audience,
	}
	for _, s := range w.sites[:3] {
		draft.Ranking = append(draft.Ranking, s.id)
	}
	return w.sites[0].client.Raise(w.t.Context(), authority, draft, rand.Text())
}

// stillDue returns how many hand-overs a site takes to be due.
func (s *station) stillDue(ctx context.Context, id alarm.ID) (int, error) {
	b, err := s.client.Board(ctx, authority, id)
	due := b.Total.DueCall
	for _, c := range b.Channels {
		due += c.DueCall
	}
	return due, err
}

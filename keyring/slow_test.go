// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// metered is a link that counts bytes of answers.
type metered struct {
	Link
	largest, requests, bytes int
}

func (m *metered) Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error) {
	answer, err := m.Link.Request(ctx, to, verb, body)
	m.largest = max(m.largest, len(answer))
	m.bytes += len(answer)
	m.requests++
	return answer, err
}

// takes makes the site's line carry so many bytes at once.
func (s *testSite) takes(size int) {
	s.sync.Paced = func(ctx context.Context, _ event.SiteID, _ bool, ask func(context.Context, int) (int, error)) error {
		_, err := ask(ctx, size)
		return err
	}
}

func slowPair(t *testing.T, keys int) (a, b *testSite, ids []event.KeyID) {
	t.Helper()
	ctx, n := context.Background(), newNetwork()
	a, b = n.add(t, ""), n.add(t, "")
	n.allow(a, b)
	must(t, a.Found(ctx, nordtal), a.Grant(ctx, nordtal, b.Self(), b.pub()))
	made, err := a.NewKeys(ctx, nordtal, keys)
	must(t, err)
	for _, k := range made {
		ids = append(ids, k.ID)
	}
	return a, b, ids
}

func TestKeysComeInPartsThatTheLineTakes(t *testing.T) {
	a, b, ids := slowPair(t, 300)
	link := &metered{Link: b.sync.Link}
	b.sync.Link = link
	b.takes(4 << 10)
	for range 5 {
		b.pull(t, a)
	}
	if link.largest > 5<<10 {
		t.Errorf("an answer had %d bytes, the line takes 4096", link.largest)
	}
	missing, err := b.Missing(t.Context(), nordtal, ids)
	must(t, err)
	if len(missing) > 0 {
		t.Errorf("%d keys have not come", len(missing))
	}
}

// unpacking answers as a site of the version before does, which packs nothing.
type unpacking struct{ Link }

func (u unpacking) Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error) {
	return u.Link.Request(ctx, to, verb, bytes.Replace(body, []byte(`,"pack":true`), nil, 1))
}

func TestKeysTakeLessOfASlowLine(t *testing.T) {
	came := func(t *testing.T, over func(Link) Link) int {
		a, b, ids := slowPair(t, 300)
		link := &metered{Link: over(b.sync.Link)}
		b.sync.Link = link
		b.takes(4 << 10)
		for range 10 {
			b.pull(t, a)
		}
		missing, err := b.Missing(t.Context(), nordtal, ids)
		must(t, err)
		if len(missing) > 0 {
			t.Errorf("%d keys have not come", len(missing))
		}
		return link.bytes
	}
	plain := came(t, func(l Link) Link { return unpacking{l} })
	packed := came(t, func(l Link) Link { return l })
	t.Logf("%d bytes, by the version before %d", packed, plain)
	if packed > plain*7/10 {
		t.Errorf("300 keys take %d bytes, by the version before %d", packed, plain)
	}
}

func TestAPackedAnswerThatIsNoneIsRefused(t *testing.T) {
	a, b, _ := slowPair(t, 1)
	for name, answer := range map[string][]byte{
		"too much":    pack(make([]byte, 64<<20)),
		"not packed":  {packedMark, 'w', 'h', 'a', 't'},
		"nothing":     {packedMark},
		"packed dots": pack(bytes.Repeat([]byte("."), 1000)),
	} {
		b.sync.Link = parrot(answer)
		if _, err := b.sync.Step(t.Context(), a.Self()); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An answer of a few kilobytes unpacks to thousands of entries, and each that is taken costs a synced transaction.
func TestAnAnswerCostsOneTransactionForEachAuthority(t *testing.T) {
	const other event.AuthorityID = "lk-other"
	entry := `{"authority":"lk-nordtal","records":[{}]}`
	of := func(n int) []byte { return []byte(`[` + strings.Repeat(entry+`,`, n-1) + entry + `]`) }
	many := pack(fmt.Appendf(nil, `{"given":%s}`, of(24_000)))
	for name, answer := range map[string]struct {
		body         []byte
		transactions int
	}{
		"thousands of entries": {many, 0},
		"thousands by name":    {pack(fmt.Appendf(nil, `{"named":%s}`, of(24_000))), 0},
		"more records than are served": {fmt.Appendf(nil, `{"given":[{"authority":"lk-nordtal","records":[{}%s]}]}`,
			strings.Repeat(",{}", recordsAtOnce)), 0},
		"one authority twice":         {fmt.Appendf(nil, `{"given":%s}`, of(2)), 1},
		"one authority twice by name": {fmt.Appendf(nil, `{"named":%s}`, of(2)), 1},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, ids := slowPair(t, 1)
			b.net.allowed[other] = b.net.allowed[nordtal]
			b.sync.Authorities = func() []event.AuthorityID { return []event.AuthorityID{nordtal, other} }
			b.sync.Urgent = func(context.Context, event.AuthorityID) ([]event.KeyID, error) { return ids, nil }
			b.takes(4 << 10)
			b.sync.Link = parrot(answer.body)
			transactions := 0
			b.Ring.cfg.Now = func() time.Time { transactions++; return at() } // each asks once, for what it has refused
			_, stepped := b.sync.Step(t.Context(), a.Self())
			_, fetched := b.sync.Fetch(t.Context(), a.Self())
			if transactions != answer.transactions {
				t.Errorf("%d transactions for an answer of %d bytes, want %d", transactions, len(answer.body), answer.transactions)
			}
			if err := errors.Join(stepped, fetched); answer.transactions == 0 && !errors.Is(err, ErrRecord) {
				t.Errorf("it was not refused: %v", err)
			}
		})
	}
}

func TestKeysOfAnAlarmComeBeforeAllOthers(t *testing.T) {
	a, b, ids := slowPair(t, 300)
	link := &metered{Link: b.sync.Link}
	b.sync.Link = link
	b.takes(4 << 10)
	wanted := []event.KeyID{ids[299], ids[150]}
	b.sync.Urgent = func(ctx context.Context, authority event.AuthorityID) ([]event.KeyID, error) {
		return b.Missing(ctx, authority, wanted)
	}
	if _, err := b.sync.Fetch(t.Context(), a.Self()); err != nil {
		t.Fatal(err)
	}
	missing, err := b.Missing(t.Context(), nordtal, ids)
	must(t, err)
	if len(missing) != 298 || link.requests != 1 {
		t.Errorf("%d keys are missing after %d requests, want all but the two that were asked for after one", len(missing), link.requests)
	}
	for _, id := range wanted {
		b.want(t, id, nil)
	}
	b.pull(t, a)
	b.pull(t, a)
	if missing, err = b.Missing(t.Context(), nordtal, ids); err != nil || len(missing) > 0 {
		t.Errorf("%d of the other keys never come: %v", len(missing), err)
	}

	t.Run("NotAllowed", func(t *testing.T) {
		c := b.net.add(t, "")
		body := []byte(`{"need":[{"authority":"lk-nordtal","ids":["` + string(wanted[0]) + `"]}]}`)
		c.net.allowed[nordtal] = []event.SiteID{a.Self(), b.Self()}
		if got, err := a.sync.Serve(t.Context(), c.Self(), body); err == nil && string(got) != "{}" {
			t.Errorf("a site that is not allowed gets %s", got)
		}
	})
	t.Run("OlderVersion", func(t *testing.T) {
		a, b, ids := slowPair(t, 3)
		b.sync.Urgent = func(context.Context, event.AuthorityID) ([]event.KeyID, error) { return ids, nil }
		b.sync.Link = parrot(`{}`)
		if n, err := b.sync.Fetch(t.Context(), a.Self()); n != 0 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	})
}

// hanging is a link on which one site never answers.
type hanging struct {
	Link
	silent event.SiteID
	asked  chan struct{} // gets a value for every answer of the others
	hung   atomic.Int32
}

func (h *hanging) Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error) {
	if to == h.silent {
		h.hung.Add(1)
		<-ctx.Done()
		return nil, fault.New(fault.Unavailable, "test.silent", "silent", "").With(ctx.Err())
	}
	defer func() { h.asked <- struct{}{} }()
	return h.Link.Request(ctx, to, verb, body)
}

func TestASilentSiteHoldsUpNoOther(t *testing.T) {
	a, b, _ := slowPair(t, 1)
	silent := a.net.add(t, "")
	a.net.allow(a, b, silent)
	link := &hanging{Link: b.sync.Link, silent: silent.Self(), asked: make(chan struct{})}
	b.sync.Link = link
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		b.sync.Run(ctx, func() []event.SiteID { return []event.SiteID{a.Self(), silent.Self()} }, time.Millisecond)
		close(done)
	}()
	for range 12 {
		<-link.asked
	}
	if n := link.hung.Load(); n > 2 { // once for keys, once to be told of ours
		t.Errorf("the silent site was asked %d times meanwhile: the others waited for it", n)
	}
	stop()
	for {
		select {
		case <-link.asked:
			continue
		case <-done:
		}
		break
	}
}

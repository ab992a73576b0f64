// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"encoding/json"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
)

// slowLink runs meanwhile once, while the answer to a pull is on its way.
type slowLink struct {
	link
	meanwhile func()
	done      bool
}

func (l *slowLink) Request(ctx context.Context, to event.SiteID, verb string, body []byte) ([]byte, error) {
	out, err := l.link.Request(ctx, to, verb, body)
	var req request
	if !l.done && json.Unmarshal(body, &req) == nil && len(req.Want) > 0 {
		l.done = true
		l.meanwhile()
	}
	return out, err
}

// whilePulling has a pull of the site overtaken.
func (s *testSite) whilePulling(meanwhile func()) {
	s.sync.Link = &slowLink{link: link{s.Self(), s.net}, meanwhile: meanwhile}
}

// An authority key has everything asked for again also if an answer that was asked for before it comes after it.
func TestAnAnswerThatABoxHasOvertakenMovesNoCursor(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, _ := world3(t, 1)
	keys, err := a.NewKeys(ctx, nordtal, 500)
	must(t, err)
	late := n.add(t, "")
	n.allow(a, b, rogue, late)
	late.maxUnopened = 50
	late.pull(t, a) // the rest finds no room
	a.grant(t, late)
	named := a.newKey(t)
	late.sync.Urgent = func(ctx context.Context, authority event.AuthorityID) ([]event.KeyID, error) {
		return late.Missing(ctx, authority, []event.KeyID{named.ID})
	}
	late.whilePulling(func() {
		_, err := late.sync.Fetch(ctx, a.Self())
		must(t, err)
		late.want(t, named.ID, nil)
	})
	late.pull(t, a)
	late.pull(t, a)
	for _, k := range keys {
		late.want(t, k.ID, nil)
	}
	if late.pull(t, a) != 0 {
		t.Error("the exchange does not come to rest")
	}
}

// So has a key that is given up.
func TestAnAnswerThatADamagedKeyHasOvertakenMovesNoCursor(t *testing.T) {
	ctx := context.Background()
	_, a, b, _, keys := world3(t, 20)
	_, err := b.db.Exec(`UPDATE vault SET sealed = zeroblob(length(sealed)) WHERE slot = (SELECT slot FROM secret WHERE id = ?)`, keys[3].ID)
	must(t, err)
	clear(b.Ring.keys)
	a.newKey(t)
	b.whilePulling(func() {
		found, err := b.Check(ctx, func(context.Context) error { return nil })
		if must(t, err); found != 1 {
			t.Errorf("%d keys are damaged: this test sees nothing", found)
		}
	})
	b.pull(t, a)
	b.pull(t, a)
	b.want(t, keys[3].ID, nil)
}

// So have keys for which there is room again.
func TestAnAnswerThatRoomHasOvertakenMovesNoCursor(t *testing.T) {
	ctx := context.Background()
	_, a, b, _, _ := world3(t, 1)
	b.maxKeys = 10
	keys, err := a.NewKeys(ctx, nordtal, 20)
	must(t, err)
	b.pull(t, a)
	a.newKey(t)
	b.whilePulling(func() {
		b.maxKeys = 100
		must(t, b.Tidy(ctx, nordtal))
	})
	b.pull(t, a)
	b.pull(t, a)
	for _, k := range keys {
		b.want(t, k.ID, nil)
	}
}

// What comes beside the changes leaves the cursor where it is, also at a site that is read for what pages wait for.
func TestKeysByNameLeaveTheCursorWhereItIs(t *testing.T) {
	ctx := context.Background()
	_, a, b, _, keys := world3(t, 1)
	before, err := b.Cursor(ctx, a.Self(), nordtal)
	must(t, err)
	records, err := a.recordsOf(ctx, nordtal, idsOf(keys), b.Self())
	must(t, err)
	_, err = b.mergeApart(ctx, a.Self(), nordtal, records)
	must(t, err)
	if after, err := b.Cursor(ctx, a.Self(), nordtal); err != nil || after != before {
		t.Errorf("the cursor went from %v to %v, %v", before, after, err)
	}
}

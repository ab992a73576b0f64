// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"context"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
)

// marking is a keyring that also knows which keys one site says to have destroyed.
type marking struct {
	*rig
	by     event.SiteID
	marked map[event.KeyID]bool
}

func (m marking) Unmarked(_ context.Context, _ event.AuthorityID, by event.SiteID, ids []event.KeyID) (list []event.KeyID, _ error) {
	for _, id := range ids {
		if by != m.by || !m.marked[id] {
			list = append(list, id)
		}
	}
	return list, nil
}

func TestBehindTheEndOfALogItsSiteNeedsNobodyToBearOutThatAKeyIsGone(t *testing.T) {
	const key event.KeyID = "00000000000000aa"
	r := newRig(t)
	keys := marking{r, r.cfg.Identity.Site(), map[event.KeyID]bool{}}
	r.cfg.Keys = keys
	r.open()
	first := r.append(note("one"))
	end := r.log.Heads()[0]
	r.lacks[key] = true
	draft := note("two")
	draft.Keys = []event.KeyID{key}
	r.append(draft)
	want := func(when string, page uint64) {
		t.Helper()
		r.log.Recheck(t.Context())
		if got := r.log.Durable(t.Context()); len(got) != 1 || got[0].Page != page {
			t.Errorf("%s: durable are %v, want page %d", when, got, page)
		}
	}
	want("without the key", 1)
	keys.marked[key] = true
	want("with a mark, in a log that goes on", 1)
	r.closed[first.Log.String()] = end
	keys.marked[key] = false
	want("behind the end, without a mark", 1)
	keys.marked[key] = true
	want("behind the end, with the mark of the site that wrote the page", 2)
}

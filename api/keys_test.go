// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
)

// fakeKeys is a keyring in which a site's facts want 500 keys erased.
type fakeKeys struct{ *house }

func (fakeKeys) Demands(_ context.Context, a event.AuthorityID) ([]keyring.Demand, error) {
	if a != nordtal {
		return nil, nil
	}
	return []keyring.Demand{{Authority: a, Site: self, State: keyring.Held, Keys: 500, Since: now},
		{Authority: a, Site: self, State: keyring.Waiting, Keys: 3, Since: now}}, nil
}

func (fakeKeys) Refusals(_ context.Context, a event.AuthorityID) ([]keyring.Refusal, error) {
	return []keyring.Refusal{{Authority: a, Peer: self, Reason: "shared", Times: 3, Last: now}}, nil
}

func (f fakeKeys) Release(_ context.Context, a event.AuthorityID, site event.SiteID) (int, error) {
	f.note("release", string(a), string(site))
	return 500, nil
}

func (f fakeKeys) Reject(_ context.Context, a event.AuthorityID, site event.SiteID) (int, error) {
	f.note("reject", string(a), string(site))
	return 503, nil
}

func TestKeysThatAreHeldBackAreShownAndDecidedAbout(t *testing.T) {
	c, h := dialled(t)
	ctx := t.Context()
	k, err := c.Keys(ctx, nordtal)
	if err != nil || len(k.Held) != 2 || k.Held[0] != (HeldKeys{Site: self, State: "held", Keys: 500, Since: now}) || len(k.Refused) != 1 || k.Refused[0].Times != 3 {
		t.Errorf("%+v, %v", k, err)
	}
	if n, err := c.ReleaseKeys(ctx, nordtal, self); n != 500 || err != nil {
		t.Errorf("released %d, %v", n, err)
	}
	if n, err := c.RejectKeys(ctx, nordtal, self); n != 503 || err != nil {
		t.Errorf("rejected %d, %v", n, err)
	}
	want := []string{fmt.Sprintf("release %s %s", nordtal, self), fmt.Sprintf("reject %s %s", nordtal, self)}
	if !slices.Equal(h.calls, want) {
		t.Errorf("calls %v, want %v", h.calls, want)
	}
	list, err := c.Troubles(ctx)
	told := 0
	for _, l := range list {
		if l.Kind == "keyring.held" && strings.Contains(l.Reason, "500 keys") {
			told++
		}
	}
	if err != nil || told != 1 {
		t.Errorf("told %d times: %+v, %v", told, list, err)
	}
}

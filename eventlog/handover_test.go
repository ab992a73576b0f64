// SPDX-License-Identifier: EUPL-1.2

package eventlog_test

import (
	"testing"

	"codeberg.org/holdfast/holdfast/event"
)

func TestAForbiddenSiteMayDeleteWhatTwoOperatorsHaveTakenOver(t *testing.T) {
	f := newFederation(t, "north", "south", "box", "north", "elsewhere")
	a, b, leaver, sister, stranger := f.sites[0], f.sites[1], f.sites[2], f.sites[3], f.sites[4]
	leaver.append("nordtal", "one")
	const key event.KeyID = "00000000000000aa"
	leaver.append("nordtal", "two", key)
	a.keys.missing[key] = true
	f.allowed["nordtal"] = []event.SiteID{a.name, b.name, sister.name, leaver.name}
	want := func(when string, want bool) {
		t.Helper()
		got, err := leaver.rep.HandedOver(t.Context(), "nordtal")
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", when, got, err, want)
		}
	}
	want("before anybody has it", false)
	a.step(leaver)
	b.step(leaver)
	f.allowed["nordtal"] = []event.SiteID{a.name, b.name, sister.name}
	want("while one of two lacks a key", false)
	delete(a.keys.missing, key)
	a.log.Recheck(t.Context())
	want("with all keys", true)
	stranger.step(leaver)
	if len(stranger.log.Heads()) > 0 {
		t.Error("a site that is not allowed has got pages")
	}
	leaver.keys.missing[key], a.keys.missing[key], b.keys.missing[key] = true, true, true
	for _, s := range []*testSite{a, b, leaver} {
		s.start()
	}
	want("with a key that nobody has", true)
	f.net.Cut(leaver.name, b.name)
	sister.step(a)
	if got, err := leaver.rep.HandedOver(t.Context(), "nordtal"); got || err == nil {
		t.Errorf("with two sites of one operator: got %v, %v", got, err)
	}
	f.allowed["nordtal"] = []event.SiteID{a.name, sister.name}
	want("where only one operator is allowed", true)
	f.allowed["nordtal"] = nil
	want("where nobody is allowed", false)
}

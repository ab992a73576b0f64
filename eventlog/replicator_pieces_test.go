// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"fmt"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
)

func TestNobodysPiecesPushOutThoseOfAnother(t *testing.T) {
	var k pieces
	log := func(i int) Branch {
		return Branch{LogID: LogID{Authority: "nordtal", Class: event.Record, Site: "a", Incarnation: fmt.Sprint(i)}}
	}
	k.put(pieceKey{log(0), "a", false}, piece{bytes: make([]byte, 400<<10)})
	for i := range 100 {
		k.put(pieceKey{log(i), "m", false}, piece{bytes: make([]byte, 500<<10)})
	}
	for i := range 10000 {
		k.put(pieceKey{log(i), "m", true}, piece{bytes: []byte{1}, from: []event.SiteID{"a"}})
	}
	cost := 0
	for _, p := range k.of {
		cost += p.cost()
	}
	if cost != k.cost || cost > maxPieceBytes || len(k.of) != len(k.order) {
		t.Errorf("pieces of %d bytes are kept, %d are counted; %d and %d", cost, k.cost, len(k.of), len(k.order))
	}
	trusts := func(event.SiteID) bool { return true }
	if own, _ := k.find(log(0), "a", spot{}, trusts); len(own.bytes) != 400<<10 {
		t.Errorf("of what the first one gave %d bytes are left", len(own.bytes))
	}
	if _, best := k.find(log(99), "a", spot{}, func(s event.SiteID) bool { return s != "m" }); len(best.bytes) != 0 {
		t.Error("it goes on with what was given by somebody whom it does not trust")
	}
}

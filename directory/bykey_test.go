// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"errors"
	"strings"
	"testing"
)

func TestByKeyFindsWhomTheSourceMeans(t *testing.T) {
	r := newRig(t)
	r.imports("employeeID\tlast name\tFirst Name\n7\tKormoran\tIda\n8\tReiher\tUte\n", ImportOptions{Format: CSV})
	ida := r.find("Kormoran")
	if id, err := r.ByKey(r.ctx, nordtal, "7"); err != nil || id != ida.ID {
		t.Errorf("got %s, %v; want %s", id, err, ida.ID)
	}
	for _, key := range []string{"", "9", "Kormoran", strings.Repeat("7", 300)} {
		if id, err := r.ByKey(r.ctx, nordtal, key); !errors.Is(err, ErrPersonUnknown) {
			t.Errorf("%.20q: %s, %v", key, id, err)
		}
	}
	ok(t, r.Erase(r.ctx, nordtal, ida.ID))
	if id, err := r.ByKey(r.ctx, nordtal, "7"); !errors.Is(err, ErrPersonUnknown) {
		t.Errorf("an erased person is found: %s, %v", id, err)
	}
}

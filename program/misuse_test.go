// SPDX-License-Identifier: EUPL-1.2

package program

import (
	"errors"
	"testing"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
)

// An administrator who may not alarm must not make themself a token that may, where giving roles takes two.
func TestAProgramGetsNoMoreThanItsMakerHasWhereRolesTakeTwo(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	d := script()
	a.make(d)
	w.marked = true
	_, _, _, err := a.Make(w.ctx, administrator(), nordtal, d)
	if !errors.Is(err, ErrBeyond) {
		t.Errorf("scopes that nobody has: %v", err)
	}
	w.may[access.RaiseAlarm], w.may[access.SeeAlarms] = true, true
	_, token := a.make(d)
	if p := a.comes(token); p.Maker != administrator().Actor() {
		t.Errorf("its maker is %q", p.Maker)
	}
	w.units = []directory.UnitID{"a1"}
	if _, _, _, err := a.Make(w.ctx, administrator(), nordtal, d); !errors.Is(err, access.ErrForbidden) {
		t.Errorf("with rights in one unit: %v", err)
	}
}

func TestTheProvidersWordMakesNoAppPassword(t *testing.T) {
	w := newWorld(t, 1)
	by := person(anna)
	by.Way = access.ByOIDC
	if _, _, _, err := w.sites[0].Make(w.ctx, by, nordtal, Draft{Name: "Telefon", Kind: LDAP, Owner: anna}); !errors.Is(err, access.ErrOwnKey) {
		t.Errorf("got %v", err)
	}
}

// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"cmp"
	"slices"
	"testing"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/web"
)

// TestBoardListsAreInOrder: by family name, Ö as O, and who cannot be read comes last.
func TestBoardListsAreInOrder(t *testing.T) {
	w := newWorld(t)
	var lines []alarm.PersonLine
	for _, id := range []directory.PersonID{"5555555555555555", "3333333333333333", "1111111111111111", "4444444444444444", "2222222222222222"} {
		lines = append(lines, alarm.PersonLine{Person: id})
	}
	list, err := w.listed(t.Context(), w.render.texts[web.German], nordtal, lines)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range list {
		got = append(got, cmp.Or(l.Name, string(l.Readable)))
	}
	want := []string{"Mia Müller", "Dr. Jürgen Öztürk-Groß", "Ohne Weg", string(directory.NotYet), string(directory.Erased)}
	if !slices.Equal(got, want) {
		t.Errorf("the list is %q, want %q", got, want)
	}
}

// SPDX-License-Identifier: EUPL-1.2

package health

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type rig struct {
	*Board
	at   time.Time
	said bytes.Buffer
}

func newRig() *rig {
	r := &rig{at: time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)}
	r.Board = NewBoard(func() time.Time { return r.at }, slog.New(slog.NewTextHandler(&r.said, nil)))
	return r
}

func (r *rig) names() (names []string) {
	for _, c := range r.List() {
		n := fmt.Sprintf("%s %s %s", c.Store, c.Cause, c.Detail)
		if !c.Open() {
			n += " (mended)"
		}
		names = append(names, n)
	}
	return names
}

func TestAConditionIsLoggedOnceWhenItOpensAndOnceWhenItIsMended(t *testing.T) {
	r := newRig()
	c := Condition{Store: Log, Cause: Damaged, Detail: "page 3", Message: "a page is damaged"}
	for range 50 {
		r.at = r.at.Add(time.Minute)
		r.Tell(c)
	}
	if list := r.List(); len(list) != 1 || !list[0].Since.Equal(time.Date(2026, 11, 30, 8, 1, 0, 0, time.UTC)) {
		t.Errorf("listed: %+v", list)
	}
	for range 50 {
		r.Mend(Log, Damaged, "page 3")
	}
	if said := r.said.String(); strings.Count(said, "\n") != 2 {
		t.Errorf("logged:\n%s", said)
	}
	r.Tell(c)
	if said := r.said.String(); strings.Count(said, "\n") != 3 {
		t.Errorf("a new damage at the same place is told again; logged:\n%s", said)
	}
}

func TestWhatIsMendedIsShownForADay(t *testing.T) {
	r := newRig()
	r.Tell(Condition{Store: Model, Cause: Damaged, Blocks: true})
	r.Tell(Condition{Store: Disk, Cause: Full})
	if b := r.Blocking(); len(b) != 1 || b[0].Store != Model {
		t.Errorf("blocking: %+v", b)
	}
	r.Mend(Model, Damaged, "")
	if diff := cmp.Diff([]string{"disk full ", "model damaged  (mended)"}, r.names()); diff != "" {
		t.Error(diff)
	}
	if b := r.Blocking(); len(b) != 0 {
		t.Errorf("what is mended blocks: %+v", b)
	}
	r.at = r.at.Add(ShownMended + time.Second)
	if diff := cmp.Diff([]string{"disk full "}, r.names()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Count{{Disk, Full, 1, 1}, {Model, Damaged, 0, 1}}, r.Counts()); diff != "" {
		t.Error(diff)
	}
}

func TestReplaceMendsWhatIsNotInTheList(t *testing.T) {
	r := newRig()
	r.Tell(Condition{Store: Local, Cause: Damaged})
	r.Replace(Log, Damaged, []Condition{{Detail: "a"}, {Detail: "b"}})
	r.Replace(Log, Damaged, []Condition{{Detail: "b"}})
	if diff := cmp.Diff([]string{"local damaged ", "log damaged b", "log damaged a (mended)"}, sortedFirst(r.names())); diff != "" {
		t.Error(diff)
	}
}

// sortedFirst puts the two open ones, which opened at the same moment, into the order of their names.
func sortedFirst(names []string) []string {
	if len(names) > 1 && names[0] > names[1] {
		names[0], names[1] = names[1], names[0]
	}
	return names
}

func TestABoardIsBounded(t *testing.T) {
	r := newRig()
	for i := range 10 * MaxConditions {
		r.Tell(Condition{Store: Log, Cause: Damaged, Detail: fmt.Sprint(i)})
	}
	list := r.List()
	if len(list) != MaxConditions+1 || !strings.Contains(list[MaxConditions].Message, "1800 more") {
		t.Errorf("%d conditions, the last is %+v", len(list), list[len(list)-1])
	}
	if lines := strings.Count(r.said.String(), "\n"); lines != MaxConditions {
		t.Errorf("%d lines were logged", lines)
	}
}

// SPDX-License-Identifier: EUPL-1.2

package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"codeberg.org/holdfast/holdfast/fault"
)

var errColumn = fault.New(fault.Invalid, "test.column", "there is no such column", "name one of the file's columns")

func TestAFaultSaysWhereAndWhatToDo(t *testing.T) {
	got := errColumn.At(7, "mail").With(errors.New("EOF")).Error()
	want := "line 7, field mail: there is no such column: EOF (name one of the file's columns)"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if errColumn.Line != 0 || errColumn.Err != nil {
		t.Error("saying where has changed the declared fault itself")
	}
}

func TestAFaultIsFoundThroughWrapping(t *testing.T) {
	err := fmt.Errorf("import: %w", errColumn.Because("%q", "mial"))
	if !errors.Is(err, errColumn) {
		t.Error("the declared fault is not found")
	}
	if got := fault.KindOf(err); got != fault.Invalid {
		t.Errorf("kind %q, want invalid", got)
	}
	if errors.Is(err, fault.New(fault.Invalid, "test.other", "", "")) {
		t.Error("a fault of another code is taken for it")
	}
}

func TestOurOwnMistakesTellNothing(t *testing.T) {
	f := fault.Of(errors.New("pq: relation person does not exist"))
	if f.Kind != fault.Internal || f.Message != "something went wrong on our side" {
		t.Errorf("got %+v", f)
	}
	if fault.KindOf(nil) != "" {
		t.Error("no error has a kind")
	}
}

// SPDX-License-Identifier: EUPL-1.2

// Package fault says what went wrong in a way that a person can act on.
//
// A Fault has a Kind (what sort of trouble: edges map it to an HTTP status and an exit code, in one table each), a Code
// (a stable reason such as "directory.column_missing" that the portal translates), a Message in plain English, and a
// WayOut: what to do now. Where input was bad it also names the Field and the Line.
//
// Invariants: a Message never holds a stack trace, SQL or a secret. What is not a Fault is Internal, and its text is for
// the operator's log, never for the person in front of the screen.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind sorts faults by who can do something about them.
type Kind string

// The kinds of faults.
const (
	Invalid         Kind = "invalid"         // the input is wrong: mend it and try again
	Unauthenticated Kind = "unauthenticated" // we do not know who you are
	Forbidden       Kind = "forbidden"       // we know you, and you may not
	NotFound        Kind = "not_found"       // there is no such thing, or you may not know of it
	Conflict        Kind = "conflict"        // somebody was faster, or the state does not allow it: look again
	TooLarge        Kind = "too_large"       // over a bound that the message names
	Exhausted       Kind = "exhausted"       // no room: the disk's reserve or a queue is used up
	Unavailable     Kind = "unavailable"     // a peer, gateway or part is not there now: try again later
	Internal        Kind = "internal"        // our own mistake
)

// Fault is an error with a way out. Fill what is known; Kind, Code and Message are required.
type Fault struct {
	Kind    Kind
	Code    string
	Message string
	WayOut  string
	Field   string
	Line    int
	Err     error
}

// New returns a Fault of the given kind, code, message and way out.
func New(kind Kind, code, message, wayOut string) *Fault {
	return &Fault{Kind: kind, Code: code, Message: message, WayOut: wayOut}
}

// Error returns the message with line, field and way out where they are known: "line 7, field mail: ... (do this)".
func (f *Fault) Error() string {
	var b strings.Builder
	if f.Line > 0 {
		fmt.Fprintf(&b, "line %d", f.Line)
	}
	if f.Field != "" {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "field %s", f.Field)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(f.Message)
	if f.Err != nil {
		fmt.Fprintf(&b, ": %v", f.Err)
	}
	if f.WayOut != "" {
		fmt.Fprintf(&b, " (%s)", f.WayOut)
	}
	return b.String()
}

// Unwrap returns the wrapped error, or nil.
func (f *Fault) Unwrap() error { return f.Err }

// Is makes errors.Is(err, aFault) true for any fault of the same code, so a declared *Fault serves as a sentinel.
func (f *Fault) Is(target error) bool {
	t, ok := target.(*Fault)
	return ok && t.Code == f.Code
}

// At returns a copy that names where the input was wrong. Zero values are left out.
func (f *Fault) At(line int, field string) *Fault {
	c := *f
	c.Line, c.Field = line, field
	return &c
}

// With returns a copy that wraps err, so that the operator's log shows the cause.
func (f *Fault) With(err error) *Fault {
	c := *f
	c.Err = err
	return &c
}

// Because returns a copy whose message has detail appended, for what differs from case to case.
func (f *Fault) Because(format string, args ...any) *Fault {
	c := *f
	c.Message += ": " + fmt.Sprintf(format, args...)
	return &c
}

// KindOf returns the kind of the first Fault in err's chain, Internal for any other error, and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		return f.Kind
	}
	return Internal
}

// Of returns the first Fault in err's chain. For any other error it returns an Internal fault that wraps it and whose
// Message tells nothing about our insides.
func Of(err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	return New(Internal, "internal", "something went wrong on our side",
		"try again; if it stays, tell the operator the time of day").With(err)
}

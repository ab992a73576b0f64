// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"fmt"
	"strconv"
	"strings"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
)

// Receipt says where a write lies. Its text form is "log@page.index"; it is no secret and grants nothing.
type Receipt struct {
	Log eventlog.LogID
	At  eventlog.Position
}

// ErrReceipt is returned for a text that is no receipt.
var ErrReceipt = fault.New(fault.Invalid, "web.receipt", "this does not name a written entry", "use the receipt that writing returned")

// ReceiptOf returns the receipt of what a log has acknowledged.
func ReceiptOf(r eventlog.Receipt) Receipt { return Receipt{Log: r.Log, At: r.Last} }

// String returns the text form.
func (r Receipt) String() string {
	return fmt.Sprintf("%s@%d.%d", r.Log, r.At.Page, r.At.Index)
}

// ParseReceipt reads the text form. It returns ErrReceipt for anything else.
func ParseReceipt(s string) (Receipt, error) {
	if len(s) > 300 {
		return Receipt{}, ErrReceipt
	}
	name, at, ok := strings.Cut(s, "@")
	page, index, ok2 := strings.Cut(at, ".")
	if !ok || !ok2 {
		return Receipt{}, ErrReceipt
	}
	log, err := eventlog.ParseLogID(name)
	if err != nil {
		return Receipt{}, ErrReceipt.With(err)
	}
	p, err := strconv.ParseUint(page, 10, 64)
	if err != nil {
		return Receipt{}, ErrReceipt.With(err)
	}
	i, err := strconv.ParseUint(index, 10, 32)
	if err != nil {
		return Receipt{}, ErrReceipt.With(err)
	}
	return Receipt{Log: log, At: eventlog.Position{Page: p, Index: uint32(i)}}, nil
}

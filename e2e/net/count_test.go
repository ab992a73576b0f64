// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package net_test

import (
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/demo/phones"
)

// said returns hand-overs at the given seconds.
func said(list ...any) (out []phones.Handover) {
	for i := 0; i < len(list); i += 3 {
		at := time.Unix(0, 0).Add(time.Duration(list[i].(float64) * float64(time.Second)))
		out = append(out, phones.Handover{At: at, From: list[i+1].(string), Key: list[i+2].(string)})
	}
	return out
}

func TestOnlyDoublesOfSitesThatWereApartAreUnavoidable(t *testing.T) {
	begin, end := time.Unix(10, 0), time.Unix(20, 0)
	for name, c := range map[string]struct {
		list []phones.Handover
		want int
	}{
		"both while apart":               {said(11.0, "a", "1", 12.0, "b", "1"), 1},
		"the other way round":            {said(11.0, "b", "1", 12.0, "a", "1"), 1},
		"a site doubles its own":         {said(11.0, "a", "1", 12.0, "a", "1"), 0},
		"two that hear each other":       {said(11.0, "b", "1", 12.0, "c", "1"), 0},
		"the first one was known before": {said(9.0, "a", "1", 12.0, "b", "1"), 0},
		"the second came after mending":  {said(11.0, "a", "1", 20.0, "b", "1"), 0},
		"different messages":             {said(11.0, "a", "1", 12.0, "b", "2"), 0},
		"nothing":                        {nil, 0},
	} {
		if got := doubledApart(c.list, "a", begin, end); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestASiteBeginsToCallAfterAPause(t *testing.T) {
	list := said(1.0, "a", "1", 2.0, "a", "2", 8.0, "b", "3", 9.0, "b", "4", 9.5, "a", "5", 10.0, "a", "6")
	if got := starts(list); got != 3 {
		t.Errorf("%d starts, want 3", got)
	}
}

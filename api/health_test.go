// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/web"
)

// The detail of a condition names a log, and so an authority; what one authority has is nobody's in another.
func TestOnlyTheConsoleLearnsWhichLogIsConcerned(t *testing.T) {
	a := New(Config{Health: func() []health.Condition {
		return []health.Condition{
			{Store: health.Log, Cause: health.Damaged, Detail: "lk-nordtal/operations", Message: "a page is damaged", WayOut: "check the disk", Since: now},
			{Store: health.Model, Cause: health.Damaged, Message: "mended since", Since: now, Mended: now},
		}
	}})
	for kind, want := range map[access.PrincipalKind]string{access.Console: "lk-nordtal/operations", access.Program: ""} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = r.WithContext(web.WithActor(r.Context(), web.Actor{Principal: access.Principal{Kind: kind}}))
		if list := a.conditions(r); len(list) != 2 || list[0].Detail != want || list[0].WayOut == "" {
			t.Errorf("%s gets %+v", kind, list)
		}
		if list := a.storeTroubles(r); len(list) != 1 || list[0].Log != want || list[0].Store != health.Log || list[0].Reason != "a page is damaged" {
			t.Errorf("%s gets the troubles %+v", kind, list)
		}
	}
	if list := New(Config{}).conditions(httptest.NewRequest(http.MethodGet, "/", nil)); list == nil || len(list) != 0 {
		t.Errorf("without a board: %v", list)
	}
}

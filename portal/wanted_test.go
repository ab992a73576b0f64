// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"codeberg.org/holdfast/holdfast/access"
)

func TestWhoeverSignsInComesToThePageTheyWanted(t *testing.T) {
	w := newWorld(t)
	member := access.Principal{Kind: access.Person, Authority: nordtal, ID: "1111111111111111"}
	limited := member
	limited.Limited = true
	for path, want := range map[string]string{
		"/a/lk-nordtal/alarms/0123456789abcdef": "/a/lk-nordtal/alarms/0123456789abcdef",
		"/account":                              "/account",
		"/":                                     "/",
		"/a/lk-nordtal/../../x":                 "/",
		"//evil.example/a":                      "/",
		"/signin":                               "/",
	} {
		asked := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path = path
		w.keepWanted(asked, r)
		back := httptest.NewRequest(http.MethodPost, "/signin/code", nil)
		for _, c := range asked.Result().Cookies() {
			back.AddCookie(c)
		}
		if got := w.wanted(httptest.NewRecorder(), back, member); got != want {
			t.Errorf("%s leads to %s, want %s", path, got, want)
		}
		if got := w.wanted(httptest.NewRecorder(), back, limited); got == want && want != "/" {
			t.Errorf("somebody who may only enrol is led to %s", got)
		}
	}
	planted := httptest.NewRequest(http.MethodPost, "/signin/code", nil)
	planted.AddCookie(&http.Cookie{Name: cookieWanted, Value: "//evil.example"})
	if got := w.wanted(httptest.NewRecorder(), planted, member); got != "/" {
		t.Errorf("a planted cookie leads to %s", got)
	}
}

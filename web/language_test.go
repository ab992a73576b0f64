// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestTheLanguageIsRememberedInACookieOfThisHostAlone(t *testing.T) {
	for name, secure := range map[string]bool{"__Host-lang": true, "lang": false} {
		h := withLanguage(false, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		r := httptest.NewRequest("GET", "/?lang=en", nil)
		if secure {
			r.TLS = new(tls.ConnectionState)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		got := rec.Result().Cookies()
		if len(got) != 1 || got[0].Name != name || got[0].Secure != secure || !got[0].HttpOnly {
			t.Fatalf("%v", got)
		}
		again := httptest.NewRequest("GET", "/", nil)
		again.AddCookie(got[0])
		if l := ChosenBefore(again); l != English {
			t.Errorf("%s: %q is remembered", name, l)
		}
	}
}

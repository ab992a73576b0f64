// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
)

// What is looked at is seen and not done, what only calculates is nothing, and a handler names the deed that really happened.
func TestTheAuditSaysWhatReallyHappened(t *testing.T) {
	who := access.Principal{Kind: access.Person, Authority: "lk-nordtal", ID: "12c0", Scopes: []access.Permission{access.ErasePerson}}
	for name, c := range map[string]struct {
		method string
		sealed bool
		says   func(context.Context)
		status int
		want   audit.Entry // without a deed: no line
	}{
		"the form of a deed is opened":         {method: "GET", sealed: true, want: audit.Entry{Deed: "person.erase", Object: "/a/lk-nordtal/x", Outcome: audit.Seen}},
		"a page without sealed data is opened": {method: "GET"},
		"a deed is done":                       {method: "POST", want: audit.Entry{Deed: "person.erase", Object: "/a/lk-nordtal/x", Outcome: audit.Done}},
		"a form comes back with its mistakes":  {method: "POST", status: http.StatusUnprocessableEntity},
		"a file is tried":                      {method: "POST", says: Unchanged},
		"a second person is asked": {method: "POST", says: func(ctx context.Context) { Did(ctx, "approval.ask", "person.erase", "approval/b1") },
			want: audit.Entry{Deed: "approval.ask", Object: "person.erase approval/b1", Outcome: audit.Done}},
		"a file leaves the house": {method: "GET", sealed: true, says: func(ctx context.Context) { Did(ctx, "audit.export") },
			want: audit.Entry{Deed: "audit.export", Object: "/a/lk-nordtal/x", Outcome: audit.Done}},
	} {
		noted, errs := &recorder{}, &Errors{Logger: newLogger(t)}
		g := &Guard{Auth: Fixed(who), Judge: judge{}, Audit: noted, Errors: errs, Refuse: errs.Write}
		mux := http.NewServeMux()
		g.Mount(mux, []Route{{Pattern: c.method + " /a/{authority}/x", Need: access.ErasePerson, Sealed: c.sealed, Handle: func(w http.ResponseWriter, r *http.Request) error {
			if c.says != nil {
				c.says(r.Context())
			}
			if c.status != 0 {
				w.WriteHeader(c.status)
			}
			return nil
		}}})
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(c.method, "/a/lk-nordtal/x", nil))
		var got audit.Entry
		for _, e := range append(noted.recorded, noted.gathered...) {
			got = audit.Entry{Deed: e.Deed, Object: e.Object, Outcome: e.Outcome}
		}
		if got != c.want {
			t.Errorf("%s: the audit has %+v, want %+v", name, got, c.want)
		}
		if len(noted.gathered) > 0 != (c.want.Outcome == audit.Seen) {
			t.Errorf("%s: %d lines gathered", name, len(noted.gathered))
		}
	}
}

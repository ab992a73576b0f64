// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"net/http"
)

// Route is one entry of a package's table of routes. Whoever is not known is refused unless the route is Open.
type Route struct {
	Pattern string // as of http.ServeMux: "POST /a/{authority}/alarms"
	Open    bool
	Handle  func(http.ResponseWriter, *http.Request) error
}

// Mount adds the routes to mux. Strangers at a route that is not open are given to refuse; what a handler returns is
// given to errors.
func Mount(mux *http.ServeMux, routes []Route, auth Authenticator, refuse func(http.ResponseWriter, *http.Request, error), errors *Errors) {
	for _, route := range routes {
		var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := route.Handle(w, r); err != nil {
				errors.Write(w, r, err)
			}
		})
		if !route.Open {
			h = Require(auth, refuse, h)
		}
		mux.Handle(route.Pattern, h)
	}
}

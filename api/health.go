// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"net/http"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/web"
)

// conditions returns what is wrong with this site's stores, never nil. Details name logs and with them authorities, so only the
// console gets them.
func (a *API) conditions(r *http.Request) []health.Condition {
	if a.cfg.Health == nil {
		return []health.Condition{}
	}
	list := a.cfg.Health()
	if actor, _ := web.ActorOf(r.Context()); actor.Kind != access.Console {
		for i := range list {
			list[i].Detail = ""
		}
	}
	return orEmpty(list)
}

// storeTroubles are the open conditions in the form of troubles.
func (a *API) storeTroubles(r *http.Request) []Trouble {
	var out []Trouble
	for _, c := range a.conditions(r) {
		if !c.Open() {
			continue
		}
		out = append(out, Trouble{Store: c.Store, Cause: c.Cause, Log: c.Detail, Reason: c.Message, Doing: c.Doing, WayOut: c.WayOut, Since: c.Since})
	}
	return out
}

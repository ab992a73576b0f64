// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"context"
	"net/http"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/deed"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/web"
)

// Deeds is where deeds are done that may take a second person: a deed.Desk. Approve carries a deed out in the name of the
// second person; Within returns deed.ErrOutside for an audience beyond the units of a verdict.
type Deeds interface {
	Raise(ctx context.Context, by access.Principal, v access.Verdict, authority event.AuthorityID, draft alarm.Draft) (deed.Outcome, error)
	ErasePerson(ctx context.Context, by access.Principal, v access.Verdict, authority event.AuthorityID, person directory.PersonID) (deed.Outcome, error)
	GrantRole(ctx context.Context, by access.Principal, authority event.AuthorityID, draft access.GrantDraft) (deed.Outcome, error)
	SetPolicy(ctx context.Context, by access.Principal, authority event.AuthorityID, p access.Policy) (deed.Outcome, error)
	Approve(ctx context.Context, by access.Principal, authority event.AuthorityID, id string) (access.Approval, eventlog.Receipt, error)
	Within(ctx context.Context, authority event.AuthorityID, v access.Verdict, who directory.Audience) error
	WithinAlarm(ctx context.Context, authority event.AuthorityID, v access.Verdict, id alarm.ID) error
	OrderCalling(ctx context.Context, by access.Principal, v access.Verdict, authority event.AuthorityID, id alarm.ID) (eventlog.Receipt, error)
}

// ErrConsole is returned where a role is not enough. An operator's role is a fact of an authority, so that it holds at every
// site of it: whoever runs one of them could give it to themself and command the others.
var ErrConsole = fault.New(fault.Forbidden, "api.console", "this is done at the site's own console only",
	"whoever holds the machine runs it there: see 'holdfast --help'")

// atConsole lets in only whoever holds this machine.
func atConsole(handle func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if by(r).Kind != access.Console {
			return ErrConsole
		}
		return handle(w, r)
	}
}

// whole lets nobody in whose right is bound to units, for what concerns the whole authority or site.
func whole(handle func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if verdict(r).Units != nil {
			return deed.ErrOutside
		}
		return handle(w, r)
	}
}

// within returns deed.ErrOutside unless the sender's right holds for all of these people.
func (a *API) within(r *http.Request, authority event.AuthorityID, persons ...directory.PersonID) error {
	return a.cfg.Deeds.Within(r.Context(), authority, verdict(r), directory.Audience{Persons: persons})
}

// by returns who acts.
func by(r *http.Request) access.Principal {
	x, _ := web.ActorOf(r.Context())
	return x.Principal
}

// verdict returns what the request rests on.
func verdict(r *http.Request) access.Verdict {
	x, _ := web.ActorOf(r.Context())
	return x.Verdict
}

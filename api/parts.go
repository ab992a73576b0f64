// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"context"
	"io"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/privacy"
	"codeberg.org/holdfast/holdfast/program"
)

// Access knows who may do what: an access.Service.
type Access interface {
	Grants(ctx context.Context, authority event.AuthorityID) ([]access.Grant, error)
	Withdraw(ctx context.Context, by access.Principal, authority event.AuthorityID, grant string) (eventlog.Receipt, error)
	Policy(ctx context.Context, authority event.AuthorityID) (access.Policy, error)
	Approvals(ctx context.Context, authority event.AuthorityID) ([]access.Approval, error)
	Approval(ctx context.Context, authority event.AuthorityID, id string) (access.Approval, error)
	Refuse(ctx context.Context, p access.Principal, authority event.AuthorityID, id string) (eventlog.Receipt, error)
}

// Accounts knows who can come in: an identity.Service.
type Accounts interface {
	Accounts(ctx context.Context, authority event.AuthorityID, f identity.Filter) ([]identity.AccountLine, identity.Counts, error)
	Account(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (identity.Account, error)
	Invite(ctx context.Context, by access.Principal, authority event.AuthorityID, persons []directory.PersonID, life time.Duration) ([]identity.Invitation, eventlog.Receipt, error)
	SendInvitations(ctx context.Context, by access.Principal, authority event.AuthorityID, list []identity.Invitation, baseURL string) (sent int, err error)
	Remind(ctx context.Context, by access.Principal, authority event.AuthorityID, persons []directory.PersonID) (told int, err error)
	Link(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID, life time.Duration) (secret string, expires time.Time, err error)
	RemovePasskey(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID, id string) (eventlog.Receipt, error)
	Vouch(ctx context.Context, by access.Principal, spoken string, person directory.PersonID) (eventlog.Receipt, error)
}

// Sessions ends sessions everywhere: a session.Service.
type Sessions interface {
	EndAll(ctx context.Context, by access.Principal, authority event.AuthorityID, kind access.PrincipalKind, id string) (eventlog.Receipt, error)
}

// Guests knows who was let in for one incident: a guest.Service.
type Guests interface {
	Guests(ctx context.Context, authority event.AuthorityID) ([]guest.Guest, error)
	Invite(ctx context.Context, by access.Principal, authority event.AuthorityID, d guest.Draft) (g guest.Guest, code string, r eventlog.Receipt, err error)
	SendAway(ctx context.Context, by access.Principal, authority event.AuthorityID, id guest.ID) (eventlog.Receipt, error)
}

// Programs knows API tokens and app passwords: a program.Service.
type Programs interface {
	Programs(ctx context.Context, authority event.AuthorityID) ([]program.Program, error)
	Make(ctx context.Context, by access.Principal, authority event.AuthorityID, d program.Draft) (p program.Program, secret string, r eventlog.Receipt, err error)
	Withdraw(ctx context.Context, by access.Principal, authority event.AuthorityID, id program.ID) (eventlog.Receipt, error)
}

// Entries reads the audit: an audit.Service.
type Entries interface {
	Entries(ctx context.Context, authority event.AuthorityID, q audit.Query) ([]audit.Line, error)
	Export(ctx context.Context, authority event.AuthorityID, pages audit.PageSource, w io.Writer) error
}

// Privacy gathers what is stored about a person: a privacy.Service.
type Privacy interface {
	Export(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (privacy.Document, error)
}

// Erasures tells how far erasing people has come: a directory.Service.
type Erasures interface {
	Erasures(ctx context.Context, authority event.AuthorityID) ([]privacy.Erasure, error)
}

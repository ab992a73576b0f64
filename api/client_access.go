// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/privacy"
)

func below(authority event.AuthorityID, parts ...string) string {
	path := of(authority)
	for _, p := range parts {
		path += "/" + url.PathEscape(p)
	}
	return path
}

// Roles returns the grants in force; with all, also those that have ended, have not begun or were withdrawn.
func (c *Client) Roles(ctx context.Context, authority event.AuthorityID, all bool) (list []Grant, err error) {
	q := url.Values{}
	if all {
		q.Set("all", "true")
	}
	return list, c.Get(ctx, below(authority, "roles"), q, &list)
}

// GrantRole gives a role. If a second person has to agree, nothing is done yet and asked is what waits for them.
func (c *Client) GrantRole(ctx context.Context, authority event.AuthorityID, d GrantDraft) (g Granted, asked *Pending, err error) {
	asked, err = c.sendOrAsk(ctx, http.MethodPost, below(authority, "roles"), d, &g, "")
	return g, asked, err
}

// WithdrawRole ends a grant for good.
func (c *Client) WithdrawRole(ctx context.Context, authority event.AuthorityID, grant string) (w Written, err error) {
	return w, c.Send(ctx, http.MethodDelete, below(authority, "roles", grant), nil, &w, "")
}

// Policy returns what the authority has decided about access.
func (c *Client) Policy(ctx context.Context, authority event.AuthorityID) (p Policy, err error) {
	return p, c.Get(ctx, below(authority, "policy"), nil, &p)
}

// SetPolicy replaces the policy as a whole, or asks for a second person.
func (c *Client) SetPolicy(ctx context.Context, authority event.AuthorityID, p Policy) (w Written, asked *Pending, err error) {
	asked, err = c.sendOrAsk(ctx, http.MethodPut, below(authority, "policy"), p, &w, "")
	return w, asked, err
}

// Approvals returns what waits for a second person, and what did.
func (c *Client) Approvals(ctx context.Context, authority event.AuthorityID) (list []Approval, err error) {
	return list, c.Get(ctx, below(authority, "approvals"), nil, &list)
}

// Approval returns one request for a second person.
func (c *Client) Approval(ctx context.Context, authority event.AuthorityID, id string) (a Approval, err error) {
	return a, c.Get(ctx, below(authority, "approvals", id), nil, &a)
}

// Approve agrees as the second person. The deed is done when it returns.
func (c *Client) Approve(ctx context.Context, authority event.AuthorityID, id string) (p Pending, err error) {
	return p, c.Send(ctx, http.MethodPost, below(authority, "approvals", id, "approve"), nil, &p, "")
}

// Refuse ends a request; by its asker, it takes it back.
func (c *Client) Refuse(ctx context.Context, authority event.AuthorityID, id string) (w Written, err error) {
	return w, c.Send(ctx, http.MethodPost, below(authority, "approvals", id, "refuse"), nil, &w, "")
}

// Accounts returns a page of accounts and the counts of all.
func (c *Client) Accounts(ctx context.Context, authority event.AuthorityID, f AccountFilter) (list AccountList, err error) {
	q := url.Values{}
	set(q, "state", f.State)
	set(q, "after", string(f.After))
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return list, c.Get(ctx, below(authority, "accounts"), q, &list)
}

// Account returns what one person can come in with.
func (c *Client) Account(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (a Account, err error) {
	return a, c.Get(ctx, below(authority, "accounts", string(person)), nil, &a)
}

// InviteAccounts invites people to enrol. The addresses are in the answer and nowhere else.
func (c *Client) InviteAccounts(ctx context.Context, authority event.AuthorityID, d AccountInvitationDraft) (i AccountInvitations, err error) {
	return i, c.Send(ctx, http.MethodPost, below(authority, "accounts", "invitations"), d, &i, "")
}

// RemindAccounts reminds people to enrol and returns how many were told.
func (c *Client) RemindAccounts(ctx context.Context, authority event.AuthorityID, persons []directory.PersonID) (int, error) {
	var t Told
	err := c.Send(ctx, http.MethodPost, below(authority, "accounts", "reminders"), Persons{Persons: persons}, &t, "")
	return t.Told, err
}

// EndSessions signs a person out everywhere.
func (c *Client) EndSessions(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (w Written, err error) {
	return w, c.Send(ctx, http.MethodDelete, below(authority, "accounts", string(person), "sessions"), nil, &w, "")
}

// RemovePasskey removes one of a person's passkeys.
func (c *Client) RemovePasskey(ctx context.Context, authority event.AuthorityID, person directory.PersonID, passkey string) (w Written, err error) {
	return w, c.Send(ctx, http.MethodDelete, below(authority, "accounts", string(person), "passkeys", passkey), nil, &w, "")
}

// PersonLink returns a link with which a person signs in once; 0 minutes are the default.
func (c *Client) PersonLink(ctx context.Context, authority event.AuthorityID, person directory.PersonID, minutes int) (l Link, err error) {
	return l, c.Send(ctx, http.MethodPost, below(authority, "people", string(person), "sign-in-links"), LinkDraft{Minutes: minutes}, &l, "")
}

// Vouch says that whoever has read out the characters is the person.
func (c *Client) Vouch(ctx context.Context, authority event.AuthorityID, person directory.PersonID, spoken string) (w Written, err error) {
	return w, c.Send(ctx, http.MethodPost, below(authority, "people", string(person), "vouch"), Spoken{Spoken: spoken}, &w, "")
}

// Guests returns all guests.
func (c *Client) Guests(ctx context.Context, authority event.AuthorityID) (list []Guest, err error) {
	return list, c.Get(ctx, below(authority, "guests"), nil, &list)
}

// InviteGuest lets somebody in for one incident. The code is in the answer and nowhere else.
func (c *Client) InviteGuest(ctx context.Context, authority event.AuthorityID, d GuestDraft) (g InvitedGuest, err error) {
	return g, c.Send(ctx, http.MethodPost, below(authority, "guests"), d, &g, "")
}

// SendAway ends a guest's visit.
func (c *Client) SendAway(ctx context.Context, authority event.AuthorityID, id string) (w Written, err error) {
	return w, c.Send(ctx, http.MethodDelete, below(authority, "guests", id), nil, &w, "")
}

// Programs returns all API tokens and app passwords.
func (c *Client) Programs(ctx context.Context, authority event.AuthorityID) (list []Program, err error) {
	return list, c.Get(ctx, below(authority, "programs"), nil, &list)
}

// MakeProgram makes an API token or an app password. The secret is in the answer and nowhere else.
func (c *Client) MakeProgram(ctx context.Context, authority event.AuthorityID, d ProgramDraft) (p MadeProgram, err error) {
	return p, c.Send(ctx, http.MethodPost, below(authority, "programs"), d, &p, "")
}

// WithdrawProgram makes a program's secret worthless.
func (c *Client) WithdrawProgram(ctx context.Context, authority event.AuthorityID, id string) (w Written, err error) {
	return w, c.Send(ctx, http.MethodDelete, below(authority, "programs", id), nil, &w, "")
}

// Audit returns a page of the audit, the newest lines first; with the authority "", of what belongs to none, which only the
// console may see.
func (c *Client) Audit(ctx context.Context, authority event.AuthorityID, f AuditFilter) (list []AuditLine, err error) {
	q := url.Values{}
	for name, value := range map[string]string{"q": f.Text, "actor": f.Actor, "deed": f.Deed, "grant": f.Grant, "outcome": f.Outcome, "after": f.After} {
		set(q, name, value)
	}
	for name, value := range map[string]time.Time{"from": f.From, "until": f.Until} {
		if !value.IsZero() {
			q.Set(name, value.UTC().Format(time.RFC3339Nano))
		}
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	path := "/audit"
	if authority != "" {
		path = below(authority, "audit")
	}
	return list, c.Get(ctx, path, q, &list)
}

// ExportAudit writes the signed pages of all audit logs to w, for audit.Verify. After an error w holds a part of them.
func (c *Client) ExportAudit(ctx context.Context, authority event.AuthorityID, w io.Writer) error {
	answer, err := c.send(ctx, http.MethodGet, below(authority, "audit", "export"), nil, "", "", nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return decode(answer, nil)
	}
	read := &source{r: answer.Body}
	if _, err := io.Copy(w, read); err != nil {
		if read.err != nil {
			return ErrNoSite.With(read.err)
		}
		return fmt.Errorf("write the export: %w", err)
	}
	return nil
}

// source tells apart whether reading or writing has failed.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// ExportPerson returns everything that the site holds about a person.
func (c *Client) ExportPerson(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (d privacy.Document, err error) {
	return d, c.Send(ctx, http.MethodPost, below(authority, "people", string(person), "export"), nil, &d, "")
}

// Erase destroys a person's keys. If a second person has to agree, nothing is destroyed yet and the error is ErrAsked.
func (c *Client) Erase(ctx context.Context, authority event.AuthorityID, person directory.PersonID) error {
	_, asked, err := c.EraseOrAsk(ctx, authority, person)
	if err == nil && asked != nil {
		err = ErrAsked.Because("approval %s", asked.Approval.ID)
	}
	return err
}

// EraseOrAsk is Erase for those who can wait for a second person: asked is then what waits for them.
func (c *Client) EraseOrAsk(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (w Written, asked *Pending, err error) {
	asked, err = c.sendOrAsk(ctx, http.MethodPost, below(authority, "people", string(person), "erase"), nil, &w, "")
	return w, asked, err
}

// Erasures returns how far the erasing of people has come.
func (c *Client) Erasures(ctx context.Context, authority event.AuthorityID) (list []privacy.Erasure, err error) {
	return list, c.Get(ctx, below(authority, "erasures"), nil, &list)
}

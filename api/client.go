// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/web"
)

// Client speaks to a site's API. Errors of the site come back as the same *fault.Fault that the site had; a site that
// does not answer is a fault of kind Unavailable. It is safe for concurrent use; every method blocks until the answer is
// there or ctx ends.
type Client struct {
	http *http.Client
	base string
}

// SocketFile is the operator's socket in a site's data folder.
const SocketFile = "control.sock"

// NewClient returns a client for the site whose data folder this is, through the operator's socket. Nothing is opened
// before the first request.
func NewClient(data string) *Client {
	var d net.Dialer
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", filepath.Join(data, SocketFile))
		},
		MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
	}
	return &Client{http: &http.Client{Transport: t}, base: "http://site"}
}

// NewWebClient returns a client for the API at base ("https://host"), with what h adds to requests, such as a session.
func NewWebClient(h *http.Client, base string) *Client { return &Client{http: h, base: base} }

// ErrNoSite is returned when nobody answers.
var ErrNoSite = fault.New(fault.Unavailable, "api.no_site", "the site does not answer",
	"start it with: holdfast serve; or name its data folder with --data")

// Status returns the federation as the site sees it.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.Get(ctx, "/status", nil, &s)
}

// State returns the hash over everything the site has folded.
func (c *Client) State(ctx context.Context) (s State, err error) {
	return s, c.Get(ctx, "/state", nil, &s)
}

// Merges returns what came to the site after cuts.
func (c *Client) Merges(ctx context.Context) (list []Merge, err error) {
	return list, c.Get(ctx, "/merges", nil, &list)
}

// Troubles returns what is stored and cannot be shown.
func (c *Client) Troubles(ctx context.Context) (list []Trouble, err error) {
	return list, c.Get(ctx, "/troubles", nil, &list)
}

// Scrub makes the site read all its logs back and returns what is damaged. It may take minutes.
func (c *Client) Scrub(ctx context.Context) (list []Damage, err error) {
	return list, c.Send(ctx, http.MethodPost, "/scrub", nil, &list, "")
}

// Secured returns how safe a write is, after waiting up to wait (at most 30 s) for that many operators.
func (c *Client) Secured(ctx context.Context, receipt string, operators int, wait time.Duration) (w Written, err error) {
	q := url.Values{"receipt": {receipt}, "operators": {strconv.Itoa(operators)}, "waitMillis": {strconv.FormatInt(wait.Milliseconds(), 10)}}
	return w, c.Get(ctx, "/secured", q, &w)
}

// SignInLink returns a fresh link that signs in once.
func (c *Client) SignInLink(ctx context.Context) (string, error) {
	var l Link
	err := c.Send(ctx, http.MethodPost, "/sign-in-links", nil, &l, "")
	return l.URL, err
}

// Invite returns the token of an invitation; 0 hours are a day.
func (c *Client) Invite(ctx context.Context, name, operator string, hours int) (string, error) {
	var i Invitation
	err := c.Send(ctx, http.MethodPost, "/invitations", Invitation{Name: name, Operator: operator, Hours: hours}, &i, "")
	return i.Token, err
}

// Admit endorses a pending site and tells whether it is a member now.
func (c *Client) Admit(ctx context.Context, id event.SiteID) (a Admission, err error) {
	return a, c.Send(ctx, http.MethodPost, "/sites/"+url.PathEscape(string(id))+"/endorsement", nil, &a, "")
}

// Authorities returns all authorities of the federation with their allowed sites.
func (c *Client) Authorities(ctx context.Context) (list []site.Authority, err error) {
	return list, c.Get(ctx, "/authorities", nil, &list)
}

// AddAuthority adds an authority.
func (c *Client) AddAuthority(ctx context.Context, d site.AuthorityDraft) error {
	return c.Send(ctx, http.MethodPost, "/authorities", d, nil, "")
}

// Allow lets a site hold the authority's data.
func (c *Client) Allow(ctx context.Context, authority event.AuthorityID, id event.SiteID) error {
	return c.Send(ctx, http.MethodPut, of(authority)+"/sites/"+url.PathEscape(string(id)), nil, nil, "")
}

// Forbid withdraws that.
func (c *Client) Forbid(ctx context.Context, authority event.AuthorityID, id event.SiteID) error {
	return c.Send(ctx, http.MethodDelete, of(authority)+"/sites/"+url.PathEscape(string(id)), nil, nil, "")
}

// People returns a page of people.
func (c *Client) People(ctx context.Context, authority event.AuthorityID, s directory.Search) (p People, err error) {
	q := url.Values{}
	set(q, "q", s.Text)
	set(q, "unit", string(s.Unit))
	set(q, "after", string(s.After))
	if s.Limit > 0 {
		q.Set("limit", strconv.Itoa(s.Limit))
	}
	return p, c.Get(ctx, of(authority)+"/people", q, &p)
}

// Person returns one person.
func (c *Client) Person(ctx context.Context, authority event.AuthorityID, id directory.PersonID) (p Person, err error) {
	return p, c.Get(ctx, of(authority)+"/people/"+url.PathEscape(string(id)), nil, &p)
}

// Erase destroys a person's key.
func (c *Client) Erase(ctx context.Context, authority event.AuthorityID, id directory.PersonID) error {
	return c.Send(ctx, http.MethodPost, of(authority)+"/people/"+url.PathEscape(string(id))+"/erase", nil, nil, "")
}

// Units returns all units.
func (c *Client) Units(ctx context.Context, authority event.AuthorityID) (list []Unit, err error) {
	return list, c.Get(ctx, of(authority)+"/units", nil, &list)
}

// Functions returns all functions.
func (c *Client) Functions(ctx context.Context, authority event.AuthorityID) (list []Function, err error) {
	return list, c.Get(ctx, of(authority)+"/functions", nil, &list)
}

// Import sends a file of people.
func (c *Client) Import(ctx context.Context, authority event.AuthorityID, o directory.ImportOptions, file io.Reader) (report ImportReport, err error) {
	q := url.Values{}
	set(q, "format", string(o.Format))
	set(q, "key", o.KeyColumn)
	set(q, "functionsIn", o.FunctionsIn)
	if o.Prune {
		q.Set("prune", "true")
	}
	if o.DryRun {
		q.Set("dryRun", "true")
	}
	return report, c.Upload(ctx, of(authority)+"/imports", q, file, &report)
}

// Preview tells whom an alarm would reach.
func (c *Client) Preview(ctx context.Context, authority event.AuthorityID, d AlarmDraft) (p alarm.Preview, err error) {
	return p, c.Send(ctx, http.MethodPost, of(authority)+"/alarms/preview", d, &p, "")
}

// Raise raises an alarm. With a key (16 to 100 characters, "" for none) the same request may be sent again safely.
func (c *Client) Raise(ctx context.Context, authority event.AuthorityID, d AlarmDraft, key string) (r RaisedAlarm, err error) {
	return r, c.Send(ctx, http.MethodPost, of(authority)+"/alarms", d, &r, key)
}

// Alarms returns alarms raised before the given time (zero: now), the newest first.
func (c *Client) Alarms(ctx context.Context, authority event.AuthorityID, before time.Time, limit int) (list []alarm.Alarm, err error) {
	q := url.Values{}
	if !before.IsZero() {
		q.Set("before", before.UTC().Format(time.RFC3339Nano))
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return list, c.Get(ctx, of(authority)+"/alarms", q, &list)
}

// Board returns the board of an alarm.
func (c *Client) Board(ctx context.Context, authority event.AuthorityID, id alarm.ID) (b alarm.Board, err error) {
	return b, c.Get(ctx, of(authority)+"/alarms/"+url.PathEscape(string(id)), nil, &b)
}

// AlarmPeople returns the people of an alarm that have the status, after the given one, at most limit.
func (c *Client) AlarmPeople(ctx context.Context, authority event.AuthorityID, id alarm.ID, status alarm.Status, after directory.PersonID, limit int) (list []alarm.PersonLine, err error) {
	q := url.Values{"status": {string(status)}}
	set(q, "after", string(after))
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return list, c.Get(ctx, of(authority)+"/alarms/"+url.PathEscape(string(id))+"/people", q, &list)
}

// Cancel calls an alarm off.
func (c *Client) Cancel(ctx context.Context, authority event.AuthorityID, id alarm.ID, words Words) (w Written, err error) {
	return w, c.Send(ctx, http.MethodPost, of(authority)+"/alarms/"+url.PathEscape(string(id))+"/cancel", words, &w, "")
}

// AllClear ends an alarm.
func (c *Client) AllClear(ctx context.Context, authority event.AuthorityID, id alarm.ID, words Words) (w Written, err error) {
	return w, c.Send(ctx, http.MethodPost, of(authority)+"/alarms/"+url.PathEscape(string(id))+"/all-clear", words, &w, "")
}

func of(authority event.AuthorityID) string {
	return "/authorities/" + url.PathEscape(string(authority))
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// Get asks for the path below /api/v1 and reads the answer into into.
func (c *Client) Get(ctx context.Context, path string, q url.Values, into any) error {
	return c.do(ctx, http.MethodGet, path, q, "", "", nil, into)
}

// Send sends v as JSON (nil: no body) and reads the answer into into (nil: it is not wanted). With a key the request may
// be sent again safely where the route takes one.
func (c *Client) Send(ctx context.Context, method, path string, v, into any, key string) error {
	if v == nil {
		return c.do(ctx, method, path, nil, "", key, nil, into)
	}
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode a request: %w", err)
	}
	return c.do(ctx, method, path, nil, "application/json", key, bytes.NewReader(body), into)
}

// Upload posts a file as it is.
func (c *Client) Upload(ctx context.Context, path string, q url.Values, file io.Reader, into any) error {
	return c.do(ctx, http.MethodPost, path, q, "application/octet-stream", "", file, into)
}

// maxAnswer bounds what a client reads.
const maxAnswer = 64 << 20

func (c *Client) do(ctx context.Context, method, path string, q url.Values, mediaType, key string, body io.Reader, into any) error {
	target := c.base + prefix + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return ErrNoSite.With(err)
	}
	defer answer.Body.Close()
	return decode(answer, into)
}

func decode(answer *http.Response, into any) error {
	body := io.LimitReader(answer.Body, maxAnswer)
	if answer.StatusCode >= 300 {
		var p web.Problem
		if err := json.NewDecoder(body).Decode(&p); err != nil || p.Code == "" {
			return fault.New(fault.Unavailable, "api.answer", "the site's answer is not understood: "+answer.Status,
				"check that the address is a Holdfast site of a neighbouring version")
		}
		return p.Fault()
	}
	if into == nil || answer.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(body).Decode(into); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return ErrNoSite.With(err)
		}
		return fmt.Errorf("read the site's answer: %w", err)
	}
	return nil
}

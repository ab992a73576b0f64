// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
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
	http  *http.Client
	base  string
	token string
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

// ErrRemote is returned for an address or a token with which no program can come in.
var ErrRemote = fault.New(fault.Invalid, "api.remote", "a program cannot come in like this",
	"give an address such as https://portal.example and a token that begins with hf1_")

// NewRemoteClient returns a client for programs that come in at a site's portal with an API token. A token goes over TLS only,
// except to this very machine, and never on to another address. roots are the authorities trusted for the portal's certificate,
// nil for those of the system. It returns ErrRemote.
func NewRemoteClient(base, token string, roots *x509.CertPool) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, ErrRemote.Because("the address is not of the form https://host")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, ErrRemote.Because("without TLS everybody on the way could read the token")
	}
	if len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) || !strings.HasPrefix(token, "hf1_") {
		return nil, ErrRemote.Because("the token is not of the form hf1_...")
	}
	t := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, Proxy: http.ProxyFromEnvironment,
		TLSHandshakeTimeout: 20 * time.Second, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{http: &http.Client{Transport: t, CheckRedirect: stay}, base: strings.TrimRight(base, "/"), token: token}, nil
}

// maxToken bounds what is sent as a token.
const maxToken = 300

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

// RemoveSite says for this site's operator that a member is to be removed, and tells how far that is. With lose the site is removed even
// if an authority's data is at no other member.
func (c *Client) RemoveSite(ctx context.Context, id event.SiteID, lose bool) (r Removal, err error) {
	return r, c.Send(ctx, http.MethodPost, "/sites/"+url.PathEscape(string(id))+"/removal", RemovalOrder{Lose: lose}, &r, "")
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
func (c *Client) Preview(ctx context.Context, authority event.AuthorityID, d AlarmDraft) (p Preview, err error) {
	return p, c.Send(ctx, http.MethodPost, of(authority)+"/alarms/preview", d, &p, "")
}

// Raise raises an alarm. With a key (16 to 100 characters, "" for none) the same request may be sent again safely. If a second
// person has to agree, nobody is alarmed yet and the error is ErrAsked; see RaiseOrAsk.
func (c *Client) Raise(ctx context.Context, authority event.AuthorityID, d AlarmDraft, key string) (RaisedAlarm, error) {
	r, asked, err := c.RaiseOrAsk(ctx, authority, d, key)
	if err == nil && asked != nil {
		err = ErrAsked.Because("approval %s", asked.Approval.ID)
	}
	return r, err
}

// ErrAsked is returned by Raise and Erase for a deed that waits for a second person.
var ErrAsked = fault.New(fault.Conflict, "api.asked", "nothing is done yet: a second person has to agree",
	"have somebody else with the same right approve it")

// RaiseOrAsk is Raise for those who can wait for a second person: asked is then what waits for them.
func (c *Client) RaiseOrAsk(ctx context.Context, authority event.AuthorityID, d AlarmDraft, key string) (r RaisedAlarm, asked *Pending, err error) {
	asked, err = c.sendOrAsk(ctx, http.MethodPost, of(authority)+"/alarms", d, &r, key)
	return r, asked, err
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

// CallNow has a held alarm called for, or its closing message.
func (c *Client) CallNow(ctx context.Context, authority event.AuthorityID, id alarm.ID) (w Written, err error) {
	return w, c.Send(ctx, http.MethodPost, of(authority)+"/alarms/"+url.PathEscape(string(id))+"/call", nil, &w, "")
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
	answer, err := c.sendJSON(ctx, method, path, v, key)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return decode(answer, into)
}

// sendOrAsk is Send for deeds that may take a second person: then it returns what waits for them, and into stays as it is.
func (c *Client) sendOrAsk(ctx context.Context, method, path string, v, into any, key string) (*Pending, error) {
	answer, err := c.sendJSON(ctx, method, path, v, key)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusAccepted {
		var p Pending
		return &p, decode(answer, &p)
	}
	return nil, decode(answer, into)
}

func (c *Client) sendJSON(ctx context.Context, method, path string, v any, key string) (*http.Response, error) {
	if v == nil {
		return c.send(ctx, method, path, nil, "", key, nil)
	}
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode a request: %w", err)
	}
	return c.send(ctx, method, path, nil, "application/json", key, bytes.NewReader(body))
}

// Upload posts a file as it is.
func (c *Client) Upload(ctx context.Context, path string, q url.Values, file io.Reader, into any) error {
	return c.do(ctx, http.MethodPost, path, q, "application/octet-stream", "", file, into)
}

// maxAnswer bounds what a client reads.
const maxAnswer = 64 << 20

func (c *Client) do(ctx context.Context, method, path string, q url.Values, mediaType, key string, body io.Reader, into any) error {
	answer, err := c.send(ctx, method, path, q, mediaType, key, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return decode(answer, into)
}

// send returns the answer as it comes; the caller closes its body.
func (c *Client) send(ctx context.Context, method, path string, q url.Values, mediaType, key string, body io.Reader) (*http.Response, error) {
	target := c.base + prefix + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, ErrNoSite.With(err)
	}
	return answer, nil
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

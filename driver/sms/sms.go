// SPDX-License-Identifier: EUPL-1.2

package sms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/fault"
)

// MaxRetryAfter bounds how long a gateway may ask us to wait.
const MaxRetryAfter = 5 * time.Minute

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// Auth says how the secret is sent.
type Auth string

// The kinds of authentication.
const (
	NoAuth Auth = ""
	Bearer Auth = "bearer" // Authorization: Bearer SECRET
	Basic  Auth = "basic"  // Authorization: Basic, with User and the secret as password
)

// Encoding says how values are escaped in the body.
type Encoding string

// The encodings of a body.
const (
	JSON Encoding = "json"
	Form Encoding = "form"
)

// Config describes a provider's HTTP interface. See the package comment for an example.
type Config struct {
	// URL is a template; values in it are escaped as query values. https, or http to a loopback or private address.
	URL string
	// Method is POST if empty.
	Method  string
	Headers map[string]string
	// Body is a template, escaped by Encoding, which is JSON if empty. An empty body is sent for an empty template.
	Body     string
	Encoding Encoding
	// Success are the statuses that mean taken; empty means 200 to 299.
	Success []int
	// IdempotencyHeader names the header that carries the key; "" for none.
	IdempotencyHeader string
	Auth              Auth
	User              string
	// Secret is a reference that the reader of secrets understands, usually a file's name.
	Secret string
	// Ref is where the answer's JSON names the message: "id", "messages.0.id"; "" for nowhere.
	Ref string
	// Now is read for Retry-After dates; nil means time.Now.
	Now func() time.Time
}

// Gateway is an alarm.Channel of kind SMS. It is safe for concurrent use and keeps connections open.
type Gateway struct {
	cfg       Config
	url, body *template.Template
	secret    func(ref string) (string, error)
	client    *http.Client
}

var _ alarm.Channel = (*Gateway)(nil)

// New returns a gateway. readSecret returns what a reference refers to; it is asked for every message, so that a changed
// secret takes effect at once. New returns a fault of kind Invalid that names the wrong field.
func New(c Config, readSecret func(ref string) (string, error)) (*Gateway, error) {
	if c.Method == "" {
		c.Method = http.MethodPost
	}
	if c.Encoding == "" {
		c.Encoding = JSON
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	g := &Gateway{cfg: c, secret: readSecret}
	if err := g.prepare(); err != nil {
		return nil, err
	}
	g.client = &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
			MaxResponseHeaderBytes: maxAnswer,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return g, nil
}

func invalid(field, format string, args ...any) error {
	return fault.New(fault.Invalid, "sms.config", "the SMS gateway's settings are wrong: "+fmt.Sprintf(format, args...),
		"compare with the provider's description and docs/operating.md").At(0, field)
}

// prepare checks the settings by making a request that is not sent.
func (g *Gateway) prepare() (err error) {
	c := g.cfg
	if g.url, err = template.New("url").Option("missingkey=error").Parse(c.URL); err != nil {
		return invalid("url", "not a template: %v", err)
	}
	if g.body, err = template.New("body").Option("missingkey=error").Parse(c.Body); err != nil {
		return invalid("body", "not a template: %v", err)
	}
	if c.Auth != NoAuth && c.Auth != Bearer && c.Auth != Basic {
		return invalid("auth", "%.20q is none of bearer, basic", string(c.Auth))
	}
	if c.Encoding != JSON && c.Encoding != Form {
		return invalid("encoding", "%.20q is none of json, form", string(c.Encoding))
	}
	if c.Auth != NoAuth && c.Secret == "" {
		return invalid("secret", "%s needs a secret", c.Auth)
	}
	sample := alarm.Message{IdempotencyKey: "key", To: "+491710000000", Text: "\"Umlaut: ä\"\n"}
	body, err := fill(g.body, sample, g.escape)
	if err != nil {
		return invalid("body", "%v", err)
	}
	if c.Body != "" && c.Encoding == JSON && !json.Valid([]byte(body)) {
		return invalid("body", "it does not make JSON; put the values inside quotation marks")
	}
	req, err := g.request(context.Background(), sample)
	if err != nil {
		return invalid("url", "%v", err)
	}
	if req.URL.Host == "" || req.URL.Scheme != "https" && (req.URL.Scheme != "http" || !near(req.URL.Hostname())) {
		return invalid("url", "only https leaves the house; http is for loopback and private addresses")
	}
	return nil
}

// near reports whether a host is this machine or in a private network.
func near(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && (ip.IsLoopback() || ip.IsPrivate())
}

// Kind returns directory.SMS.
func (g *Gateway) Kind() directory.ChannelKind { return directory.SMS }

var number = regexp.MustCompile(`^\+?[0-9]{3,20}$`)

// Send hands one message over. See the package comment for what is final and what is temporary.
func (g *Gateway) Send(ctx context.Context, m alarm.Message) (alarm.SendResult, error) {
	if !number.MatchString(m.To) {
		return alarm.SendResult{}, &alarm.SendError{Code: "sms.number", Final: true}
	}
	req, err := g.request(ctx, m)
	if err != nil {
		return alarm.SendResult{}, &alarm.SendError{Code: "sms.request"}
	}
	if err := g.authenticate(req); err != nil {
		return alarm.SendResult{}, &alarm.SendError{Code: "sms.secret", Err: err}
	}
	res, err := g.client.Do(req)
	if err != nil {
		return alarm.SendResult{}, &alarm.SendError{Code: "sms.unreachable", Err: withoutURL(err)}
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if !g.taken(res.StatusCode) {
		return alarm.SendResult{}, g.refusal(res)
	}
	if err != nil {
		// The status says taken; what is lost is only the reference.
		return alarm.SendResult{}, nil
	}
	return alarm.SendResult{Ref: refIn(answer, g.cfg.Ref)}, nil
}

// withoutURL takes the address away from an HTTP client's error, since it may hold the number.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func (g *Gateway) taken(status int) bool {
	if len(g.cfg.Success) == 0 {
		return status >= 200 && status < 300
	}
	return slices.Contains(g.cfg.Success, status)
}

// aboutUs are the 4xx that say nothing against the message.
var aboutUs = []int{401, 402, 403, 404, 405, 407, 408, 425, 429}

func (g *Gateway) refusal(res *http.Response) *alarm.SendError {
	s := res.StatusCode
	return &alarm.SendError{
		Code:       "sms.http_" + strconv.Itoa(s),
		Final:      s >= 400 && s < 500 && !slices.Contains(aboutUs, s),
		RetryAfter: retryAfter(res.Header.Get("Retry-After"), g.cfg.Now()),
	}
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3), up to MaxRetryAfter; anything else is no wish.
func retryAfter(value string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return max(0, min(d, MaxRetryAfter))
}

func (g *Gateway) request(ctx context.Context, m alarm.Message) (*http.Request, error) {
	to, err := fill(g.url, m, url.QueryEscape)
	if err != nil {
		return nil, err
	}
	body, err := fill(g.body, m, g.escape)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, g.cfg.Method, to, strings.NewReader(body))
	if err != nil {
		return nil, withoutURL(err)
	}
	req.Header.Set("Content-Type", map[Encoding]string{JSON: "application/json", Form: "application/x-www-form-urlencoded"}[g.cfg.Encoding])
	req.Header.Set("User-Agent", "holdfast")
	for _, k := range slices.Sorted(maps.Keys(g.cfg.Headers)) {
		req.Header.Set(k, g.cfg.Headers[k])
	}
	if g.cfg.IdempotencyHeader != "" {
		req.Header.Set(g.cfg.IdempotencyHeader, m.IdempotencyKey)
	}
	return req, nil
}

func (g *Gateway) authenticate(req *http.Request) error {
	if g.cfg.Auth == NoAuth {
		return nil
	}
	secret, err := g.secret(g.cfg.Secret)
	if err != nil {
		return err
	}
	secret = strings.TrimSpace(secret)
	if g.cfg.Auth == Basic {
		req.SetBasicAuth(g.cfg.User, secret)
		return nil
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	return nil
}

// escape makes a value safe inside the body.
func (g *Gateway) escape(s string) string {
	if g.cfg.Encoding == Form {
		return url.QueryEscape(s)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return "" // cannot happen: a string always has a JSON form
	}
	return string(b[1 : len(b)-1])
}

func fill(t *template.Template, m alarm.Message, escape func(string) string) (string, error) {
	var b bytes.Buffer
	err := t.Execute(&b, map[string]string{"To": escape(m.To), "Text": escape(m.Text), "Key": escape(m.IdempotencyKey)})
	return b.String(), err
}

// refIn returns the string or number at a dotted path in a JSON answer, "" if there is none.
func refIn(answer []byte, path string) string {
	if path == "" {
		return ""
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return ""
	}
	for part := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(at) {
				return ""
			}
			v = at[i]
		default:
			return ""
		}
	}
	switch at := v.(type) {
	case string:
		return at
	case json.Number:
		return at.String()
	}
	return ""
}

// SPDX-License-Identifier: EUPL-1.2

package oidc

import (
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// maxAnswer bounds an answer's body; descriptions and key sets have some kilobytes.
const maxAnswer = 512 << 10

var errTooLong = errors.New("the answer is too long")

// bounded returns a client that follows no redirects, because secrets must not go elsewhere, and that waits and reads only so
// much. Only the transport of base is used.
func bounded(base *http.Client, answer time.Duration) *http.Client {
	var next http.RoundTripper = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second, MaxIdleConnsPerHost: 4, IdleConnTimeout: 60 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if base != nil && base.Transport != nil {
		next = base.Transport
	}
	return &http.Client{
		Transport: bound{next}, Timeout: answer,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bound is a transport whose answers end with an error where they get too long: the libraries read to the end.
type bound struct{ next http.RoundTripper }

func (b bound) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = &boundBody{ReadCloser: resp.Body, left: maxAnswer}
	}
	return resp, err
}

type boundBody struct {
	io.ReadCloser
	left int
}

func (b *boundBody) Read(into []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(into[:min(len(into), b.left)])
	b.left -= n
	return n, err
}

var reasonPattern = regexp.MustCompile(`^[a-z_]{1,40}$`)

// exchangeFault says what a failed exchange means. The provider's own words stay outside, but for the error code of RFC 6749,
// 5.2: nobody knows what they repeat.
func exchangeFault(err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return ErrUnavailable.With(plain(err))
	}
	reason := refused.ErrorCode
	if !reasonPattern.MatchString(reason) {
		reason = "no reason that we know"
	}
	if refused.Response != nil && refused.Response.StatusCode >= 500 {
		return ErrUnavailable.With(errors.New(reason))
	}
	return ErrRefused.With(errors.New(reason))
}

// plain returns what went wrong on the way, without address and body.
func plain(err error) error {
	var netErr net.Error
	switch {
	case errors.Is(err, errTooLong):
		return errTooLong
	case errors.As(err, &netErr) && netErr.Timeout():
		return errors.New("no answer in time")
	case errors.As(err, &netErr):
		return errors.New("the connection failed")
	}
	return errors.New("the answer is not what it should be")
}

// brief returns an error's first line, cut: libraries put whole answers into theirs.
func brief(err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(text[:min(len(text), 160)])
}

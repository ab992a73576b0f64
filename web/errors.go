// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"codeberg.org/holdfast/holdfast/fault"
)

// statuses is the one table from kinds of faults to HTTP (RFC 9110, section 15).
var statuses = map[fault.Kind]int{
	fault.Invalid:         http.StatusUnprocessableEntity,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Forbidden:       http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.Conflict:        http.StatusConflict,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.Exhausted:       http.StatusInsufficientStorage,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Internal:        http.StatusInternalServerError,
}

// Status returns the HTTP status of a kind of fault; 500 for a kind that is not known.
func Status(k fault.Kind) int {
	if s, ok := statuses[k]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// Problem is how a fault travels as JSON (RFC 9457, with our own members).
type Problem struct {
	Title   string     `json:"title"`
	Status  int        `json:"status"`
	Kind    fault.Kind `json:"kind"`
	Code    string     `json:"code"`
	Message string     `json:"message"`
	WayOut  string     `json:"wayOut,omitempty"`
	Line    int        `json:"line,omitempty"`
	Field   string     `json:"field,omitempty"`
}

// ProblemOf returns the problem that tells of f.
func ProblemOf(f *fault.Fault) Problem {
	status := Status(f.Kind)
	return Problem{Title: http.StatusText(status), Status: status, Kind: f.Kind, Code: f.Code, Message: f.Message,
		WayOut: f.WayOut, Line: f.Line, Field: f.Field}
}

// Fault returns the fault that the problem tells of.
func (p Problem) Fault() *fault.Fault {
	return &fault.Fault{Kind: p.Kind, Code: p.Code, Message: p.Message, WayOut: p.WayOut, Line: p.Line, Field: p.Field}
}

// Errors writes errors as answers: as a page where HTML is set and a browser asks, as a Problem otherwise.
type Errors struct {
	// HTML renders a page for people. It must write status and body. May be nil.
	HTML func(w http.ResponseWriter, r *http.Request, status int, f *fault.Fault)
	// Logger gets what is not a fault, once, with its cause. Required.
	Logger *slog.Logger
}

// ErrStopped is what a request is answered with that the end of the site, or of the caller's patience, has cut off.
var ErrStopped = fault.New(fault.Unavailable, "web.stopped", "the site is stopping, or the request was given up",
	"try again in a moment; what was not confirmed may have been written all the same")

// Write answers r with err. It logs only what is our own mistake; everything else is the caller's to mend.
func (e *Errors) Write(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.Of(err)
	if f.Kind == fault.Internal && errors.Is(err, context.Canceled) {
		f = ErrStopped
	} else if d := fault.OfDisk(err); d != nil {
		f = d
	}
	status := Status(f.Kind)
	if status == http.StatusInternalServerError {
		e.Logger.ErrorContext(r.Context(), "request failed", "method", r.Method, "route", r.Pattern, "error", err)
	}
	w.Header().Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	if e.HTML != nil && !wantsJSON(r) {
		e.HTML(w, r, status, f)
		return
	}
	WriteJSON(w, status, "application/problem+json", ProblemOf(f))
}

// WriteJSON answers with v as JSON of the given media type ("" is application/json).
func WriteJSON(w http.ResponseWriter, status int, mediaType string, v any) {
	if mediaType == "" {
		mediaType = "application/json"
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(true)
	_ = enc.Encode(v) // the connection is gone if this fails; there is nobody left to tell
}

func wantsJSON(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/api/") || strings.Contains(r.Header.Get("Accept"), "json")
}

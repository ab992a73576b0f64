// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"errors"
	"io"
	"net/http"
	"time"

	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/web"
)

func auditLineOf(l audit.Line) AuditLine {
	return AuditLine{ID: l.ID, At: l.At, Since: l.Since, Site: l.Site, Deed: l.Deed, Actor: l.Actor, Way: l.Way, From: l.From,
		Object: l.Object, Outcome: string(l.Outcome), Code: l.Code, Grant: l.Grant, Count: l.Count, Readable: string(l.Readable)}
}

// moment reads a query parameter that is a time, zero if it is missing.
func moment(r *http.Request, name string) (time.Time, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, errQuery.Because("a time such as 2026-11-22T03:14:15Z is wanted").At(0, name)
	}
	return t, nil
}

// audit answers with lines of an authority, or of the federation where the path names none: what belongs to no authority, such as
// refusals of those whom nobody knows.
func (a *API) audit(w http.ResponseWriter, r *http.Request) (err error) {
	var id event.AuthorityID
	if r.PathValue("authority") != "" {
		if id, err = a.authority(r); err != nil {
			return err
		}
	}
	q := r.URL.Query()
	f := audit.Query{Text: q.Get("q"), Actor: q.Get("actor"), Deed: q.Get("deed"), Grant: q.Get("grant"), Outcome: q.Get("outcome"), After: q.Get("after")}
	if f.Limit, err = number(r, "limit", audit.DefaultLimit, audit.MaxLimit); err != nil {
		return err
	}
	if f.From, err = moment(r, "from"); err != nil {
		return err
	}
	if f.Until, err = moment(r, "until"); err != nil {
		return err
	}
	list, err := a.cfg.Entries.Entries(r.Context(), id, f)
	if err != nil {
		return err
	}
	out := make([]AuditLine, 0, len(list))
	for _, l := range list {
		out = append(out, auditLineOf(l))
	}
	return ok(w, out)
}

// exportAudit streams the signed pages of all audit logs. What fails on the way cuts the connection, so that half a file is
// not taken for a whole one.
func (a *API) exportAudit(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	if err := http.NewResponseController(w).SetWriteDeadline(a.cfg.Now().Add(time.Hour)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	web.Did(r.Context(), "audit.export")
	s := &stream{w: w, mediaType: "application/octet-stream"}
	err = a.cfg.Entries.Export(r.Context(), id, a.cfg.Pages, s)
	if err != nil && s.begun {
		a.cfg.Logger.ErrorContext(r.Context(), "an export of the audit broke off", "error", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

// stream is an answer that begins with its first byte, so that an error before that can still be told as one.
type stream struct {
	w         http.ResponseWriter
	mediaType string
	begun     bool
}

var _ io.Writer = (*stream)(nil)

func (s *stream) Write(b []byte) (int, error) {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", s.mediaType)
		s.w.WriteHeader(http.StatusOK)
	}
	return s.w.Write(b)
}

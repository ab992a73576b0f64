// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/fault"
)

// ErrStreams is returned when too many live pages are open.
var ErrStreams = fault.New(fault.Unavailable, "web.streams", "too many live pages are open at this site",
	"the page works without live news: load it again now and then")

// Streams serves server-sent events (WHATWG HTML, 9.2). What is sent is the *name* of what changed, never data: the
// browser fetches the fragment, so that rights are judged on every read. Before every event the sender is authenticated
// again; a session that has ended ends the stream.
type Streams struct {
	auth      Authenticator
	slots     chan struct{}
	heartbeat time.Duration
}

// NewStreams allows max streams at a time and sends a comment each heartbeat, so that dead connections are noticed.
func NewStreams(auth Authenticator, max int, heartbeat time.Duration) *Streams {
	return &Streams{auth: auth, slots: make(chan struct{}, max), heartbeat: heartbeat}
}

// Serve sends names until the client goes, the session ends or names is closed. It returns an error only before the
// first byte was sent. Several names that are waiting go out once each.
func (s *Streams) Serve(w http.ResponseWriter, r *http.Request, names <-chan string) error {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return ErrStreams
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	rc := http.NewResponseController(w)
	send := func(text string) bool {
		if err := rc.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return false
		}
		if _, err := fmt.Fprint(w, text); err != nil {
			return false
		}
		return rc.Flush() == nil
	}
	if !send("retry: 2000\n: open\n\n") {
		return nil
	}
	s.pump(r, names, send)
	return nil
}

func (s *Streams) pump(r *http.Request, names <-chan string, send func(string) bool) {
	tick := time.NewTicker(s.heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			if !s.known(r) || !send(": still here\n\n") {
				return
			}
		case name, ok := <-names:
			if !ok || !s.known(r) {
				return
			}
			if !send("event: changed\ndata: " + oneLine(name) + "\n\n") {
				return
			}
		}
	}
}

func (s *Streams) known(r *http.Request) bool {
	_, err := s.auth.Authenticate(r)
	return err == nil
}

func oneLine(s string) string {
	return strings.NewReplacer("\n", " ", "\r", " ").Replace(s)
}

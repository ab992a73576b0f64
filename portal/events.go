// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"net/http"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/web"
)

// How often a page is told at most, and how often those parts are told of that change without any event (lag, times).
const (
	tellEvery = 300 * time.Millisecond
	lookEvery = 5 * time.Second
)

// topic is what a live page watches, and which of its parts change with it.
type topic struct {
	refs  []readmodel.Ref
	parts []string
	look  time.Duration
}

var errTopic = fault.New(fault.Invalid, "portal.topic", "there is no such live page", "load the page again")

// topicOf reads what the page wants to hear of, and checks that its reader may: when something happens in an authority is
// nobody else's business.
func (p *Portal) topicOf(r *http.Request) (topic, error) {
	q := r.URL.Query()
	authority := event.AuthorityID(q.Get("authority"))
	r.SetPathValue("authority", string(authority))
	a, _ := web.ActorOf(r.Context())
	switch of := q.Get("of"); of {
	case "overview":
		return topic{refs: []readmodel.Ref{{Authority: event.Federation}, {Authority: a.Authority, Subject: "alarm"}, {Authority: a.Authority, Subject: "approval"}, {Authority: a.Authority, Subject: "authority"}},
			parts: []string{"overview"}, look: lookEvery}, nil
	case "merges":
		return topic{refs: []readmodel.Ref{{Authority: a.Authority, Subject: "alarm"}}, parts: []string{"merges"}, look: lookEvery}, nil
	}
	if _, err := p.cfg.Judge.Judge(r.Context(), a.Principal, authority, access.SeeAlarms); err != nil {
		return topic{}, err
	}
	switch of := q.Get("of"); of {
	case "alarms":
		if _, err := p.authority(r); err != nil {
			return topic{}, err
		}
		return topic{refs: []readmodel.Ref{{Authority: authority, Subject: "alarm"}, {Authority: authority, Subject: "approval"}}, parts: []string{"alarms"}, look: lookEvery}, nil
	case "board":
		id := alarm.ID(q.Get("alarm"))
		if _, err := p.authority(r); err != nil {
			return topic{}, err
		}
		if !id.Valid() {
			return topic{}, errTopic
		}
		return topic{refs: []readmodel.Ref{{Authority: authority, Subject: event.Subject("alarm/" + id)}},
			parts: []string{"board", "list"}, look: lookEvery}, nil
	}
	return topic{}, errTopic
}

// streamEvents tells a live page which of its parts have changed.
func (p *Portal) streamEvents(w http.ResponseWriter, r *http.Request) error {
	t, err := p.topicOf(r)
	if err != nil {
		return err
	}
	changes, stop := p.cfg.Model.Watch(t.refs...)
	defer stop()
	ctx, cancel := context.WithCancel(r.Context())
	names := make(chan string)
	done := make(chan struct{})
	go func() {
		defer close(done)
		gather(ctx, t, changes, names)
	}()
	defer func() { cancel(); <-done }()
	return p.streams.Serve(w, r, names)
}

// gather turns many changes into few: the first is told at once, then at most one each tellEvery.
func gather(ctx context.Context, t topic, changes <-chan readmodel.Name, names chan<- string) {
	look := time.NewTicker(t.look)
	defer look.Stop()
	text := strings.Join(t.parts, " ")
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		case _, ok := <-changes:
			if !ok {
				changes = nil // the model is closing; times still move
				continue
			}
			drain(changes)
		}
		select {
		case names <- text:
		case <-ctx.Done():
			return
		}
		if !pause(ctx, tellEvery) {
			return
		}
	}
}

func drain(changes <-chan readmodel.Name) {
	for {
		select {
		case _, ok := <-changes:
			if !ok {
				return
			}
		default:
			return
		}
	}
}

// pause waits, and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/session"
	"codeberg.org/holdfast/holdfast/site"
)

// domains are the real services at one site.
type domains struct {
	directory *directory.Service
	alarm     *alarm.Service
	caller    *alarm.Caller
	desk      alarm.Desk
	access    *access.Service
	judge     judge
	audit     *audit.Service
	lines     *lastReceipt
	accounts  *identity.Service
	guests    *guest.Service
	sessions  *session.Service
}

func (w *World) folds() []readmodel.Fold {
	return []readmodel.Fold{
		noteFold(), site.Fold(), directory.Fold(), alarm.Fold(), access.Fold(), audit.Fold(), identity.Fold(), guest.Fold(), session.Fold(),
	}
}

func (n *node) openDomains(_ context.Context, logger *slog.Logger) error {
	log := recorder{n}
	watch := alarm.Watch{Self: n.site, Clock: n.rep.Clock, Timeline: &alarm.Timeline{}}
	d := &domains{desk: alarm.Desk{Model: n.model}}
	d.directory = directory.New(directory.Config{Log: log, Model: n.model, Keys: n.ring, Rand: n.rnd, Logger: logger,
		MoreKeys: n.accountKeys})
	d.alarm = alarm.NewService(alarm.Config{
		Self: n.site, Log: log, Model: n.model, Directory: d.directory, Federation: n, Keys: n.ring, Now: n.clock, Rand: n.rnd,
		Logger: logger, Watch: watch,
	})
	d.caller = alarm.NewCaller(alarm.CallerConfig{
		Self: n.site, Log: log, Work: d.desk, Directory: d.directory, Federation: n, Keys: n.ring,
		Channels:    []alarm.Channel{gateway{n, directory.SMS}, gateway{n, directory.Email}},
		Window:      callWindow,
		Replication: n.neighbours(), Now: n.clock, Steady: n.steady, Logger: logger, Watch: watch,
	})
	n.openPeople(d, logger)
	n.people = d
	return nil
}

// recorder is the log as the domains see it: what it acknowledges goes into the ledger.
type recorder struct{ n *node }

// Append implements eventlog.Appender.
func (r recorder) Append(ctx context.Context, id event.AuthorityID, class event.Class, drafts ...event.Draft) (eventlog.Receipt, error) {
	if r.n.keeps(drafts) {
		return eventlog.Receipt{}, errSlow
	}
	receipt, err := r.n.log.Append(ctx, id, class, drafts...)
	for _, e := range receipt.Events {
		f := r.n.w.ledger.addEvent(id, r.n, e.ID)
		f.fate, f.log, f.at = mustBe, receipt.Log, receipt.Last
	}
	return receipt, err
}

// Held implements alarm.Federation.
func (n *node) Held() []event.AuthorityID { return n.mayHold() }

// Sites implements alarm.Federation.
func (n *node) Sites(id event.AuthorityID) []alarm.Site {
	a, _ := n.fed.Authority(id)
	var out []alarm.Site
	for _, s := range a.Sites {
		if m, ok := n.fed.MemberOf(s); ok {
			out = append(out, alarm.Site{ID: s, Operator: n.fed.Operator(s), PortalURL: m.PortalURL})
		}
	}
	return out
}

// gateway takes messages for the phones of the world, and counts. Sometimes it is busy, and sometimes its answer is lost.
type gateway struct {
	n    *node
	kind directory.ChannelKind
}

// Kind implements alarm.Channel.
func (g gateway) Kind() directory.ChannelKind { return g.kind }

// Send implements alarm.Channel.
func (g gateway) Send(_ context.Context, m alarm.Message) (alarm.SendResult, error) {
	w := g.n.w
	dice := w.rnd.IntN(20)
	well := w.healed || w.calm
	if dice == 0 && !well {
		return alarm.SendResult{}, &alarm.SendError{Code: "sim.busy"}
	}
	w.alarms.take(g.n, m.IdempotencyKey)
	if dice == 1 && !well {
		return alarm.SendResult{}, &alarm.SendError{Code: "sim.lost"}
	}
	return alarm.SendResult{Ref: "ref"}, nil
}

// domainAction lets people use the site.
func (w *World) domainAction(ctx context.Context) error {
	n := w.someone()
	if n == nil {
		return nil
	}
	held := n.mayHold()
	if len(held) == 0 {
		return nil
	}
	id := held[w.rnd.IntN(len(held))]
	switch w.rnd.IntN(12) {
	case 0, 1:
		return w.importPeople(ctx, n, id)
	case 2, 3:
		return w.raise(ctx, n, id)
	case 4, 5, 6:
		return w.reply(ctx, n, id)
	case 7:
		return w.closeAlarm(ctx, n, id)
	}
	did, err := n.domainStep(ctx)
	if did {
		w.logf("%v calls", n)
	}
	return err
}

// domainStep is one step of the doers. It reports whether it did anything.
func (n *node) domainStep(ctx context.Context) (bool, error) {
	if _, err := n.fold(ctx); err != nil {
		return false, err
	}
	began, err := n.people.caller.Step(ctx, n.clock())
	if err != nil {
		return false, fmt.Errorf("call at %v: %w", n, err)
	}
	return began > 0, n.lookAfter(ctx)
}

// importPeople imports a table of a few people, each time a little different.
func (w *World) importPeople(ctx context.Context, n *node, id event.AuthorityID) error {
	var b strings.Builder
	b.WriteString("Personalnummer;Nachname;Vorname;Mobil;E-Mail;OE\n")
	for i := range 3 + w.rnd.IntN(6) {
		mobile, mail := fmt.Sprintf("+4915100000%03d", i), fmt.Sprintf("p%d@%s.example", i, id)
		switch i % 5 {
		case 1:
			mobile = ""
		case 2:
			mail = ""
		case 3:
			mobile, mail = "", ""
		}
		fmt.Fprintf(&b, "%d;Müller%d;Ute;%s;%s;Amt %d\n", i, w.rnd.IntN(3), mobile, mail, i%3)
	}
	report, err := n.people.directory.Import(ctx, id, directory.ImportOptions{Format: directory.CSV}, strings.NewReader(b.String()))
	w.logf("%v imports people of %s: %d added, %d changed: %s", n, id, report.Added, report.Changed, outcome(err))
	return unexpected(err)
}

// unexpected returns err unless it is one of those that disks, links and missing keys cause.
func unexpected(err error) error {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Exhausted, fault.NotFound, fault.Conflict, "":
		return nil
	}
	return err
}

func (w *World) raise(ctx context.Context, n *node, id event.AuthorityID) error {
	return w.raiseFor(ctx, n, id, time.Duration(1+w.rnd.IntN(10))*time.Second)
}

// raiseFor raises an alarm with a takeover delay and, if any are given, with the sites that are to call first.
func (w *World) raiseFor(ctx context.Context, n *node, id event.AuthorityID, takeover time.Duration, first ...event.SiteID) error {
	a, _, err := n.people.alarm.Raise(ctx, id, alarm.Draft{
		TextDE: "Probe", TextEN: "Test", Mode: event.Test, Audience: directory.Audience{Everyone: true}, Actor: "operator",
		TakeoverAfter: takeover, Ranking: first,
	})
	w.logf("%v raises an alarm of %s for %d people: %s", n, id, a.Raised.Recipients, outcome(err))
	if err == nil {
		w.alarms.raised = append(w.alarms.raised, &raised{authority: id, id: a.ID})
	} else if errorsIsNobody(err) {
		return nil
	}
	return refusal(err)
}

func errorsIsNobody(err error) bool { return fault.Of(err).Code == alarm.ErrNobody.Code }

// someAlarm returns an alarm of the authority that somebody has raised, nil if there is none.
func (w *World) someAlarm(id event.AuthorityID) *raised {
	var of []*raised
	for _, r := range w.alarms.raised {
		if r.authority == id {
			of = append(of, r)
		}
	}
	if len(of) == 0 {
		return nil
	}
	return of[w.rnd.IntN(len(of))]
}

// reply lets somebody who was called press a link, at any site that may hold the authority's data.
func (w *World) reply(ctx context.Context, n *node, id event.AuthorityID) error {
	r := w.someAlarm(id)
	if r == nil {
		return nil
	}
	people := w.alarms.called(r, alarm.Call)
	key, err := n.ring.Named(ctx, id, "link")
	if err != nil || len(people) == 0 {
		return unexpected(err)
	}
	link := alarm.Link{Authority: id, Alarm: r.id, Person: people[w.rnd.IntN(len(people))], Expires: start.Add(72 * time.Hour)}
	token, err := link.Token(key.Secret)
	if err != nil {
		return err
	}
	kinds := []alarm.ReplyKind{alarm.Coming, alarm.Cannot, alarm.Safe}
	_, _, err = n.people.alarm.Reply(ctx, token, kinds[w.rnd.IntN(len(kinds))], 0)
	w.logf("somebody replies to alarm %s at %v: %s", r.id, n, outcome(err))
	return refusal(err) // a site whose clock is years ahead takes the link for an old one
}

func (w *World) closeAlarm(ctx context.Context, n *node, id event.AuthorityID) error {
	r := w.someAlarm(id)
	if r == nil || w.rnd.IntN(3) > 0 {
		return nil
	}
	_, err := n.people.alarm.AllClear(ctx, id, r.id, alarm.Words{Actor: "operator"})
	w.logf("%v gives the all-clear for alarm %s: %s", n, r.id, outcome(err))
	return unexpected(err)
}

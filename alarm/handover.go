// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"context"
	"errors"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
)

// window holds the receipts of one authority that no other site is known to hold. While it is full, a call waits for the other
// sites: for stallAfter, then one more window may begin, and so on, until they acknowledge something. So a site that is in touch
// and whose receipts are not acknowledged goes on slowly, and what its death would double grows by a window in stallAfter at
// most. So does one that has heard nobody for less than cutOff; after that nobody is waited for.
//
// Each authority has its own, since other sites hold it: one whose receipts nobody acknowledges must not hold up another.
type window struct {
	held     []unreplicated
	underway int       // hand-overs that have begun and not ended
	added    int       // receipts so far
	limit    int       // after a stall: up to which number of receipts hand-overs may begin; else 0
	full     time.Time // since when it has been full, zero if it is not
	released time.Time // when it last let one go
}

type unreplicated struct {
	log eventlog.LogID
	pos eventlog.Position
}

func (w *window) len() int { return len(w.held) }

// empty reports whether nothing is lost when the window is forgotten: a stall ends at the latest with the last receipt.
func (w *window) empty() bool { return w.len() == 0 && w.underway == 0 }

// open reports whether another hand-over may begin.
func (w *window) open(size int, alone bool, now time.Time) bool {
	switch {
	case alone || w.added+w.underway < w.limit:
		return true
	case w.len()+w.underway < size:
		w.full = time.Time{}
		return true
	case w.len() < size/2:
		return false // the gateways are what is waited for, not the other sites
	case w.full.IsZero() || w.released.After(w.full):
		w.full = now
	case now.Sub(w.full) >= stallAfter:
		w.full, w.limit = now, w.added+w.underway+size
		return true
	}
	return false
}

// stalled reports whether hand-overs begin that the window would not have let through.
func (w *window) stalled() bool { return w.limit > 0 }

// add takes a receipt in. Beyond the bound, when the site is alone or the others acknowledge nothing, the oldest are let go: they only
// serve to count.
func (w *window) add(r eventlog.Receipt, bound int) {
	w.added++
	w.held = append(w.held, unreplicated{r.Log, r.Last})
	if n := len(w.held); n > bound {
		w.held = slices.Delete(w.held, 0, n-bound)
	}
}

// settle lets go of the receipts that are replicated by now.
func (w *window) settle(replicated func(eventlog.LogID, eventlog.Position) bool, now time.Time) {
	before := w.len()
	w.held = slices.DeleteFunc(w.held, func(u unreplicated) bool { return replicated(u.log, u.pos) })
	if w.len() < before {
		w.released, w.limit = now, 0
	}
}

// handOver makes one hand-over: it finds the person, writes the message, gives it to the gateway and records the answer.
func (c *Caller) handOver(ctx context.Context, t *task, o Ongoing, v *vigil) {
	draft := t.unwritten
	var err error
	if draft == nil {
		if !c.stillOurs(ctx, t, o) {
			c.putBack(t, v)
			return
		}
		draft, err = c.send(ctx, t, o)
	}
	var receipt eventlog.Receipt
	var appendErr error
	if draft != nil {
		receipt, appendErr = c.cfg.Log.Append(context.WithoutCancel(ctx), o.Authority, event.Operations, *draft)
	}
	if ctx.Err() == nil && appendErr != nil {
		c.cfg.Logger.Error("a receipt could not be written; it is tried again", "authority", o.Authority, "alarm", o.ID, "err", appendErr)
	}
	c.conclude(t, v, draft, receipt, err, appendErr)
}

// send returns the receipt to write, which is nil after most temporary errors, and the error.
func (c *Caller) send(ctx context.Context, t *task, o Ongoing) (*event.Draft, error) {
	tries := t.tries + 1
	m, err := c.message(ctx, t, o, tries)
	var result SendResult
	if err == nil {
		sctx, cancel := context.WithTimeout(ctx, c.cfg.SendTimeout)
		result, err = c.channels[t.kind].Send(sctx, m)
		cancel()
	}
	d := &event.Draft{Subject: personSubject(o.ID, t.person), Actor: siteActor(c.cfg.Self), Mode: o.Raised.Mode}
	if err == nil {
		d.Kind = KindAccepted
		d.Data = Accepted{Channel: t.kind, Wave: t.wave, Ref: plain(result.Ref, 80), Site: c.cfg.Self, Tries: tries, Unsecured: c.lonely(o.Authority)}
		return d, nil
	}
	final := errors.Is(err, ErrFinal)
	if !final && (t.told || tries < tellAfter || ctx.Err() != nil) {
		return nil, err
	}
	d.Kind = KindRefused
	d.Data = Refused{Channel: t.kind, Wave: t.wave, Reason: reasonOf(err), Final: final, Site: c.cfg.Self, Tries: tries}
	return d, err
}

// lonely reports whether receipts written now count as unsecured.
func (c *Caller) lonely(authority event.AuthorityID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unheard[authority] >= heardLately || c.windowOf(authority).stalled()
}

// windowOf returns the authority's window, which is kept until it is empty. The caller holds c.mu.
func (c *Caller) windowOf(authority event.AuthorityID) *window {
	w := c.windows[authority]
	if w == nil {
		w = &window{}
		c.windows[authority] = w
	}
	return w
}

// begun and ended count a hand-over as being under way, and no longer. The caller holds c.mu.
func (c *Caller) begun(t *task) {
	t.state = active
	c.running[t.kind]++
	c.windowOf(t.authority).underway++
}

func (c *Caller) ended(t *task) {
	t.state = idle
	c.running[t.kind]--
	c.windowOf(t.authority).underway--
}

// awaitCopy takes a receipt into its authority's window, unless there is nobody who could ever acknowledge it. The caller holds c.mu.
func (c *Caller) awaitCopy(authority event.AuthorityID, r eventlog.Receipt) {
	if c.unheard[authority] != never {
		c.windowOf(authority).add(r, 4*c.cfg.Window)
	}
}

// message writes the message to one person. Who cannot be found is tried again a few times: the directory of this site
// may lag behind that of the one that raised the alarm.
func (c *Caller) message(ctx context.Context, t *task, o Ongoing, tries int) (Message, error) {
	person, err := c.cfg.Directory.Contact(ctx, o.Authority, t.person)
	switch {
	case err != nil && fault.KindOf(err) == fault.NotFound:
		return Message{}, &SendError{Code: "person.unknown", Final: tries >= giveUpAddress, Err: err}
	case err != nil:
		return Message{}, &SendError{Code: "person.unreadable", Err: err}
	case person.Readable == directory.Erased:
		return Message{}, &SendError{Code: "person.erased", Final: true}
	case person.Readable == directory.NotYet:
		return Message{}, &SendError{Code: "person.not_yet"}
	}
	to := person.Address(t.kind)
	if to == "" {
		return Message{}, &SendError{Code: "person.no_address", Final: tries >= giveUpAddress}
	}
	l := Letter{
		Mode: o.Raised.Mode, Wave: t.wave, Ending: o.Ending, TextDE: o.Raised.TextDE, TextEN: o.Raised.TextEN,
		ClosingDE: o.ClosingDE, ClosingEN: o.ClosingEN, Language: person.Language,
	}
	if t.wave == Call {
		if l.Links, err = c.links(ctx, t, o); err != nil {
			return Message{}, &SendError{Code: "link.key", Err: err}
		}
	}
	m := Message{IdempotencyKey: idempotencyKey(o.Authority, o.ID, t.person, t.kind, t.wave), To: to, Mode: o.Raised.Mode}
	if t.kind == directory.Email {
		m.Subject, m.Text = l.Subject(), l.Long()
	} else {
		m.Text = l.Short()
	}
	return m, nil
}

// links returns the person's addresses for replying.
func (c *Caller) links(ctx context.Context, t *task, o Ongoing) ([]string, error) {
	key, err := c.cfg.Keys.Named(ctx, o.Authority, linkKey)
	if err != nil {
		return nil, err
	}
	l := Link{Authority: o.Authority, Alarm: o.ID, Person: t.person, Expires: time.Unix(o.Raised.LinkExpires, 0)}
	token, err := l.Token(key.Secret)
	if err != nil {
		return nil, err
	}
	var links []string
	for _, s := range LinkSites(o.Raised.Ranking, c.cfg.Federation.Sites(o.Authority)) {
		links = append(links, s.PortalURL+"/r/"+token)
	}
	return links, nil
}

// conclude notes how a hand-over ended and when it is tried again.
func (c *Caller) conclude(t *task, v *vigil, draft *event.Draft, receipt eventlog.Receipt, err, appendErr error) {
	now := c.steady()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended(t)
	t.tries++
	t.unwritten = nil
	if v.dropped {
		delete(c.tasks, t.taskKey)
	}
	final := err == nil || errors.Is(err, ErrFinal)
	if appendErr != nil {
		if final { // the gateway has answered: only the receipt is missing
			t.unwritten = draft
		}
		t.next = now.Add(backoff(t.tries, 0))
		return
	}
	if draft != nil {
		t.told = true
		c.awaitCopy(t.authority, receipt)
	}
	if final {
		t.state, t.done = closed, v.pass
		v.tookSomething(now)
	}
	c.count(err, final)
	if !final {
		asked := c.askedWait(t.kind, err, now)
		t.next = now.Add(backoff(t.tries, asked))
	}
}

func (c *Caller) count(err error, final bool) {
	switch {
	case err == nil:
		c.stats.Accepted++
	case final:
		c.stats.Refused++
	default:
		c.stats.Failed++
	}
}

// maxPause bounds how long a gateway may hold a whole channel up.
const maxPause = 30 * time.Second

// askedWait returns how long the gateway asks us to wait, and lets the whole channel wait too.
func (c *Caller) askedWait(kind directory.ChannelKind, err error, now time.Time) time.Duration {
	e, ok := errors.AsType[*SendError](err)
	if !ok || e.RetryAfter <= 0 {
		return 0
	}
	c.pause[kind] = now.Add(min(e.RetryAfter, maxPause))
	return e.RetryAfter
}

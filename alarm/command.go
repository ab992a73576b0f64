// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// Directory knows people: a directory.Service.
type Directory interface {
	Resolve(ctx context.Context, authority event.AuthorityID, audience directory.Audience) ([]directory.Recipient, error)
	Contact(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (directory.Person, error)
}

// Federation knows sites. It answers from memory and does not block.
type Federation interface {
	// Held returns the authorities whose data this site may hold.
	Held() []event.AuthorityID
	// Sites returns the member sites that may hold the authority's data, in any order.
	Sites(authority event.AuthorityID) []Site
}

// Keys finds an authority's shared keys by name: a keyring.Ring.
type Keys interface {
	Named(ctx context.Context, authority event.AuthorityID, name string) (keyring.Key, error)
}

// linkKey is the name of the key that authenticates links.
const linkKey = "link"

// Config is what a Service works with. Every field is required.
type Config struct {
	Self       event.SiteID
	Log        eventlog.Appender
	Model      Reader
	Directory  Directory
	Federation Federation
	Keys       Keys
	// TakeoverAfter is the delay of drafts that say none; 0 is DefaultTakeover.
	TakeoverAfter time.Duration
	Now           func() time.Time
	Rand          io.Reader
	Logger        *slog.Logger
	// Watch is what is known of clocks, shared with the Caller; Self is filled in. Its zero value knows nothing.
	Watch Watch
}

// Service takes commands and answers questions about alarms. It is safe for concurrent use. Commands return when the
// facts are on this site's disk; whoever wants to read them waits for the receipt's position in the read model.
type Service struct{ cfg Config }

// NewService returns a service.
func NewService(c Config) *Service {
	c.Watch.Self = c.Self
	return &Service{cfg: c}
}

// Preview says whom an alarm would reach.
type Preview struct {
	People         int                           `json:"people"`
	WithoutChannel int                           `json:"withoutChannel"`
	PerChannel     map[directory.ChannelKind]int `json:"perChannel"`
}

// Preview resolves an audience without raising anything. Empty channels mean all. It returns the directory's errors.
func (s *Service) Preview(ctx context.Context, authority event.AuthorityID, audience directory.Audience, channels ...directory.ChannelKind) (Preview, error) {
	people, err := s.resolve(ctx, authority, audience, channels)
	if err != nil {
		return Preview{}, err
	}
	return previewOf(people), nil
}

func previewOf(people []Named) Preview {
	p := Preview{People: len(people), PerChannel: make(map[directory.ChannelKind]int)}
	for _, n := range people {
		if len(n.Channels) == 0 {
			p.WithoutChannel++
		}
		for _, k := range n.Channels {
			p.PerChannel[k]++
		}
	}
	return p
}

// resolve returns the recipients ordered by person, each with those of its channels that are wanted.
func (s *Service) resolve(ctx context.Context, authority event.AuthorityID, audience directory.Audience, wanted []directory.ChannelKind) ([]Named, error) {
	if audience.Empty() {
		return nil, ErrNobody.At(0, "audience")
	}
	recipients, err := s.cfg.Directory.Resolve(ctx, authority, audience)
	if err != nil {
		return nil, fmt.Errorf("find the recipients: %w", err)
	}
	people := make([]Named, 0, len(recipients))
	for _, r := range recipients {
		n := Named{Person: r.Person, Unit: r.Unit}
		for _, k := range r.Channels {
			if (len(wanted) == 0 || slices.Contains(wanted, k)) && !slices.Contains(n.Channels, k) {
				n.Channels = append(n.Channels, k)
			}
		}
		people = append(people, n)
	}
	slices.SortFunc(people, func(a, b Named) int { return strings.Compare(string(a.Person), string(b.Person)) })
	return slices.CompactFunc(people, func(a, b Named) bool { return a.Person == b.Person }), nil
}

// Raise raises an alarm: it resolves the audience once, and appends recipients and alarm. The alarm's Raised tells how
// many people are called and how many have no channel. Calling is the Caller's duty, at whichever site is first. Errors:
// one of this package's refusals of a draft, ErrNobody, ErrTooMany, ErrRanking, those of the directory and of the log.
func (s *Service) Raise(ctx context.Context, authority event.AuthorityID, d Draft) (Alarm, eventlog.Receipt, error) {
	d.TakeoverAfter = orDefault(d.TakeoverAfter, s.cfg.TakeoverAfter)
	if err := d.check(); err != nil {
		return Alarm{}, eventlog.Receipt{}, err
	}
	people, err := s.resolve(ctx, authority, d.Audience, d.Channels)
	if err != nil {
		return Alarm{}, eventlog.Receipt{}, err
	}
	if len(people) == 0 {
		return Alarm{}, eventlog.Receipt{}, ErrNobody.At(0, "audience")
	}
	if len(people) > MaxRecipients {
		return Alarm{}, eventlog.Receipt{}, ErrTooMany.At(0, "audience")
	}
	ranking, err := RankSites(d.Ranking, s.cfg.Federation.Sites(authority))
	if err != nil {
		return Alarm{}, eventlog.Receipt{}, err
	}
	drawn, err := event.NewID(s.cfg.Rand)
	if err != nil {
		return Alarm{}, eventlog.Receipt{}, err
	}
	id := ID(drawn)
	drafts := raiseDrafts(id, d, ranking, people, s.cfg.Now())
	r, err := s.cfg.Log.Append(ctx, authority, event.Operations, drafts...)
	if err != nil {
		return Alarm{}, eventlog.Receipt{}, fmt.Errorf("raise alarm %s: %w", id, err)
	}
	e := r.Events[len(r.Events)-1]
	raised, _ := drafts[len(drafts)-1].Data.(Raised)
	a := Alarm{Authority: authority, ID: id, Event: e.ID, Raised: raised, RaisedAt: e.Time(), RaisedBy: e.Actor, Origin: s.cfg.Self, ArrivedAt: e.Time()}
	return a, r, nil
}

// raiseDrafts returns the chunks of recipients and, behind them, the alarm: whoever sees the alarm can see whom it is for.
func raiseDrafts(id ID, d Draft, ranking []event.SiteID, people []Named, now time.Time) []event.Draft {
	draft := func(subject event.Subject, kind event.Kind, data any) event.Draft {
		return event.Draft{Subject: subject, Kind: kind, Actor: d.Actor, Grant: d.Grant, Mode: d.Mode, Data: data, Urgent: true}
	}
	var drafts []event.Draft
	for chunk := range slices.Chunk(people, ChunkPeople) {
		drafts = append(drafts, draft(chunkSubject(id, len(drafts)), KindRecipientsNamed, RecipientsNamed{People: chunk}))
	}
	p := previewOf(people)
	channels := d.Channels
	if len(channels) == 0 {
		for k := range p.PerChannel {
			channels = append(channels, k)
		}
	}
	channels = slices.Clone(channels)
	slices.Sort(channels)
	takeover, valid := orDefault(d.TakeoverAfter, DefaultTakeover), orDefault(d.LinkValid, DefaultLinkValid)
	return append(drafts, draft(alarmSubject(id), KindRaised, Raised{
		TextDE: strings.TrimSpace(d.TextDE), TextEN: strings.TrimSpace(d.TextEN), Mode: d.Mode, Audience: shownAudience(d.Audience),
		Ranking: ranking, Channels: slices.Compact(channels), TakeoverAfterMillis: takeover.Milliseconds(),
		Recipients: len(people), WithoutChannel: p.WithoutChannel, Chunks: len(drafts),
		LinkExpires: now.Add(valid).Unix(),
	}))
}

// shownAudience cuts long lists, which are for showing only, so that the fact stays small: the chunks name everybody.
func shownAudience(a directory.Audience) directory.Audience {
	const most = 200
	a.Units = a.Units[:min(len(a.Units), most)]
	a.Functions = a.Functions[:min(len(a.Functions), most)]
	a.Persons = a.Persons[:min(len(a.Persons), most)]
	return a
}

func orDefault(d, standard time.Duration) time.Duration {
	if d == 0 {
		return standard
	}
	return d
}

// Words are what a cancellation or an all-clear says besides itself; both texts may be empty.
type Words struct {
	TextDE, TextEN string
	Actor, Grant   string
}

// Cancel calls an alarm off (Abbruch); whoever was called is told. It returns ErrUnknown, ErrClosed, a refusal of the
// texts, or the log's errors.
func (s *Service) Cancel(ctx context.Context, authority event.AuthorityID, id ID, w Words) (eventlog.Receipt, error) {
	return s.close(ctx, authority, id, w, KindCancelled)
}

// AllClear ends an alarm (Entwarnung); whoever was called is told. Its errors are those of Cancel.
func (s *Service) AllClear(ctx context.Context, authority event.AuthorityID, id ID, w Words) (eventlog.Receipt, error) {
	return s.close(ctx, authority, id, w, KindAllClear)
}

func (s *Service) close(ctx context.Context, authority event.AuthorityID, id ID, w Words, kind event.Kind) (eventlog.Receipt, error) {
	if err := checkTexts(w.TextDE, w.TextEN, false); err != nil {
		return eventlog.Receipt{}, err
	}
	a, err := s.Alarm(ctx, authority, id)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	if a.Ending != StillOpen {
		return eventlog.Receipt{}, ErrClosed
	}
	after, err := s.cfg.Model.LastStamp(ctx, authority, alarmSubject(id))
	if err != nil {
		return eventlog.Receipt{}, fmt.Errorf("close alarm %s: %w", id, err)
	}
	data := AllClear{Raised: a.Event, TextDE: strings.TrimSpace(w.TextDE), TextEN: strings.TrimSpace(w.TextEN)}
	r, err := s.cfg.Log.Append(ctx, authority, event.Operations, event.Draft{
		Subject: alarmSubject(id), Kind: kind, Actor: w.Actor, Grant: w.Grant, Mode: a.Raised.Mode, After: after, Data: data,
		Urgent: true,
	})
	if err != nil {
		return eventlog.Receipt{}, fmt.Errorf("close alarm %s: %w", id, err)
	}
	return r, nil
}

// OrderCalling makes the sites call for a held alarm: the call while it is open, the closing message after it was closed. Who may raise
// alarms may order it; whom it reaches was settled when it was raised. It returns ErrUnknown, ErrNothingDue, ErrCalling if
// this site does not hold the alarm, or the log's errors.
func (s *Service) OrderCalling(ctx context.Context, authority event.AuthorityID, id ID, actor, grant string) (eventlog.Receipt, error) {
	a, err := s.Alarm(ctx, authority, id)
	switch {
	case err != nil:
		return eventlog.Receipt{}, err
	case a.Due == 0:
		return eventlog.Receipt{}, ErrNothingDue
	case a.Held == NotHeld:
		return eventlog.Receipt{}, ErrCalling
	}
	after, err := s.cfg.Model.LastStamp(ctx, authority, alarmSubject(id))
	if err != nil {
		return eventlog.Receipt{}, fmt.Errorf("order the calling of alarm %s: %w", id, err)
	}
	data := CallingOrdered{Raised: a.Event, Wave: Call}
	if a.Ending != StillOpen {
		data.Wave = Closing
	}
	r, err := s.cfg.Log.Append(ctx, authority, event.Operations, event.Draft{
		Subject: alarmSubject(id), Kind: KindCallingOrdered, Actor: actor, Grant: grant, Mode: a.Raised.Mode, After: after, Data: data,
	})
	if err != nil {
		return eventlog.Receipt{}, fmt.Errorf("order the calling of alarm %s: %w", id, err)
	}
	return r, nil
}

// OpenLink reads and checks a link's token. It returns ErrLink, ErrLinkExpired, or ErrNotHere if the token may be of an
// authority that does not allow this site.
func (s *Service) OpenLink(ctx context.Context, token string) (Link, error) {
	u, err := parseToken(token)
	if err != nil {
		return Link{}, err
	}
	held := false
	for _, authority := range s.cfg.Federation.Held() {
		if !u.meant(authority) {
			continue
		}
		held = true
		key, err := s.cfg.Keys.Named(ctx, authority, linkKey)
		if err != nil {
			return Link{}, fault.New(fault.Unavailable, "alarm.link_key", "this site cannot check the link yet",
				"use the other link in the message, or try again in a minute").With(err)
		}
		if l, err := u.verify(authority, key.Secret); err == nil {
			return s.inTime(ctx, l)
		}
	}
	if !held {
		return Link{}, ErrNotHere
	}
	return Link{}, ErrLink
}

// inTime returns the link, or ErrLinkExpired. Of an alarm that has not arrived here nobody can tell how wrong the clock was by which
// the link was dated: then it counts for a year more than it says, since a reply that is refused is lost.
func (s *Service) inTime(ctx context.Context, l Link) (Link, error) {
	now, until := s.cfg.Now(), l.Expires.Add(MaxLinkValid)
	a, err := s.Alarm(ctx, l.Authority, l.Alarm)
	if err == nil {
		until = s.cfg.Watch.expires(&a, l, now)
	} else if fault.KindOf(err) != fault.NotFound {
		return Link{}, err
	}
	if !now.Before(until) {
		return l, ErrLinkExpired
	}
	return l, nil
}

// Reply records a person's answer, whether or not the alarm has arrived here yet. etaMinutes belongs to Coming, 1 to
// MaxETAMinutes, or 0 if the person did not say. Of several answers the last one counts. It returns OpenLink's errors,
// ErrReply, and the log's errors.
func (s *Service) Reply(ctx context.Context, token string, kind ReplyKind, etaMinutes int) (Link, eventlog.Receipt, error) {
	l, err := s.OpenLink(ctx, token)
	if err != nil {
		return Link{}, eventlog.Receipt{}, err
	}
	if !kind.Valid() {
		return Link{}, eventlog.Receipt{}, ErrReply.At(0, "reply")
	}
	if etaMinutes < 0 || etaMinutes > MaxETAMinutes || (etaMinutes != 0 && kind != Coming) {
		return Link{}, eventlog.Receipt{}, ErrReply.At(0, "eta")
	}
	subject := personSubject(l.Alarm, l.Person)
	// The person's earlier answer may have a stamp of a faster clock; the later one must still come behind it.
	after, err := s.cfg.Model.LastStamp(ctx, l.Authority, subject)
	if err != nil {
		return Link{}, eventlog.Receipt{}, fmt.Errorf("record a reply: %w", err)
	}
	mode := event.Mode("")
	if a, err := s.Alarm(ctx, l.Authority, l.Alarm); err == nil {
		mode = a.Raised.Mode
	}
	r, err := s.cfg.Log.Append(ctx, l.Authority, event.Operations, event.Draft{
		Subject: subject, Kind: KindReplied, Actor: "person/" + string(l.Person), Grant: "link", Mode: mode, After: after,
		Data: Replied{Kind: kind, ETAMinutes: etaMinutes, Via: s.cfg.Self},
	})
	if err != nil {
		return Link{}, eventlog.Receipt{}, fmt.Errorf("record a reply: %w", err)
	}
	return l, r, nil
}

// ReplyView is what a person sees behind their link.
type ReplyView struct {
	Link Link
	// Known is false while the alarm has not arrived at this site; replying works all the same.
	Known bool
	Alarm Alarm
	// Language is the person's, German if this site cannot tell.
	Language directory.Language
	// Reply is the person's answer so far, nil if there is none here.
	Reply *Reply
}

// ReplyView returns what the page behind a link shows. It records nothing. It returns OpenLink's errors.
func (s *Service) ReplyView(ctx context.Context, token string) (ReplyView, error) {
	l, err := s.OpenLink(ctx, token)
	if err != nil {
		return ReplyView{}, err
	}
	v := ReplyView{Link: l, Language: directory.German}
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		a, err := readAlarm(ctx, q, l.Authority, l.Alarm)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		v.Alarm, v.Known = a, err == nil
		line, _, err := readPerson(ctx, q, l.Authority, l.Alarm, l.Person)
		v.Reply = line.Reply
		return err
	})
	if err != nil {
		return ReplyView{}, fmt.Errorf("show a reply page: %w", err)
	}
	if p, err := s.cfg.Directory.Contact(ctx, l.Authority, l.Person); err == nil && p.Language == directory.English {
		v.Language = directory.English
	}
	return v, nil
}

// Alarm returns one alarm, or ErrUnknown.
func (s *Service) Alarm(ctx context.Context, authority event.AuthorityID, id ID) (a Alarm, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		a, err = readAlarm(ctx, q, authority, id)
		return err
	})
	if err != nil {
		return Alarm{}, fmt.Errorf("read alarm %.16s: %w", id, err)
	}
	s.cfg.Watch.judge(&a, s.cfg.Now())
	return a, nil
}

// MaxList bounds the lists of this package.
const MaxList = 500

// List returns the alarms of an authority raised before the given time (zero: now), the newest first, at most limit. A raising
// whose clock was found wrong is put where it belongs.
func (s *Service) List(ctx context.Context, authority event.AuthorityID, before time.Time, limit int) (list []Alarm, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		list, err = readAlarms(ctx, q, authority, before, bounded(limit))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list alarms: %w", err)
	}
	for i := range list {
		s.cfg.Watch.judge(&list[i], s.cfg.Now())
	}
	return list, nil
}

func bounded(limit int) int {
	if limit <= 0 || limit > MaxList {
		return MaxList
	}
	return limit
}

// Board is the live picture of one alarm.
type Board struct {
	Alarm    Alarm          `json:"alarm"`
	Total    Tally          `json:"total"`
	Channels []ChannelTally `json:"channels"`
	// Units are the recipients' units, at most 5,000 of them, ordered by id; "" is for people without a unit.
	Units     []UnitTally  `json:"units"`
	Callers   []CallerLine `json:"callers"`
	Takeovers []Takeover   `json:"takeovers,omitempty"`
}

// ChannelTally counts the hand-overs of one channel.
type ChannelTally struct {
	Channel directory.ChannelKind `json:"channel"`
	Tally
}

// UnitTally counts the people of one unit.
type UnitTally struct {
	Unit directory.UnitID `json:"unit"`
	Tally
}

// CallerLine is the last sign of a site that called; the latest comes first.
type CallerLine struct {
	Site    event.SiteID `json:"site"`
	At      time.Time    `json:"at"`
	Wave    Wave         `json:"wave"`
	Pending int          `json:"pending"`
}

// Board returns the board of an alarm, or ErrUnknown. Lists of people come from People.
func (s *Service) Board(ctx context.Context, authority event.AuthorityID, id ID) (b Board, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		b = Board{}
		if b.Alarm, err = readAlarm(ctx, q, authority, id); err != nil {
			return err
		}
		return b.readCounts(ctx, q, authority, id)
	})
	if err != nil {
		return Board{}, fmt.Errorf("read the board of alarm %.16s: %w", id, err)
	}
	s.cfg.Watch.judge(&b.Alarm, s.cfg.Now())
	b.Takeovers = b.Alarm.callers.Takeovers
	for _, site := range sortedSites(b.Alarm.callers.Sites) {
		sign := b.Alarm.callers.Sites[site]
		if sign.CatchingUp {
			continue // it does not call yet
		}
		b.Callers = append(b.Callers, CallerLine{Site: site, At: wallTime(sign.Wall), Wave: sign.Wave, Pending: sign.Pending})
	}
	return b, nil
}

func (b *Board) readCounts(ctx context.Context, q readmodel.Query, authority event.AuthorityID, id ID) error {
	all, err := readTallies(ctx, q, authority, id, total.kind)
	if err != nil {
		return err
	}
	for _, n := range all {
		b.Total = n.tally
	}
	channels, err := readTallies(ctx, q, authority, id, "channel")
	if err != nil {
		return err
	}
	for _, n := range channels {
		b.Channels = append(b.Channels, ChannelTally{directory.ChannelKind(n.name), n.tally})
	}
	units, err := readTallies(ctx, q, authority, id, "unit")
	for _, n := range units {
		b.Units = append(b.Units, UnitTally{directory.UnitID(n.name), n.tally})
	}
	return err
}

// People returns the people of an alarm that have the status, after the given one, ordered by id, at most limit.
func (s *Service) People(ctx context.Context, authority event.AuthorityID, id ID, status Status, after directory.PersonID, limit int) (list []PersonLine, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		list, err = readPeople(ctx, q, authority, id, status, after, bounded(limit))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the people of alarm %.16s: %w", id, err)
	}
	return list, nil
}

// Person returns one person of an alarm, or false if nothing of them has arrived here.
func (s *Service) Person(ctx context.Context, authority event.AuthorityID, id ID, person directory.PersonID) (line PersonLine, found bool, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		line, found, err = readPerson(ctx, q, authority, id, person)
		return err
	})
	return line, found, err
}

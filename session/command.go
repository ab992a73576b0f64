// SPDX-License-Identifier: EUPL-1.2

package session

import (
	"context"
	"fmt"
	"io"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// The defaults and bounds of a Config, and how far the clocks of two sites may differ.
const (
	DefaultLife = time.Hour
	DefaultMax  = 12 * time.Hour
	// MaxLife bounds Max at every site.
	MaxLife = 72 * time.Hour
	MaxSkew = 5 * time.Minute
)

// Federation is what sessions need of a site.Federation.
type Federation interface {
	Member(event.SiteID) bool
	Allowed(event.SiteID, event.AuthorityID) bool
}

// Model is what sessions need of a readmodel.Model.
type Model interface {
	State(ctx context.Context, authority event.AuthorityID, subject event.Subject, into any) (bool, error)
	LastStamp(ctx context.Context, authority event.AuthorityID, subject event.Subject) (event.Stamp, error)
	Wait(ctx context.Context, log eventlog.LogID, pos eventlog.Position) error
}

// Local is what sessions of the console need of a localstore.Store.
type Local interface {
	Put(ctx context.Context, bucket, key string, value []byte, expires time.Time) error
	Get(ctx context.Context, bucket, key string) ([]byte, error)
}

// Config is what a Service needs. Identity, Federation, Log, Model, Now and Rand are required.
type Config struct {
	Identity   *seal.Identity
	Federation Federation
	Log        eventlog.Appender
	Model      Model
	Now        func() time.Time
	Rand       io.Reader
	// Life is how long a token is good for without use, 0: DefaultLife. Max is how long a session lasts in all, 0: DefaultMax,
	// at most MaxLife.
	Life, Max time.Duration
	// MaxOf returns how long this principal's sessions last in all where that is less than Max (the authority's policy, a way
	// in that leads to a short session); 0 means Max. It may be nil. It is asked at every Verify.
	MaxOf func(context.Context, access.Principal) time.Duration
	// Checks are asked at every Verify whether the principal still stands; their errors are returned as they are.
	Checks []func(context.Context, access.Principal) error
	// Local keeps which sessions of the console were ended. Without it, all sessions of the console end when the process does.
	Local Local
}

// Service issues and verifies sessions at this site. It is safe for concurrent use.
type Service struct {
	cfg     Config
	console *console
}

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Life <= 0 {
		cfg.Life = DefaultLife
	}
	if cfg.Max <= 0 {
		cfg.Max = DefaultMax
	}
	cfg.Max = min(cfg.Max, MaxLife)
	cfg.Life = min(cfg.Life, cfg.Max)
	return &Service{cfg: cfg, console: newConsole(cfg.Local, cfg.Rand)}
}

func (s *Service) limits(ctx context.Context, p access.Principal) limits {
	l := limits{s.cfg.Life, s.cfg.Max}
	if s.cfg.MaxOf != nil {
		if most := s.cfg.MaxOf(ctx, p); most > 0 {
			l.max = min(l.max, most)
		}
	}
	l.life = min(l.life, l.max)
	return l
}

// Issue returns a token for somebody who has just come in, and when it expires. A principal without a Site is one whose
// session begins here and now: Issue sets Site, Epoch, Session where it is empty, and Begun unless it is set to an earlier
// time. One with a Site goes on with the session that it has, as in Renew. It returns ErrNotHere if the authority does not
// allow this site, and a fault of kind Invalid for somebody who cannot have a session (a program). It reads the disk.
func (s *Service) Issue(ctx context.Context, p access.Principal) (token string, expires time.Time, err error) {
	if p.Site != "" {
		return s.Renew(ctx, p)
	}
	now := s.cfg.Now().UTC().Truncate(time.Second)
	if p.Begun.IsZero() || p.Begun.After(now) {
		p.Begun = now
	}
	p.Begun, p.Site = p.Begun.UTC().Truncate(time.Second), s.cfg.Identity.Site()
	if p.Session == "" {
		if p.Session, err = NewID(s.cfg.Rand); err != nil {
			return "", time.Time{}, err
		}
	}
	if err := check(p); err != nil {
		return "", time.Time{}, err
	}
	if p.Epoch, err = s.epoch(ctx, p); err != nil {
		return "", time.Time{}, err
	}
	return s.Renew(ctx, p)
}

// epoch returns the epoch of a session that begins now.
func (s *Service) epoch(ctx context.Context, p access.Principal) (string, error) {
	if p.Kind == access.Console {
		return s.console.current(ctx)
	}
	st, err := s.state(ctx, p)
	return st.epoch(), err
}

func (s *Service) state(ctx context.Context, p access.Principal) (st state, err error) {
	if _, err = s.cfg.Model.State(ctx, p.Authority, SubjectOf(p.ID), &st); err != nil {
		return st, fmt.Errorf("look up a session: %w", err)
	}
	return st, nil
}

// Renew returns a new token of this site for a session that goes on, and when it expires: never later than the session's
// Begun and Max. It returns what Verify returns for a session that is over or does not count here. It reads the disk.
func (s *Service) Renew(ctx context.Context, p access.Principal) (token string, expires time.Time, err error) {
	if err := check(p); err != nil {
		return "", time.Time{}, err
	}
	now, l := s.cfg.Now(), s.limits(ctx, p)
	c := claims{Version: tokenVersion, Principal: p, Issuer: s.cfg.Identity.Site(), Issued: now.Unix(), Expires: now.Add(l.life).Unix()}
	c.Expires = c.ends(l).Unix()
	if err := c.inTime(now, l); err != nil {
		return "", time.Time{}, err
	}
	if err := s.stands(ctx, c); err != nil {
		return "", time.Time{}, err
	}
	token, err = c.sign(s.cfg.Identity)
	return token, time.Unix(c.Expires, 0).UTC(), err
}

// Verify returns who a token's session belongs to, and whether it is time to renew it. It returns ErrNone, ErrMalformed,
// ErrElsewhere, ErrNotHere, ErrClock, ErrExpired, ErrEnded, or what one of the Checks says. It reads this site's disk, and
// asks nobody.
func (s *Service) Verify(ctx context.Context, token string) (p access.Principal, due bool, err error) {
	c, err := parse(token)
	if err != nil {
		return access.Principal{}, false, err
	}
	now, l := s.cfg.Now(), s.limits(ctx, c.Principal)
	if err := c.inTime(now, l); err != nil {
		return access.Principal{}, false, err
	}
	if err := s.stands(ctx, c); err != nil {
		return access.Principal{}, false, err
	}
	for _, check := range s.cfg.Checks {
		if err := check(ctx, c.Principal); err != nil {
			return access.Principal{}, false, err
		}
	}
	return c.Principal, c.due(now, l), nil
}

// stands returns nil if the session counts at this site and was not ended as far as this site knows.
func (s *Service) stands(ctx context.Context, c claims) error {
	p := c.Principal
	if p.Kind == access.Console {
		if self := s.cfg.Identity.Site(); c.Issuer != self || p.Site != self {
			return ErrElsewhere
		}
		return s.console.stands(ctx, p.Session, p.Epoch, s.cfg.Now())
	}
	if err := s.counts(p.Authority, c.Issuer, p.Site); err != nil {
		return err
	}
	st, err := s.state(ctx, p)
	if err != nil {
		return err
	}
	return st.stands(p.Session, p.Epoch)
}

// counts returns nil if the authority allows this site and the sites that vouch for the session.
func (s *Service) counts(authority event.AuthorityID, sites ...event.SiteID) error {
	for _, site := range sites {
		if !s.cfg.Federation.Member(site) || !s.cfg.Federation.Allowed(site, authority) {
			if site == s.cfg.Identity.Site() {
				return ErrNotHere
			}
			return ErrElsewhere
		}
	}
	if !s.cfg.Federation.Allowed(s.cfg.Identity.Site(), authority) {
		return ErrNotHere
	}
	return nil
}

// End ends the session of p at every site, as soon as each hears of it; here it has ended when End returns. For the console
// it writes no fact and the receipt is zero, as it is for a session that has ended already. It blocks for the disk.
func (s *Service) End(ctx context.Context, p access.Principal) (eventlog.Receipt, error) {
	if err := check(p); err != nil {
		return eventlog.Receipt{}, err
	}
	expires := p.Begun.Add(s.cfg.Max).UTC().Truncate(time.Second)
	if p.Kind == access.Console {
		return eventlog.Receipt{}, s.console.end(ctx, p.Session, expires.Add(MaxSkew), s.cfg.Now())
	}
	st, err := s.state(ctx, p)
	if err != nil || st.ended(p.Session) {
		return eventlog.Receipt{}, err
	}
	return s.record(ctx, p, p.Authority, p.ID, KindEnded, Ended{Session: p.Session, Expires: expires})
}

// ErrForeign is returned by EndAll for somebody of another authority.
var ErrForeign = fault.New(fault.Forbidden, "session.foreign", "sessions are ended within one's own authority", "ask somebody of that authority")

// EndAll ends all sessions of a person or guest that were begun where this is not known: everything that is signed in now.
// Whether by may do that its caller has judged. The console alone ends the console's sessions, without a fact and a receipt.
// It blocks for the disk.
func (s *Service) EndAll(ctx context.Context, by access.Principal, authority event.AuthorityID, kind access.PrincipalKind, id string) (eventlog.Receipt, error) {
	switch {
	case by.Kind != access.Console && (kind == access.Console || by.Authority != authority):
		return eventlog.Receipt{}, ErrForeign
	case kind == access.Console:
		return eventlog.Receipt{}, s.console.endAll(ctx)
	case kind != access.Person && kind != access.Visitor || !idPattern.MatchString(id):
		return eventlog.Receipt{}, errPrincipal.Because("it has no sessions")
	}
	return s.record(ctx, by, authority, id, KindAllEnded, AllEnded{})
}

// record appends one fact and returns when this site's own read model shows it.
func (s *Service) record(ctx context.Context, by access.Principal, authority event.AuthorityID, id string, kind event.Kind, data any) (eventlog.Receipt, error) {
	subject := SubjectOf(id)
	after, err := s.cfg.Model.LastStamp(ctx, authority, subject)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	r, err := s.cfg.Log.Append(ctx, authority, event.Register,
		event.Draft{Subject: subject, Kind: kind, Actor: by.Actor(), Data: data, After: after})
	if err != nil {
		return eventlog.Receipt{}, fmt.Errorf("end sessions: %w", err)
	}
	return r, s.cfg.Model.Wait(ctx, r.Log, r.Last)
}

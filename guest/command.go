// SPDX-License-Identifier: EUPL-1.2

package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/secretcode"
)

// Keys is what guests need of a keyring.Ring.
type Keys interface {
	NewKeys(ctx context.Context, authority event.AuthorityID, n int) ([]keyring.Key, error)
	Named(ctx context.Context, authority event.AuthorityID, name string) (keyring.Key, error)
	Erase(ctx context.Context, authority event.AuthorityID, ids ...event.KeyID) error
}

// Model is what guests need of a readmodel.Model.
type Model interface {
	View(ctx context.Context, read func(q readmodel.Query) error) error
	State(ctx context.Context, authority event.AuthorityID, subject event.Subject, into any) (found bool, err error)
	LastStamp(ctx context.Context, authority event.AuthorityID, subject event.Subject) (event.Stamp, error)
	Wait(ctx context.Context, log eventlog.LogID, pos eventlog.Position) error
}

// Federation knows which authorities this site may hold. It answers from memory and does not block.
type Federation interface {
	Held() []event.AuthorityID
}

// Access judges: an access.Service.
type Access interface {
	Judge(ctx context.Context, p access.Principal, authority event.AuthorityID, need access.Permission) (access.Verdict, error)
}

// Config is what a Service needs. All fields but Logger are required.
type Config struct {
	Log        eventlog.Appender
	Model      Model
	Keys       Keys
	Federation Federation
	Access     Access
	Now        func() time.Time
	Rand       io.Reader
	Logger     *slog.Logger
}

// maxHashing bounds the argon2 computations under way, and with them the memory that codes can take (19 MiB each). codeTries is
// how often in a minute a code may be tried whose tag is right: whoever has one, used or expired, must not keep the site busy.
const (
	maxHashing = 4
	codeTries  = 5
)

// Service lets guests in and sends them away. It is safe for concurrent use; methods block for disk and read model.
type Service struct {
	cfg Config
	// writing lets one command at a time look and write, so that no code lets in twice at one site.
	writing sync.Mutex
	hashing *secretcode.Gate
	tries   *secretcode.Throttle
}

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg, hashing: secretcode.NewGate(maxHashing), tries: secretcode.NewThrottle(codeTries, time.Minute)}
}

// Invite invites a guest and returns the code to read to them; it is shown once and cannot be found out again. It needs
// access.InviteGuests. Errors: those of the draft, ErrTooMany, those of access, keyring and log.
func (s *Service) Invite(ctx context.Context, by access.Principal, authority event.AuthorityID, d Draft) (Guest, string, eventlog.Receipt, error) {
	d, err := d.check(s.cfg.Now())
	if err != nil {
		return Guest{}, "", eventlog.Receipt{}, err
	}
	verdict, err := s.cfg.Access.Judge(ctx, by, authority, access.InviteGuests)
	if err != nil {
		return Guest{}, "", eventlog.Receipt{}, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	id, fact, err := s.sealed(ctx, authority, d)
	if err != nil {
		return Guest{}, "", eventlog.Receipt{}, deed(err, "invite a guest")
	}
	return s.issue(ctx, by, verdict, authority, id, fact)
}

// sealed returns a new guest's id and the part of the invitation that tells who they are.
func (s *Service) sealed(ctx context.Context, authority event.AuthorityID, d Draft) (ID, Invited, error) {
	drawn, err := event.NewID(s.cfg.Rand)
	if err != nil {
		return "", Invited{}, err
	}
	keys, err := s.cfg.Keys.NewKeys(ctx, authority, 1)
	if err != nil {
		return "", Invited{}, err
	}
	plain, err := json.Marshal(private{Name: d.Name})
	if err != nil {
		return "", Invited{}, err
	}
	id := ID(drawn)
	box, err := keys[0].Secret.Seal(s.cfg.Rand, string(id.Subject()), plain)
	return id, Invited{Key: keys[0].ID, Sealed: box, Incident: d.Incident, Until: d.Until}, err
}

// issue gives an invitation its code and records it. The caller holds s.writing.
func (s *Service) issue(ctx context.Context, by access.Principal, v access.Verdict, authority event.AuthorityID, id ID, fact Invited) (g Guest, spoken string, r eventlog.Receipt, err error) {
	var taken map[string]bool
	var guests int
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		taken, guests, err = liveMarks(ctx, q, authority, s.cfg.Now())
		return err
	})
	if err != nil {
		return Guest{}, "", r, deed(err, "count the guests")
	}
	if guests >= MaxGuests {
		return Guest{}, "", r, ErrTooMany
	}
	key, err := s.cfg.Keys.Named(ctx, authority, keyring.NameID)
	if err != nil {
		return Guest{}, "", r, deed(err, "make a code")
	}
	if spoken, fact.Code, err = newCode(s.cfg.Rand, key.Secret, authority, taken); err != nil {
		return Guest{}, "", r, err
	}
	r, err = s.append(ctx, authority, event.Draft{Subject: id.Subject(), Kind: KindInvited, Actor: by.Actor(), Grant: v.Grant,
		Keys: []event.KeyID{fact.Key}, Data: fact})
	if err != nil {
		return Guest{}, "", r, deed(err, "invite a guest")
	}
	g, err = s.Guest(ctx, authority, id)
	return g, spoken, r, err
}

// Renew gives a guest a new code and a new end (zero: DefaultLife from now); the old code and its session end. It is also
// how somebody who was sent away, or whose code was used twice, may come back. It needs access.InviteGuests and returns
// ErrUnknown, ErrUntil, ErrTooMany and the errors of access, keyring and log.
func (s *Service) Renew(ctx context.Context, by access.Principal, authority event.AuthorityID, id ID, until time.Time) (Guest, string, eventlog.Receipt, error) {
	until, err := checkUntil(until, s.cfg.Now())
	if err != nil {
		return Guest{}, "", eventlog.Receipt{}, err
	}
	verdict, err := s.cfg.Access.Judge(ctx, by, authority, access.InviteGuests)
	if err != nil {
		return Guest{}, "", eventlog.Receipt{}, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	r, err := s.find(ctx, authority, id)
	if err != nil {
		return Guest{}, "", eventlog.Receipt{}, err
	}
	if r.status == directory.Erased { // nobody knows any more who that was
		return Guest{}, "", eventlog.Receipt{}, ErrUnknown
	}
	fact := Invited{Key: r.state.Key, Sealed: r.state.Sealed, Incident: r.state.Incident, Until: until}
	for _, a := range r.state.Away {
		fact.Despite = append(fact.Despite, a.ID)
	}
	return s.issue(ctx, by, verdict, authority, id, fact)
}

// SendAway ends a guest's visit, at every site as soon as it hears of it. It needs access.InviteGuests and returns
// ErrUnknown and the errors of access and log. Sending away twice is no error.
func (s *Service) SendAway(ctx context.Context, by access.Principal, authority event.AuthorityID, id ID) (eventlog.Receipt, error) {
	verdict, err := s.cfg.Access.Judge(ctx, by, authority, access.InviteGuests)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	r, err := s.find(ctx, authority, id)
	if err != nil || r.state.away() != nil {
		return eventlog.Receipt{}, err
	}
	receipt, err := s.append(ctx, authority, event.Draft{Subject: id.Subject(), Kind: KindSentAway, Actor: by.Actor(), Grant: verdict.Grant, Data: SentAway{}})
	return receipt, deed(err, "send a guest away")
}

// Guests returns all guests of the authority, those who may come in first, then by the time of their invitation, the
// youngest first; at most 1,000. It does not judge.
func (s *Service) Guests(ctx context.Context, authority event.AuthorityID) (list []Guest, err error) {
	now := s.cfg.Now()
	var rows []row
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		rows, err = listGuests(ctx, q, authority, now)
		return err
	})
	for _, r := range rows {
		list = append(list, r.guest(now))
	}
	return list, deed(err, "list guests")
}

// Guest returns one guest, or ErrUnknown. It does not judge.
func (s *Service) Guest(ctx context.Context, authority event.AuthorityID, id ID) (Guest, error) {
	r, err := s.find(ctx, authority, id)
	if err != nil {
		return Guest{}, err
	}
	return r.guest(s.cfg.Now()), nil
}

func (s *Service) find(ctx context.Context, authority event.AuthorityID, id ID) (r row, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		r, err = findGuest(ctx, q, authority, id)
		return err
	})
	if isNone(err) {
		return row{}, ErrUnknown
	}
	return r, deed(err, "look up a guest")
}

// Forget destroys the names of guests whose end was longer ago than age, at most 1,000 at a time, and returns of how many.
// Their facts stay, without names. Call it now and then; it is cheap when there is nothing to do.
func (s *Service) Forget(ctx context.Context, authority event.AuthorityID, age time.Duration) (int, error) {
	var keys []event.KeyID
	err := s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		keys, err = past(ctx, q, authority, s.cfg.Now().Add(-age))
		return err
	})
	if err != nil || len(keys) == 0 {
		return 0, deed(err, "forget guests")
	}
	return len(keys), deed(s.cfg.Keys.Erase(ctx, authority, keys...), "forget guests")
}

// KeyUses returns those of the keys that a guest's name is sealed with, as far as this site's facts tell, and for each whether it
// may be destroyed: the end of every such guest was longer ago than age.
func (s *Service) KeyUses(ctx context.Context, authority event.AuthorityID, keys []event.KeyID, age time.Duration) (over map[event.KeyID]bool, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		over, err = keyUses(ctx, q, authority, keys, s.cfg.Now().Add(-age))
		return err
	})
	return over, deed(err, "look up which guests' keys these are")
}

// append writes one fact and waits until this site's read model shows it.
func (s *Service) append(ctx context.Context, authority event.AuthorityID, d event.Draft) (eventlog.Receipt, error) {
	after, err := s.cfg.Model.LastStamp(ctx, authority, d.Subject)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	d.After = after
	r, err := s.cfg.Log.Append(ctx, authority, event.Register, d)
	if err != nil {
		return r, err
	}
	return r, s.cfg.Model.Wait(ctx, r.Log, r.Last)
}

// deed says what was being done, unless err is nil.
func deed(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// notHere reports whether an authority's key is not at this site, so that its codes cannot be checked here.
func notHere(err error) bool {
	return errors.Is(err, keyring.ErrNoAuthorityKey) || errors.Is(err, keyring.ErrMissing) || errors.Is(err, keyring.ErrErased)
}

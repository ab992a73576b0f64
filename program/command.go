// SPDX-License-Identifier: EUPL-1.2

package program

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
)

// Keys is what programs need of a keyring.Ring.
type Keys interface {
	NewKeys(ctx context.Context, authority event.AuthorityID, n int) ([]keyring.Key, error)
	Named(ctx context.Context, authority event.AuthorityID, name string) (keyring.Key, error)
	Erase(ctx context.Context, authority event.AuthorityID, ids ...event.KeyID) error
}

// Model is what programs need of a readmodel.Model.
type Model interface {
	View(ctx context.Context, read func(q readmodel.Query) error) error
	State(ctx context.Context, authority event.AuthorityID, subject event.Subject, into any) (found bool, err error)
	LastStamp(ctx context.Context, authority event.AuthorityID, subject event.Subject) (event.Stamp, error)
	Wait(ctx context.Context, log eventlog.LogID, pos eventlog.Position) error
}

// Directory knows people: a directory.Service.
type Directory interface {
	Contact(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (directory.Person, error)
}

// Federation knows which authorities this site may hold. It answers from memory and does not block.
type Federation interface {
	Held() []event.AuthorityID
}

// Access judges: an access.Service.
type Access interface {
	Judge(ctx context.Context, p access.Principal, authority event.AuthorityID, need access.Permission) (access.Verdict, error)
	NeedsSecond(ctx context.Context, p access.Principal, authority event.AuthorityID, d access.Deed, size int) (bool, error)
}

// Config is what a Service needs. All fields but Logger are required.
type Config struct {
	Self       event.SiteID
	Log        eventlog.Appender
	Model      Model
	Keys       Keys
	Directory  Directory
	Federation Federation
	Access     Access
	Now        func() time.Time
	Rand       io.Reader
	Logger     *slog.Logger
}

// Service makes, checks and withdraws programs. It is safe for concurrent use; methods block for disk and read model.
type Service struct {
	cfg Config
	// writing lets one command at a time count and write.
	writing sync.Mutex
	uses    *uses
}

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg, uses: newUses()}
}

// Make makes a program and returns its token ("hf1_…"); it is shown once and cannot be found out again. It needs
// access.ManagePrograms in the whole authority; for an app password of one's own access.OwnAccount, and a sign-in of one's own
// (access.ErrOwnKey). Errors: those of the draft, ErrBeyond, ErrTooMany, those of access, directory, keyring and log.
func (s *Service) Make(ctx context.Context, by access.Principal, authority event.AuthorityID, d Draft) (Program, string, eventlog.Receipt, error) {
	none := eventlog.Receipt{}
	d, err := d.check(s.cfg.Now())
	if err != nil {
		return Program{}, "", none, err
	}
	grant, err := s.judge(ctx, by, authority, d.Owner, d.Kind.AppPassword())
	if err != nil {
		return Program{}, "", none, err
	}
	if err := s.checkScopes(ctx, by, authority, d.Scopes); err != nil {
		return Program{}, "", none, err
	}
	if err := s.checkOwner(ctx, authority, d.Owner); err != nil {
		return Program{}, "", none, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.room(ctx, authority, d.Owner); err != nil {
		return Program{}, "", none, err
	}
	id, token, fact, err := s.fact(ctx, authority, d)
	if err != nil {
		return Program{}, "", none, deed(err, "make a program")
	}
	r, err := s.append(ctx, authority, event.Draft{Subject: id.Subject(), Kind: KindMade, Actor: by.Actor(), Grant: grant,
		Keys: []event.KeyID{fact.Key}, Data: fact})
	if err != nil {
		return Program{}, "", r, deed(err, "make a program")
	}
	p, err := s.Program(ctx, authority, id)
	return p, token, r, err
}

// judge returns the grant by which somebody may make or withdraw a program of the owner. What is one's own takes no more than
// one's own account; everything else works in the whole authority, so a right in one unit is not enough.
func (s *Service) judge(ctx context.Context, by access.Principal, authority event.AuthorityID, owner directory.PersonID, own bool) (string, error) {
	need := access.ManagePrograms
	own = own && by.Kind == access.Person && by.Authority == authority && owner != "" && by.ID == string(owner)
	if own {
		need = access.OwnAccount
		if by.Borrowed() {
			return "", access.ErrOwnKey
		}
	}
	v, err := s.cfg.Access.Judge(ctx, by, authority, need)
	if err == nil && !own && v.Units != nil {
		return "", access.ErrForbidden
	}
	return v.Grant, err
}

// checkScopes returns ErrBeyond for a scope that its maker has not everywhere themself, where giving roles takes two people: with
// the token in hand one person would have given it to themself.
func (s *Service) checkScopes(ctx context.Context, by access.Principal, authority event.AuthorityID, scopes []access.Permission) error {
	marked, err := s.cfg.Access.NeedsSecond(ctx, by, authority, access.DeedGrantRole, 1)
	if err != nil || !marked {
		return err
	}
	for _, need := range scopes {
		v, err := s.cfg.Access.Judge(ctx, by, authority, need)
		if errors.Is(err, access.ErrForbidden) || err == nil && v.Units != nil {
			return ErrBeyond.At(0, "scopes")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkOwner returns ErrOwner for an owner who is not in the register.
func (s *Service) checkOwner(ctx context.Context, authority event.AuthorityID, owner directory.PersonID) error {
	if owner == "" {
		return nil
	}
	p, err := s.cfg.Directory.Contact(ctx, authority, owner)
	if errors.Is(err, directory.ErrPersonUnknown) || err == nil && p.Readable == directory.Erased {
		return ErrOwner.At(0, "owner")
	}
	return deed(err, "look up the owner of a program")
}

// room returns ErrTooMany if the owner, or the authority, has as many programs as there may be.
func (s *Service) room(ctx context.Context, authority event.AuthorityID, owner directory.PersonID) error {
	bound := MaxPrograms
	if owner != "" {
		bound = MaxOwned
	}
	var n int
	err := s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		n, err = countLiving(ctx, q, authority, owner, s.cfg.Now())
		return err
	})
	if err == nil && n >= bound {
		return ErrTooMany
	}
	return deed(err, "count the programs")
}

// fact draws id and secret and seals the name.
func (s *Service) fact(ctx context.Context, authority event.AuthorityID, d Draft) (id ID, token string, f Made, err error) {
	drawn, err := event.NewID(s.cfg.Rand)
	if err != nil {
		return "", "", Made{}, err
	}
	secret, err := newSecret(s.cfg.Rand)
	if err != nil {
		return "", "", Made{}, err
	}
	key, err := s.nameKey(ctx, authority, d.Owner)
	if err != nil {
		return "", "", Made{}, err
	}
	plain, err := json.Marshal(private{Name: d.Name})
	if err != nil {
		return "", "", Made{}, err
	}
	id = ID(drawn)
	f = Made{Key: key.ID, Kind: d.Kind, Scopes: d.Scopes, Owner: d.Owner, Expires: d.Expires, Hash: hashOf(authority, id, secret)}
	f.Sealed, err = key.Secret.Seal(s.cfg.Rand, string(id.Subject()), plain)
	return id, tokenOf(id, secret), f, err
}

// nameKey returns the key of a program's name: one of its own if it belongs to a person who may be erased.
func (s *Service) nameKey(ctx context.Context, authority event.AuthorityID, owner directory.PersonID) (keyring.Key, error) {
	if owner == "" {
		return s.cfg.Keys.Named(ctx, authority, keyring.NameRegister)
	}
	keys, err := s.cfg.Keys.NewKeys(ctx, authority, 1)
	if err != nil {
		return keyring.Key{}, err
	}
	return keys[0], nil
}

// Programs returns all programs of the authority, the living first, then by the time they were made, the youngest first;
// at most 1,000. It does not judge.
func (s *Service) Programs(ctx context.Context, authority event.AuthorityID) ([]Program, error) {
	return s.list(ctx, func(q readmodel.Query, now time.Time) ([]row, error) { return listPrograms(ctx, q, authority, now) })
}

// Owned returns the programs of one person, in the same order. It does not judge.
func (s *Service) Owned(ctx context.Context, authority event.AuthorityID, owner directory.PersonID) ([]Program, error) {
	return s.list(ctx, func(q readmodel.Query, now time.Time) ([]row, error) { return listOwned(ctx, q, authority, owner, now) })
}

func (s *Service) list(ctx context.Context, read func(readmodel.Query, time.Time) ([]row, error)) (list []Program, err error) {
	now := s.cfg.Now()
	var rows []row
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		rows, err = read(q, now)
		return err
	})
	for _, r := range rows {
		list = append(list, s.shown(r, now))
	}
	return list, deed(err, "list programs")
}

// shown returns what is shown of a row, with what only this site knows yet of its last use.
func (s *Service) shown(r row, now time.Time) Program {
	p := r.program(now)
	if last := s.uses.last(r.authority, r.id); last.After(p.LastUsed) {
		p.LastUsed, p.UsedAt = last, s.cfg.Self
	}
	return p
}

// Program returns one program, or ErrUnknown. It does not judge.
func (s *Service) Program(ctx context.Context, authority event.AuthorityID, id ID) (Program, error) {
	r, err := s.find(ctx, authority, id)
	if err != nil {
		return Program{}, err
	}
	return s.shown(r, s.cfg.Now()), nil
}

func (s *Service) find(ctx context.Context, authority event.AuthorityID, id ID) (r row, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		r, err = findProgram(ctx, q, authority, id)
		return err
	})
	if isNone(err) {
		return row{}, ErrUnknown
	}
	return r, deed(err, "look up a program")
}

// Withdraw ends a program, at every site as soon as it hears of it. It needs access.ManagePrograms in the whole authority;
// for a program of one's own access.OwnAccount. It returns ErrUnknown and the errors of access and log; ErrUnknown also to
// somebody who may only look after their own. Withdrawing twice is no error.
func (s *Service) Withdraw(ctx context.Context, by access.Principal, authority event.AuthorityID, id ID) (eventlog.Receipt, error) {
	r, found := s.find(ctx, authority, id)
	grant, err := s.judge(ctx, by, authority, r.state.Owner, true)
	if err != nil {
		return eventlog.Receipt{}, err // before found: who may not is not told what there is
	}
	if found != nil || r.state.Withdrawn {
		return eventlog.Receipt{}, found
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	receipt, err := s.append(ctx, authority, event.Draft{Subject: id.Subject(), Kind: KindWithdrawn, Actor: by.Actor(), Grant: grant, Data: Withdrawn{}})
	return receipt, deed(err, "withdraw a program")
}

// WithdrawAll withdraws every program of a person who is blocked or erased, and returns how many. With forget, the names of
// their app passwords are destroyed too. The caller has judged.
func (s *Service) WithdrawAll(ctx context.Context, by access.Principal, authority event.AuthorityID, owner directory.PersonID, forget bool) (int, error) {
	if owner == "" {
		return 0, ErrOwner.At(0, "owner")
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	var rows []row
	err := s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		rows, err = listOwned(ctx, q, authority, owner, s.cfg.Now())
		return err
	})
	if err != nil {
		return 0, deed(err, "withdraw a person's programs")
	}
	var drafts []event.Draft
	var keys []event.KeyID
	for _, r := range rows {
		if !r.state.Withdrawn {
			drafts = append(drafts, event.Draft{Subject: r.id.Subject(), Kind: KindWithdrawn, Actor: by.Actor(), Data: Withdrawn{}})
		}
		if r.status != directory.Erased {
			keys = append(keys, r.state.Key)
		}
	}
	if len(drafts) > 0 {
		if _, err := s.append(ctx, authority, drafts...); err != nil {
			return 0, deed(err, "withdraw a person's programs")
		}
	}
	if forget && len(keys) > 0 {
		err = s.cfg.Keys.Erase(ctx, authority, keys...)
	}
	return len(drafts), deed(err, "forget the names of a person's programs")
}

// KeyUses returns the owners ("" where a program has none) of the programs whose name is sealed with each of the keys, as far as
// this site's facts tell. A key that no program uses is left out.
func (s *Service) KeyUses(ctx context.Context, authority event.AuthorityID, keys []event.KeyID) (uses map[event.KeyID][]directory.PersonID, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		uses, err = keyUses(ctx, q, authority, keys)
		return err
	})
	return uses, deed(err, "look up which programs' keys these are")
}

// append writes facts and waits until this site's read model shows them.
func (s *Service) append(ctx context.Context, authority event.AuthorityID, drafts ...event.Draft) (eventlog.Receipt, error) {
	for i := range drafts {
		after, err := s.cfg.Model.LastStamp(ctx, authority, drafts[i].Subject)
		if err != nil {
			return eventlog.Receipt{}, err
		}
		drafts[i].After = after
	}
	r, err := s.cfg.Log.Append(ctx, authority, event.Register, drafts...)
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

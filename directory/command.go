// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

// Keys is what the directory needs of a keyring.Ring.
type Keys interface {
	NewKeys(ctx context.Context, authority event.AuthorityID, n int) ([]keyring.Key, error)
	Named(ctx context.Context, authority event.AuthorityID, name string) (keyring.Key, error)
	Key(ctx context.Context, authority event.AuthorityID, id event.KeyID) (seal.Key, error)
	Erase(ctx context.Context, authority event.AuthorityID, ids ...event.KeyID) error
}

// Model is what the directory needs of a readmodel.Model.
type Model interface {
	View(ctx context.Context, read func(q readmodel.Query) error) error
	CatchUp(ctx context.Context) (int, error)
	Wait(ctx context.Context, log eventlog.LogID, pos eventlog.Position) error
}

// Config is what a Service needs. All fields but MoreKeys and Logger are required.
type Config struct {
	Log    eventlog.Appender
	Model  Model
	Keys   Keys
	Rand   io.Reader
	Logger *slog.Logger
	// MoreKeys returns the keys with which other domains have sealed what belongs to a person (the account's passkeys). They
	// are destroyed together with the person's own. It may be nil.
	MoreKeys func(ctx context.Context, authority event.AuthorityID, person PersonID) ([]event.KeyID, error)
}

// Service answers questions about people and takes changes. It is safe for concurrent use; every method blocks until it
// is done or ctx ends.
type Service struct {
	cfg   Config
	actor string
	// writing lets one import or erasure at a time compare and write, so that two imports of one file do not both add.
	writing *sync.Mutex
}

// New returns a Service that acts as the operator.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg, actor: "operator", writing: new(sync.Mutex)}
}

// As returns the same service whose facts name the given actor ("person/12c0...").
func (s *Service) As(actor string) *Service {
	c := *s
	c.actor = actor
	return &c
}

// ErrPersonUnknown is returned for somebody who is not in the register, or not any more.
var ErrPersonUnknown = fault.New(fault.NotFound, "directory.person_unknown", "there is no such person in the register",
	"look the person up again; a person whose facts have not arrived at this site yet appears as soon as they have")

// People returns a page of people and how many there are. Without a text it is ordered by name and the total is exact.
// With a text, up to CountLimit matches are ordered by name; beyond, they come as they lie in the index and the total is
// CountLimit+1. People who cannot be read stand at the end of the list and are not found by text.
func (s *Service) People(ctx context.Context, authority event.AuthorityID, search Search) (people []Person, total int, err error) {
	if search.Limit <= 0 {
		search.Limit = DefaultLimit
	}
	search.Limit = min(search.Limit, MaxLimit)
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		people, total, err = listPeople(ctx, q, authority, search)
		return err
	})
	return people, total, deed(err, "list people")
}

// Person returns one person, readable or not. It returns ErrPersonUnknown for one who is not in the register.
func (s *Service) Person(ctx context.Context, authority event.AuthorityID, id PersonID) (p Person, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		p, err = findPerson(ctx, q, authority, id)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Person{}, ErrPersonUnknown
	}
	return p, deed(err, "look up a person")
}

// Contact returns a person as the one who writes to them needs them: look at Readable before using an address. It returns
// ErrPersonUnknown for one who is not in the register any more.
func (s *Service) Contact(ctx context.Context, authority event.AuthorityID, id PersonID) (Person, error) {
	return s.Person(ctx, authority, id)
}

// Units returns all units of the authority ordered by name; Parent makes them a tree.
func (s *Service) Units(ctx context.Context, authority event.AuthorityID) (units []Unit, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		units, err = listUnits(ctx, q, authority)
		return err
	})
	return units, deed(err, "list units")
}

// Functions returns all functions of the authority in the order of a staff: Leiter Stab, S1 to S6, advisers, then by name.
func (s *Service) Functions(ctx context.Context, authority event.AuthorityID) (functions []Function, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		functions, err = listFunctions(ctx, q, authority, stillThere)
		return err
	})
	return functions, deed(err, "list functions")
}

// Resolve returns everybody whom the audience means, each once, ordered by id. People without a channel are among them,
// with no Channels; removed and erased ones are not. It returns ErrAudience if a part was never heard of.
func (s *Service) Resolve(ctx context.Context, authority event.AuthorityID, a Audience) (list []Recipient, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		list, err = resolve(ctx, q, authority, a)
		return err
	})
	return list, deed(err, "resolve an audience")
}

func (s *Service) wait(ctx context.Context, r eventlog.Receipt) error {
	return s.cfg.Model.Wait(ctx, r.Log, r.Last)
}

// deed says what was being done, unless err is nil.
func deed(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

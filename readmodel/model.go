// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"context"
	"log/slog"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

type Source interface {
	Heads() []eventlog.Head
	Read(ctx context.Context, branch eventlog.Branch, after uint64, maxBytes int) ([]*eventlog.Page, error)
}

type Config struct {
	Path       string
	Folds      []Fold
	Source     Source
	Keys       Opener
	Self       event.SiteID
	MergeAfter time.Duration
	Now        func() time.Time
	Logger     *slog.Logger
}

type Model struct{}

type Name struct {
	Ref
	All bool
}

type KeyRef struct {
	Authority event.AuthorityID
	KeyID     event.KeyID
}

type Trouble struct {
	Ref
	Branch  eventlog.Branch
	Kind    event.Kind
	EventID event.ID
	Reason  string
}

type Merge struct {
	Authority event.AuthorityID
	From      event.SiteID
	FirstWall time.Time
	LastWall  time.Time
	ArrivedAt time.Time
	Events    int
	Late      int
	FirstCopy bool
}

func Open(ctx context.Context, c Config) (*Model, error)                        { return nil, nil }
func (m *Model) Close() error                                                   { return nil }
func (m *Model) CatchUp(ctx context.Context) (int, error)                       { return 0, nil }
func (m *Model) Run(ctx context.Context)                                        {}
func (m *Model) Wake()                                                          {}
func (m *Model) Wait(ctx context.Context, log eventlog.LogID, pos eventlog.Position) error { return nil }
func (m *Model) Watch(prefixes ...Ref) (<-chan Name, func())                    { return nil, nil }
func (m *Model) View(ctx context.Context, read func(q Query) error) error       { return nil }
func (m *Model) State(ctx context.Context, authority event.AuthorityID, subject event.Subject, into any) (bool, error) {
	return false, nil
}
func (m *Model) LastStamp(ctx context.Context, authority event.AuthorityID, subject event.Subject) (event.Stamp, error) {
	return 0, nil
}
func (m *Model) Arrived(ctx context.Context, authority event.AuthorityID, subject event.Subject) (time.Time, error) {
	return time.Time{}, nil
}
func (m *Model) StateHash(ctx context.Context) (string, error) { return "", nil }
func (m *Model) StateHashOf(ctx context.Context, authorities ...event.AuthorityID) (string, error) {
	return "", nil
}
func (m *Model) Rebuild(ctx context.Context) error                        { return nil }
func (m *Model) KeysChanged(ctx context.Context, keys []KeyRef) error     { return nil }
func (m *Model) SetAside(ctx context.Context) ([]Trouble, error)          { return nil, nil }
func (m *Model) Merges(ctx context.Context) ([]Merge, error)              { return nil, nil }

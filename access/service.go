// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// Directory is what judging needs to know of people: a directory.Service.
type Directory interface {
	// Person returns somebody with the functions that they hold or deputise, or directory.ErrPersonUnknown.
	Person(ctx context.Context, authority event.AuthorityID, id directory.PersonID) (directory.Person, error)
	// Functions returns all functions with their holders and deputies.
	Functions(ctx context.Context, authority event.AuthorityID) ([]directory.Function, error)
	// Units returns all units; Parent makes them a tree.
	Units(ctx context.Context, authority event.AuthorityID) ([]directory.Unit, error)
}

// Model is what the package needs of a readmodel.Model.
type Model interface {
	View(ctx context.Context, read func(q readmodel.Query) error) error
	LastStamp(ctx context.Context, authority event.AuthorityID, subject event.Subject) (event.Stamp, error)
	Wait(ctx context.Context, log eventlog.LogID, pos eventlog.Position) error
}

// Config is what a Service works with. Every field is required.
type Config struct {
	Log       eventlog.Appender
	Model     Model
	Directory Directory
	// Held reports whether this site holds the authority's data. It answers from memory and does not block.
	Held func(event.AuthorityID) bool
	Now  func() time.Time
	Rand io.Reader
}

// Service judges, and takes changes of rights. It is safe for concurrent use; every method blocks until it is done or ctx
// ends. Its errors besides those named are the read model's, the directory's and the log's.
//
// Methods that return lists or single things do not judge: whoever shows them has asked Judge before.
type Service struct {
	cfg Config
	// writing lets one change at a time look and write, and guards cfg.Rand: two administrators must not withdraw each
	// other's grant, each believing that the other's is left.
	writing *sync.Mutex
	carried *carrying
}

// New returns a service. It starts nothing.
func New(cfg Config) *Service {
	return &Service{cfg: cfg, writing: new(sync.Mutex), carried: &carrying{now: make(map[carriedKey]string)}}
}

// The refusals of judging.
var (
	// ErrForbidden is returned to somebody who is known and may not.
	ErrForbidden = fault.New(fault.Forbidden, "access.forbidden", "you may not do that",
		"ask an administrator of your authority for the role that it takes")
	// ErrOwnKey is returned to somebody for whom only the authority's identity provider has vouched.
	ErrOwnKey = fault.New(fault.Forbidden, "access.own_key", "this takes a sign-in of your own: your identity provider's word is not enough for it",
		"sign out, then sign in with your passkey or a recovery code")
	// ErrNoAuthority is returned alike for an authority that is somebody else's, does not exist, or is not held at this site, so
	// that nobody learns which authorities there are.
	ErrNoAuthority = fault.New(fault.NotFound, "access.no_authority", "this site holds no data of such an authority for you",
		"check its short name; sign in with the authority that you belong to, or use one of the authority's own sites")
)

// append writes one fact and waits until this site's read model shows it. After the facts are written only waiting can fail;
// the receipt is valid then.
func (s *Service) append(ctx context.Context, authority event.AuthorityID, class event.Class, d event.Draft) (eventlog.Receipt, error) {
	after, err := s.cfg.Model.LastStamp(ctx, authority, d.Subject)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	d.After = after
	r, err := s.cfg.Log.Append(ctx, authority, class, d)
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

// millis returns the time in milliseconds since 1970, 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// timeOf is the inverse of millis, in UTC.
func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

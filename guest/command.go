// SPDX-License-Identifier: EUPL-1.2

package guest

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
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
	Wait(ctx context.Context, log eventlog.LogID, pos eventlog.Position) error
}

// Federation knows which authorities this site may hold. It answers from memory and does not block.
type Federation interface {
	Held() []event.AuthorityID
}

// Judge says whether somebody may do something in an authority, and by which grant ("" for a right that needs none): what
// access.Service.Judge knows.
type Judge func(ctx context.Context, p access.Principal, authority event.AuthorityID, need access.Permission) (grant string, err error)

// Config is what a Service needs. All fields but Logger are required.
type Config struct {
	Log        eventlog.Appender
	Model      Model
	Keys       Keys
	Federation Federation
	Judge      Judge
	Now        func() time.Time
	Rand       io.Reader
	Logger     *slog.Logger
}

// Service lets guests in and sends them away. It is safe for concurrent use; methods block for disk and read model.
type Service struct {
	cfg Config
	// writing lets one command at a time look and write, so that no code lets in twice at one site.
	writing sync.Mutex
}

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg}
}

var errNotBuilt = fault.New(fault.Internal, "guest.not_built", "not built yet", "")

// Invite invites a guest and returns the code to read to them; it is shown once and cannot be found out again. It needs
// access.InviteGuests. Errors: those of the draft, ErrTooMany, those of judge, keyring and log.
func (s *Service) Invite(ctx context.Context, by access.Principal, authority event.AuthorityID, d Draft) (Guest, string, eventlog.Receipt, error) {
	return Guest{}, "", eventlog.Receipt{}, errNotBuilt
}

// Renew gives a guest a new code and a new end (zero: DefaultLife from now); the old code and its session end. It is also
// how somebody who was sent away, or whose code was used twice, may come back. It needs access.InviteGuests and returns
// ErrUnknown, ErrUntil, ErrTooMany and the errors of judge, keyring and log.
func (s *Service) Renew(ctx context.Context, by access.Principal, authority event.AuthorityID, id ID, until time.Time) (Guest, string, eventlog.Receipt, error) {
	return Guest{}, "", eventlog.Receipt{}, errNotBuilt
}

// Enter lets in whoever has a code, once. The principal's session is new; its incident is the guest's. Spaces, hyphens and
// case do not matter, and O, I and L are read as 0 and 1. It returns ErrCode, or the errors of keyring and log.
func (s *Service) Enter(ctx context.Context, code string) (access.Principal, error) {
	return access.Principal{}, errNotBuilt
}

// Guests returns all guests of the authority, those who may come in first, then by the time of their invitation, the
// youngest first; at most 1,000.
func (s *Service) Guests(ctx context.Context, authority event.AuthorityID) ([]Guest, error) {
	return nil, errNotBuilt
}

// Guest returns one guest, or ErrUnknown.
func (s *Service) Guest(ctx context.Context, authority event.AuthorityID, id ID) (Guest, error) {
	return Guest{}, errNotBuilt
}

// SendAway ends a guest's visit, at every site as soon as it hears of it. It needs access.InviteGuests and returns
// ErrUnknown and the errors of judge and log. Sending away twice is no error.
func (s *Service) SendAway(ctx context.Context, by access.Principal, authority event.AuthorityID, id ID) (eventlog.Receipt, error) {
	return eventlog.Receipt{}, errNotBuilt
}

// Standing returns nil if p is no guest, or one who may go on, and otherwise ErrEnded or ErrTwice. It is asked for every
// request and reads one row.
func (s *Service) Standing(ctx context.Context, p access.Principal) error {
	if p.Kind != access.Visitor {
		return nil
	}
	return errNotBuilt
}

// Forget destroys the names of guests whose end was longer ago than age, and returns of how many. Their facts stay, without
// names. Call it now and then; it is cheap when there is nothing to do.
func (s *Service) Forget(ctx context.Context, authority event.AuthorityID, age time.Duration) (int, error) {
	return 0, errNotBuilt
}

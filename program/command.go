// SPDX-License-Identifier: EUPL-1.2

package program

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
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

// Judge says whether somebody may do something in an authority, and by which grant ("" for a right that needs none): what
// access.Service.Judge knows.
type Judge func(ctx context.Context, p access.Principal, authority event.AuthorityID, need access.Permission) (grant string, err error)

// Config is what a Service needs. All fields but Logger are required.
type Config struct {
	Self       event.SiteID
	Log        eventlog.Appender
	Model      Model
	Keys       Keys
	Directory  Directory
	Federation Federation
	Judge      Judge
	Now        func() time.Time
	Rand       io.Reader
	Logger     *slog.Logger
}

// Service makes, checks and withdraws programs. It is safe for concurrent use; methods block for disk and read model.
type Service struct {
	cfg Config
	// writing lets one command at a time count and write.
	writing sync.Mutex
}

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg}
}

var errNotBuilt = fault.New(fault.Internal, "program.not_built", "not built yet", "")

// Make makes a program and returns its token ("hf1_…"); it is shown once and cannot be found out again. It needs
// access.ManagePrograms; for an app password of one's own access.OwnAccount. Errors: those of the draft, ErrTooMany, those
// of judge, directory, keyring and log.
func (s *Service) Make(ctx context.Context, by access.Principal, authority event.AuthorityID, d Draft) (Program, string, eventlog.Receipt, error) {
	return Program{}, "", eventlog.Receipt{}, errNotBuilt
}

// Authenticate returns who a bearer token of kind API is, or ErrToken.
func (s *Service) Authenticate(ctx context.Context, token string) (access.Principal, error) {
	return access.Principal{}, errNotBuilt
}

// AuthenticateAs returns who logs in to a protocol: user is the owner's e-mail address or id, password an app password of
// that kind. It returns ErrToken for everything else.
func (s *Service) AuthenticateAs(ctx context.Context, kind Kind, user, password string) (access.Principal, error) {
	return access.Principal{}, errNotBuilt
}

// Programs returns all programs of the authority, the living first, then by the time they were made, the youngest first;
// at most 1,000.
func (s *Service) Programs(ctx context.Context, authority event.AuthorityID) ([]Program, error) {
	return nil, errNotBuilt
}

// Owned returns the programs of one person, in the same order.
func (s *Service) Owned(ctx context.Context, authority event.AuthorityID, owner directory.PersonID) ([]Program, error) {
	return nil, errNotBuilt
}

// Program returns one program, or ErrUnknown.
func (s *Service) Program(ctx context.Context, authority event.AuthorityID, id ID) (Program, error) {
	return Program{}, errNotBuilt
}

// Withdraw ends a program, at every site as soon as it hears of it. It needs access.ManagePrograms; for a program of one's
// own access.OwnAccount. It returns ErrUnknown and the errors of judge and log. Withdrawing twice is no error.
func (s *Service) Withdraw(ctx context.Context, by access.Principal, authority event.AuthorityID, id ID) (eventlog.Receipt, error) {
	return eventlog.Receipt{}, errNotBuilt
}

// WithdrawAll withdraws every program of a person who is blocked or erased, and returns how many. With forget, the names of
// their app passwords are destroyed too. The caller has judged.
func (s *Service) WithdrawAll(ctx context.Context, by access.Principal, authority event.AuthorityID, owner directory.PersonID, forget bool) (int, error) {
	return 0, errNotBuilt
}

// Standing returns nil if p is no program, or one that may go on, and otherwise ErrToken.
func (s *Service) Standing(ctx context.Context, p access.Principal) error {
	if p.Kind != access.Program {
		return nil
	}
	return errNotBuilt
}

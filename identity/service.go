// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"io"
	"log/slog"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

// Directory is what this package needs of a directory.Service.
type Directory interface {
	Person(ctx context.Context, authority event.AuthorityID, id directory.PersonID) (directory.Person, error)
	People(ctx context.Context, authority event.AuthorityID, search directory.Search) ([]directory.Person, int, error)
}

// Federation says which sites belong together. It answers from memory and does not block.
type Federation interface {
	// Held returns the authorities whose data this site may hold.
	Held() []event.AuthorityID
	// Member reports whether the site is admitted and not removed.
	Member(site event.SiteID) bool
	// Allowed reports whether the site may hold the authority's data.
	Allowed(site event.SiteID, authority event.AuthorityID) bool
}

// Model is what this package needs of a readmodel.Model.
type Model interface {
	View(ctx context.Context, read func(q readmodel.Query) error) error
	Wait(ctx context.Context, log eventlog.LogID, pos eventlog.Position) error
	LastStamp(ctx context.Context, authority event.AuthorityID, subject event.Subject) (event.Stamp, error)
}

// Keys is what this package needs of a keyring.Ring.
type Keys interface {
	NewKeys(ctx context.Context, authority event.AuthorityID, n int) ([]keyring.Key, error)
	Named(ctx context.Context, authority event.AuthorityID, name string) (keyring.Key, error)
	Key(ctx context.Context, authority event.AuthorityID, id event.KeyID) (seal.Key, error)
	Erase(ctx context.Context, authority event.AuthorityID, ids ...event.KeyID) error
}

// Local is what this package needs of a localstore.Store: what was used at this site stays used through a crash.
type Local interface {
	Get(ctx context.Context, bucket, key string) ([]byte, error)
	Put(ctx context.Context, bucket, key string, value []byte, expires time.Time) error
	PutNew(ctx context.Context, bucket, key string, value []byte, expires time.Time) error
	Delete(ctx context.Context, bucket, key string) error
}

// Config is what a Service works with. Fields are required unless they say otherwise.
type Config struct {
	Self       event.SiteID
	Identity   *seal.Identity
	Federation Federation
	Log        eventlog.Appender
	Model      Model
	Directory  Directory
	Keys       Keys
	Local      Local
	// Messenger tells people; nil: nobody is told, and Remind and SendInvitations refuse.
	Messenger Messenger
	// Names returns the hosts under which the authority's people reach the portal.
	Names func(authority event.AuthorityID) []string
	// Administrators returns whom to tell about a warning besides the person: an access.Service's Holders. May be nil.
	Administrators func(ctx context.Context, authority event.AuthorityID) ([]directory.PersonID, error)
	// ProviderOff says whether the authority has switched its identity provider off. May be nil: it is on.
	ProviderOff func(ctx context.Context, authority event.AuthorityID) (bool, error)
	// ByKey finds the person whom the authority's source of people knows by a key, such as a personnel number; used for the
	// claim of an identity provider. May be nil: then only e-mail addresses are found.
	ByKey func(ctx context.Context, authority event.AuthorityID, key string) (directory.PersonID, error)
	// Audit records what this package does by itself (warnings told, keys of erased people destroyed), with a deed and an
	// object such as "account/PERSON". Sign-ins are recorded where the remote address is known. May be nil.
	Audit  func(ctx context.Context, authority event.AuthorityID, deed, object string) error
	Now    func() time.Time
	Rand   io.Reader
	Logger *slog.Logger
}

// Service lets people in. It is safe for concurrent use. Methods block for the disk; those that append return when this
// site's own read model shows what they did.
type Service struct {
	cfg Config
}

// New returns a Service.
func New(c Config) *Service {
	return &Service{cfg: c}
}

var _ = access.Principal{}

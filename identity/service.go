// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"encoding/base64"
	stdhex "encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/secretcode"
)

// Directory is what this package needs of a directory.Service.
type Directory interface {
	Person(ctx context.Context, authority event.AuthorityID, id directory.PersonID) (directory.Person, error)
	People(ctx context.Context, authority event.AuthorityID, search directory.Search) ([]directory.Person, int, error)
	Resolve(ctx context.Context, authority event.AuthorityID, audience directory.Audience) ([]directory.Recipient, error)
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
	// MayVouch returns ErrVouchAbove for somebody who has not the rights to vouch for the person: two members must not let a third
	// into an administrator's account. May be nil.
	MayVouch func(ctx context.Context, by access.Principal, person directory.PersonID) error
	// Protected says of whom only the console may invite anew once they are enrolled: through their account one could be two people.
	// May be nil: of nobody.
	Protected func(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (bool, error)
	// MayManage returns an error for somebody whose right to manage accounts does not reach as far as the rights of these people:
	// with an invitation for somebody they would have that person's rights. The console is not asked about. May be nil.
	MayManage func(ctx context.Context, by access.Principal, persons []directory.PersonID) error
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
	cfg    Config
	argon  *secretcode.Gate
	codes  *secretcode.Throttle
	digits *secretcode.Throttle
	wrong  *secretcode.Throttle // wrong digits after one right code
	words  *secretcode.Throttle // vouchings of one person
	random *lockedReader
	doer   doer

	mu   sync.Mutex
	seen map[owner]string // the day on which this site last told of a person's sign-in
}

// New returns a Service.
func New(c Config) *Service {
	return &Service{
		cfg:    c,
		argon:  secretcode.NewGate(runtime.GOMAXPROCS(0)),
		codes:  secretcode.NewThrottle(codeTries, time.Minute),
		digits: secretcode.NewThrottle(totpTries, 5*time.Minute),
		wrong:  secretcode.NewThrottle(wrongDigits-1, 30*24*time.Hour),
		words:  secretcode.NewThrottle(maxVouchings, VouchingLife),
		random: &lockedReader{r: c.Rand},
		doer:   doer{first: make(map[string]time.Time), next: make(map[string]time.Time), erased: make(map[event.KeyID]bool)},
		seen:   make(map[owner]string),
	}
}

// lockedReader makes an injected source of randomness safe for several goroutines.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

// Read reads from the source, one caller at a time.
func (l *lockedReader) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return io.ReadFull(l.r, b)
}

func (s *Service) draw(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := s.random.Read(b)
	return b, err
}

// drawHex returns n random hexadecimal characters.
func (s *Service) drawHex(n int) (string, error) {
	b, err := s.draw(n / 2)
	return stdhex.EncodeToString(b), err
}

// The buckets of the local store.
const (
	bucketUsed    = "identity.used"    // what was used once at this site, until the read model knows
	bucketOnce    = "identity.once"    // challenges and hand-overs that were answered here
	bucketCounter = "identity.counter" // the highest signature counter of a passkey seen here
)

// claim makes sure that of several who use one thing at this site at once, one gets it. The claim holds until the read
// model shows the use. It returns taken if somebody else was faster.
func (s *Service) claim(ctx context.Context, o owner, what string, taken error) (release func(), err error) {
	key := string(o.authority) + "/" + string(o.person) + "/" + what
	err = s.cfg.Local.PutNew(ctx, bucketUsed, key, nil, s.cfg.Now().Add(time.Hour))
	if errors.Is(err, localstore.ErrExists) {
		return nil, taken
	}
	if err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	return func() { _ = s.cfg.Local.Delete(context.WithoutCancel(ctx), bucketUsed, key) }, nil
}

// once returns replayed if the nonce was taken at this site before.
func (s *Service) once(ctx context.Context, nonce []byte, expires time.Time, replayed error) error {
	err := s.cfg.Local.PutNew(ctx, bucketOnce, stdhex.EncodeToString(nonce), nil, expires.Add(event.MaxDrift))
	if errors.Is(err, localstore.ErrExists) {
		return replayed
	}
	return err
}

// held reports whether this site may hold the authority's data.
func (s *Service) held(authority event.AuthorityID) bool {
	return slices.Contains(s.cfg.Federation.Held(), authority)
}

// state reads an account. A person without one has the empty state.
func (s *Service) state(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (st state, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		st, err = readState(ctx, q, authority, person)
		return err
	})
	return st, err
}

// person returns somebody who is in the register and not erased, or ErrPersonUnknown.
func (s *Service) person(ctx context.Context, authority event.AuthorityID, id directory.PersonID) (directory.Person, error) {
	if !id.Valid() || !s.held(authority) {
		return directory.Person{}, ErrPersonUnknown
	}
	p, err := s.cfg.Directory.Person(ctx, authority, id)
	if fault.KindOf(err) == fault.NotFound || err == nil && p.Readable == directory.Erased {
		return directory.Person{}, ErrPersonUnknown
	}
	return p, err
}

// appendFact appends one fact about an account and waits until this site shows it.
func (s *Service) appendFact(ctx context.Context, authority event.AuthorityID, person directory.PersonID, actor string, kind event.Kind, fact any, keys ...event.KeyID) (eventlog.Receipt, error) {
	d, err := s.draft(ctx, authority, person, actor, kind, fact, keys...)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	return s.append(ctx, authority, d)
}

func (s *Service) draft(ctx context.Context, authority event.AuthorityID, person directory.PersonID, actor string, kind event.Kind, fact any, keys ...event.KeyID) (event.Draft, error) {
	subject := accountSubject(person)
	after, err := s.cfg.Model.LastStamp(ctx, authority, subject)
	return event.Draft{Subject: subject, Kind: kind, Actor: actor, Keys: keys, Data: fact, After: after}, err
}

func (s *Service) append(ctx context.Context, authority event.AuthorityID, drafts ...event.Draft) (eventlog.Receipt, error) {
	r, err := s.cfg.Log.Append(ctx, authority, event.Register, drafts...)
	if err != nil {
		return r, fmt.Errorf("record in an account: %w", err)
	}
	return r, s.cfg.Model.Wait(ctx, r.Log, r.Last)
}

// own checks that p is a person who is here for themself and may still be, and returns whose account it is. An identity
// provider's word is not enough: whoever has seized it would leave ways in behind that stay when it is switched off.
func (s *Service) own(ctx context.Context, p access.Principal) (directory.PersonID, error) {
	if p.Kind != access.Person || !hex(p.Session, 32) {
		return "", ErrNotYours
	}
	if p.Borrowed() {
		return "", access.ErrOwnKey
	}
	return directory.PersonID(p.ID), s.Standing(ctx, p)
}

// FreshFor is how long after signing in somebody may change what lets them in.
const FreshFor = 10 * time.Minute

// fresh returns ErrStale for a session that began too long ago to change what lets its person in. A session of an invitation may
// do nothing else, and somebody who has just come in has no beginning yet.
func (s *Service) fresh(p access.Principal) error {
	if !p.Limited && !p.Begun.IsZero() && s.cfg.Now().Sub(p.Begun) > FreshFor {
		return ErrStale
	}
	return nil
}

// changing is own for what changes how the person comes in.
func (s *Service) changing(ctx context.Context, p access.Principal) (directory.PersonID, error) {
	person, err := s.own(ctx, p)
	if err == nil {
		err = s.fresh(p)
	}
	return person, err
}

// accountKey returns a key to seal with: the account's youngest that this site can use, or a new one.
func (s *Service) accountKey(ctx context.Context, authority event.AuthorityID, st state) (keyring.Key, error) {
	for _, id := range slices.Backward(st.Keys) {
		if k, err := s.cfg.Keys.Key(ctx, authority, id); err == nil {
			return keyring.Key{ID: id, Secret: k}, nil
		}
	}
	keys, err := s.cfg.Keys.NewKeys(ctx, authority, 1)
	if err != nil {
		return keyring.Key{}, fmt.Errorf("make a key for an account: %w", err)
	}
	return keys[0], nil
}

// idKey returns the key under which the authority's keyed hashes are made.
func (s *Service) idKey(ctx context.Context, authority event.AuthorityID) (seal.Key, error) {
	k, err := s.cfg.Keys.Named(ctx, authority, keyring.NameID)
	return k.Secret, err
}

// principal returns who has come in.
func principal(authority event.AuthorityID, person directory.PersonID, way access.Way, session string) access.Principal {
	return access.Principal{Kind: access.Person, Authority: authority, ID: string(person), Way: way, Session: session}
}

func actorOf(person directory.PersonID) string { return "person/" + string(person) }

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode reads what encode wrote. Only the one right spelling of each value is taken.
func decode(s string, maxBytes int) ([]byte, bool) {
	if len(s) > base64.RawURLEncoding.EncodedLen(maxBytes) {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil && encode(b) == s
}

// signedIn tells, once a day, that somebody signed in. It is no reason to keep anybody out that this cannot be written.
func (s *Service) signedIn(ctx context.Context, authority event.AuthorityID, person directory.PersonID, st state, f SignedIn) {
	f.Day = s.cfg.Now().UTC().Format(time.DateOnly)
	if st.Day >= f.Day || !s.newDay(owner{authority: authority, person: person}, f.Day) {
		return
	}
	if _, err := s.appendFact(ctx, authority, person, actorOf(person), KindSignedIn, f); err != nil {
		s.cfg.Logger.Warn("a sign-in could not be told to the other sites", "authority", authority, "err", err)
	}
}

const maxSeen = 200_000

// newDay reports whether this site has not told of the person's sign-in that day.
func (s *Service) newDay(o owner, day string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[o] == day {
		return false
	}
	if len(s.seen) >= maxSeen {
		clear(s.seen)
	}
	s.seen[o] = day
	return true
}

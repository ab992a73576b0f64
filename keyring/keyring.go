// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

// The answers for a key that cannot be had. A caller shows the two differently: one is for ever, the other may pass.
var (
	ErrErased = fault.New(fault.NotFound, "keyring.erased", "the key was erased; what it sealed stays unreadable for ever",
		"nothing: this is what erasing means")
	ErrMissing = fault.New(fault.Unavailable, "keyring.missing", "this site does not hold the key yet",
		"wait until the sites have exchanged their keys; if it stays, check that the authority allows this site")
	ErrNoAuthorityKey = fault.New(fault.Unavailable, "keyring.no_authority_key", "this site does not hold the authority's key",
		"another site of the authority must be reachable once, to seal the key to this one")
)

// The names of the shared keys that Found makes.
const (
	NameID       = "id"       // makes ids of persons and units from what a directory calls them
	NameLink     = "link"     // authenticates reply links
	NameRegister = "register" // seals what belongs to nobody in particular, such as names of units
)

// sharedNames are the names of the shared keys that every authority has.
var sharedNames = []string{NameID, NameLink, NameRegister}

// MaxBatch bounds NewKeys.
const MaxBatch = 100_000

// cacheBound is how many opened keys stay in memory; beyond it the cache starts anew.
const cacheBound = 400_000

// Config is what a Ring needs. All fields are required but Allowed, Grounds and Logger.
type Config struct {
	Identity *seal.Identity
	Rand     io.Reader
	Now      func() time.Time
	Logger   *slog.Logger
	// Allowed reports whether the authority allows the site now; it must not block. An authority key counts as long as the
	// authority allows the site that drew it. nil allows every site.
	Allowed func(event.SiteID, event.AuthorityID) bool
	// Grounds returns what this site's facts say about erasing the keys: no entry for a key of which they say nothing. It is
	// called without any lock of the ring and may block. With nil no mark of another site counts, and every one of our own does.
	Grounds func(context.Context, event.AuthorityID, []event.KeyID) (map[event.KeyID]Ground, error)
}

// Key is an opened key.
type Key struct {
	ID     event.KeyID
	Secret seal.Key
}

// Changed says that a key came, became readable, was erased or was dropped. The zero Changed says that so much has
// changed that it is not listed: whoever keeps what keys open looks at everything again.
type Changed struct {
	Authority event.AuthorityID
	KeyID     event.KeyID
	Erased    bool
}

// Ring is this site's store of keys. It is safe for concurrent use; methods block for the disk.
type Ring struct {
	cfg   Config
	self  event.SiteID
	db    *sql.DB
	epoch string
	watch watch

	// fill is held while a key goes from the database into the cache, and while an erased one is taken out, so that an
	// erased key cannot slip back in.
	fill  sync.Mutex
	cache sync.RWMutex
	keys  map[keyName]seal.Key
	named map[namedKey]Key
	held  heldKeys
	// renewed is when this site last took a new authority key, by authority.
	renewed map[event.AuthorityID]time.Time
	// asked counts how often boxes have had everything asked for again.
	asked map[askingMaker]asks
	subs  subscribers
	owed  owed

	maxKeys, maxUnopened int // see the constants

	// judging lets one at a time decide about demands, so that no bound is used up twice.
	judging sync.Mutex
}

type keyName struct {
	authority event.AuthorityID
	id        event.KeyID
}

type namedKey struct {
	authority event.AuthorityID
	name      string
}

// Open opens or creates the keyring at path, readable by this user only. The path ":memory:" keeps it in memory, for
// simulations. Close it when done.
func Open(path string, cfg Config) (*Ring, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	dsn, err := prepare(path)
	if err != nil {
		return nil, fmt.Errorf("open the keyring: %w", err)
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open the keyring: %w", err)
	}
	// One connection: there is one writer, opened keys are read from memory, and truncating the write-ahead log needs
	// that nobody reads.
	db.SetMaxOpenConns(1)
	r := &Ring{cfg: cfg, self: cfg.Identity.Site(), db: db, keys: make(map[keyName]seal.Key), named: make(map[namedKey]Key),
		held: heldKeys{lists: make(map[keyName][]heldKey)}, renewed: make(map[event.AuthorityID]time.Time),
		asked: make(map[askingMaker]asks), maxKeys: maxKeys, maxUnopened: maxUnopened}
	r.watch.board = discard(cfg)
	if err := r.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the keyring %s: %w", path, err), db.Close())
	}
	r.keepLayout(path)
	return r, nil
}

func prepare(path string) (string, error) {
	const pragmas = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=secure_delete(ON)&_txlock=immediate"
	if path == ":memory:" {
		return "file::memory:?" + pragmas, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	dir, err := os.Open(filepath.Dir(abs))
	if err != nil {
		return "", errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Chmod(0o600), f.Close(), dir.Sync(), dir.Close()); err != nil {
		return "", err
	}
	return (&url.URL{Scheme: "file", Path: abs, RawQuery: pragmas}).String(), nil
}

// begin makes the tables and a new epoch, settles what an earlier opening has left, and finishes an erasure that a crash may have left in the write-ahead log.
func (r *Ring) begin() error {
	if err := migrate(r.db, r.self); err != nil {
		return err
	}
	var b [8]byte
	if _, err := io.ReadFull(r.cfg.Rand, b[:]); err != nil {
		return fmt.Errorf("draw an epoch: %w", err)
	}
	r.epoch = hex.EncodeToString(b[:])
	_, err := r.db.Exec(`INSERT INTO epoch (id, base) SELECT ?, value FROM counter;
		DELETE FROM epoch WHERE n <= (SELECT max(n) FROM epoch) - 256`, r.epoch)
	if err != nil {
		return err
	}
	if err := r.settleAll(context.Background()); err != nil {
		r.cfg.Logger.Warn("keys that do not open here yet could not be looked at; it is tried again", "error", err)
	}
	return r.forget(context.Background())
}

// Close releases the database.
func (r *Ring) Close() error { return r.db.Close() }

// Self returns the site whose ring this is.
func (r *Ring) Self() event.SiteID { return r.self }

// NewKeys makes n keys of the authority, sealed by its newest key. They are on the disk when it returns. It returns
// ErrNoAuthorityKey, or a fault of kind TooLarge if n exceeds MaxBatch.
func (r *Ring) NewKeys(ctx context.Context, authority event.AuthorityID, n int) ([]Key, error) {
	if n < 0 || n > MaxBatch {
		return nil, fault.New(fault.TooLarge, "keyring.batch", fmt.Sprintf("%d keys at once are out of bounds (0 to %d)", n, MaxBatch), "ask for fewer")
	}
	keys := make([]Key, n)
	if n == 0 {
		return keys, nil
	}
	err := r.write(ctx, func(w *writer) error {
		by, err := w.current(authority)
		if err != nil {
			return err
		}
		for i := range keys {
			if keys[i], err = w.newKey(authority, "", by); err != nil {
				return err
			}
			// Within the transaction, so that whoever erases the key afterwards finds it in memory.
			r.keep(keyName{authority, keys[i].ID}, keys[i].Secret)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make %d keys of %s: %w", n, authority, err)
	}
	return keys, nil
}

// Named returns the shared key of the name: of several the one of the lowest id. It returns ErrMissing if this site
// does not hold it (yet) and ErrErased if every key of the name was erased.
func (r *Ring) Named(ctx context.Context, authority event.AuthorityID, name string) (Key, error) {
	r.cache.RLock()
	k, ok := r.named[namedKey{authority, name}]
	r.cache.RUnlock()
	if ok {
		return k, nil
	}
	r.fill.Lock()
	defer r.fill.Unlock()
	var id event.KeyID
	err := r.db.QueryRowContext(ctx, `SELECT id FROM secret WHERE authority = ? AND name = ? ORDER BY erased <> 0, giver <> '', id LIMIT 1`,
		authority, name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return Key{}, ErrMissing.Because("the key %q of %s", name, authority)
	}
	if err != nil {
		return Key{}, fmt.Errorf("look up the key %q of %s: %w", name, authority, err)
	}
	secret, err := r.load(ctx, authority, id)
	if err != nil {
		return Key{}, err
	}
	k = Key{id, secret}
	r.cache.Lock()
	r.named[namedKey{authority, name}] = k
	r.cache.Unlock()
	return k, nil
}

// Key returns the key of the id, ErrErased if it was erased, and ErrMissing if this site does not hold it or cannot open
// it yet. Keys used before are answered from memory.
func (r *Ring) Key(ctx context.Context, authority event.AuthorityID, id event.KeyID) (seal.Key, error) {
	if k, ok := r.cached(authority, id); ok {
		return k, nil
	}
	r.fill.Lock()
	defer r.fill.Unlock()
	k, err := r.load(ctx, authority, id)
	if err != nil {
		return seal.Key{}, r.unreadable(err)
	}
	r.keep(keyName{authority, id}, k)
	return k, nil
}

// load reads and opens one key. The caller holds fill.
func (r *Ring) load(ctx context.Context, authority event.AuthorityID, id event.KeyID) (seal.Key, error) {
	row, err := findSecret(ctx, r.db, authority, id)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return seal.Key{}, ErrMissing
	case err != nil:
		return seal.Key{}, fmt.Errorf("read the key %s of %s: %w", id, authority, err)
	case row.erased != 0:
		return seal.Key{}, ErrErased
	}
	held, err := r.authorityKeys(ctx, r.db, authority, row.by)
	if err != nil {
		return seal.Key{}, err
	}
	k, worth := r.unseal(authority, held, Record{ID: id, Name: row.name, Sealed: row.sealed})
	if worth == unopened {
		// A foreign record that was taken before we could tell; a true one replaces it.
		return seal.Key{}, ErrMissing.With(seal.ErrOpen)
	}
	return k, nil
}

// Missing returns those of ids for which this site holds neither the key in a form it can open nor the erasure mark, nor expects
// the mark: this site's facts say that the key is to be destroyed, and it is not here.
func (r *Ring) Missing(ctx context.Context, authority event.AuthorityID, ids []event.KeyID) ([]event.KeyID, error) {
	unsure := make([]event.KeyID, 0, len(ids))
	r.cache.RLock()
	for _, id := range ids {
		if _, ok := r.keys[keyName{authority, id}]; !ok {
			unsure = append(unsure, id)
		}
	}
	r.cache.RUnlock()
	if len(unsure) == 0 {
		return nil, nil
	}
	list, err := json.Marshal(unsure)
	if err != nil {
		return nil, fmt.Errorf("look for keys of %s: %w", authority, err)
	}
	missing, err := column[event.KeyID](ctx, r.db, `SELECT j.value FROM json_each(?1) j WHERE NOT EXISTS (
		SELECT 1 FROM secret s WHERE s.authority = ?2 AND s.id = j.value AND (s.erased <> 0 OR s.giver = '' AND EXISTS (
			SELECT 1 FROM box b WHERE b.authority = s.authority AND b.id = s.by AND b.site = ?3)))
		AND NOT EXISTS (SELECT 1 FROM demand d WHERE d.authority = ?2 AND d.id = j.value AND d.state = 'absent')`, string(list), authority, r.self)
	if err != nil {
		return nil, fmt.Errorf("look for keys of %s: %w", authority, err)
	}
	return missing, nil
}

// Subscribe returns a channel of what came, became readable or was erased by others' or our own deed (new keys of our
// own are not told), and a function that ends it. The channel never blocks the ring: what is not received in time is
// gathered into one batch, and a batch that grows too large is replaced by the zero Changed.
func (r *Ring) Subscribe() (<-chan []Changed, func()) { return r.subs.add() }

func (r *Ring) cached(authority event.AuthorityID, id event.KeyID) (seal.Key, bool) {
	r.cache.RLock()
	defer r.cache.RUnlock()
	k, ok := r.keys[keyName{authority, id}]
	return k, ok
}

func (r *Ring) keep(name keyName, k seal.Key) {
	r.cache.Lock()
	defer r.cache.Unlock()
	if len(r.keys) >= cacheBound {
		clear(r.keys)
	}
	r.keys[name] = k
}

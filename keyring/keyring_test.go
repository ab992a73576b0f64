// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

const nordtal event.AuthorityID = "lk-nordtal"

func at() time.Time { return time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC) }

// testSite is a ring with its way to others: a map of sites, and who is allowed what.
type testSite struct {
	*Ring
	id   *seal.Identity
	path string
	sync *Syncer
	net  *network
	now  time.Time
}

// network joins sites without a network; cut sites are unreachable.
type network struct {
	sites   map[event.SiteID]*testSite
	cut     map[event.SiteID]bool
	allowed map[event.AuthorityID][]event.SiteID
	// facts are what the facts that every site has folded say of keys; unfolded sites have none of them.
	facts    map[event.KeyID]Ground
	unfolded map[event.SiteID]bool
}

func newNetwork() *network {
	return &network{map[event.SiteID]*testSite{}, map[event.SiteID]bool{}, map[event.AuthorityID][]event.SiteID{},
		map[event.KeyID]Ground{}, map[event.SiteID]bool{}}
}

// grounds is what a site's facts say of keys.
func (n *network) grounds(site event.SiteID, ids []event.KeyID) map[event.KeyID]Ground {
	out := make(map[event.KeyID]Ground)
	for _, id := range ids {
		if g, ok := n.facts[id]; ok && !n.unfolded[site] {
			out[id] = g
		}
	}
	return out
}

func (n *network) Member(s event.SiteID) bool { return n.sites[s] != nil }

func (n *network) Allowed(s event.SiteID, a event.AuthorityID) bool {
	return slices.Contains(n.allowed[a], s)
}

// link is the way out of one site.
type link struct {
	from event.SiteID
	net  *network
}

func (l link) Request(ctx context.Context, to event.SiteID, _ string, body []byte) ([]byte, error) {
	if l.net.cut[l.from] || l.net.cut[to] {
		return nil, fault.New(fault.Unavailable, "test.cut", "the site is cut off", "wait")
	}
	return l.net.sites[to].sync.Serve(ctx, l.from, body)
}

func (n *network) add(t testing.TB, dir string) *testSite {
	t.Helper()
	id, err := seal.NewIdentity(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &testSite{id: id, net: n, path: ":memory:"}
	if dir != "" {
		s.path = filepath.Join(dir, id.Site().Short()+".db")
	}
	s.open(t)
	n.sites[id.Site()] = s
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (s *testSite) config() Config {
	return Config{Identity: s.id, Rand: rand.Reader, Now: func() time.Time { return s.now }, Allowed: s.net.Allowed,
		Grounds: func(_ context.Context, _ event.AuthorityID, ids []event.KeyID) (map[event.KeyID]Ground, error) {
			return s.net.grounds(s.id.Site(), ids), nil
		}}
}

func (s *testSite) open(t testing.TB) {
	t.Helper()
	s.now = at()
	r, err := Open(s.path, s.config())
	if err != nil {
		t.Fatal(err)
	}
	s.Ring = r
	s.sync = &Syncer{Ring: r, Link: link{s.id.Site(), s.net}, Policy: s.net, Authorities: func() []event.AuthorityID {
		return []event.AuthorityID{nordtal, event.Federation}
	}}
}

func (n *network) allow(sites ...*testSite) {
	n.allowed[nordtal] = nil
	for _, s := range sites {
		n.allowed[nordtal] = append(n.allowed[nordtal], s.Self())
	}
}

func (s *testSite) pub() seal.PublicKey { pub, _ := s.id.SealingKey(); return pub }

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// erase records a fact that makes the keys due, and erases them at this site.
func (s *testSite) erase(ids ...event.KeyID) error {
	for _, id := range ids {
		s.net.facts[id] = Ground{Due: true, By: s.Self()}
	}
	return s.Erase(context.Background(), nordtal, ids...)
}

func (s *testSite) pull(t testing.TB, from *testSite) int {
	t.Helper()
	n, err := s.sync.Step(context.Background(), from.Self())
	must(t, err)
	return n
}

func (s *testSite) newKey(t testing.TB) Key {
	t.Helper()
	keys, err := s.NewKeys(context.Background(), nordtal, 1)
	must(t, err)
	return keys[0]
}

func (s *testSite) want(t *testing.T, id event.KeyID, want error) {
	t.Helper()
	if _, err := s.Key(context.Background(), nordtal, id); !errors.Is(err, want) {
		t.Errorf("key %s: got %v, want %v", id, err, want)
	}
}

// wantRefused checks how often the site has refused something of a peer for a reason.
func (s *testSite) wantRefused(t *testing.T, peer event.SiteID, why Reason, times int) {
	t.Helper()
	list, err := s.Refusals(context.Background(), nordtal)
	must(t, err)
	for _, f := range list {
		if f.Peer == peer && f.Reason == why {
			if f.Times != times {
				t.Errorf("%q refused %d times, want %d", why, f.Times, times)
			}
			return
		}
	}
	if times > 0 {
		t.Errorf("nothing was refused for %q: %+v", why, list)
	}
}

// holds reports whether the bytes are anywhere in the site's files.
func (s *testSite) holds(t *testing.T, secret []byte) bool {
	t.Helper()
	files, err := filepath.Glob(s.path + "*")
	must(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(t, err)
		if bytes.Contains(b, secret) {
			return true
		}
	}
	return false
}

func (s *testSite) sealed(t *testing.T, id event.KeyID) []byte {
	t.Helper()
	row, err := findSecret(context.Background(), s.db, nordtal, id)
	must(t, err)
	return row.sealed
}

func TestKeysAreReadAgainAfterReopening(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	a := n.add(t, t.TempDir())
	must(t, a.Found(ctx, nordtal), a.Found(ctx, nordtal))
	k := a.newKey(t)
	link, err := a.Named(ctx, nordtal, NameLink)
	must(t, err, a.Close())
	a.open(t)
	got, err := a.Key(ctx, nordtal, k.ID)
	must(t, err)
	again, err := a.Named(ctx, nordtal, NameLink)
	must(t, err)
	if got != k.Secret || again != link {
		t.Fatal("a key changed by reopening")
	}
	if _, err := a.Named(ctx, "lk-other", NameLink); !errors.Is(err, ErrMissing) {
		t.Errorf("a key of an unknown authority: %v", err)
	}
	if _, err := a.NewKeys(ctx, "lk-other", 1); !errors.Is(err, ErrNoAuthorityKey) {
		t.Errorf("keys of an authority that was not founded: %v", err)
	}
	info, err := os.Stat(a.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the keyring's mode is %v (%v)", info.Mode(), err)
	}
}

func TestAnErasedKeyIsGoneFromTheFiles(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	a := n.add(t, t.TempDir())
	must(t, a.Found(ctx, nordtal))
	var keys []Key
	for range 8 { // several batches, so that pages split and fill in between
		batch, err := a.NewKeys(ctx, nordtal, 500)
		must(t, err)
		keys = append(keys, batch...)
	}
	var victims []event.KeyID
	var secrets [][]byte
	for i := 0; i < len(keys); i += 97 {
		victims, secrets = append(victims, keys[i].ID), append(secrets, a.sealed(t, keys[i].ID))
	}
	must(t, a.forget(ctx))
	if !a.holds(t, secrets[0]) {
		t.Fatal("the sealed key is not found before it is erased: this test sees nothing")
	}
	must(t, a.erase(victims...))
	for i, id := range victims {
		a.want(t, id, ErrErased)
		if a.holds(t, secrets[i]) {
			t.Errorf("the bytes of erased key %d are still in the files", i)
		}
	}
	a.want(t, keys[1].ID, nil)
	if missing, err := a.Missing(ctx, nordtal, victims); err != nil || len(missing) > 0 {
		t.Errorf("erased keys count as missing: %v, %v", missing, err)
	}
}

// While another process reads the database its log cannot be emptied. A key that bears its mark may be in the log still.
func TestWhatCouldNotBeDestroyedIsDestroyedLater(t *testing.T) {
	for name, again := range map[string]func(*testSite, event.KeyID) error{
		"the next erasure": func(s *testSite, id event.KeyID) error { return s.erase(id) },
		"the check": func(s *testSite, _ event.KeyID) error {
			_, err := s.Check(t.Context(), noRest)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork()
			a := n.add(t, t.TempDir())
			n.allow(a)
			must(t, a.Found(t.Context(), nordtal))
			_, err := a.db.Exec(`PRAGMA busy_timeout = 50`)
			k := a.newKey(t)
			key := a.sealed(t, k.ID)
			must(t, err)
			db, err := sql.Open("sqlite", a.path)
			must(t, err)
			db.SetMaxOpenConns(1)
			rows, err := db.Query(`SELECT id FROM secret`)
			must(t, err)
			rows.Next()
			if err := a.erase(k.ID); err == nil {
				t.Error("an erasure is done although bytes are left")
			}
			if err := again(a, k.ID); err == nil {
				t.Error("that bytes are left is told only once")
			}
			must(t, rows.Close(), db.Close(), again(a, k.ID))
			if a.holds(t, key) {
				t.Error("the erased key is still in a file")
			}
		})
	}
}

func TestASiteReturningWithAnErasedKeyLosesIt(t *testing.T) {
	ctx, n, dir := context.Background(), newNetwork(), t.TempDir()
	a, b := n.add(t, dir), n.add(t, dir)
	n.allow(a, b)
	must(t, a.Found(ctx, nordtal), a.Grant(ctx, nordtal, b.Self(), b.pub()))
	k, stays := a.newKey(t), a.newKey(t)
	b.pull(t, a)
	b.want(t, k.ID, nil)
	secret := b.sealed(t, k.ID)

	n.cut[b.Self()] = true
	must(t, a.erase(k.ID))
	if _, err := b.sync.Step(ctx, a.Self()); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("pulled through a cut: %v", err)
	}
	delete(n.cut, b.Self())

	a.pull(t, b) // the old key comes back first
	a.want(t, k.ID, ErrErased)
	told, cancel := b.Subscribe()
	defer cancel()
	b.pull(t, a)
	b.want(t, k.ID, ErrErased)
	b.want(t, stays.ID, nil)
	if b.holds(t, secret) {
		t.Error("the erased key is still in B's files")
	}
	if got := <-told; !slices.Contains(got, Changed{nordtal, k.ID, true}) {
		t.Errorf("subscribers were told %v", got)
	}
	must(t, b.Close())
	b.open(t)
	b.want(t, k.ID, ErrErased)
}

// A mark is for ever, also where one bit of its time was flipped: SQLite has nothing against a negative number.
func TestAMarkWithANegativeTimeStaysAMark(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	a, old, late := n.add(t, t.TempDir()), n.add(t, ""), n.add(t, "")
	n.allow(a, old, late)
	must(t, a.Found(ctx, nordtal))
	must(t, a.Grant(ctx, nordtal, old.Self(), old.pub()), a.Grant(ctx, nordtal, late.Self(), late.pub()))
	k, unsigned := a.newKey(t), Record{ID: "0123456789abcdef", Erased: at().UnixMilli()}
	old.pull(t, a)
	late.pull(t, a)
	must(t, a.erase(k.ID), a.write(ctx, func(w *writer) error { return w.mark(nordtal, unsigned) }))
	times := func() (list []int64) {
		for _, id := range []event.KeyID{k.ID, unsigned.ID} {
			row, err := findSecret(ctx, a.db, nordtal, id)
			must(t, err)
			list = append(list, row.erased)
		}
		return list
	}
	before := times()
	_, err := a.db.Exec(`UPDATE secret SET erased = erased - (1 << 47) WHERE erased > 0`) // the sign bit of 6 bytes
	must(t, err)
	for _, want := range []int{2, 0} {
		must(t, a.takeAll(old)) // which was away when the key was erased
		a.want(t, k.ID, ErrErased)
		if damaged, err := a.Check(ctx, noRest); err != nil || damaged != want {
			t.Errorf("%d damaged, %v; want %d", damaged, err, want)
		}
	}
	if after := times(); !slices.Equal(before, after) {
		t.Errorf("the times of the marks are %v, and were %v", after, before)
	}
	late.pull(t, a)
	late.want(t, k.ID, ErrErased)
}

func TestAMarkWinsInWhateverOrderItComes(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	a, b := n.add(t, ""), n.add(t, "")
	n.allow(a, b)
	must(t, a.Found(ctx, nordtal), a.Grant(ctx, nordtal, b.Self(), b.pub()))
	k := a.newKey(t)
	must(t, b.erase(k.ID)) // before B ever saw the key
	b.pull(t, a)
	b.want(t, k.ID, ErrErased)
	a.pull(t, b)
	a.want(t, k.ID, ErrErased)
	if a.pull(t, b)+b.pull(t, a) != 0 {
		t.Error("the exchange does not come to rest")
	}
}

func TestAKeyIsHeldOnlyWhenItOpens(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	a, b := n.add(t, ""), n.add(t, "")
	n.allow(a, b)
	must(t, a.Found(ctx, nordtal))
	k := a.newKey(t)
	b.pull(t, a)
	if missing, err := b.Missing(ctx, nordtal, []event.KeyID{k.ID}); err != nil || len(missing) != 1 {
		t.Errorf("a key without the authority's key counts as held: %v, %v", missing, err)
	}
	b.want(t, k.ID, ErrMissing)
	told, cancel := b.Subscribe()
	defer cancel()
	must(t, a.Grant(ctx, nordtal, b.Self(), b.pub()))
	b.pull(t, a)
	b.want(t, k.ID, nil)
	if got := <-told; !slices.Contains(got, Changed{nordtal, k.ID, false}) {
		t.Errorf("nobody was told that keys became readable: %v", got)
	}
	if missing, err := b.Missing(ctx, nordtal, []event.KeyID{k.ID, "00000000000000ff"}); err != nil || !slices.Equal(missing, []event.KeyID{"00000000000000ff"}) {
		t.Errorf("missing is %v, %v", missing, err)
	}
	if _, err := b.Named(ctx, nordtal, NameID); err != nil {
		t.Error(err)
	}
}

func TestWhoIsNotAllowedLearnsNothing(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	a, b, fourth := n.add(t, ""), n.add(t, ""), n.add(t, "")
	n.allow(a, b)
	must(t, a.Found(ctx, nordtal))
	a.newKey(t)
	for _, authority := range []string{"lk-nordtal", "lk-nowhere"} {
		body := []byte(`{"want":[{"authority":"` + authority + `"}]}`)
		got, err := a.sync.Serve(ctx, fourth.Self(), body)
		if !errors.Is(err, ErrForbidden) || got != nil {
			t.Errorf("%s: got %s, %v", authority, got, err)
		}
	}
	if fourth.pull(t, a) != 0 {
		t.Error("the fourth site got records")
	}
	if list, err := fourth.Authorities(ctx); err != nil || len(list) != 0 {
		t.Errorf("the fourth site holds keys of %v, %v", list, err)
	}
	// Who is no member is not even told whether its request was well-formed.
	delete(n.sites, fourth.Self())
	if _, err := a.sync.Serve(ctx, fourth.Self(), []byte(`{}`)); !errors.Is(err, ErrForbidden) {
		t.Errorf("a site that is no member was answered: %v", err)
	}
}

func TestAForbiddenSiteCannotReadWhatIsMadeLater(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	dir := t.TempDir()
	a, b, c := n.add(t, dir), n.add(t, dir), n.add(t, dir)
	n.allow(a, b, c)
	must(t, a.Found(ctx, nordtal), a.Grant(ctx, nordtal, b.Self(), b.pub()), a.Grant(ctx, nordtal, c.Self(), c.pub()))
	before := a.newKey(t)
	c.pull(t, a)
	secret := c.sealed(t, before.ID)

	n.allow(a, b)
	remaining := map[event.SiteID]seal.PublicKey{a.Self(): a.pub(), b.Self(): b.pub()}
	must(t, a.Forbid(ctx, nordtal, remaining), a.Forbid(ctx, nordtal, remaining))
	after := a.newKey(t)
	b.pull(t, a)
	b.want(t, before.ID, nil)
	b.want(t, after.ID, nil)
	if sites, err := b.Granted(ctx, nordtal); err != nil || len(sites) != 2 {
		t.Errorf("the newest key is sealed to %v, %v", sites, err)
	}
	row, err := findSecret(ctx, a.db, nordtal, after.ID)
	must(t, err)
	if _, err := c.authorityKeys(ctx, c.db, nordtal, row.by); !errors.Is(err, ErrMissing) {
		t.Errorf("the forbidden site has the new authority key: %v", err)
	}
	must(t, c.Drop(ctx, nordtal), c.Drop(ctx, nordtal))
	c.want(t, before.ID, ErrMissing)
	if c.holds(t, secret) {
		t.Error("the forbidden site still has the sealed key in its files")
	}
	// Allowed again, it gets everything back.
	n.allow(a, b, c)
	must(t, b.Grant(ctx, nordtal, c.Self(), c.pub()))
	c.pull(t, b)
	c.want(t, before.ID, nil)
	c.want(t, after.ID, nil)
}

func TestTwoSitesThatFoundAtOnceAgree(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	a, b := n.add(t, ""), n.add(t, "")
	n.allow(a, b)
	must(t, a.Found(ctx, nordtal), b.Found(ctx, nordtal))
	ka, kb := a.newKey(t), b.newKey(t)
	must(t, a.Grant(ctx, nordtal, b.Self(), b.pub()), b.Grant(ctx, nordtal, a.Self(), a.pub()))
	a.pull(t, b)
	b.pull(t, a)
	for _, s := range []*testSite{a, b} {
		s.want(t, ka.ID, nil)
		s.want(t, kb.ID, nil)
	}
	na, err := a.Named(ctx, nordtal, NameID)
	must(t, err)
	nb, err := b.Named(ctx, nordtal, NameID)
	must(t, err)
	if na != nb {
		t.Error("the sites use different shared keys")
	}
}

func TestAStorePutBackFromABackupHidesNothing(t *testing.T) {
	ctx, n, dir := context.Background(), newNetwork(), t.TempDir()
	a, b := n.add(t, dir), n.add(t, dir)
	n.allow(a, b)
	must(t, a.Found(ctx, nordtal), a.Grant(ctx, nordtal, b.Self(), b.pub()), a.Close())
	backup, err := os.ReadFile(a.path)
	must(t, err)
	a.open(t)
	lost := a.newKey(t)
	a.newKey(t)
	b.pull(t, a)

	must(t, a.Close(), os.WriteFile(a.path, backup, 0o600))
	a.open(t)
	fresh := a.newKey(t) // takes the change number that b has already seen
	b.pull(t, a)
	b.want(t, fresh.ID, nil)
	a.pull(t, b)
	a.want(t, lost.ID, nil)
}

func TestAForgedRecordGivesWayToTheTrueOne(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	a, b := n.add(t, ""), n.add(t, "")
	n.allow(a, b)
	must(t, a.Found(ctx, nordtal))
	k := a.newKey(t)
	row, err := findSecret(ctx, a.db, nordtal, k.ID)
	must(t, err)
	forged := Record{ID: k.ID, By: event.KeyID(row.by), Sealed: bytes.Repeat([]byte{7}, sealedKeyBytes)}
	_, err = b.Merge(ctx, "somebody", nordtal, []Record{forged}, Cursor{}, Cursor{})
	must(t, err, a.Grant(ctx, nordtal, b.Self(), b.pub()))
	b.pull(t, a)
	b.want(t, k.ID, nil)
	if n, err := b.Merge(ctx, "somebody", nordtal, []Record{forged}, Cursor{}, Cursor{}); n != 0 || err != nil {
		t.Errorf("a forged record changed something: %d, %v", n, err)
	}
	b.want(t, k.ID, nil)
	if n, err := b.Merge(ctx, "somebody", nordtal, []Record{{ID: "x"}}, Cursor{}, Cursor{}); n != 0 || err != nil {
		t.Errorf("a malformed record changed something: %d, %v", n, err)
	}
	b.wantRefused(t, "somebody", refusedForm, 1)
}

func TestTwentyThousandKeys(t *testing.T) {
	ctx, n, dir := context.Background(), newNetwork(), t.TempDir()
	a, b := n.add(t, dir), n.add(t, dir)
	n.allow(a, b)
	must(t, a.Found(ctx, nordtal), a.Grant(ctx, nordtal, b.Self(), b.pub()))
	b.pull(t, a)
	start := time.Now()
	keys, err := a.NewKeys(ctx, nordtal, 20_000)
	must(t, err)
	made := time.Since(start)
	start = time.Now()
	if got := b.pull(t, a); got != len(keys) {
		t.Errorf("one step pulled %d keys of %d", got, len(keys))
	}
	t.Logf("20,000 keys: made in %v, pulled in %v", made, time.Since(start))
	b.want(t, keys[19_999].ID, nil)
}

func FuzzMerge(f *testing.F) {
	n := newNetwork()
	a := n.add(f, "")
	n.allow(a)
	must(f, a.Found(context.Background(), nordtal))
	f.Add([]byte(`{"given":[{"authority":"lk-nordtal","records":[{"i":"00000000000000ff","e":5}],"next":{"epoch":"x","after":3}}]}`))
	f.Add([]byte(`{"want":[{"authority":"lk-nordtal","epoch":"e","after":-1}],"hint":true}`))
	f.Add(pack([]byte(`{"given":[{"authority":"lk-nordtal","next":{"epoch":"x","after":3},"next":{"epoch":"x","after":3}}]}`)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ctx := context.Background()
		if out, err := a.sync.Serve(ctx, a.Self(), raw); err == nil && len(out) > 768<<10 {
			t.Fatalf("an answer of %d bytes", len(out))
		}
		s := &Syncer{Ring: a.Ring, Link: parrot(raw), Policy: n, Authorities: a.sync.Authorities}
		_, err := s.Step(ctx, a.Self())
		if err != nil && fault.KindOf(err) == fault.Internal {
			t.Fatal(err)
		}
	})
}

// parrot is a peer that answers everything with the same bytes.
type parrot []byte

func (p parrot) Request(context.Context, event.SiteID, string, []byte) ([]byte, error) { return p, nil }

func TestOfAForbiddenSiteOnlyTheKeysThatPagesWaitForAreTaken(t *testing.T) {
	ctx, n := context.Background(), newNetwork()
	a, b := n.add(t, ""), n.add(t, "")
	n.allow(a, b)
	must(t, a.Found(ctx, nordtal))
	must(t, a.Grant(ctx, nordtal, b.Self(), b.pub()))
	old, err := a.NewKeys(ctx, nordtal, 1)
	must(t, err)
	_, err = b.sync.Step(ctx, a.Self())
	must(t, err)
	keys, err := b.NewKeys(ctx, nordtal, 2)
	must(t, err)
	must(t, b.erase(old[0].ID))
	n.allow(a)
	if got, err := a.sync.Step(ctx, b.Self()); err != nil || got != 0 {
		t.Errorf("without need %d keys were taken, %v", got, err)
	}
	a.sync.Needed = func(_ context.Context, authority event.AuthorityID) ([]event.KeyID, error) {
		return a.Missing(ctx, authority, []event.KeyID{keys[0].ID})
	}
	for range 2 {
		_, err = a.sync.Step(ctx, b.Self())
		must(t, err)
	}
	missing, err := a.Missing(ctx, nordtal, []event.KeyID{keys[0].ID, keys[1].ID})
	if err != nil || len(missing) != 1 || missing[0] != keys[1].ID {
		t.Errorf("missing are %v, %v, want only the key that no page waits for", missing, err)
	}
	if _, err := a.Key(ctx, nordtal, old[0].ID); err != nil {
		t.Errorf("a forbidden site has erased a key: %v", err)
	}
	n.allow(a, b)
	_, err = a.sync.Step(ctx, b.Self())
	must(t, err)
	if missing, err := a.Missing(ctx, nordtal, []event.KeyID{keys[1].ID}); err != nil || len(missing) > 0 {
		t.Errorf("allowed again: missing are %v, %v", missing, err)
	}
	if _, err := a.Key(ctx, nordtal, old[0].ID); !errors.Is(err, ErrErased) {
		t.Errorf("allowed again: the erasure is not here: %v", err)
	}
}

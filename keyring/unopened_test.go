// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
)

// inventions are keys that nobody can open, sealed with an authority key that nobody has.
func inventions(n int) (records []Record) {
	for i := range n {
		records = append(records, Record{ID: event.KeyID(fmt.Sprintf("%016x", i)), By: "00000000000000bb", Sealed: bytes.Repeat([]byte{1}, sealedKeyBytes)})
	}
	return records
}

func TestKeysThatDoNotOpenUseUpNoRoomOfThoseThatDo(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, _ := world3(t, 1)
	a.maxKeys, b.maxKeys, a.maxUnopened, b.maxUnopened = 50, 50, 40, 40
	rogue.sends(t, b, inventions(60)...)
	rogue.sends(t, a, inventions(60)...)
	b.wantRefused(t, rogue.Self(), refusedUnopened, 20)
	k := a.newKey(t)
	b.pull(t, a)
	b.want(t, k.ID, nil)
	b.wantRefused(t, a.Self(), refusedKeys, 0)
	named := a.newKey(t)
	b.sync.Urgent = func(ctx context.Context, authority event.AuthorityID) ([]event.KeyID, error) {
		return b.Missing(ctx, authority, []event.KeyID{named.ID})
	}
	if got, err := b.sync.Fetch(ctx, a.Self()); err != nil || got == 0 {
		t.Errorf("by name came %d, %v", got, err)
	}
	b.want(t, named.ID, nil)
	// An honest site hands them on to nobody.
	c := n.add(t, "")
	n.allow(a, b, rogue, c)
	a.grant(t, c)
	c.pull(t, a)
	c.want(t, k.ID, nil)
	if got := count(t, c, `SELECT count(*) FROM secret WHERE giver <> ''`); got > 0 {
		t.Errorf("%d keys that open nowhere were handed on", got)
	}
}

func TestKeysThatDoNotOpenGoWithTheSiteThatGaveThem(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, keys := world3(t, 1)
	rogue.sends(t, b, inventions(maxOrphans+10)...)
	must(t, b.Tidy(ctx, nordtal))
	if got := count(t, b, `SELECT count(*) FROM secret WHERE giver = ?`, rogue.Self()); got != maxOrphans+10 {
		t.Errorf("%d are kept while the site is allowed", got)
	}
	n.allow(a, b)
	must(t, b.Tidy(ctx, nordtal))
	if got := count(t, b, `SELECT count(*) FROM secret WHERE giver <> ''`); got > 0 {
		t.Errorf("%d are still here when it is not", got)
	}
	b.want(t, keys[0].ID, nil)
	// What it says now has little room.
	rogue.sends(t, b, inventions(maxOrphans+10)...)
	b.wantRefused(t, rogue.Self(), refusedUnopened, 10)
}

// A site that is newly allowed gets the keys of a large authority before the box that opens them.
func TestNothingIsLostOfALargeAuthorityWhenTheBoxComesLast(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, _ := world3(t, 1)
	keys, err := a.NewKeys(ctx, nordtal, 500)
	must(t, err)
	late, later := n.add(t, ""), n.add(t, "")
	n.allow(a, b, rogue, late, later)
	late.maxUnopened = 50
	rogue.sends(t, late, inventions(60)...)
	late.pull(t, a)
	if got := count(t, late, `SELECT count(*) FROM secret WHERE giver = ?`, a.Self()); got != 50 {
		t.Errorf("%d keys are kept, want the room of that site", got)
	}
	a.grant(t, late, later)
	late.pull(t, a)
	for _, k := range keys {
		late.want(t, k.ID, nil)
	}
	if missing, err := late.Missing(ctx, nordtal, idsOf(keys)); err != nil || len(missing) > 0 {
		t.Errorf("%d are missing, %v", len(missing), err)
	}
	// And all of them are handed on.
	later.pull(t, late)
	for _, k := range keys {
		later.want(t, k.ID, nil)
	}
	if later.pull(t, late)+late.pull(t, a) != 0 {
		t.Error("the exchange does not come to rest")
	}
}

// Keys are refused if they would pass the bound by coming before what opens them.
func TestNobodyPassesTheBoundByGivingTheBoxLast(t *testing.T) {
	ctx := context.Background()
	n, a, b, rogue, _ := world3(t, 1)
	keys, err := a.NewKeys(ctx, nordtal, 20)
	must(t, err)
	late := n.add(t, "")
	n.allow(a, b, rogue, late)
	late.maxKeys = 10
	late.pull(t, a)
	a.grant(t, late)
	late.pull(t, a)
	opened := func() int { return count(t, late, `SELECT count(*) FROM secret WHERE giver = ''`) }
	if got := opened(); got != 10 {
		t.Errorf("%d keys count", got)
	}
	late.maxKeys = 100
	must(t, late.Tidy(ctx, nordtal))
	late.pull(t, a)
	if got := opened(); got != 24 {
		t.Errorf("with room for more %d keys count, want all", got)
	}
	late.want(t, keys[19].ID, nil)
}

// What has gone leaves its room in the file to what comes, or the file would grow without end.
func TestInventionsThatComeAndGoTakeTheSameRoomInTheFile(t *testing.T) {
	n, a, b, rogue, keys := world3(t, 1)
	b.maxUnopened = 100
	before := count(t, b, `SELECT count(*) FROM vault`)
	rounds := 8
	for round := range rounds {
		drawn := rogue.drawn(t, 1)
		records := inventionsUnder(drawn.ID, 100)
		for i := range records {
			records[i].Sealed = bytes.Repeat([]byte{byte(9 + round)}, sealedKeyBytes)
		}
		odd := Record{ID: "00000000000000cc", By: drawn.ID, Sealed: bytes.Repeat([]byte{8}, sealedKeyBytes-1-round)} // has room of its own
		rogue.sends(t, b, append([]Record{odd}, records...)...)
		if got := b.waiting(t); got != 100 {
			t.Fatalf("%d keys wait", got)
		}
		rogue.sends(t, b, rogue.box(t, drawn, b))
		b.wantBurnt(t, records[0].Sealed)
	}
	if got := count(t, b, `SELECT count(*) FROM vault`) - before; got != 100+rounds { // and the boxes
		t.Errorf("the file has %d rows more", got)
	}
	if got := b.waiting(t); got > 0 {
		t.Errorf("%d keys wait", got)
	}
	b.wantRefused(t, rogue.Self(), refusedForm, rounds)

	// Nor does what was burnt bring back a key, or take one's place.
	must(t, b.erase(keys[0].ID))
	rogue.sends(t, b, append(inventions(100), Record{ID: randomID(t), By: "00000000000000bb", Sealed: make([]byte, sealedKeyBytes)})...)
	b.want(t, keys[0].ID, ErrErased)
	b.wantRefused(t, rogue.Self(), refusedForm, rounds+1)
	k := a.newKey(t)
	b.pull(t, a)
	b.reads(t, k)
	n.allow(a, b)
	must(t, b.Tidy(t.Context(), nordtal))
	b.reads(t, k)
}

func TestWhatIsBurntIsNotUsedAgainForAKeyThatOpens(t *testing.T) {
	_, a, b, _, keys := world3(t, 1)
	slot := count(t, b, `SELECT slot FROM secret WHERE id = ?`, keys[0].ID)
	must(t, b.erase(keys[0].ID))
	k := a.newKey(t)
	b.pull(t, a)
	if count(t, b, `SELECT slot FROM secret WHERE id = ?`, k.ID) == slot {
		t.Error("who settles what became of a key cannot tell the two apart")
	}
}

func TestAnInventedSharedKeyIsNotUsed(t *testing.T) {
	_, _, b, rogue, _ := world3(t, 1)
	shared := b.named(t)
	rogue.sends(t, b, Record{ID: "0000000000000000", Name: NameID, By: "00000000000000bb", Sealed: bytes.Repeat([]byte{1}, sealedKeyBytes)})
	clear(b.Ring.named)
	if got := b.named(t); !slices.Equal(got, shared) {
		t.Error("shared keys are others now")
	}
}

// A key that is invented under the id of a true one is not taken for it when what seals it is made known.
func TestAnInventionIsNotHandedOnByName(t *testing.T) {
	_, a, b, rogue, keys := world3(t, 1)
	made := inventions(3)
	rogue.sends(t, b, made...)
	records, err := b.recordsOf(t.Context(), nordtal, append(idsOf(keys), made[0].ID), a.Self())
	must(t, err)
	for _, rec := range records {
		if rec.ID == made[0].ID {
			t.Error("what does not open is handed on")
		}
	}
	if len(records) == 0 {
		t.Error("what opens is not")
	}
}

func TestAnInventionIsMissingStill(t *testing.T) {
	ctx := context.Background()
	_, a, b, rogue, _ := world3(t, 1)
	k := a.newKey(t)
	drawn := rogue.drawn(t, 1)
	rogue.sends(t, b, Record{ID: k.ID, By: drawn.ID, Sealed: bytes.Repeat([]byte{1}, 61)})
	rogue.sends(t, b, rogue.box(t, drawn, b))
	if missing, err := b.Missing(ctx, nordtal, []event.KeyID{k.ID}); err != nil || !slices.Equal(missing, []event.KeyID{k.ID}) {
		t.Errorf("missing is %v, %v", missing, err)
	}
	b.pull(t, a)
	b.want(t, k.ID, nil)
}

// asBefore makes a store one that does not tell apart what opens and what does not, with inventions among its keys.
func (s *testSite) asBefore(t *testing.T, peer event.SiteID, inventions []Record, refused Reason) {
	t.Helper()
	must(t, s.Close())
	db, err := sql.Open("sqlite", s.path)
	must(t, err)
	tx, err := db.Begin()
	must(t, err)
	do := func(query string, args ...any) {
		t.Helper()
		_, err := tx.Exec(query, args...)
		must(t, err)
	}
	do(`DROP INDEX secret_giver; ALTER TABLE secret DROP COLUMN giver; DROP TABLE crowded`)
	for _, rec := range inventions {
		do(`INSERT INTO vault (sealed) VALUES (?)`, rec.Sealed)
		do(`INSERT INTO secret (authority, id, name, by, slot, erased, change) VALUES (?, ?, '', ?, last_insert_rowid(), 0, 1)`, nordtal, rec.ID, rec.By)
	}
	do(`INSERT INTO cursor VALUES (?, ?, 'x', 1000)`, peer, nordtal)
	do(`INSERT INTO refusal VALUES (?, ?, ?, 1, 1)`, nordtal, peer, refused)
	must(t, tx.Commit(), db.Close())
	s.open(t)
}

func TestAStoreThatInventionsHadFilledTakesKeysAgain(t *testing.T) {
	ctx := context.Background()
	a, second, keys := before(t)
	a.asBefore(t, second.Self(), inventions(maxOrphans+1), refusedForm)
	if got := count(t, a, `SELECT count(*) FROM secret WHERE giver <> ''`); got != maxOrphans+1 {
		t.Errorf("%d keys do not open, want what was invented", got)
	}
	for _, k := range keys[:2] {
		a.want(t, k.ID, nil)
	}
	must(t, a.Tidy(ctx, nordtal))
	a.maxKeys = maxOrphans // the inventions are more, and use up none of it
	second.pull(t, a)
	second.want(t, keys[0].ID, nil)
	came := second.newKey(t)
	a.pull(t, second)
	a.want(t, came.ID, nil)
	if c, err := a.Cursor(ctx, second.Self(), nordtal); err != nil || c == (Cursor{}) {
		t.Errorf("a site of which nothing was refused is asked for everything again: %v", err)
	}
}

// A store that has refused keys, or boxes, asks for them again once it tells apart what uses up room.
func TestWhatAnEarlierVersionRefusedIsAskedForAgain(t *testing.T) {
	for _, why := range []Reason{refusedKeys, refusedBoxes, refusedForm} {
		n := newNetwork()
		a, b := n.add(t, t.TempDir()), n.add(t, "")
		n.allow(a, b)
		must(t, a.Found(context.Background(), nordtal))
		a.asBefore(t, b.Self(), inventions(3), why)
		c, err := a.Cursor(context.Background(), b.Self(), nordtal)
		if must(t, err); (c == Cursor{}) != (why != refusedForm) {
			t.Errorf("%s: the cursor stands at %v", why, c)
		}
		if got := count(t, a, `SELECT count(*) FROM secret WHERE giver = ?`, unknownGiver); got != 3 {
			t.Errorf("%s: %d keys do not open, want 3", why, got)
		}
	}
}

// upgradedWithoutBox is a site whose own keys, which no other site has yet, are among those of which nobody knows who gave them: at
// the upgrade its box is damaged. Site b has the authority's key.
func upgradedWithoutBox(t *testing.T, keys int) (a, b, rogue *testSite, own []Key) {
	t.Helper()
	ctx := context.Background()
	n := newNetwork()
	a, b, rogue = n.add(t, t.TempDir()), n.add(t, ""), n.add(t, "")
	n.allow(a, b, rogue)
	must(t, a.Found(ctx, nordtal), a.Grant(ctx, nordtal, b.Self(), b.pub()))
	b.pull(t, a)
	own, err := a.NewKeys(ctx, nordtal, keys)
	must(t, err)
	_, err = a.db.Exec(`UPDATE vault SET sealed = zeroblob(length(sealed)) WHERE slot IN (SELECT slot FROM box WHERE site = ?)`, a.Self())
	must(t, err)
	a.Ring.forgetHeld()
	if damaged, err := a.Check(ctx, noRest); damaged == 0 || err != nil {
		t.Fatal(damaged, err)
	}
	_, err = a.db.Exec(`DROP INDEX secret_giver; ALTER TABLE secret DROP COLUMN giver`)
	must(t, err, a.Ring.Close())
	a.open(t)
	if n := count(t, a, `SELECT count(*) FROM secret WHERE giver = '?'`); n < keys {
		t.Fatalf("%d keys of unknown givers: this test sees nothing", n)
	}
	return a, b, rogue, own
}

func TestNothingLetsGoOfKeysThatTheVersionBeforeHasKept(t *testing.T) {
	a, b, _, own := upgradedWithoutBox(t, maxOrphans+10)
	must(t, a.Tidy(context.Background(), nordtal))
	b.grant(t, a)
	a.pull(t, b)
	for _, k := range own {
		a.want(t, k.ID, nil)
	}
	if n := count(t, a, `SELECT count(*) FROM secret WHERE giver = '?'`); n != 0 {
		t.Errorf("%d keys of unknown givers are left", n)
	}
}

func TestKeysThatTheVersionBeforeHasKeptGiveWayToNoneThatProvesNothing(t *testing.T) {
	a, b, rogue, own := upgradedWithoutBox(t, 3)
	rogue.sends(t, a, rogue.falseFor(t, a, idsOf(own)...)...)
	b.grant(t, a)
	a.pull(t, b)
	for _, k := range own {
		a.reads(t, k)
	}
}

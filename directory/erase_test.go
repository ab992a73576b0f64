// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

func TestErasingAPersonIsForEver(t *testing.T) {
	r := newRig(t)
	r.imports(house, ImportOptions{})
	bert := r.find("Buche")
	ok(t, r.Erase(r.ctx, nordtal, bert.ID))
	ok(t, r.Erase(r.ctx, nordtal, bert.ID)) // again is no error

	p, err := r.Contact(r.ctx, nordtal, bert.ID)
	ok(t, err)
	if p.Readable != Erased || p.DisplayName != "" || p.Reachability != nil || len(p.Units) != 0 {
		t.Errorf("still there: %+v", p)
	}
	if _, total, err := r.People(r.ctx, nordtal, Search{Text: "bert"}); err != nil || total != 0 {
		t.Errorf("still found: %d, %v", total, err)
	}
	if list, err := r.Resolve(r.ctx, nordtal, Audience{Everyone: true}); err != nil || len(list) != 4 {
		t.Errorf("still called: %d, %v", len(list), err)
	}
	report := r.imports(house, ImportOptions{})
	if f := report.refusal(t); !errors.Is(f, ErrStaysErased) || f.Line != 3 || report.Added+report.Changed != 0 {
		t.Errorf("an import brings the person back: %+v", report)
	}
	if again := r.imports(house, ImportOptions{}); again.Functions.Changed != 0 {
		t.Errorf("functions change every time: %+v", again.Functions)
	}
	ok(t, r.model.Rebuild(r.ctx))
	if p, err := r.Person(r.ctx, nordtal, bert.ID); err != nil || p.Readable != Erased {
		t.Errorf("after a rebuild: %+v, %v", p, err)
	}
	if err := r.Erase(r.ctx, nordtal, "0123456789abcdef"); !errors.Is(err, ErrPersonUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestAnErasedNameIsGoneFromTheDisk(t *testing.T) {
	dir := t.TempDir()
	r := newRigAt(t, filepath.Join(dir, "read.db"))
	r.imports(csvHead+"1;Quittenbaum;Xaver;0171 3920012;xaver@x.example\n2;Anders;Anna\n", ImportOptions{})
	ok(t, r.Erase(r.ctx, nordtal, r.find("Quittenbaum").ID))
	ok(t, r.model.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	ok(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		ok(t, err)
		for _, secret := range []string{"Quittenbaum", "quittenbaum", "+491713920012", "xaver"} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%q is still in %s", secret, filepath.Base(f))
			}
		}
	}
}

// recordedElsewhere appends what another site, unaware of an erasure, would have recorded: the same person, a key of its own.
func (r *rig) recordedElsewhere(id PersonID) event.KeyID {
	r.t.Helper()
	keys, err := r.ring.NewKeys(r.ctx, nordtal, 1)
	ok(r.t, err)
	sealed, err := keys[0].Secret.Seal(rand.Reader, personContext(id), []byte(`{"family":"Wieder","given":"Da"}`))
	ok(r.t, err)
	_, err = r.log.Append(r.ctx, nordtal, event.Register, draftOf(id.Subject(), KindPersonRecorded, "operator",
		PersonRecorded{Key: keys[0].ID, Sealed: sealed, Source: "employee"}, keys[0].ID))
	ok(r.t, err)
	_, err = r.model.CatchUp(r.ctx)
	ok(r.t, err)
	return keys[0].ID
}

func TestAKeyThatComesToLightAfterErasingIsDestroyedToo(t *testing.T) {
	r := newRig(t)
	r.imports(house, ImportOptions{})
	bert := r.find("Buche")
	ok(t, r.As("person/anna").Erase(r.ctx, nordtal, bert.ID))
	key := r.recordedElsewhere(bert.ID)
	if p, err := r.Person(r.ctx, nordtal, bert.ID); err != nil || p.Readable != Erased || p.FamilyName != "" {
		t.Errorf("the person is back: %+v, %v", p, err)
	}
	if n, err := r.FinishErasures(r.ctx, nordtal); err != nil || n != 1 {
		t.Errorf("finished %d, %v", n, err)
	}
	if _, err := r.ring.Key(r.ctx, nordtal, key); !errors.Is(err, keyring.ErrErased) {
		t.Errorf("the key lives: %v", err)
	}
	if n, err := r.FinishErasures(r.ctx, nordtal); err != nil || n != 0 {
		t.Errorf("finished again %d, %v", n, err)
	}
	if list, err := r.Erasures(r.ctx, nordtal); err != nil || len(list) != 1 || list[0].By != "person/anna" {
		t.Errorf("erased by %+v, %v; whoever finishes it did not erase", list, err)
	}
}

func TestAPersonRecordedAtTwoSitesIsErasedWithBothKeys(t *testing.T) {
	r := newRig(t)
	r.imports(house, ImportOptions{})
	bert := r.find("Buche")
	key := r.recordedElsewhere(bert.ID)
	if r.find("wieder").ID != bert.ID {
		t.Fatal("the later record does not count")
	}
	ok(t, r.Erase(r.ctx, nordtal, bert.ID))
	if _, err := r.ring.Key(r.ctx, nordtal, key); !errors.Is(err, keyring.ErrErased) {
		t.Errorf("the second key lives: %v", err)
	}
	if n, err := r.FinishErasures(r.ctx, nordtal); err != nil || n != 0 {
		t.Errorf("%d left, %v", n, err)
	}
}

// lateKeyring holds back keys as if they had not arrived yet.
type lateKeyring struct {
	*keyring.Ring
	missing bool
}

func (l *lateKeyring) Key(ctx context.Context, a event.AuthorityID, id event.KeyID) (seal.Key, error) {
	if l.missing {
		return seal.Key{}, keyring.ErrMissing
	}
	return l.Ring.Key(ctx, a, id)
}

func TestWhoseKeyHasNotArrivedIsNotYetReadable(t *testing.T) {
	r := newRig(t)
	r.imports(house, ImportOptions{})
	late := &lateKeyring{r.ring, true}
	model, err := readmodel.Open(r.ctx, readmodel.Config{Path: ":memory:", Folds: []readmodel.Fold{Fold()}, Source: r.log, Keys: late})
	ok(t, err)
	t.Cleanup(func() { ok(t, model.Close()) })
	_, err = model.CatchUp(r.ctx)
	ok(t, err)
	other := *r
	other.model, other.Service = model, New(Config{Log: r.log, Model: model, Keys: r.ring, Rand: rand.Reader})

	bert := r.find("Buche")
	p, err := other.Person(r.ctx, nordtal, bert.ID)
	if err != nil || p.Readable != NotYet || p.DisplayName != "" || len(p.Units) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	list, err := other.Resolve(r.ctx, nordtal, Audience{Everyone: true})
	if err != nil || len(list) != 5 || len(list[0].Channels) != 2 {
		t.Errorf("they would not be called: %+v, %v", list, err)
	}
	report := other.imports(house, ImportOptions{})
	if report.RefusedTotal != 5 || !errors.Is(report.Refused[0], ErrKeyNotHere) || report.Functions.Changed+report.Units.Changed != 0 {
		t.Errorf("%+v", report)
	}
	late.missing = false
	var changed []readmodel.KeyRef
	for _, subject := range []PersonID{bert.ID} {
		var st state
		_, err := r.model.State(r.ctx, nordtal, subject.Subject(), &st)
		ok(t, err)
		changed = append(changed, readmodel.KeyRef{Authority: nordtal, KeyID: st.Person.Key})
	}
	ok(t, model.KeysChanged(r.ctx, changed))
	if got := other.find("Buche"); got.ID != bert.ID {
		t.Errorf("%+v", got)
	}
}

func TestFactsOfAnotherSubjectAreSetAside(t *testing.T) {
	r := newRig(t)
	_, err := r.log.Append(r.ctx, nordtal, event.Register,
		draftOf("person/0123456789abcdef", KindUnitRecorded, "operator", UnitRecorded{}),
		draftOf("unit/not-an-id", KindUnitRemoved, "operator", UnitRemoved{}),
		event.Draft{Subject: "person/0123456789abcdee", Kind: KindPersonRecorded, Data: []int{1}},
		event.Draft{Subject: "function/0123456789abcdee", Kind: KindFunctionRecorded, Data: strings.Repeat("x", 10)})
	ok(t, err)
	_, err = r.model.CatchUp(r.ctx)
	ok(t, err)
	aside, err := r.model.SetAside(r.ctx)
	if err != nil || len(aside) != 4 {
		t.Errorf("%d set aside, %v", len(aside), err)
	}
}

// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

var update = flag.Bool("update", false, "write the golden files of new kinds; old ones stay for ever")

const session = "0123456789abcdef0123456789abcdef"

// examples are one of each kind. What they say in JSON is how it is stored for ever.
func examples() map[event.Kind]any {
	h, id := bytes.Repeat([]byte{7}, 32), "fedcba9876543210"
	return map[event.Kind]any{
		KindInvited:        &Invited{ID: id, Hash: h, Expires: 1796000000},
		KindInvitationUsed: &InvitationUsed{ID: id, Session: session},
		KindPasskeyAdded:   &PasskeyAdded{ID: id, Host: "portal.nord.test", Key: "00000000000000aa", Sealed: []byte{1, 2, 3}, Session: session},
		KindPasskeyRemoved: &PasskeyRemoved{ID: id, Session: session},
		KindCodesIssued:    &CodesIssued{Set: id, Codes: []CodeHash{{ID: "A0Z9", Hash: h, Salt: h[:16]}}, Session: session},
		KindCodeUsed:       &CodeUsed{Set: id, Code: "A0Z9", Session: session},
		KindTOTPSet:        &TOTPSet{Key: "00000000000000aa", Sealed: []byte{1, 2, 3}, Session: session},
		KindTOTPRemoved:    &TOTPRemoved{},
		KindLinkMade:       &LinkMade{ID: id, Hash: h, Expires: 1796000000},
		KindLinkUsed:       &LinkUsed{ID: id, Session: session},
		KindVouched:        &Vouched{Spoken: session, By: "000000000000a000", Session: session},
		KindVouchingUsed:   &VouchingUsed{Ticket: session, By: []directory.PersonID{"000000000000a000", "000000000000a001"}, Session: session},
		KindSignedIn:       &SignedIn{Day: "2026-11-22", Way: access.ByPasskey, Passkey: id, Counter: 7},
		KindCounterFell:    &CounterFell{Passkey: id, Session: session, Was: 9, Is: 3},
		KindTold:           &Told{Warning: "code/" + id + "/A0Z9", Person: true, Administrators: 2},
	}
}

func TestFactsKeepTheirForm(t *testing.T) {
	list := examples()
	if len(list) != len(Fold().Kinds()) {
		t.Fatalf("%d examples of %d kinds", len(list), len(Fold().Kinds()))
	}
	for kind, fact := range list {
		path := filepath.Join("testdata", string(kind)+".json")
		got, err := json.MarshalIndent(fact, "", "  ")
		ok(t, err)
		got = append(got, '\n')
		want, err := os.ReadFile(path)
		if os.IsNotExist(err) && *update {
			ok(t, os.WriteFile(path, got, 0o644))
			continue
		}
		ok(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s is written as\n%s, but is stored as\n%s", kind, got, want)
		}
		back := reflect.New(reflect.TypeOf(fact).Elem()).Interface()
		ok(t, json.Unmarshal(want, back))
		if !reflect.DeepEqual(back, fact) {
			t.Errorf("%s is read as %+v", kind, back)
		}
	}
}

// pages returns all bytes of a site's logs.
func pages(t testing.TB, s *station) (raw []byte) {
	t.Helper()
	for _, h := range s.log.Heads() {
		for after := uint64(0); after < h.Page; {
			list, err := s.log.Read(t.Context(), h.Branch, after, 1<<20)
			ok(t, err)
			for _, p := range list {
				after = p.Number
				raw = append(raw, p.Raw()...)
			}
		}
	}
	return raw
}

func ids(w *world, names ...string) (list []directory.PersonID) {
	for _, n := range names {
		list = append(list, w.people[n])
	}
	return list
}

func w0(p access.Principal) directory.PersonID { return directory.PersonID(p.ID) }

// What is void is found through any number of steps, and nothing else is.
func TestVoidSpreads(t *testing.T) {
	id := func(c string) string { return strings.Repeat(c, 32) }
	s := &state{
		Uses: []use{{What: "code/a/0000", Session: id("1")}, {What: "code/a/0000", Session: id("2")}, {What: "code/a/0001", Session: id("3")},
			{What: "code/b/0000", Session: id("4")}, {What: "code/c/0000", Session: id("5")}},
		Passkeys: []passkey{{PasskeyAdded: PasskeyAdded{ID: id("8")[:16], Session: id("4")}}, {PasskeyAdded: PasskeyAdded{ID: id("9")[:16], Session: id("3")}}},
		Sets: []codeSet{{CodesIssued: CodesIssued{Set: "a", Session: id("0")}}, {CodesIssued: CodesIssued{Set: "b", Session: id("2")}},
			{CodesIssued: CodesIssued{Set: "c", Session: id("8")}}},
		Removed: []removal{{ID: id("9")[:16], Session: id("5")}},
	}
	v := s.void()
	for c, want := range map[string]bool{"0": false, "1": true, "2": true, "3": false, "4": true, "5": true, "8": true, "9": false} {
		if v.session(id(c)) != want {
			t.Errorf("session %s is void: %v, want %v", c, !want, want)
		}
	}
	if got := s.good(v); len(got) != 1 || got[0].ID != id("9")[:16] {
		t.Errorf("good passkeys: %+v", got)
	}
	if got := s.sheet(v); got == nil || got.Set != "a" {
		t.Errorf("the sheet that counts: %+v", got)
	}
}

func TestMissing(t *testing.T) {
	key := func(hosts ...string) (list []passkey) {
		for _, h := range hosts {
			list = append(list, passkey{PasskeyAdded: PasskeyAdded{Host: h}})
		}
		return list
	}
	for _, c := range []struct {
		good  []passkey
		codes int
		want  string
	}{
		{nil, 0, "passkey:a passkey:b second passkey codes"},
		{key("a"), 10, "passkey:b second passkey"},
		{key("a", "b"), 2, "second passkey codes"},
		{key("a", "b", "b"), 3, ""},
		{key("c", "c"), 3, "passkey:a passkey:b second passkey"},
	} {
		if got := strings.Join(missing(c.good, c.codes, []string{"a", "b"}), " "); got != c.want {
			t.Errorf("%v with %d codes: %q, want %q", hosts(c.good), c.codes, got, c.want)
		}
	}
}

// What no honest site writes changes nothing, and sets no account aside.
func TestFactsOfARogueSite(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	a.sheet(a.begin("Anna"))
	before := a.account("Anna")
	for kind, fact := range map[event.Kind]any{
		KindInvited: Invited{ID: "x"}, KindPasskeyAdded: PasskeyAdded{ID: "x", Host: nord, Session: session},
		KindCodesIssued: CodesIssued{Set: "0123456789abcdef", Session: session, Codes: []CodeHash{{ID: "ab"}}},
		KindCodeUsed:    CodeUsed{Set: "x", Session: "x"}, KindTold: Told{Warning: strings.Repeat("x", 1000)},
		KindVouched: Vouched{By: "x"}, KindCounterFell: CounterFell{},
	} {
		_, err := a.appendFact(w.ctx(), nordtal, w.people["Anna"], "", kind, fact)
		ok(t, err)
	}
	w.converged()
	if got := a.account("Anna"); got.CodesLeft != before.CodesLeft || len(got.Passkeys) != 0 || got.State != StateEnrolled {
		t.Errorf("account: %+v", got)
	}
}

// A passkey counts only under the name it was enrolled under, whatever the authenticator says.
func TestPasskeysAreBoundToTheirName(t *testing.T) {
	s := &state{Passkeys: []passkey{{PasskeyAdded: PasskeyAdded{ID: session[:16], Host: nord, Session: session}}}}
	if _, found := s.find(session[:16], nord); !found {
		t.Error("not found under its own name")
	}
	if _, found := s.find(session[:16], sued); found {
		t.Error("found under another name")
	}
}

// Signed bytes are good for one kind, purpose, context and time.
func TestStampsAreBound(t *testing.T) {
	id, err := seal.NewIdentity(rand.Reader)
	ok(t, err)
	c, read := readStamp(signStamp(id, purposePasskey, kindSignIn, make([]byte, nonceLen), noon, nord))
	if !read || c.site != id.Site() || !c.at.Equal(noon) {
		t.Fatalf("read as %+v", c)
	}
	good := func(purpose string, kind byte, context string, now time.Time) bool {
		return c.genuine(purpose, kind, context, now, ChallengeLife)
	}
	if !good(purposePasskey, kindSignIn, nord, noon) || !good(purposePasskey, kindSignIn, nord, noon.Add(-time.Minute)) {
		t.Error("a good one is refused")
	}
	if good(purposeVouching, kindSignIn, nord, noon) || good(purposePasskey, kindEnrol, nord, noon) || good(purposePasskey, kindSignIn, sued, noon) ||
		good(purposePasskey, kindSignIn, nord, noon.Add(ChallengeLife)) || good(purposePasskey, kindSignIn, nord, noon.Add(-time.Hour)) {
		t.Error("it is good for something else, too")
	}
}

// Who vouched long before or after the ticket did not vouch for it; who vouched twice is one.
func TestVouchersAreOfTheTicketsTime(t *testing.T) {
	by := func(who directory.PersonID, at time.Time) vouched {
		return vouched{Vouched: Vouched{Spoken: session, By: who, Session: session}, Wall: at.UnixMilli()}
	}
	s := &state{Vouched: []vouched{by("000000000000a000", noon), by("000000000000a000", noon), by("000000000000a001", noon.Add(-time.Hour)),
		by("000000000000a002", noon.Add(time.Hour)), by("000000000000a003", noon.Add(5*time.Minute))}}
	got := s.vouchers(session, noon.Add(VouchingLife))
	if len(got) != 2 || got[0].By != "000000000000a000" || got[1].By != "000000000000a003" {
		t.Errorf("vouchers: %+v", got)
	}
}

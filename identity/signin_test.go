// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/identity/authenticator"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/secretcode"
)

func digits(t testing.TB, secret string, at time.Time) string {
	t.Helper()
	s, err := totp.GenerateCode(secret, at)
	ok(t, err)
	return s
}

// What begins at one site ends at another; an answer is taken once; everything else is refused.
func TestPasskeysAcrossSites(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	phone := authenticator.New(rand.Reader)
	p := a.begin("Anna")
	w.merge()
	options, err := a.BeginPasskey(w.ctx(), p, atNord)
	ok(t, err)
	answer, err := phone.Create(atNord.URL, options)
	ok(t, err)
	_, _, err = b.FinishPasskey(w.ctx(), p, atNord, strings.Repeat("x", MaxLabel+1), answer)
	refused(t, err, ErrLabel)
	_, _, err = b.FinishPasskey(w.ctx(), p, atNord, "", answer)
	ok(t, err)
	_, _, err = b.FinishPasskey(w.ctx(), p, atNord, "", answer)
	if err == nil {
		t.Fatal("an answer was taken twice")
	}
	w.merge()
	options, err = a.BeginSignIn(w.ctx(), atNord)
	ok(t, err)
	answer, err = phone.Get(atNord.URL, options)
	ok(t, err)
	in, err := b.FinishSignIn(w.ctx(), atNord, answer)
	ok(t, err)
	if in.ID != string(w.people["Anna"]) {
		t.Fatalf("%+v", in)
	}
	_, err = b.FinishSignIn(w.ctx(), atNord, answer)
	refused(t, err, ErrPasskey)
	again, err := a.BeginPasskey(w.ctx(), p, atNord)
	ok(t, err)
	if _, err := phone.Create(atNord.URL, again); !errors.Is(err, authenticator.ErrKnown) {
		t.Errorf("the same device may be enrolled twice: %v", err)
	}
}

func TestPasskeysAreRefused(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	phone := authenticator.New(rand.Reader)
	p := a.begin("Anna")
	made := a.enrol(p, phone, atNord)
	fresh := func() []byte {
		options, err := a.BeginSignIn(w.ctx(), atNord)
		ok(t, err)
		return options
	}
	get := func(origin string, options []byte) []byte {
		answer, err := phone.Get(origin, options)
		ok(t, err)
		return answer
	}
	old := get(atNord.URL, fresh())
	w.now = w.now.Add(ChallengeLife)
	for name, answer := range map[string][]byte{
		"too old": old, "another origin": get("https://evil.test", fresh()), "not JSON": []byte("{"),
		"too long": make([]byte, MaxAnswer+1), "a challenge for enrolment": get(atNord.URL, forSigningIn(t, a, p)),
		"a challenge of a stranger": get(atNord.URL, strangers(t, w)),
	} {
		if _, err := a.FinishSignIn(w.ctx(), atNord, answer); !errors.Is(err, ErrPasskey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	phone.Unverified = true
	_, err := a.signIn(phone, atNord)
	refused(t, err, ErrPasskey)
	phone.Unverified = false
	_, err = a.signIn(phone, atNord)
	ok(t, err)
	_, err = a.RemovePasskey(w.ctx(), p, nordtal, w.people["Anna"], made.ID)
	ok(t, err)
	_, err = a.signIn(phone, atNord)
	refused(t, err, ErrPasskey)
	_, err = a.RemovePasskey(w.ctx(), p, nordtal, w.people["Anna"], made.ID)
	refused(t, err, ErrPasskeyUnknown)
	lazy := authenticator.New(rand.Reader)
	lazy.Unverified = true
	options, err := a.BeginPasskey(w.ctx(), p, atNord)
	ok(t, err)
	answer, err := lazy.Create(atNord.URL, options)
	ok(t, err)
	_, _, err = a.FinishPasskey(w.ctx(), p, atNord, "", answer)
	refused(t, err, ErrPasskeyNew)
}

// forSigningIn returns sign-in options with a challenge that was made for enrolment.
func forSigningIn(t *testing.T, a *station, p access.Principal) []byte {
	t.Helper()
	c, err := a.challenge(kindEnrol, enrolContext(nord, handleOf(p.Authority, w0(p))))
	ok(t, err)
	return []byte(`{"publicKey":{"rpId":"` + nord + `","challenge":"` + encode(c) + `"}}`)
}

// strangers returns sign-in options with a challenge of a site that is no member.
func strangers(t *testing.T, w *world) []byte {
	t.Helper()
	id, err := seal.NewIdentity(rand.Reader)
	ok(t, err)
	c := signStamp(id, purposePasskey, kindSignIn, make([]byte, nonceLen), w.now, nord)
	return []byte(`{"publicKey":{"rpId":"` + nord + `","challenge":"` + encode(c) + `"}}`)
}

// A counter that goes back lets the person in, and is told once.
func TestCounterIsASignal(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	phone := authenticator.New(rand.Reader)
	a.enrol(a.begin("Anna"), phone, atNord)
	phone.Wind(10)
	_, err := a.signIn(phone, atNord)
	ok(t, err)
	w.merge()
	phone.Wind(3)
	for range 3 {
		_, err = b.signIn(phone, atNord)
		ok(t, err)
	}
	list, err := b.Warnings(w.ctx(), nordtal)
	ok(t, err)
	if len(list) != 1 || list[0].What != "counter" || list[0].Person != w.people["Anna"] || list[0].Sites[0] != b.name {
		t.Fatalf("warnings: %+v", list)
	}
	ok(t, b.Step(w.ctx()))
	ok(t, b.Step(w.ctx()))
	if len(w.told) != 2 || w.told[0].person != w.people["Anna"] || w.told[1].person != w.people["Emil"] {
		t.Errorf("told: %+v", w.told)
	}
	synced := authenticator.New(rand.Reader)
	synced.Synced, synced.NoCounter = true, true
	a.enrol(a.begin("Bernd"), synced, atNord)
	for range 2 {
		_, err = a.signIn(synced, atNord)
		ok(t, err)
	}
	if !a.account("Bernd").Passkeys[0].Synced {
		t.Error("the passkey does not say that it is synchronised")
	}
	if list, err = a.Warnings(w.ctx(), nordtal); err != nil || len(list) != 0 {
		t.Errorf("a passkey that does not count was warned of: %+v, %v", list, err)
	}
}

// At each of two sites that do not see each other the code works; then both sessions end, with all that came of them.
func TestCodeUsedTwice(t *testing.T) {
	w := newWorld(t, 3)
	a, b := w.sites[0], w.sites[1]
	codes := a.sheet(a.begin("Anna"))
	w.merge()
	atA, err := a.SignInWithCode(w.ctx(), codes[0], "")
	ok(t, err)
	_, err = a.SignInWithCode(w.ctx(), codes[0], "")
	refused(t, err, ErrCode)
	atB, err := b.SignInWithCode(w.ctx(), codes[0], "")
	ok(t, err)
	thief, sheet := authenticator.New(rand.Reader), []string(nil)
	b.enrol(atB, thief, atNord)
	later, err := b.signIn(thief, atNord)
	ok(t, err)
	sheet = b.sheet(later)
	byTheirCode, err := b.SignInWithCode(w.ctx(), sheet[0], "")
	ok(t, err)
	ok(t, a.Standing(w.ctx(), atA))
	w.merge()
	for _, s := range w.sites {
		for _, p := range []access.Principal{atA, atB, later, byTheirCode} {
			refused(t, s.Standing(w.ctx(), p), ErrVoid)
		}
		_, err = s.signIn(thief, atNord)
		refused(t, err, ErrPasskey)
		_, err = s.SignInWithCode(w.ctx(), sheet[1], "")
		refused(t, err, ErrCode)
		_, err = s.SignInWithCode(w.ctx(), codes[0], "")
		refused(t, err, ErrCode)
		list, err := s.Warnings(w.ctx(), nordtal)
		ok(t, err)
		if len(list) != 1 || list[0].What != "code_twice" || len(list[0].Sites) != 2 || list[0].ToldPerson {
			t.Fatalf("warnings: %+v", list)
		}
	}
	// The person's own sheet counts again.
	_, err = a.SignInWithCode(w.ctx(), codes[1], "")
	ok(t, err)
	tellOnce(t, w)
}

// tellOnce steps everywhere and expects that the person and the administrator are told once between all sites.
func tellOnce(t *testing.T, w *world) {
	t.Helper()
	for range 5 {
		for _, s := range w.sites {
			ok(t, s.Step(w.ctx()))
		}
		w.merge()
		w.now = w.now.Add(tellDelay)
	}
	if len(w.told) != 2 || w.told[0].person != w.people["Anna"] || w.told[1].person != w.people["Emil"] {
		t.Fatalf("told: %+v", w.told)
	}
	list, err := w.sites[0].Warnings(w.ctx(), nordtal)
	if err != nil || !list[0].ToldPerson {
		t.Errorf("not recorded as told: %+v, %v", list, err)
	}
}

// Somebody else tells if the site whose turn it is cannot.
func TestWarningsAreToldBySomebody(t *testing.T) {
	w := newWorld(t, 3)
	codes := w.sites[0].sheet(w.sites[0].begin("Anna"))
	w.merge()
	for _, s := range w.sites[:2] {
		_, err := s.SignInWithCode(w.ctx(), codes[0], "")
		ok(t, err)
		s.mute = true
	}
	w.merge()
	third := w.sites[2]
	for range 4 {
		ok(t, third.Step(w.ctx()))
		_ = w.sites[0].Step(w.ctx())
		w.now = w.now.Add(tellDelay)
	}
	if len(w.told) != 2 || w.told[0].site != third.name {
		t.Errorf("told: %+v", w.told)
	}
}

func TestInvitationAndLinkUsedTwice(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	list, _, err := a.Invite(w.ctx(), console, nordtal, ids(w, "Anna"), 0)
	ok(t, err)
	link, _, err := a.Link(w.ctx(), console, nordtal, w.people["Bernd"], 0)
	ok(t, err)
	w.merge()
	var void []access.Principal
	phones := []*authenticator.Device{authenticator.New(rand.Reader), authenticator.New(rand.Reader)}
	for i, s := range w.sites {
		p, err := s.UseInvitation(w.ctx(), list[0].Secret)
		ok(t, err)
		s.enrol(p, phones[i], atNord)
		q, err := s.UseLink(w.ctx(), link)
		ok(t, err)
		void = append(void, p, q)
	}
	w.merge()
	for _, p := range void {
		refused(t, a.Standing(w.ctx(), p), ErrVoid)
	}
	for _, phone := range phones {
		_, err = b.signIn(phone, atNord)
		refused(t, err, ErrPasskey)
	}
	warnings, err := a.Warnings(w.ctx(), nordtal)
	if err != nil || len(warnings) != 2 {
		t.Errorf("warnings: %+v, %v", warnings, err)
	}
	if got := a.account("Anna"); got.State != StateNone || !got.Passkeys[0].Void {
		t.Errorf("account: %+v", got)
	}
}

// Every wrong code costs the same: nothing without the right tag, one argon2 with it, whoever it belongs to. And the answer
// is one.
func TestWrongCodesCostTheSame(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	codes := a.sheet(a.begin("Anna"))
	_, err := a.SignInWithCode(w.ctx(), codes[0], "")
	ok(t, err)
	key, err := a.idKey(w.ctx(), nordtal)
	ok(t, err)
	tagged := func(body string) string { return body + tag(key, body) }
	used, _ := secretcode.Normal(codes[0], codeLen)
	good, _ := secretcode.Normal(codes[1], codeLen)
	for name, c := range map[string]struct {
		code string
		cost int
	}{
		"no code":              {"hello", 0},
		"wrong tag":            {good[:codeLen-1] + swap(good[codeLen-1]), 0},
		"wrong secret":         {good[:10] + swap(good[10]) + good[11:], 0},
		"unknown, right tag":   {tagged("ZZZZ0123456789ABCDEF"), 1},
		"used":                 {used, 1},
		"known id, right tag":  {tagged(good[:codeIDLen] + "0123456789ABCDEF"), 1},
		"empty":                {"", 0},
		"far too long":         {strings.Repeat("0", 10_000), 0},
		"letters of no code":   {strings.Repeat("U", codeLen), 0},
		"used id, wrong by it": {tagged(used[:codeIDLen] + "0123456789ABCDEF"), 1},
	} {
		before := a.argon.Entered()
		_, err := a.SignInWithCode(w.ctx(), c.code, "")
		if !errors.Is(err, ErrCode) || err.Error() != ErrCode.Error() {
			t.Errorf("%s: %v", name, err)
		}
		if got := int(a.argon.Entered() - before); got != c.cost {
			t.Errorf("%s costs %d argon2, want %d", name, got, c.cost)
		}
	}
	if _, err := a.SignInWithCode(w.ctx(), good, ""); err != nil {
		t.Errorf("the good code after all that: %v", err)
	}
}

func swap(c byte) string {
	if c == '7' {
		return "8"
	}
	return "7"
}

// Whoever has an old code can keep nobody out and no processor busy.
func TestOldCodesAreThrottledAlone(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	codes := a.sheet(a.begin("Anna"))
	_, err := a.SignInWithCode(w.ctx(), codes[0], "")
	ok(t, err)
	var throttled int
	before := a.argon.Entered()
	for range 100 {
		if _, err = a.SignInWithCode(w.ctx(), codes[0], ""); errors.Is(err, ErrThrottled) {
			throttled++
		}
	}
	if cost := a.argon.Entered() - before; throttled != 96 || cost != 4 {
		t.Errorf("%d throttled, %d argon2", throttled, cost)
	}
	_, err = a.SignInWithCode(w.ctx(), codes[1], "")
	ok(t, err)
}

// Inside one half of a cut two colleagues are enough; what they did works once, and twice in two halves ends both.
func TestVouching(t *testing.T) {
	w := newWorld(t, 3)
	a, b := w.sites[0], w.sites[1]
	anna, bernd := a.begin("Anna"), a.begin("Bernd")
	w.merge()
	dora := w.people["Dora"]
	ticket, spoken, err := a.AskVouching(w.ctx())
	ok(t, err)
	_, err = b.Vouch(w.ctx(), anna, strings.ToLower(spoken), dora)
	ok(t, err)
	_, err = b.Vouch(w.ctx(), anna, spoken, dora)
	ok(t, err)
	_, err = b.TakeVouching(w.ctx(), ticket)
	refused(t, err, ErrVouching)
	_, err = b.Vouch(w.ctx(), bernd, spoken, w.people["Bernd"])
	refused(t, err, ErrSelf)
	_, err = b.Vouch(w.ctx(), bernd, "UUUU-0000", dora)
	refused(t, err, ErrSpoken)
	_, err = b.Vouch(w.ctx(), bernd, spoken, dora)
	ok(t, err)
	state, err := b.VouchState(w.ctx(), ticket)
	if err != nil || state.Confirmed != 2 || state.Spoken != spoken {
		t.Fatalf("%+v, %v", state, err)
	}
	if state, err = a.VouchState(w.ctx(), ticket); err != nil || state.Confirmed != 0 {
		t.Fatalf("beyond the cut: %+v, %v", state, err)
	}
	p, err := b.TakeVouching(w.ctx(), ticket)
	ok(t, err)
	if p.ID != string(dora) || p.Way != access.ByVouching {
		t.Fatalf("%+v", p)
	}
	_, err = b.TakeVouching(w.ctx(), ticket)
	refused(t, err, ErrVouching)
	_, err = b.Vouch(w.ctx(), p, "0000-0000", w.people["Emil"])
	refused(t, err, ErrVoucher)
	p.Begun = w.now
	ok(t, b.Standing(w.ctx(), p))
	w.now = w.now.Add(VouchedSession)
	refused(t, b.Standing(w.ctx(), p), ErrVouchedOver)
}

func TestVouchingTwiceAndTooLate(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	anna, bernd := a.begin("Anna"), a.begin("Bernd")
	w.merge()
	ticket, spoken, err := a.AskVouching(w.ctx())
	ok(t, err)
	dora := w.people["Dora"]
	for _, by := range []access.Principal{anna, bernd} {
		_, err = a.Vouch(w.ctx(), by, spoken, dora)
		ok(t, err)
	}
	w.merge()
	p, err := a.TakeVouching(w.ctx(), ticket)
	ok(t, err)
	q, err := b.TakeVouching(w.ctx(), ticket)
	ok(t, err)
	w.merge()
	refused(t, a.Standing(w.ctx(), p), ErrVoid)
	refused(t, a.Standing(w.ctx(), q), ErrVoid)
	ticket, spoken, err = a.AskVouching(w.ctx())
	ok(t, err)
	for _, by := range []access.Principal{anna, bernd} {
		_, err = a.Vouch(w.ctx(), by, spoken, dora)
		ok(t, err)
	}
	w.now = w.now.Add(VouchingLife)
	_, err = a.TakeVouching(w.ctx(), ticket)
	refused(t, err, ErrVouching)
	_, err = a.VouchState(w.ctx(), ticket)
	refused(t, err, ErrVouching)
}

// Vouchers who disagree, or whose own session is void, do not count.
func TestVouchersMustAgreeAndStand(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	anna, bernd, clara := a.begin("Anna"), a.begin("Bernd"), a.begin("Clara")
	ticket, spoken, err := a.AskVouching(w.ctx())
	ok(t, err)
	for by, name := range map[*access.Principal]string{&anna: "Dora", &bernd: "Emil", &clara: "Emil"} {
		_, err = a.Vouch(w.ctx(), *by, spoken, w.people[name])
		ok(t, err)
	}
	_, err = a.Vouch(w.ctx(), bernd, spoken, w.people["Dora"])
	ok(t, err)
	_, err = a.TakeVouching(w.ctx(), ticket)
	refused(t, err, ErrVouching)

	codes := a.sheet(anna)
	w.merge()
	one, err := a.SignInWithCode(w.ctx(), codes[0], "")
	ok(t, err)
	_, err = b.SignInWithCode(w.ctx(), codes[0], "")
	ok(t, err)
	ticket, spoken, err = a.AskVouching(w.ctx())
	ok(t, err)
	for _, by := range []access.Principal{one, bernd} {
		_, err = a.Vouch(w.ctx(), by, spoken, w.people["Dora"])
		ok(t, err)
	}
	w.merge()
	_, err = a.TakeVouching(w.ctx(), ticket)
	refused(t, err, ErrVouching)
}

// Who is erased cannot come in by any way, and what their account held is unreadable at every site.
func TestErasedPersonIsGone(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	phone := authenticator.New(rand.Reader)
	p := a.begin("Anna")
	a.enrol(p, phone, atNord)
	codes := a.sheet(p)
	secret, _, err := a.BeginTOTP(w.ctx(), p)
	ok(t, err)
	_, err = a.ConfirmTOTP(w.ctx(), p, secret, digits(t, secret, w.now))
	ok(t, err)
	link, _, err := a.Link(w.ctx(), console, nordtal, w.people["Anna"], time.Hour)
	ok(t, err)
	w.merge()
	ok(t, a.dir.Erase(w.ctx(), nordtal, w.people["Anna"]))
	ok(t, a.model.KeysChanged(w.ctx(), nil))
	w.merge()
	ok(t, b.Step(w.ctx()))
	w.merge()
	for _, s := range w.sites {
		refused(t, s.Standing(w.ctx(), p), ErrGone)
		_, err = s.signIn(phone, atNord)
		refused(t, err, ErrPasskey)
		_, err = s.SignInWithCode(w.ctx(), codes[0], "")
		refused(t, err, ErrCode)
		_, err = s.UseLink(w.ctx(), link)
		refused(t, err, ErrLink)
		keys, err := s.KeysOf(w.ctx(), nordtal, w.people["Anna"])
		ok(t, err)
		if len(keys) == 0 {
			t.Fatal("no keys")
		}
		for _, k := range keys {
			if _, err := s.ring.Key(w.ctx(), nordtal, k); !errors.Is(err, keyring.ErrErased) {
				t.Errorf("a key of the account: %v", err)
			}
		}
	}
}

// The credentials stand in no log in clear.
func TestLogsHoldNoSecret(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	list, _, err := a.Invite(w.ctx(), console, nordtal, ids(w, "Anna"), 0)
	ok(t, err)
	p, err := a.UseInvitation(w.ctx(), list[0].Secret)
	ok(t, err)
	a.enrol(p, authenticator.New(rand.Reader), atNord)
	secrets := append(a.sheet(p), list[0].Secret, "Diensthandy")
	totpSecret, _, err := a.BeginTOTP(w.ctx(), p)
	ok(t, err)
	_, err = a.ConfirmTOTP(w.ctx(), p, totpSecret, digits(t, totpSecret, w.now))
	ok(t, err)
	_, spoken, err := a.AskVouching(w.ctx())
	ok(t, err)
	_, err = a.Vouch(w.ctx(), a.begin("Bernd"), spoken, w.people["Anna"])
	ok(t, err)
	secrets = append(secrets, totpSecret, spoken)
	for _, s := range secrets {
		for _, form := range []string{s, strings.ReplaceAll(s, "-", "")} {
			if strings.Contains(string(pages(t, a)), form) {
				t.Errorf("%q stands in the log", form)
			}
		}
	}
}

// A member that the authority does not allow cannot make challenges, tickets or hand-overs for its people.
func TestForbiddenSitesCountForNothing(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	phone := authenticator.New(rand.Reader)
	p, bernd := a.begin("Anna"), a.begin("Bernd")
	a.enrol(p, phone, atNord)
	w.merge()
	enrol, err := b.BeginPasskey(w.ctx(), p, atSued)
	ok(t, err)
	created, err := phone.Create(atSued.URL, enrol)
	ok(t, err)
	options, err := b.BeginSignIn(w.ctx(), atNord)
	ok(t, err)
	answer, err := phone.Get(atNord.URL, options)
	ok(t, err)
	ticket, spoken, err := b.AskVouching(w.ctx())
	ok(t, err)
	token, err := b.HandOver(w.ctx(), p, sued)
	ok(t, err)
	w.forbidden = b.name
	_, _, err = a.FinishPasskey(w.ctx(), p, atSued, "", created)
	refused(t, err, ErrPasskeyNew)
	_, err = a.FinishSignIn(w.ctx(), atNord, answer)
	refused(t, err, ErrPasskey)
	_, err = a.TakeHandOver(w.ctx(), token, atSued)
	refused(t, err, ErrHandOver)
	for _, by := range []access.Principal{p, bernd} {
		_, err = a.Vouch(w.ctx(), by, spoken, w.people["Dora"])
		ok(t, err)
	}
	_, err = a.TakeVouching(w.ctx(), ticket)
	refused(t, err, ErrVouching)
}

// Of many who try one code at one site at once, one comes in.
func TestCodeIsUsedOnceAtOneSite(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	codes := a.sheet(a.begin("Anna"))
	results := make(chan error)
	for range codeTries {
		go func() {
			_, err := a.SignInWithCode(w.ctx(), codes[0], "")
			results <- err
		}()
	}
	in := 0
	for range codeTries {
		if err := <-results; err == nil {
			in++
		} else if !errors.Is(err, ErrCode) {
			t.Error(err)
		}
	}
	list, err := a.Warnings(w.ctx(), nordtal)
	if in != 1 || err != nil || len(list) != 0 {
		t.Errorf("%d came in; warnings: %v, %v", in, list, err)
	}
}

// With the clock ten years ahead passkeys and codes work as before.
func TestTenYearsAhead(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	phone := authenticator.New(rand.Reader)
	p := a.begin("Anna")
	a.enrol(p, phone, atNord)
	codes := a.sheet(p)
	w.merge()
	w.now = w.now.AddDate(10, 0, 0)
	in, err := b.signIn(phone, atNord)
	ok(t, err)
	ok(t, b.Standing(w.ctx(), in))
	_, err = b.SignInWithCode(w.ctx(), codes[0], "")
	ok(t, err)
}

// A full disk keeps nobody with a passkey out, and burns no code.
func TestNothingCanBeWritten(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	phone := authenticator.New(rand.Reader)
	p := a.begin("Anna")
	a.enrol(p, phone, atNord)
	codes := a.sheet(p)
	a.cfg.Log = full{}
	w.now = w.now.Add(24 * time.Hour)
	_, err := a.signIn(phone, atNord)
	ok(t, err)
	if _, err = a.SignInWithCode(w.ctx(), codes[0], ""); err == nil {
		t.Fatal("a code was used and nobody knows")
	}
	a.cfg.Log = a.log
	_, err = a.SignInWithCode(w.ctx(), codes[0], "")
	ok(t, err)
}

// full is a log without room.
type full struct{}

func (full) Append(context.Context, event.AuthorityID, event.Class, ...event.Draft) (eventlog.Receipt, error) {
	return eventlog.Receipt{}, errors.New("no room")
}

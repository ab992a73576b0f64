// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/identity/authenticator"
)

// The whole way: invited, enrolled under both names with two devices and codes, signed in at a site that did none of it.
func TestEnrolment(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	anna := w.people["Anna"]
	list, _, err := a.Invite(w.ctx(), console, nordtal, []directory.PersonID{anna, w.people["Bernd"], anna}, 0)
	ok(t, err)
	if len(list) != 2 || a.account("Anna").State != StateInvited {
		t.Fatalf("%d invitations, state %s", len(list), a.account("Anna").State)
	}
	i := slices.IndexFunc(list, func(i Invitation) bool { return i.Person == anna })
	w.merge()
	view, err := b.Invited(w.ctx(), list[i].Secret)
	ok(t, err)
	if view.Person.GivenName != "Anna" || view.Authority != nordtal {
		t.Fatalf("the invitation shows %+v", view)
	}
	p, err := b.UseInvitation(w.ctx(), list[i].Secret)
	ok(t, err)
	if !p.Limited || p.Way != access.ByInvitation {
		t.Fatalf("an invitation makes %+v", p)
	}
	_, err = b.UseInvitation(w.ctx(), list[i].Secret)
	refused(t, err, ErrInvitation)

	phone, key := authenticator.New(rand.Reader), authenticator.New(rand.Reader)
	b.enrol(p, phone, atNord)
	if got := strings.Join(b.account("Anna").Missing, ", "); got != "passkey:"+sued+", second passkey, codes" {
		t.Fatalf("missing: %s", got)
	}
	token, err := b.HandOver(w.ctx(), p, sued)
	ok(t, err)
	there, err := a.TakeHandOver(w.ctx(), token, atSued)
	ok(t, err)
	if there.Session != p.Session || !there.Limited {
		t.Fatalf("handed over: %+v", there)
	}
	w.merge()
	a.enrol(there, phone, atSued)
	a.enrol(there, key, atSued)
	codes := a.sheet(there)
	w.merge()
	got := b.account("Anna")
	if len(got.Missing) != 0 || got.State != StateEnrolled || len(got.Passkeys) != 3 || got.CodesLeft != CodesPerSheet || got.Passkeys[0].Label != "Diensthandy" {
		t.Fatalf("after enrolment: %+v", got)
	}
	for _, s := range w.sites {
		for _, o := range []Origin{atNord, atSued} {
			in, err := s.signIn(phone, o)
			ok(t, err)
			if in.Limited || in.ID != string(anna) || in.Way != access.ByPasskey || !strings.HasPrefix(in.Session, got.Passkeys[0].ID) && o == atNord {
				t.Fatalf("signed in as %+v", in)
			}
			ok(t, s.Standing(w.ctx(), in))
		}
	}
	in, err := b.SignInWithCode(w.ctx(), strings.ToLower(codes[3]), "")
	ok(t, err)
	if in.Way != access.ByCode || b.account("Anna").CodesLeft != CodesPerSheet-1 {
		t.Fatalf("by code: %+v, %d left", in, b.account("Anna").CodesLeft)
	}
	if b.account("Anna").LastSignIn.IsZero() {
		t.Error("nobody knows when Anna signed in last")
	}
}

// A newer invitation replaces the one before; one that has expired does nothing.
func TestInvitationsEnd(t *testing.T) {
	w := newWorld(t, 1)
	a, anna := w.sites[0], []directory.PersonID{w.people["Anna"]}
	first, _, err := a.Invite(w.ctx(), console, nordtal, anna, time.Hour)
	ok(t, err)
	second, _, err := a.Invite(w.ctx(), console, nordtal, anna, time.Hour)
	ok(t, err)
	_, err = a.UseInvitation(w.ctx(), first[0].Secret)
	refused(t, err, ErrInvitation)
	w.now = w.now.Add(time.Hour)
	_, err = a.UseInvitation(w.ctx(), second[0].Secret)
	refused(t, err, ErrInvitation)
	if got := a.account("Anna").State; got != StateNone {
		t.Errorf("state %s after the invitation's end", got)
	}
	_, err = a.UseInvitation(w.ctx(), "../../etc")
	refused(t, err, ErrInvitation)
	_, _, err = a.Invite(w.ctx(), console, nordtal, []directory.PersonID{"0123456789abcdef"}, 0)
	refused(t, err, ErrPersonUnknown)
}

func TestLimits(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	list, _, err := a.Invite(w.ctx(), console, nordtal, []directory.PersonID{w.people["Anna"]}, 0)
	ok(t, err)
	p, err := a.UseInvitation(w.ctx(), list[0].Secret)
	ok(t, err)
	bernd := w.people["Bernd"]
	_, _, err = a.Invite(w.ctx(), p, nordtal, []directory.PersonID{bernd}, 0)
	refused(t, err, ErrNotYours)
	_, err = a.RemovePasskey(w.ctx(), p, nordtal, bernd, "0123456789abcdef")
	refused(t, err, ErrNotYours)
	_, _, err = a.Link(w.ctx(), a.begin("Bernd"), nordtal, bernd, 0)
	refused(t, err, ErrConsole)
	_, err = a.Vouch(w.ctx(), p, "0000-0000", bernd)
	refused(t, err, ErrVoucher)
	other := a.begin("Bernd")
	other.Authority = "lk-suedtal"
	_, _, err = a.Invite(w.ctx(), other, nordtal, []directory.PersonID{bernd}, 0)
	refused(t, err, ErrPersonUnknown)
	_, err = a.BeginPasskey(w.ctx(), other, atNord)
	refused(t, err, ErrGone)
	_, err = a.BeginPasskey(w.ctx(), p, Origin{Host: "203.0.113.7", URL: "https://203.0.113.7"})
	refused(t, err, ErrName)
	_, err = a.BeginPasskey(w.ctx(), p, Origin{Host: nord, URL: "https://evil.test"})
	refused(t, err, ErrName)
	_, err = a.BeginPasskey(w.ctx(), console, atNord)
	refused(t, err, ErrNotYours)
	if _, _, err := a.Invite(w.ctx(), console, nordtal, make([]directory.PersonID, MaxInvited+1), 0); err == nil {
		t.Error("invited too many at once")
	}
}

func TestHandOverIsNarrow(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.sites[0], w.sites[1]
	p := a.begin("Anna")
	w.merge()
	token, err := a.HandOver(w.ctx(), p, sued)
	ok(t, err)
	_, err = b.TakeHandOver(w.ctx(), token, atNord)
	refused(t, err, ErrHandOver)
	got, err := b.TakeHandOver(w.ctx(), token, atSued)
	ok(t, err)
	if !got.Limited {
		t.Error("a token in an address is worth a full session")
	}
	_, err = b.TakeHandOver(w.ctx(), token, atSued)
	refused(t, err, ErrHandOver)
	_, err = a.HandOver(w.ctx(), p, "evil.test")
	refused(t, err, ErrName)
	late, err := a.HandOver(w.ctx(), p, sued)
	ok(t, err)
	w.now = w.now.Add(HandOverLife)
	_, err = b.TakeHandOver(w.ctx(), late, atSued)
	refused(t, err, ErrHandOver)
	for _, bad := range []string{"", ".", token[:len(token)-1], "A" + token, strings.Replace(token, ".", "..", 1)} {
		_, err = b.TakeHandOver(w.ctx(), bad, atSued)
		refused(t, err, ErrHandOver)
	}
}

func TestAccountsAreListed(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	a.enrol(a.begin("Anna"), authenticator.New(rand.Reader), atNord)
	a.sheet(a.begin("Clara"))
	_, _, err := a.Invite(w.ctx(), console, nordtal, []directory.PersonID{w.people["Bernd"]}, 0)
	ok(t, err)
	check := func(state State, want ...string) Counts {
		t.Helper()
		var got []string
		var after directory.PersonID
		var counts Counts
		for {
			lines, c, err := a.Accounts(w.ctx(), nordtal, Filter{State: state, Limit: 2, After: after})
			ok(t, err)
			counts = c
			for _, l := range lines {
				got = append(got, l.Person.GivenName)
				after = max(after, l.Person.ID)
			}
			if len(lines) > 0 && (state == "" || state == StateNone) {
				after = lines[len(lines)-1].Person.ID
			}
			if len(lines) < 2 {
				break
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", state, got, want)
		}
		return counts
	}
	check("", "Anna", "Bernd", "Clara", "Dora", "Emil")
	check(StateNone, "Dora", "Emil")
	check(StateInvited, "Bernd")
	if c := check(StateEnrolled, "Anna", "Clara"); c != (Counts{People: 5, None: 2, Invited: 1, Enrolled: 2}) {
		t.Errorf("counts: %+v", c)
	}
	w.now = w.now.Add(DormantAfter + 24*time.Hour)
	if c := check(StateDormant, "Anna", "Clara"); c != (Counts{People: 5, None: 3, Dormant: 2}) {
		t.Errorf("counts a year later: %+v", c)
	}
}

func TestMessagesAreSent(t *testing.T) {
	w := newWorld(t, 1)
	a, bernd := w.sites[0], w.people["Bernd"]
	list, _, err := a.Invite(w.ctx(), console, nordtal, []directory.PersonID{bernd}, 0)
	ok(t, err)
	sent, err := a.SendInvitations(w.ctx(), console, nordtal, list, "https://"+nord)
	if err != nil || sent != 1 || !strings.Contains(w.told[0].text, "https://"+nord+"/enrol/"+list[0].Secret) {
		t.Fatalf("sent %d, %v: %v", sent, err, w.told)
	}
	w.told = nil
	told, err := a.Remind(w.ctx(), console, nordtal, []directory.PersonID{bernd, w.people["Dora"]})
	if err != nil || told != 2 || strings.Contains(w.told[0].text, list[0].Secret) || !strings.Contains(w.told[0].text, "https://"+sued) {
		t.Fatalf("told %d, %v: %v", told, err, w.told)
	}
	for address, good := range map[string]bool{"http://" + nord: false, "http://localhost.example": false, "": false, "ftp://localhost": false, "https:": false,
		"http://localhost:8443": true, "http://nord.localhost:80": true, "http://127.0.0.1:8443": true, "http://[::1]:80": true} {
		_, err = a.SendInvitations(w.ctx(), console, nordtal, nil, address)
		if good {
			ok(t, err)
			continue
		}
		refused(t, err, errPlainURL)
	}
}

func TestTOTPGoesWithCodes(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	p := a.begin("Anna")
	codes := a.sheet(p)
	secret, uri, err := a.BeginTOTP(w.ctx(), p)
	ok(t, err)
	if !strings.HasPrefix(uri, "otpauth://totp/Holdfast:lk-nordtal?") || !strings.Contains(uri, secret) {
		t.Fatalf("uri %s", uri)
	}
	_, err = a.ConfirmTOTP(w.ctx(), p, secret, "000000x")
	refused(t, err, ErrTOTPSecret)
	_, err = a.ConfirmTOTP(w.ctx(), p, secret, digits(t, secret, w.now))
	ok(t, err)
	_, err = a.SignInWithCode(w.ctx(), codes[0], "")
	refused(t, err, ErrTOTP)
	w.now = w.now.Add(time.Minute)
	now := digits(t, secret, w.now)
	_, err = a.SignInWithCode(w.ctx(), codes[0], now[:3]+" "+now[3:])
	ok(t, err)
	_, err = a.SignInWithCode(w.ctx(), codes[1], now)
	refused(t, err, ErrTOTP)
	_, err = a.RemoveTOTP(w.ctx(), p, nordtal, w.people["Anna"])
	ok(t, err)
	_, err = a.SignInWithCode(w.ctx(), codes[1], "")
	ok(t, err)
}

func TestTOTPCannotBeGuessed(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	p := a.begin("Anna")
	codes := a.sheet(p)
	secret, _, err := a.BeginTOTP(w.ctx(), p)
	ok(t, err)
	_, err = a.ConfirmTOTP(w.ctx(), p, secret, digits(t, secret, w.now))
	ok(t, err)
	w.now = w.now.Add(time.Minute)
	for i := range totpTries {
		_, err = a.SignInWithCode(w.ctx(), codes[i], "000 000")
		refused(t, err, ErrTOTP)
	}
	_, err = a.SignInWithCode(w.ctx(), codes[totpTries], digits(t, secret, w.now))
	refused(t, err, ErrThrottled)
	w.now = w.now.Add(5 * time.Minute)
	_, err = a.SignInWithCode(w.ctx(), codes[totpTries], digits(t, secret, w.now))
	ok(t, err)
}

func TestOIDC(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	_, err := a.OIDCSignIn(w.ctx(), nordtal, "anna@nordtal.test")
	refused(t, err, ErrOIDC)
	a.enrol(a.begin("Anna"), authenticator.New(rand.Reader), atNord)
	p, err := a.OIDCSignIn(w.ctx(), nordtal, "Anna@Nordtal.test")
	ok(t, err)
	if p.ID != string(w.people["Anna"]) || p.Way != access.ByOIDC {
		t.Errorf("%+v", p)
	}
	for _, claim := range []string{"", "anna", "nobody@nordtal.test", "an@nordtal.test", "bernd@nordtal.test", strings.Repeat("a", 300) + "@x"} {
		_, err = a.OIDCSignIn(w.ctx(), nordtal, claim)
		refused(t, err, ErrOIDC)
	}
	_, err = a.OIDCSignIn(w.ctx(), "lk-suedtal", "anna@nordtal.test")
	refused(t, err, ErrOIDC)
}

func TestOIDCByKeyAndSwitchedOff(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	a.sheet(a.begin("Anna"))
	a.cfg.ByKey = func(_ context.Context, _ event.AuthorityID, key string) (directory.PersonID, error) {
		if key != "100" {
			return "", ErrPersonUnknown
		}
		return w.people["Anna"], nil
	}
	p, err := a.OIDCSignIn(w.ctx(), nordtal, "100")
	if err != nil || p.ID != string(w.people["Anna"]) {
		t.Errorf("%+v, %v", p, err)
	}
	_, err = a.OIDCSignIn(w.ctx(), nordtal, "101")
	refused(t, err, ErrOIDC)
	a.cfg.ProviderOff = func(context.Context, event.AuthorityID) (bool, error) { return true, nil }
	_, err = a.OIDCSignIn(w.ctx(), nordtal, "100")
	refused(t, err, ErrProviderOff)
}

func TestRemindersFitTheState(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	p := a.begin("Anna")
	phone := authenticator.New(rand.Reader)
	a.enrol(p, phone, atNord)
	told, err := a.Remind(w.ctx(), console, nordtal, ids(w, "Anna"))
	if err != nil || told != 1 || !strings.Contains(w.told[0].text, "Mein Zugang") {
		t.Errorf("told %d, %v: %v", told, err, w.told)
	}
	a.enrol(p, phone, atSued)
	a.enrol(p, authenticator.New(rand.Reader), atSued)
	a.sheet(p)
	if told, err = a.Remind(w.ctx(), a.begin("Emil"), nordtal, ids(w, "Anna")); err != nil || told != 0 {
		t.Errorf("somebody who lacks nothing was reminded: %d, %v", told, err)
	}
	_, err = a.Remind(w.ctx(), console, "lk-suedtal", ids(w, "Anna"))
	refused(t, err, ErrPersonUnknown)
	a.cfg.Messenger = nil
	_, err = a.Remind(w.ctx(), console, nordtal, ids(w, "Anna"))
	refused(t, err, errNoMessenger)
}

// Administrators help with a lost phone; those of another authority find nobody.
func TestAdministratorsChangeAccounts(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	made := a.enrol(a.begin("Anna"), authenticator.New(rand.Reader), atNord)
	emil := a.begin("Emil")
	foreign := emil
	foreign.Authority = "lk-suedtal"
	_, err := a.RemovePasskey(w.ctx(), foreign, nordtal, w.people["Anna"], made.ID)
	refused(t, err, ErrPersonUnknown)
	_, err = a.RemoveTOTP(w.ctx(), emil, nordtal, "none")
	refused(t, err, ErrPersonUnknown)
	_, err = a.RemovePasskey(w.ctx(), emil, nordtal, w.people["Anna"], made.ID)
	ok(t, err)
	if got := a.account("Anna"); len(got.Passkeys) != 0 || got.State != StateNone {
		t.Errorf("account: %+v", got)
	}
}

func TestRunEnds(t *testing.T) {
	a := newWorld(t, 1).sites[0]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.Run(ctx)
}

// A thief with an open phone must not be able to stay.
func TestChangingWhatLetsOneInTakesAFreshSignIn(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	list, _, err := a.Invite(w.ctx(), console, nordtal, []directory.PersonID{w.people["Anna"]}, 0)
	ok(t, err)
	limited, err := a.UseInvitation(w.ctx(), list[0].Secret)
	ok(t, err)
	codes, _, err := a.IssueCodes(w.ctx(), limited)
	ok(t, err)
	in, err := a.SignInWithCode(w.ctx(), codes[0], "")
	ok(t, err)
	in.Begun = w.now
	w.now = w.now.Add(FreshFor)
	_, err = a.BeginPasskey(w.ctx(), in, atNord)
	ok(t, err)
	w.now = w.now.Add(time.Second)
	_, err = a.BeginPasskey(w.ctx(), in, atNord)
	refused(t, err, ErrStale)
	_, _, err = a.IssueCodes(w.ctx(), in)
	refused(t, err, ErrStale)
	_, _, err = a.BeginTOTP(w.ctx(), in)
	refused(t, err, ErrStale)
	_, err = a.RemoveTOTP(w.ctx(), in, nordtal, w.people["Anna"])
	refused(t, err, ErrStale)
	_, err = a.RemovePasskey(w.ctx(), in, nordtal, w.people["Anna"], "0123456789abcdef")
	refused(t, err, ErrStale)
}

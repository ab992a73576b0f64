// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/web"
)

// The principals of these tests.
var (
	landrat   = access.Principal{Kind: access.Person, Authority: nordtal, ID: "1111111111111111", Way: access.ByPasskey, Begun: now.Add(-time.Hour), Site: siteNord}
	mia       = access.Principal{Kind: access.Person, Authority: nordtal, ID: "2222222222222222", Way: access.ByCode, Begun: now.Add(-time.Hour), Site: siteNord}
	newcomer  = access.Principal{Kind: access.Person, Authority: nordtal, ID: "2222222222222222", Way: access.ByInvitation, Begun: now, Site: siteNord, Limited: true}
	seeheimer = access.Principal{Kind: access.Person, Authority: stadt, ID: "3333333333333333", Way: access.ByPasskey, Begun: now, Site: siteNord}
	visitor   = access.Principal{Kind: access.Visitor, Authority: nordtal, ID: "abcdabcdabcdabcd", Way: access.ByGuestCode, Begun: now, Site: siteNord, Incident: "alarm/" + string(alarmOpen)}
)

// fakeTokens are tokens that say who somebody is in the clear. After "everywhere" all are over.
type fakeTokens struct {
	mu    sync.Mutex
	ended map[string]bool
}

func (f *fakeTokens) Issue(_ context.Context, p access.Principal) (string, time.Time, error) {
	b, err := json.Marshal(p)
	return base64.RawURLEncoding.EncodeToString(b), now.Add(time.Hour), err
}

func (f *fakeTokens) Verify(_ context.Context, token string) (p access.Principal, due bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || json.Unmarshal(b, &p) != nil || f.ended[p.Actor()] {
		return access.Principal{}, false, web.ErrSignIn
	}
	if p.ID == "voided" {
		return access.Principal{}, false, identity.ErrVoid
	}
	return p, false, nil
}

func (f *fakeTokens) Renew(ctx context.Context, p access.Principal) (string, time.Time, error) {
	return f.Issue(ctx, p)
}

func (f *fakeTokens) End(_ context.Context, p access.Principal) (eventlog.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended[p.Actor()] = true
	return eventlog.Receipt{}, nil
}

func (f *fakeTokens) EndAll(ctx context.Context, by access.Principal, authority event.AuthorityID, kind access.PrincipalKind, id string) (eventlog.Receipt, error) {
	if by.Authority != authority || by.Kind != kind || by.ID != id {
		return eventlog.Receipt{}, fault.New(fault.Invalid, "session.principal", "that is not who asks", "")
	}
	return f.End(ctx, by)
}

// fakeAccess judges as the table of roles says: the Landrat raises alarms for his authority, everybody else is a member.
type fakeAccess struct{ providerOff bool }

func (f *fakeAccess) rights(p access.Principal) (may []access.Permission) {
	switch {
	case p.Kind == access.Console:
		return access.Permissions()
	case p.Limited:
		return []access.Permission{access.OwnAccount}
	case p.Kind == access.Visitor:
		return access.RolePermissions(access.GuestRole)
	}
	may = access.RolePermissions(access.MemberRole)
	if p.ID == landrat.ID {
		may = append(may, access.RolePermissions(access.AlarmOfficer)...)
	}
	return may
}

func (f *fakeAccess) Judge(_ context.Context, p access.Principal, authority event.AuthorityID, need access.Permission) (access.Verdict, error) {
	if p.Kind != access.Console && authority != "" && authority != p.Authority {
		return access.Verdict{}, access.ErrNoAuthority
	}
	if !slices.Contains(f.rights(p), need) {
		return access.Verdict{}, access.ErrForbidden
	}
	return f.verdict(p, need), nil
}

func (f *fakeAccess) verdict(p access.Principal, need access.Permission) (v access.Verdict) {
	if p.Kind == access.Person && !slices.Contains(access.RolePermissions(access.MemberRole), need) {
		v.Grant = "00112233445566ff"
	}
	return v
}

func (f *fakeAccess) Permitted(_ context.Context, p access.Principal, _ event.AuthorityID) (map[access.Permission]access.Verdict, error) {
	all := map[access.Permission]access.Verdict{}
	for _, need := range f.rights(p) {
		all[need] = f.verdict(p, need)
	}
	return all, nil
}

func (f *fakeAccess) Grants(context.Context, event.AuthorityID) ([]access.Grant, error) {
	return []access.Grant{
		{ID: "00112233445566ff", Role: access.AlarmOfficer, Person: directory.PersonID(landrat.ID), From: now.Add(-time.Hour)},
		{ID: "00112233445566ee", Role: access.Auditor, Person: directory.PersonID(landrat.ID), Until: now.Add(-time.Hour)},
	}, nil
}

func (f *fakeAccess) Policy(context.Context, event.AuthorityID) (access.Policy, error) {
	p := access.DefaultPolicy()
	p.ProviderOff = f.providerOff
	return p, nil
}

// fakeAudit keeps what is written into it.
type fakeAudit struct {
	mu                 sync.Mutex
	recorded, gathered []audit.Entry
}

func (f *fakeAudit) Record(_ context.Context, _ event.AuthorityID, e audit.Entry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recorded = append(f.recorded, e)
	return nil
}

func (f *fakeAudit) Gather(_ event.AuthorityID, e audit.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gathered = append(f.gathered, e)
}

// What lets in, in these tests.
const (
	goodInvitation = "InvitationSecretAAAAAAAA"
	goodLink       = "LinkSecretBBBBBBBBBBBBBB"
	goodToken2     = "HandOverTokenCCCCCCCCCCC"
	goodCode       = "7KQ2-M9XD-A1B2-C3D4-E5F6-G7H8"
	totpCode       = "8KQ2-M9XD-A1B2-C3D4-E5F6-G7H8"
	goodGuest      = "7KQ2M-9XDA1"
	ticket         = "ticket-of-the-one-who-waits"
	spoken         = "K7QX-2M9D"
	answerOK       = `{"id":"good"}`
)

// fakeWays is an identity service with one of everything.
type fakeWays struct {
	mu        sync.Mutex
	did       []string
	confirmed int
	account   identity.Account
	warnings  []identity.Warning
}

func newWays() *fakeWays {
	return &fakeWays{account: identity.Account{Person: people[1], State: identity.StateEnrolled, CodesLeft: 2, CodesIssued: now.Add(-48 * time.Hour),
		Passkeys: []identity.Passkey{{ID: "aaaaaaaaaaaaaaaa", Host: "holdfast.example", Label: "Diensthandy", Added: now.Add(-48 * time.Hour), Synced: true, Readable: true},
			{ID: "bbbbbbbbbbbbbbbb", Host: "alt.example", Added: now.Add(-96 * time.Hour), Void: true}},
		Missing: []string{"passkey:holdfast-zwei.example", "second passkey", "codes"}},
		warnings: []identity.Warning{{Person: "2222222222222222", What: "code_twice", Sites: []event.SiteID{siteNord, siteBox}, At: now.Add(-time.Hour)},
			{Person: "1111111111111111", What: "counter", At: now}}}
}

func (f *fakeWays) do(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, what)
}

func (f *fakeWays) Invited(_ context.Context, secret string) (identity.InvitationView, error) {
	if secret != goodInvitation {
		return identity.InvitationView{}, identity.ErrInvitation
	}
	return identity.InvitationView{Authority: nordtal, Person: people[1], Expires: now.Add(24 * time.Hour)}, nil
}

func (f *fakeWays) UseInvitation(_ context.Context, secret string) (access.Principal, error) {
	if secret != goodInvitation {
		return access.Principal{}, identity.ErrInvitation
	}
	f.do("invitation")
	return newcomer, nil
}

func (f *fakeWays) UseLink(_ context.Context, secret string) (access.Principal, error) {
	if secret != goodLink {
		return access.Principal{}, identity.ErrLink
	}
	return mia, nil
}

func (f *fakeWays) BeginPasskey(_ context.Context, p access.Principal, o identity.Origin) ([]byte, error) {
	f.do("begin " + p.ID + " " + o.Host + " " + o.URL)
	return []byte(`{"publicKey":{"challenge":"AAAA"}}`), nil
}

func (f *fakeWays) FinishPasskey(_ context.Context, p access.Principal, o identity.Origin, label string, answer []byte) (identity.Passkey, eventlog.Receipt, error) {
	if string(answer) != answerOK {
		return identity.Passkey{}, eventlog.Receipt{}, identity.ErrPasskeyNew
	}
	f.do("passkey " + label)
	return identity.Passkey{}, eventlog.Receipt{}, nil
}

func (f *fakeWays) RemovePasskey(_ context.Context, by access.Principal, a event.AuthorityID, person directory.PersonID, id string) (eventlog.Receipt, error) {
	f.do("remove " + by.ID + " " + string(person) + " " + id)
	return eventlog.Receipt{}, nil
}

func (f *fakeWays) BeginSignIn(_ context.Context, o identity.Origin) ([]byte, error) {
	return []byte(`{"publicKey":{"challenge":"AAAA","rpId":"` + o.Host + `"}}`), nil
}

func (f *fakeWays) FinishSignIn(_ context.Context, _ identity.Origin, answer []byte) (access.Principal, error) {
	if string(answer) != answerOK {
		return access.Principal{}, identity.ErrPasskey
	}
	return mia, nil
}

func (f *fakeWays) IssueCodes(_ context.Context, p access.Principal) ([]string, eventlog.Receipt, error) {
	f.do("codes " + p.ID)
	codes := make([]string, 10)
	for i := range codes {
		codes[i] = string("0123456789"[i]) + goodCode[1:]
	}
	return codes, eventlog.Receipt{}, nil
}

func (f *fakeWays) SignInWithCode(_ context.Context, code, totp string) (access.Principal, error) {
	switch {
	case code == totpCode && totp != "123456":
		return access.Principal{}, identity.ErrTOTP
	case code != goodCode && code != totpCode:
		return access.Principal{}, identity.ErrCode
	}
	return mia, nil
}

const totpSecret = "JBSWY3DPEHPK3PXP"

func (f *fakeWays) BeginTOTP(context.Context, access.Principal) (string, string, error) {
	return totpSecret, "otpauth://totp/Holdfast:mia?secret=" + totpSecret + "&issuer=Holdfast", nil
}

func (f *fakeWays) ConfirmTOTP(_ context.Context, _ access.Principal, secret, passcode string) (eventlog.Receipt, error) {
	if secret != totpSecret || passcode != "123456" {
		return eventlog.Receipt{}, identity.ErrTOTPSecret
	}
	f.do("totp")
	return eventlog.Receipt{}, nil
}

func (f *fakeWays) RemoveTOTP(context.Context, access.Principal, event.AuthorityID, directory.PersonID) (eventlog.Receipt, error) {
	f.do("no totp")
	return eventlog.Receipt{}, nil
}

func (f *fakeWays) HandOver(_ context.Context, _ access.Principal, name string) (string, error) {
	return goodToken2 + "-" + name, nil
}

func (f *fakeWays) TakeHandOver(_ context.Context, token string, o identity.Origin) (access.Principal, error) {
	if token != goodToken2+"-"+o.Host {
		return access.Principal{}, identity.ErrHandOver
	}
	return newcomer, nil
}

func (f *fakeWays) AskVouching(context.Context) (string, string, error) { return ticket, spoken, nil }

func (f *fakeWays) Vouch(_ context.Context, by access.Principal, said string, person directory.PersonID) (eventlog.Receipt, error) {
	if said != spoken {
		return eventlog.Receipt{}, identity.ErrSpoken
	}
	if by.ID == string(person) {
		return eventlog.Receipt{}, identity.ErrSelf
	}
	f.do("vouch " + by.ID + " for " + string(person))
	return eventlog.Receipt{}, nil
}

func (f *fakeWays) VouchState(_ context.Context, got string) (identity.VouchState, error) {
	if got != ticket {
		return identity.VouchState{}, identity.ErrVouching
	}
	return identity.VouchState{Confirmed: f.confirmed, Expires: now.Add(8 * time.Minute), Spoken: spoken}, nil
}

func (f *fakeWays) TakeVouching(_ context.Context, got string) (access.Principal, error) {
	if got != ticket || f.confirmed < 2 {
		return access.Principal{}, identity.ErrVouching
	}
	return mia, nil
}

func (f *fakeWays) OIDCSignIn(_ context.Context, a event.AuthorityID, claim string) (access.Principal, error) {
	if a != nordtal || claim != "m.mueller@nordtal.example" {
		return access.Principal{}, identity.ErrOIDC
	}
	return mia, nil
}

func (f *fakeWays) Account(_ context.Context, _ event.AuthorityID, id directory.PersonID) (identity.Account, error) {
	return f.account, nil
}

func (f *fakeWays) Warnings(context.Context, event.AuthorityID) ([]identity.Warning, error) {
	return f.warnings, nil
}

type fakeGuests struct{}

func (fakeGuests) Enter(_ context.Context, code string) (access.Principal, error) {
	if code != goodGuest {
		return access.Principal{}, guest.ErrCode
	}
	return visitor, nil
}

type fakePrograms struct{ did []string }

const goodPassword = "hf1_0011223344556677_AAAABBBBCCCCDDDD"

func (f *fakePrograms) Make(_ context.Context, by access.Principal, a event.AuthorityID, d program.Draft) (program.Program, string, eventlog.Receipt, error) {
	f.did = append(f.did, "make "+d.Name+" "+string(d.Kind)+" for "+string(d.Owner))
	return program.Program{ID: "0011223344556677", Name: d.Name, Kind: d.Kind, Owner: d.Owner, Expires: d.Expires}, goodPassword, eventlog.Receipt{}, nil
}

func (f *fakePrograms) Owned(_ context.Context, _ event.AuthorityID, owner directory.PersonID) ([]program.Program, error) {
	if owner != "2222222222222222" {
		return nil, nil
	}
	return []program.Program{{ID: "0011223344556677", Name: "Telefon Müller", Kind: program.CardDAV, Owner: owner, MadeAt: now.Add(-time.Hour),
		Expires: now.Add(365 * 24 * time.Hour), State: program.Alive}, {ID: "0011223344556688", Name: "weg", State: program.Gone}}, nil
}

func (f *fakePrograms) Withdraw(_ context.Context, _ access.Principal, _ event.AuthorityID, id program.ID) (eventlog.Receipt, error) {
	f.did = append(f.did, "withdraw "+string(id))
	return eventlog.Receipt{}, nil
}

// fakeProvider lets in whoever brings its code with what it was sent.
type fakeProvider struct{ state, nonce, verifier, redirect string }

func (f *fakeProvider) AuthURL(_ context.Context, state, nonce, verifier, redirect string) (string, error) {
	f.state, f.nonce, f.verifier, f.redirect = state, nonce, verifier, redirect
	return "https://login.nordtal.example/auth?state=" + state, nil
}

func (f *fakeProvider) Exchange(_ context.Context, code, nonce, verifier, redirect string) (string, error) {
	if code != "good" || nonce != f.nonce || verifier != f.verifier || redirect != f.redirect {
		return "", fault.New(fault.Unauthenticated, "oidc.refused", "the identity provider vouches for nobody", "use a passkey")
	}
	return "m.mueller@nordtal.example", nil
}

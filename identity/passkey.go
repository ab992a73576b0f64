// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// credential is what is kept of a passkey, sealed. Its JSON is a stored form: fields are only added.
type credential struct {
	ID         []byte   `json:"id"`
	PublicKey  []byte   `json:"publicKey"` // COSE
	AAGUID     []byte   `json:"aaguid,omitempty"`
	Counter    uint32   `json:"counter,omitempty"`
	Transports []string `json:"transports,omitempty"`
	// Synced is the flag "backup eligible" (WebAuthn 3, 6.1.3), which never changes.
	Synced bool   `json:"synced,omitempty"`
	Label  string `json:"label,omitempty"`
}

func credentialContext(person directory.PersonID, id string) string {
	return "identity/account/" + string(person) + "/passkey/" + id
}

// passkeyID names a credential by a hash: its own id would tell which device it is.
func passkeyID(raw []byte) string {
	sum := sha256.Sum256(raw)
	return fmt.Sprintf("%x", sum[:8])
}

// handleOf returns the WebAuthn user handle: at most 64 bytes, no personal data (WebAuthn 3, 14.6.1).
func handleOf(authority event.AuthorityID, person directory.PersonID) string {
	return string(authority) + "/" + string(person)
}

func readHandle(handle []byte) (event.AuthorityID, directory.PersonID, bool) {
	if len(handle) > 64 {
		return "", "", false
	}
	a, p, _ := strings.Cut(string(handle), "/")
	return event.AuthorityID(a), directory.PersonID(p), event.AuthorityID(a).Valid() && directory.PersonID(p).Valid()
}

// user is an account as the library wants to see it.
type user struct {
	handle, name string
	credentials  []webauthn.Credential
}

// WebAuthnID returns the user handle.
func (u user) WebAuthnID() []byte { return []byte(u.handle) }

// WebAuthnName returns the name that the device shows.
func (u user) WebAuthnName() string { return u.name }

// WebAuthnDisplayName returns the name that the device shows.
func (u user) WebAuthnDisplayName() string { return u.name }

// WebAuthnCredentials returns the passkeys that are accepted.
func (u user) WebAuthnCredentials() []webauthn.Credential { return u.credentials }

func (c credential) forLibrary() webauthn.Credential {
	out := webauthn.Credential{ID: c.ID, PublicKey: c.PublicKey, Authenticator: webauthn.Authenticator{AAGUID: c.AAGUID, SignCount: c.Counter}}
	out.Flags.UserPresent, out.Flags.UserVerified, out.Flags.BackupEligible = true, true, c.Synced
	for _, t := range c.Transports {
		out.Transport = append(out.Transport, protocol.AuthenticatorTransport(t))
	}
	return out
}

// party returns the library's relying party for one address.
func party(o Origin) (*webauthn.WebAuthn, error) {
	w, err := webauthn.New(&webauthn.Config{
		RPID: o.Host, RPDisplayName: "Holdfast", RPOrigins: []string{o.URL},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			RequireResidentKey: protocol.ResidentKeyRequired(), ResidentKey: protocol.ResidentKeyRequirementRequired,
			UserVerification: protocol.VerificationRequired,
		},
		// Password managers answer to extensions that nobody asked for.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, ErrName.With(err)
	}
	return w, nil
}

// checkOrigin refuses addresses that are not among the names, and URLs of another host.
func checkOrigin(o Origin, names []string) error {
	u, err := url.Parse(o.URL)
	if err != nil || u.Hostname() != o.Host || !slices.Contains(names, o.Host) {
		return ErrName
	}
	return nil
}

// allNames returns the names of all authorities that this site serves.
func (s *Service) allNames() (names []string) {
	for _, a := range s.cfg.Federation.Held() {
		names = append(names, s.cfg.Names(a)...)
	}
	return names
}

// BeginPasskey begins to enrol a passkey for the principal's own account under the name in o, and returns the options for
// navigator.credentials.create as JSON. Nothing is stored. It returns ErrNotYours, ErrName, ErrTooManyPasskeys, and
// Standing's errors.
func (s *Service) BeginPasskey(ctx context.Context, p access.Principal, o Origin) (options []byte, err error) {
	u, st, err := s.enrolling(ctx, p, o)
	if err != nil {
		return nil, err
	}
	rp, err := party(o)
	if err != nil {
		return nil, err
	}
	var exclude []protocol.CredentialDescriptor
	for _, c := range s.openAll(ctx, p.Authority, directory.PersonID(p.ID), st, o.Host) {
		known := c.forLibrary()
		exclude = append(exclude, known.Descriptor())
	}
	creation, _, err := rp.BeginRegistration(u, webauthn.WithExclusions(exclude))
	if err != nil {
		return nil, fmt.Errorf("begin a passkey: %w", err)
	}
	creation.Response.Challenge, err = s.challenge(kindEnrol, enrolContext(o.Host, u.handle))
	if err != nil {
		return nil, err
	}
	return json.Marshal(creation)
}

func (s *Service) challenge(kind byte, context string) ([]byte, error) {
	nonce, err := s.draw(nonceLen)
	if err != nil {
		return nil, err
	}
	return signStamp(s.cfg.Identity, purposePasskey, kind, nonce, s.cfg.Now(), context), nil
}

// enrolling checks who may enrol where, and returns the account.
func (s *Service) enrolling(ctx context.Context, p access.Principal, o Origin) (user, state, error) {
	person, err := s.changing(ctx, p)
	if err != nil {
		return user{}, state{}, err
	}
	if err := checkOrigin(o, s.cfg.Names(p.Authority)); err != nil {
		return user{}, state{}, err
	}
	who, err := s.person(ctx, p.Authority, person)
	if err != nil {
		return user{}, state{}, err
	}
	st, err := s.state(ctx, p.Authority, person)
	if err != nil {
		return user{}, state{}, fmt.Errorf("read an account: %w", err)
	}
	if len(st.live(st.void())) >= MaxPasskeys {
		return user{}, state{}, ErrTooManyPasskeys
	}
	return user{handle: handleOf(p.Authority, person), name: shownName(who)}, st, nil
}

// shownName is what the person's own device shows for the passkey.
func shownName(p directory.Person) string {
	if p.DisplayName != "" {
		return p.DisplayName
	}
	return "Holdfast " + string(p.ID[:4])
}

// openAll returns those accepted credentials under a host that this site can read.
func (s *Service) openAll(ctx context.Context, authority event.AuthorityID, person directory.PersonID, st state, host string) (list []credential) {
	for _, p := range st.good(st.void()) {
		if c, err := s.open(ctx, authority, person, p); err == nil && p.Host == host {
			list = append(list, c)
		}
	}
	return list
}

// open reads a sealed credential. It returns the keyring's errors: erased, missing.
func (s *Service) open(ctx context.Context, authority event.AuthorityID, person directory.PersonID, p passkey) (c credential, err error) {
	key, err := s.cfg.Keys.Key(ctx, authority, p.Key)
	if err != nil {
		return c, err
	}
	plain, err := key.Open(credentialContext(person, p.ID), p.Sealed)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(plain, &c)
}

// FinishPasskey takes the browser's answer to BeginPasskey, whichever member site began, and enrols the passkey. label is
// what the person calls the device. It returns ErrPasskeyNew for an answer that is not accepted, ErrPasskeyTwice, ErrLabel,
// BeginPasskey's errors, and those of keyring and log.
func (s *Service) FinishPasskey(ctx context.Context, p access.Principal, o Origin, label string, answer []byte) (Passkey, eventlog.Receipt, error) {
	label, err := cleanLabel(label)
	if err != nil {
		return Passkey{}, eventlog.Receipt{}, err
	}
	u, st, err := s.enrolling(ctx, p, o)
	if err != nil {
		return Passkey{}, eventlog.Receipt{}, err
	}
	made, err := s.created(ctx, p, o, u, answer)
	if err != nil {
		return Passkey{}, eventlog.Receipt{}, err
	}
	made.Label = label
	id := passkeyID(made.ID)
	if slices.ContainsFunc(st.Passkeys, func(x passkey) bool { return x.ID == id }) {
		return Passkey{}, eventlog.Receipt{}, ErrPasskeyTwice
	}
	return s.keepPasskey(ctx, p, o.Host, id, made, st)
}

// created judges a browser's answer to a challenge for a new passkey.
func (s *Service) created(ctx context.Context, p access.Principal, o Origin, u user, answer []byte) (credential, error) {
	parsed, err := parseCreation(answer)
	if err != nil {
		return credential{}, ErrPasskeyNew.With(err)
	}
	typed := parsed.Response.CollectedClientData.Challenge
	c, ok := s.believe(typed, kindEnrol, enrolContext(o.Host, u.handle))
	if !ok || !s.cfg.Federation.Allowed(c.site, p.Authority) {
		return credential{}, ErrPasskeyNew.Because("the challenge is not ours or too old")
	}
	rp, err := party(o)
	if err != nil {
		return credential{}, err
	}
	made, err := rp.CreateCredential(u, webauthn.SessionData{
		Challenge: typed, RelyingPartyID: o.Host, UserID: u.WebAuthnID(), UserVerification: protocol.VerificationRequired,
		CredParams: webauthn.CredentialParametersDefault(),
	}, parsed)
	if err != nil {
		return credential{}, ErrPasskeyNew.With(err)
	}
	if err := s.once(ctx, c.nonce(), c.at.Add(ChallengeLife), ErrPasskeyNew); err != nil {
		return credential{}, err
	}
	out := credential{ID: made.ID, PublicKey: made.PublicKey, AAGUID: made.Authenticator.AAGUID, Counter: made.Authenticator.SignCount, Synced: made.Flags.BackupEligible}
	for _, t := range made.Transport[:min(len(made.Transport), 8)] {
		out.Transports = append(out.Transports, string(t))
	}
	return out, nil
}

// believe reads a challenge from client data and checks that a member site made it for the context.
func (s *Service) believe(typed string, kind byte, context string) (stamped, bool) {
	raw, ok := decode(typed, stampLen)
	if !ok {
		return stamped{}, false
	}
	c, ok := readStamp(raw)
	ok = ok && s.cfg.Federation.Member(c.site) && c.genuine(purposePasskey, kind, context, s.cfg.Now(), ChallengeLife)
	return c, ok
}

// parseCreation and parseAssertion bound what the library gets to see.
func parseCreation(answer []byte) (*protocol.ParsedCredentialCreationData, error) {
	if len(answer) > MaxAnswer {
		return nil, fmt.Errorf("the answer has %d bytes", len(answer))
	}
	return protocol.ParseCredentialCreationResponseBytes(answer)
}

func parseAssertion(answer []byte) (*protocol.ParsedCredentialAssertionData, error) {
	if len(answer) > MaxAnswer {
		return nil, fmt.Errorf("the answer has %d bytes", len(answer))
	}
	return protocol.ParseCredentialRequestResponseBytes(answer)
}

func cleanLabel(label string) (string, error) {
	label = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(label, "")))
	if utf8.RuneCountInString(label) > MaxLabel {
		return "", ErrLabel.At(0, "label")
	}
	return label, nil
}

func (s *Service) keepPasskey(ctx context.Context, p access.Principal, host, id string, c credential, st state) (Passkey, eventlog.Receipt, error) {
	person := directory.PersonID(p.ID)
	key, err := s.accountKey(ctx, p.Authority, st)
	if err != nil {
		return Passkey{}, eventlog.Receipt{}, err
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return Passkey{}, eventlog.Receipt{}, err
	}
	sealed, err := key.Secret.Seal(s.random, credentialContext(person, id), plain)
	if err != nil {
		return Passkey{}, eventlog.Receipt{}, err
	}
	if len(sealed) > maxSealed {
		return Passkey{}, eventlog.Receipt{}, ErrPasskeyNew.Because("it is too large")
	}
	r, err := s.appendFact(ctx, p.Authority, person, p.Actor(), KindPasskeyAdded,
		PasskeyAdded{ID: id, Host: host, Key: key.ID, Sealed: sealed, Session: p.Session}, key.ID)
	if err != nil {
		return Passkey{}, r, err
	}
	return Passkey{ID: id, Host: host, Label: c.Label, Added: r.Events[0].Time(), Site: s.cfg.Self, Synced: c.Synced, Readable: true}, r, nil
}

// RemovePasskey ends a passkey: the person's own, or somebody else's if the caller has checked that by may. Sessions that
// began with it go on: whoever has lost a phone ends them as well, see session.Service.EndAll. It returns ErrPasskeyUnknown,
// ErrNotYours for a principal that may only enrol and somebody else's passkey, access.ErrOwnKey, and the log's errors.
func (s *Service) RemovePasskey(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID, id string) (eventlog.Receipt, error) {
	if err := s.mayChange(ctx, by, authority, person); err != nil {
		return eventlog.Receipt{}, err
	}
	st, err := s.state(ctx, authority, person)
	if err != nil {
		return eventlog.Receipt{}, fmt.Errorf("read an account: %w", err)
	}
	if !slices.ContainsFunc(st.live(st.void()), func(p passkey) bool { return p.ID == id }) {
		return eventlog.Receipt{}, ErrPasskeyUnknown
	}
	return s.appendFact(ctx, authority, person, by.Actor(), KindPasskeyRemoved, PasskeyRemoved{ID: id, Session: by.Session})
}

// mayChange refuses what no grant allows: changing accounts of another authority, or of others while one may only enrol.
func (s *Service) mayChange(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID) error {
	switch {
	case !person.Valid() || !s.held(authority):
		return ErrPersonUnknown
	case by.Kind == access.Console:
		return nil
	case by.Authority != authority:
		return ErrPersonUnknown
	case by.Limited && by.ID != string(person):
		return ErrNotYours
	case by.Borrowed():
		return access.ErrOwnKey
	case by.ID != string(person):
		return s.mayManage(ctx, by, authority, person)
	}
	if err := s.Standing(ctx, by); err != nil {
		return err
	}
	return s.fresh(by)
}

// BeginSignIn returns the options for navigator.credentials.get as JSON: the device offers what passkeys it has for the
// name. Nothing is stored. It returns ErrName under an address that is none of the names.
func (s *Service) BeginSignIn(_ context.Context, o Origin) (options []byte, err error) {
	if err := checkOrigin(o, s.allNames()); err != nil {
		return nil, err
	}
	rp, err := party(o)
	if err != nil {
		return nil, err
	}
	challenge, err := s.challenge(kindSignIn, o.Host)
	if err != nil {
		return nil, err
	}
	assertion, _, err := rp.BeginDiscoverableLogin(webauthn.WithChallenge(challenge))
	if err != nil {
		return nil, fmt.Errorf("begin a sign-in: %w", err)
	}
	return json.Marshal(assertion)
}

// signing is one sign-in by passkey under way.
type signing struct {
	owner   // id is the passkey's
	state   state
	cred    credential
	counter uint32
}

// FinishSignIn lets in who answers with a passkey, whichever member site began. It returns ErrPasskey for everything that is
// wrong, and ErrName.
func (s *Service) FinishSignIn(ctx context.Context, o Origin, answer []byte) (access.Principal, error) {
	if err := checkOrigin(o, s.allNames()); err != nil {
		return access.Principal{}, err
	}
	parsed, err := parseAssertion(answer)
	if err != nil {
		return access.Principal{}, ErrPasskey.With(err)
	}
	in, err := s.asserted(ctx, o, parsed)
	if err != nil {
		return access.Principal{}, err
	}
	tail, err := s.drawHex(16)
	if err != nil {
		return access.Principal{}, err
	}
	session := in.id + tail
	s.count(ctx, in, session)
	s.signedIn(ctx, in.authority, in.person, in.state, SignedIn{Way: access.ByPasskey, Passkey: in.id, Counter: in.counter})
	return principal(in.authority, in.person, access.ByPasskey, session), nil
}

// asserted judges a browser's answer to a challenge.
func (s *Service) asserted(ctx context.Context, o Origin, parsed *protocol.ParsedCredentialAssertionData) (in signing, err error) {
	typed := parsed.Response.CollectedClientData.Challenge
	c, ok := s.believe(typed, kindSignIn, o.Host)
	if !ok {
		return in, ErrPasskey.Because("the challenge is not ours or too old")
	}
	rp, err := party(o)
	if err != nil {
		return in, err
	}
	find := func(rawID, handle []byte) (webauthn.User, error) {
		in, err = s.signing(ctx, o.Host, c.site, rawID, handle)
		return user{handle: string(handle), name: "-", credentials: []webauthn.Credential{in.cred.forLibrary()}}, err
	}
	_, err = rp.ValidateDiscoverableLogin(find, webauthn.SessionData{Challenge: typed, RelyingPartyID: o.Host, UserVerification: protocol.VerificationRequired}, parsed)
	if err != nil {
		return in, ErrPasskey.With(err)
	}
	in.counter = parsed.Response.AuthenticatorData.Counter
	return in, s.once(ctx, c.nonce(), c.at.Add(ChallengeLife), ErrPasskey)
}

// signing finds whose passkey it is. All its errors are one to the outside.
func (s *Service) signing(ctx context.Context, host string, site event.SiteID, rawID, handle []byte) (in signing, err error) {
	authority, person, ok := readHandle(handle)
	if !ok || !s.cfg.Federation.Allowed(site, authority) {
		return in, ErrPasskey
	}
	in.owner = owner{authority: authority, person: person, id: passkeyID(rawID)}
	if _, err := s.person(ctx, authority, person); err != nil {
		return in, err
	}
	if in.state, err = s.state(ctx, authority, person); err != nil {
		return in, err
	}
	p, ok := in.state.find(in.id, host)
	if !ok {
		return in, ErrPasskey
	}
	in.cred, err = s.open(ctx, authority, person, p)
	return in, err
}

// count compares the signature counter with the highest known one, and tells if it is not higher. It never refuses
// anybody: synchronised passkeys do not count, and a site that was cut off has not seen what was counted elsewhere.
func (s *Service) count(ctx context.Context, in signing, session string) {
	key := string(in.authority) + "/" + in.id
	known := max(in.cred.Counter, in.state.Counters[in.id])
	if b, err := s.cfg.Local.Get(ctx, bucketCounter, key); err == nil && len(b) == 4 {
		known = max(known, binary.BigEndian.Uint32(b))
	}
	switch {
	case in.counter > known:
		if err := s.cfg.Local.Put(ctx, bucketCounter, key, binary.BigEndian.AppendUint32(nil, in.counter), s.cfg.Now().Add(2*DormantAfter)); err != nil {
			s.cfg.Logger.Warn("a signature counter could not be kept", "err", err)
		}
	case known > 0 && !in.state.fellToday(in.id, s.cfg.Now()):
		f := CounterFell{Passkey: in.id, Session: session, Was: known, Is: in.counter}
		if _, err := s.appendFact(ctx, in.authority, in.person, actorOf(in.person), KindCounterFell, f); err != nil {
			s.cfg.Logger.Warn("a signature counter that fell could not be told", "authority", in.authority, "err", err)
		}
	}
}

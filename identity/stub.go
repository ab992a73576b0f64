// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/readmodel"
)

var errNotYet = fault.New(fault.Internal, "identity.not_yet", "not yet", "")

// Fold returns identity's part of the read model.
func Fold() readmodel.Fold {
	return readmodel.Typed[struct{}]{Label: "identity", OwnedRoots: []string{"account"}}
}

// Invite invites.
func (s *Service) Invite(ctx context.Context, by access.Principal, authority event.AuthorityID, persons []directory.PersonID, life time.Duration) ([]Invitation, eventlog.Receipt, error) {
	return nil, eventlog.Receipt{}, errNotYet
}

// Invited shows.
func (s *Service) Invited(ctx context.Context, secret string) (InvitationView, error) {
	return InvitationView{}, errNotYet
}

// UseInvitation uses.
func (s *Service) UseInvitation(ctx context.Context, secret string) (access.Principal, error) {
	return access.Principal{}, errNotYet
}

// SendInvitations sends.
func (s *Service) SendInvitations(ctx context.Context, by access.Principal, authority event.AuthorityID, list []Invitation, baseURL string) (sent int, err error) {
	return 0, errNotYet
}

// Link makes.
func (s *Service) Link(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID, life time.Duration) (secret string, expires time.Time, err error) {
	return "", time.Time{}, errNotYet
}

// UseLink uses.
func (s *Service) UseLink(ctx context.Context, secret string) (access.Principal, error) {
	return access.Principal{}, errNotYet
}

// BeginPasskey begins.
func (s *Service) BeginPasskey(ctx context.Context, p access.Principal, o Origin) (options []byte, err error) {
	return nil, errNotYet
}

// FinishPasskey finishes.
func (s *Service) FinishPasskey(ctx context.Context, p access.Principal, o Origin, label string, answer []byte) (Passkey, eventlog.Receipt, error) {
	return Passkey{}, eventlog.Receipt{}, errNotYet
}

// RemovePasskey removes.
func (s *Service) RemovePasskey(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID, id string) (eventlog.Receipt, error) {
	return eventlog.Receipt{}, errNotYet
}

// BeginSignIn begins.
func (s *Service) BeginSignIn(ctx context.Context, o Origin) (options []byte, err error) {
	return nil, errNotYet
}

// FinishSignIn finishes.
func (s *Service) FinishSignIn(ctx context.Context, o Origin, answer []byte) (access.Principal, error) {
	return access.Principal{}, errNotYet
}

// IssueCodes issues.
func (s *Service) IssueCodes(ctx context.Context, p access.Principal) (codes []string, r eventlog.Receipt, err error) {
	return nil, eventlog.Receipt{}, errNotYet
}

// SignInWithCode signs in.
func (s *Service) SignInWithCode(ctx context.Context, code, totp string) (access.Principal, error) {
	return access.Principal{}, errNotYet
}

// BeginTOTP begins.
func (s *Service) BeginTOTP(ctx context.Context, p access.Principal) (secret, uri string, err error) {
	return "", "", errNotYet
}

// ConfirmTOTP confirms.
func (s *Service) ConfirmTOTP(ctx context.Context, p access.Principal, secret, passcode string) (eventlog.Receipt, error) {
	return eventlog.Receipt{}, errNotYet
}

// RemoveTOTP removes.
func (s *Service) RemoveTOTP(ctx context.Context, by access.Principal, authority event.AuthorityID, person directory.PersonID) (eventlog.Receipt, error) {
	return eventlog.Receipt{}, errNotYet
}

// HandOver hands over.
func (s *Service) HandOver(ctx context.Context, p access.Principal, name string) (token string, err error) {
	return "", errNotYet
}

// TakeHandOver takes.
func (s *Service) TakeHandOver(ctx context.Context, token string, o Origin) (access.Principal, error) {
	return access.Principal{}, errNotYet
}

// AskVouching asks.
func (s *Service) AskVouching(ctx context.Context) (ticket, spoken string, err error) {
	return "", "", errNotYet
}

// Vouch vouches.
func (s *Service) Vouch(ctx context.Context, by access.Principal, spoken string, person directory.PersonID) (eventlog.Receipt, error) {
	return eventlog.Receipt{}, errNotYet
}

// VouchState tells.
func (s *Service) VouchState(ctx context.Context, ticket string) (VouchState, error) {
	return VouchState{}, errNotYet
}

// TakeVouching takes.
func (s *Service) TakeVouching(ctx context.Context, ticket string) (access.Principal, error) {
	return access.Principal{}, errNotYet
}

// OIDCSignIn maps.
func (s *Service) OIDCSignIn(ctx context.Context, authority event.AuthorityID, claim string) (access.Principal, error) {
	return access.Principal{}, errNotYet
}

// Account shows.
func (s *Service) Account(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (Account, error) {
	return Account{}, errNotYet
}

// Accounts lists.
func (s *Service) Accounts(ctx context.Context, authority event.AuthorityID, f Filter) ([]AccountLine, Counts, error) {
	return nil, Counts{}, errNotYet
}

// Remind reminds.
func (s *Service) Remind(ctx context.Context, by access.Principal, authority event.AuthorityID, persons []directory.PersonID) (told int, err error) {
	return 0, errNotYet
}

// Standing judges.
func (s *Service) Standing(ctx context.Context, p access.Principal) error { return errNotYet }

// Warnings lists.
func (s *Service) Warnings(ctx context.Context, authority event.AuthorityID) ([]Warning, error) {
	return nil, errNotYet
}

// KeysOf lists keys.
func (s *Service) KeysOf(ctx context.Context, authority event.AuthorityID, person directory.PersonID) ([]event.KeyID, error) {
	return nil, errNotYet
}

// Step does a bounded amount of work.
func (s *Service) Step(ctx context.Context) error { return errNotYet }

// Run steps until ctx ends.
func (s *Service) Run(ctx context.Context) {}

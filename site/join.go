// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/seal"
)

// VerbJoin is the one verb that a site may use which is no member.
const VerbJoin = "join"

// How long invitations are good for, and how long an expired one is still recognized.
const (
	DefaultTTL = 24 * time.Hour
	MaxTTL     = 30 * 24 * time.Hour
	remembered = 90 * 24 * time.Hour
)

// maxSkew is how far the clocks of two sites may differ when one joins.
const maxSkew = 5 * time.Minute

// invitation is what the inviter keeps of a token, in its local store.
type invitation struct {
	Secret   [32]byte `json:"secret"` // its SHA-256
	Operator string   `json:"operator"`
	Expires  int64    `json:"expires"`
	// Used is the site that joined with it.
	Used event.SiteID `json:"used,omitempty"`
}

// Invite returns the text of an invitation for one site of the named operator, good for ttl (0: one day, at most 30).
// It returns ErrNotMember, ErrProfile for unusable names, or a fault of kind Invalid for a ttl out of bounds.
func (s *Service) Invite(ctx context.Context, name, operator string, ttl time.Duration) (string, error) {
	self, ok := s.Federation.MemberOf(s.Identity.Site())
	if !ok {
		return "", ErrNotMember
	}
	if ttl == 0 {
		ttl = DefaultTTL
	}
	if ttl < time.Minute || ttl > MaxTTL {
		return "", fault.New(fault.Invalid, "join.ttl", "an invitation is good for one minute to 30 days", "choose a time between").At(0, "ttl")
	}
	var random [8 + 32]byte
	if _, err := io.ReadFull(s.Rand, random[:]); err != nil {
		return "", fmt.Errorf("draw an invitation: %w", err)
	}
	expires := s.Now().Add(ttl)
	t := Token{
		Federation: s.Federation.Founder(), Inviter: self.Site, Addresses: self.Addresses,
		Invitation: hex.EncodeToString(random[:8]), Secret: random[8:], Name: name, Operator: operator, Expires: expires.Unix(),
	}
	if !t.wellFormed() {
		return "", ErrProfile.Because("name and operator are each 1 to %d bytes on one line", maxText)
	}
	kept := invitation{Secret: sha256.Sum256(t.Secret), Operator: operator, Expires: t.Expires}
	if err := s.keepInvitation(ctx, t.Invitation, kept); err != nil {
		return "", err
	}
	return t.Sign(s.Identity)
}

func (s *Service) keepInvitation(ctx context.Context, id string, i invitation) error {
	return s.Local.Put(ctx, bucketInvitation, id, []byte(mustJSON(i)), time.Unix(i.Expires, 0).Add(remembered))
}

// JoinRequest is what a joining site asks the inviter, over a link that has proven the joining site's key.
type JoinRequest struct {
	Inviter    event.SiteID `json:"inviter"`
	Invitation string       `json:"invitation"`
	Secret     []byte       `json:"secret"`
	Profile    Profile      `json:"profile"`
	// Consent is the joining site's signature that it wants this.
	Consent []byte `json:"consent"`
	// Now is the joining site's clock, in milliseconds since 1970.
	Now int64 `json:"now"`
}

// JoinAnswer is what the inviter answers.
type JoinAnswer struct {
	Federation event.SiteID `json:"federation"`
	Inviter    event.SiteID `json:"inviter"`
	// Now is the inviter's clock, in milliseconds since 1970.
	Now int64 `json:"now"`
	// Pending is true while endorsements are missing; Members is then empty. The same request may be repeated.
	Pending bool `json:"pending"`
	// Endorsed and Needed say, while pending, which operators are for it and how many it takes.
	Endorsed []string `json:"endorsed,omitempty"`
	Needed   int      `json:"needed,omitempty"`
	Members  []Member `json:"members,omitempty"`
}

// ServeJoin is AcceptJoin for the bytes of a link.
func (s *Service) ServeJoin(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
	var req JoinRequest
	if len(body) > 4*maxTokenBytes || json.Unmarshal(body, &req) != nil {
		return nil, ErrTokenMalformed.Because("the request to join cannot be read")
	}
	a, err := s.AcceptJoin(ctx, peer, req)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

// AcceptJoin answers a site that comes with an invitation: it proposes the site, once, and says whether that sufficed.
// Repeating the request, after a lost answer or while pending, is harmless. It returns ErrElsewhere, ErrTokenSignature,
// ErrTokenUsed, ErrTokenExpired, ErrClock, ErrConsent, ErrSealKey, ErrProfile, ErrRemovedSite or ErrNotMember.
func (s *Service) AcceptJoin(ctx context.Context, peer event.SiteID, req JoinRequest) (JoinAnswer, error) {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	if !s.Federation.Member(s.Identity.Site()) {
		return JoinAnswer{}, ErrNotMember
	}
	i, err := s.checkInvitation(ctx, peer, req)
	if err != nil {
		return JoinAnswer{}, err
	}
	p := Proposed{Profile: req.Profile, Invitation: req.Invitation, Consent: req.Consent, Federation: s.Federation.Founder()}
	p.Operator = i.Operator // who runs it is said by the inviter, not by the joining site
	if p.Site != peer {
		return JoinAnswer{}, ErrConsent
	}
	if err := p.check(); err != nil {
		return JoinAnswer{}, err
	}
	i.Used = peer
	if err := s.keepInvitation(ctx, req.Invitation, i); err != nil {
		return JoinAnswer{}, err
	}
	if err := s.propose(ctx, p); err != nil {
		return JoinAnswer{}, err
	}
	return s.joinAnswer(peer), nil
}

// checkInvitation returns the invitation if the request is entitled to it.
func (s *Service) checkInvitation(ctx context.Context, peer event.SiteID, req JoinRequest) (invitation, error) {
	var i invitation
	if req.Inviter != s.Identity.Site() {
		return i, ErrElsewhere
	}
	b, err := s.Local.Get(ctx, bucketInvitation, req.Invitation)
	if errors.Is(err, localstore.ErrNotFound) {
		return i, ErrTokenExpired.Because("this site no longer knows it")
	}
	if err != nil {
		return i, err
	}
	if err := json.Unmarshal(b, &i); err != nil {
		return i, fmt.Errorf("read an invitation: %w", err)
	}
	if hash := sha256.Sum256(req.Secret); subtle.ConstantTimeCompare(hash[:], i.Secret[:]) != 1 {
		return i, ErrTokenSignature
	}
	if i.Used != "" {
		if i.Used != peer {
			return i, ErrTokenUsed
		}
		return i, nil // it has joined before; the date and the clocks were judged then
	}
	now := s.Now()
	if now.Unix() >= i.Expires {
		return i, ErrTokenExpired.Because("at %s, by the inviting site's clock", time.Unix(i.Expires, 0).UTC().Format(time.RFC3339))
	}
	return i, compareClocks(time.UnixMilli(req.Now), now)
}

// compareClocks returns ErrClock with both readings if they differ too much.
func compareClocks(joiner, inviter time.Time) error {
	ahead := joiner.Sub(inviter)
	if ahead.Abs() <= maxSkew {
		return nil
	}
	word := "ahead of"
	if ahead < 0 {
		word = "behind"
	}
	return ErrClock.Because("the joining site's clock says %s, the inviting site's clock says %s; the joining one is %v %s the other",
		joiner.UTC().Format(time.RFC3339), inviter.UTC().Format(time.RFC3339), ahead.Abs().Round(time.Second), word)
}

// propose records the proposal unless the site is proposed or a member already.
func (s *Service) propose(ctx context.Context, p Proposed) error {
	snap := s.Federation.snap.Load()
	if snap.removed[p.Site] != nil {
		return ErrRemovedSite
	}
	if s.Federation.Member(p.Site) || slices.ContainsFunc(snap.roll.Pending, func(o Pending) bool { return o.Site == p.Site }) {
		return nil
	}
	p.Heard = snap.facts.heardOf(snap.sameOperator(s.Identity.Site()))
	return s.record(ctx, event.Draft{Subject: SubjectMembers, Kind: KindProposed, Data: p})
}

// sameOperator returns a function that reports whether a member is run by the operator of the given one.
func (s *snapshot) sameOperator(as event.SiteID) func(event.SiteID) bool {
	own := operatorKey(s.members[as].Operator)
	return func(site event.SiteID) bool {
		m, is := s.members[site]
		return site == as || is && operatorKey(m.Operator) == own
	}
}

// acknowledge records, once, by which proposal this site became a member. From then on that proposal is firm: what the inviter's
// operator had said before and the proposal does not name comes behind it, see Membership.facts. The operator is told if there is
// something of that kind already, or if the inviter's program is too old to name anything: then it can still date back.
func (s *Service) acknowledge(ctx context.Context) error {
	snap, self := s.Federation.snap.Load(), s.Identity.Site()
	f := snap.roll.proposals[self]
	if f == nil || f.by == self || !s.Federation.Member(self) || snap.facts.hasJoined(self) {
		return nil
	}
	if f.Fact.Proposed.Heard == nil {
		s.Logger.WarnContext(ctx, "the site that invited this one does not say what it had heard; it could date others back", "inviter", f.by)
	} else if n := snap.facts.unheardBefore(f); n > 0 {
		s.Logger.WarnContext(ctx, "the operator that invited this site has said more than its invitation tells of; that counts after it",
			"inviter", f.by, "facts", n)
	}
	return s.record(ctx, event.Draft{Subject: SubjectMembers, Kind: KindJoined,
		Data: Joined{By: f.by, Incarnation: f.incarnation, Page: f.Page, Hash: f.Hash, Index: f.Index}})
}

func (s *Service) joinAnswer(peer event.SiteID) JoinAnswer {
	a := JoinAnswer{Federation: s.Federation.Founder(), Inviter: s.Identity.Site(), Now: s.Now().UnixMilli()}
	if s.Federation.Member(peer) {
		for _, m := range s.Federation.Members() {
			m.Self = false
			a.Members = append(a.Members, m)
		}
		return a
	}
	a.Pending = true
	for _, p := range s.Federation.snap.Load().roll.Pending {
		if p.Site == peer {
			a.Endorsed, a.Needed = p.Endorsed, p.Needed
		}
	}
	return a
}

// JoinConfig is what a site needs to join a federation. Name, PortalURL, Names and Channels may be empty.
type JoinConfig struct {
	// Token is the invitation's text.
	Token    string
	Identity *seal.Identity
	Now      func() time.Time
	// Name replaces the name that the inviter chose.
	Name      string
	Kind      Kind
	Addresses []string
	PortalURL string
	Names     []string
	Channels  []string
	// Request carries the request to the inviter under VerbJoin. It must make sure that it talks to the holder of the key
	// that to is.
	Request func(ctx context.Context, to event.SiteID, addresses []string, body []byte) ([]byte, error)
}

// Join asks the inviter to admit this site and returns its answer, checked. While it is Pending, call it again with the
// same token. When it is not, give it to Pin. It returns ErrTokenMalformed and ErrTokenSignature before asking anybody,
// the inviter's refusals (see AcceptJoin), what Request returns, and ErrClock if the clocks differ.
func Join(ctx context.Context, cfg JoinConfig) (JoinAnswer, error) {
	t, err := ParseToken(cfg.Token)
	if err != nil {
		return JoinAnswer{}, err
	}
	body, err := cfg.request(t)
	if err != nil {
		return JoinAnswer{}, err
	}
	raw, err := cfg.Request(ctx, t.Inviter, t.Addresses, body)
	if err != nil {
		return JoinAnswer{}, fmt.Errorf("join at %s: %w", t.Inviter.Short(), err)
	}
	var a JoinAnswer
	if err := json.Unmarshal(raw, &a); err != nil {
		return JoinAnswer{}, errAnswer.With(err)
	}
	if err := a.check(t, cfg.Identity.Site()); err != nil {
		return JoinAnswer{}, err
	}
	return a, compareClocks(cfg.Now(), time.UnixMilli(a.Now))
}

func (cfg JoinConfig) request(t Token) ([]byte, error) {
	pub, cert := cfg.Identity.SealingKey()
	p := Profile{Site: cfg.Identity.Site(), Operator: t.Operator, SealKey: pub, SealCert: cert,
		Description: Description{Name: cfg.Name, Kind: cfg.Kind, Addresses: cfg.Addresses, PortalURL: cfg.PortalURL, Names: cfg.Names,
			Channels: cfg.Channels}}
	if p.Name == "" {
		p.Name = t.Name
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return json.Marshal(JoinRequest{
		Inviter: t.Inviter, Invitation: t.Invitation, Secret: t.Secret, Profile: p,
		Consent: cfg.Identity.Sign("join", consent(t.Federation, t.Invitation, p)), Now: cfg.Now().UnixMilli(),
	})
}

var errAnswer = fault.New(fault.Unavailable, "join.answer", "the inviting site's answer makes no sense",
	"compare the versions of the two sites, and ask the inviting operator")

// check refuses an answer that contradicts the token or itself.
func (a JoinAnswer) check(t Token, self event.SiteID) error {
	has := func(site event.SiteID) bool {
		return slices.ContainsFunc(a.Members, func(m Member) bool { return m.Site == site })
	}
	switch {
	case a.Federation != t.Federation || a.Inviter != t.Inviter:
		return errAnswer.Because("it is about another federation")
	case len(a.Members) > maxSites:
		return errAnswer.Because("it names %d members", len(a.Members))
	case a.Pending:
		return nil
	case !has(t.Inviter) || !has(self):
		return errAnswer.Because("it leaves out the inviter or this site")
	}
	for _, m := range a.Members {
		if err := m.check(); err != nil {
			return errAnswer.Because("member %s", m.Site.Short()).With(err)
		}
	}
	return nil
}

// Pin stores whom this site was told of when it joined, so that it can talk to them before it has read any facts. Call it
// before New, with an answer that is not pending.
func Pin(ctx context.Context, local *localstore.Store, a JoinAnswer) error {
	if a.Pending || len(a.Members) == 0 {
		return ErrNotMember
	}
	return storePins(ctx, local, a.Federation, a.Members)
}

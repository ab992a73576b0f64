// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

// The refusals of commands.
var (
	ErrFounded = fault.New(fault.Conflict, "site.founded", "this site belongs to a federation already",
		"go on with it; a second federation needs another data directory")
	ErrNotMember = fault.New(fault.Conflict, "site.not_member", "this site is no member of a federation yet",
		"found one ('holdfast init'), join one ('holdfast join'), or wait until an operator admits this site")
	ErrNotPending = fault.New(fault.NotFound, "site.not_pending", "no such site waits to be admitted",
		"compare the site's id with the list of 'holdfast status'; the site must have joined with an invitation first")
	ErrNoSuchMember = fault.New(fault.NotFound, "site.unknown", "there is no such member site",
		"compare the site's id with the list of 'holdfast status'")
	ErrAuthorityID = fault.New(fault.Invalid, "authority.id", "an authority's short name has 3 to 40 lower-case letters, digits and hyphens",
		"choose one such as lk-nordtal")
	ErrAuthorityName = fault.New(fault.Invalid, "authority.name", "an authority needs a German and an English name, each on one short line",
		"give both")
	ErrAuthorityExists = fault.New(fault.Conflict, "authority.exists", "there is already an authority of this short name",
		"choose another short name, or allow sites for the one that is there")
	ErrNoAuthority = fault.New(fault.NotFound, "authority.unknown", "there is no such authority",
		"compare with the list of 'holdfast status', or add it with 'holdfast authority add'")
	ErrAuthorityElsewhere = fault.New(fault.Conflict, "authority.elsewhere", "an authority is founded at one of the sites that it allows",
		"run the command at one of those sites, or allow this one too")
	ErrNotItsSite = fault.New(fault.Forbidden, "authority.not_its_site", "which sites an authority allows is said at one of the sites that it allows; this is none",
		"say it at one of the authority's sites")
	ErrTooManySites = fault.New(fault.TooLarge, "authority.too_many_sites", fmt.Sprintf("an authority allows at most %d sites", maxSites), "allow fewer")
	ErrLastSite     = fault.New(fault.Conflict, "authority.last_site", "this is the last site that the authority allows; forbidding it would lose everything",
		"allow another site first and wait until it has everything")
)

// Config is what a Service works with. All fields are required but Heads and Logger.
type Config struct {
	Identity   *seal.Identity
	Log        eventlog.Appender
	Model      *readmodel.Model
	Ring       *keyring.Ring
	Local      *localstore.Store
	Federation *Federation
	Now        func() time.Time
	Rand       io.Reader
	Logger     *slog.Logger
	// Heads returns how far this site knows all logs; a log that is closed ends there. nil closes logs before their start.
	// As long as there are logs of an authority that no longer allows this site, its keys stay, too: both are being handed over.
	Heads func() []eventlog.Head
	// Fetch asks a member once for what it has and this site has not. Forbid does so before it closes the member's logs; what
	// comes of it makes no difference. nil does nothing.
	Fetch func(context.Context, event.SiteID)
}

// Service takes commands about sites and authorities. It is safe for concurrent use; methods block for the disk and for
// this site's own read model, so that what a command did is visible when it returns.
type Service struct {
	*shared
	actor string
}

// shared is what a Service and its As copies have in common.
type shared struct {
	Config
	boot bootstrap
	// deciding makes check and append one step at this site.
	deciding sync.Mutex
	// refreshing keeps an older view from replacing a newer one.
	refreshing sync.Mutex
	// known is what the Federation was filled from last, the zero value if that has to be read again.
	known folded
}

// New returns a Service that acts as the operator. It reads the pins and fills the Federation from what is folded so far.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{shared: &shared{Config: cfg}, actor: "operator"}
	if err := s.loadPins(ctx); err != nil {
		return nil, err
	}
	_, err := s.Refresh(ctx)
	return s, err
}

// As returns the same service whose facts name the given actor ("person/12c0").
func (s *Service) As(actor string) *Service { return &Service{shared: s.shared, actor: actor} }

// Refresh brings the Federation to what the read model has folded, and reports whether anything changed.
func (s *Service) Refresh(ctx context.Context) (changed bool, err error) {
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	f, changed, err := readFolded(ctx, s.Model, s.known)
	if err != nil || !changed {
		return false, err
	}
	snap := newSnapshot(s.Identity.Site(), f, s.boot)
	s.tellSurplus(snap.surplus)
	changed = s.Federation.update(snap)
	if err := s.keepPins(ctx, snap); err != nil {
		s.known = folded{} // they are kept at the next refresh
		return changed, err
	}
	s.known = f
	return changed, nil
}

// tellSurplus warns when more foundings of authorities do not count than at the last look.
func (s *Service) tellSurplus(now []Surplus) {
	for _, n := range now {
		if !slices.Contains(s.Federation.Surplus(), n) {
			s.Logger.Warn("a site has founded more authorities than count; remove it if it is hostile", "site", n.Site.Short(), "beyond", n.Authorities)
		}
	}
}

// Found begins a federation with this site as its only member. It returns ErrFounded if the site belongs to one, and
// ErrProfile for an unusable description.
func (s *Service) Found(ctx context.Context, operator string, d Description) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	if f := s.Federation.Founder(); f != "" && f != s.Identity.Site() || len(s.Federation.snap.Load().roll.Members) > 0 && !s.unfinished() {
		return ErrFounded
	}
	p := s.profile(operator, d)
	if err := p.check(); err != nil {
		return err
	}
	// The pin first: the log takes our fact only if we are a member. After a crash in between, Found is repeated.
	if err := s.pin(ctx, p.Site, []Member{{Profile: p}}); err != nil {
		return err
	}
	if _, err := s.Refresh(ctx); err != nil {
		return err
	}
	return s.record(ctx, event.Draft{Subject: SubjectMembers, Kind: KindFounded, Data: Founded{p}})
}

// unfinished reports whether a founding was begun and its fact is not there.
func (s *Service) unfinished() bool {
	roll := s.Federation.snap.Load().roll
	return len(roll.Members) == 1 && roll.Members[0].Site == s.Identity.Site() && !s.isFolded(s.Identity.Site())
}

// isFolded reports whether the site is a member by facts, not by a pin only.
func (s *Service) isFolded(site event.SiteID) bool {
	return s.Federation.snap.Load().folded[site]
}

func (s *Service) profile(operator string, d Description) Profile {
	pub, cert := s.Identity.SealingKey()
	return Profile{Site: s.Identity.Site(), Operator: operator, Description: d, SealKey: pub, SealCert: cert}
}

// Describe records what this site now says about itself, unless that is what is known already. It returns ErrNotMember
// or ErrProfile.
func (s *Service) Describe(ctx context.Context, d Description) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	self, ok := s.Federation.MemberOf(s.Identity.Site())
	if !ok {
		return ErrNotMember
	}
	if err := d.check(); err != nil {
		return err
	}
	if mustJSON(self.Description) == mustJSON(d) {
		return nil
	}
	return s.record(ctx, event.Draft{Subject: SubjectMembers, Kind: KindDescribed, Data: Described{d}})
}

// Endorse records that this site is for admitting a pending site. It returns ErrNotMember, or ErrNotPending if no such
// site waits; for a site that is a member already it does nothing.
func (s *Service) Endorse(ctx context.Context, site event.SiteID) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	roll := s.Federation.snap.Load().roll
	pending := slices.ContainsFunc(roll.Pending, func(p Pending) bool { return p.Site == site })
	switch {
	case !s.Federation.Member(s.Identity.Site()):
		return ErrNotMember
	case s.Federation.Member(site):
		return nil
	case !pending:
		return ErrNotPending
	}
	return s.record(ctx, event.Draft{Subject: SubjectMembers, Kind: KindEndorsed, Data: Endorsed{site}})
}

// AuthorityDraft is a new authority. Sites are the sites that it allows, this one among them.
type AuthorityDraft struct {
	ID     event.AuthorityID `json:"id"`
	NameDE string            `json:"nameDe"`
	NameEN string            `json:"nameEn"`
	Sites  []event.SiteID    `json:"sites"`
}

// AddAuthority makes the authority's keys, records the authority, and seals its key to the allowed sites. It returns
// ErrNotMember, ErrAuthorityID, ErrAuthorityName, ErrAuthorityExists, ErrNoSuchMember, ErrTooManySites, or
// ErrAuthorityElsewhere if this site is not among the allowed ones.
func (s *Service) AddAuthority(ctx context.Context, d AuthorityDraft) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	d.Sites = slices.Compact(slices.Sorted(slices.Values(d.Sites)))
	if err := s.checkAuthority(d); err != nil {
		return err
	}
	// The keys first: an authority without keys could not be used. Founding them again after a crash does nothing.
	if err := s.Ring.Found(ctx, d.ID); err != nil {
		return err
	}
	err := s.record(ctx, event.Draft{Subject: SubjectOf(d.ID), Kind: KindAuthorityFounded,
		Data: AuthorityFounded{NameDE: d.NameDE, NameEN: d.NameEN, Sites: d.Sites}})
	if err != nil {
		return err
	}
	return s.Reconcile(ctx)
}

func (s *Service) checkAuthority(d AuthorityDraft) error {
	switch _, exists := s.Federation.Authority(d.ID); {
	case !s.Federation.Member(s.Identity.Site()):
		return ErrNotMember
	case !d.ID.Valid() || d.ID == event.Federation:
		return ErrAuthorityID
	case !plain(d.NameDE) || !plain(d.NameEN):
		return ErrAuthorityName
	case exists:
		return ErrAuthorityExists
	case len(d.Sites) > maxSites:
		return ErrTooManySites
	case !slices.Contains(d.Sites, s.Identity.Site()):
		return ErrAuthorityElsewhere
	}
	for _, site := range d.Sites {
		if !s.Federation.Member(site) {
			return ErrNoSuchMember.Because("%s", site)
		}
	}
	return nil
}

// Allow lets a member site hold the authority's logs and keys. It returns ErrNotMember, ErrNoAuthority, ErrNotItsSite,
// ErrNoSuchMember or ErrTooManySites; for a site that is allowed already it does nothing.
func (s *Service) Allow(ctx context.Context, authority event.AuthorityID, site event.SiteID) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	p, err := s.policy(authority)
	switch {
	case err != nil:
		return err
	case !s.Federation.Member(site):
		return ErrNoSuchMember.Because("%s", site)
	case p.allowed[site]:
		return nil
	case len(p.Sites) >= maxSites:
		return ErrTooManySites
	}
	if err := s.record(ctx, event.Draft{Subject: SubjectOf(authority), Kind: KindAllowed, Data: Allowed{site}}); err != nil {
		return err
	}
	return s.Reconcile(ctx)
}

// Forbid withdraws what allows a site to hold the authority's logs and keys: the site stops writing when it hears of it,
// hands over what only it has, and deletes its logs and keys; a new key is used from then on. What it has read cannot be
// unread. Its logs are closed where this site knows them, so that a hostile site cannot go on by dating back; this site first
// fetches what it can. What an honest site wrote and nobody had fetched is kept apart at all allowed sites, and counts again
// if the site is allowed again.
//
// It returns ErrNotMember, ErrNoAuthority, ErrNotItsSite or ErrLastSite; for a site that is not allowed it does nothing.
func (s *Service) Forbid(ctx context.Context, authority event.AuthorityID, site event.SiteID) error {
	if s.Fetch != nil && site != s.Identity.Site() && s.Federation.Member(site) {
		s.Fetch(ctx, site)
	}
	s.deciding.Lock()
	defer s.deciding.Unlock()
	p, err := s.policy(authority)
	switch {
	case err != nil:
		return err
	case !p.allowed[site]:
		return nil
	case len(p.Sites) == 1:
		return ErrLastSite
	}
	var withdraws []event.ID
	for _, a := range p.live[site] {
		withdraws = append(withdraws, a.id)
	}
	fact := Forbidden{
		Site: site, Withdraws: withdraws, Closes: s.headsOf(site, authority),
		Heard: p.state.heardOf(site), Named: p.state.namesOf(site, p.standing),
	}
	if err := s.record(ctx, event.Draft{Subject: SubjectOf(authority), Kind: KindForbidden, Data: fact}); err != nil {
		return err
	}
	return s.Reconcile(ctx)
}

// sitesOf names the sites of an authority for people.
func (s *Service) sitesOf(p *policy) string {
	var names []string
	for _, site := range p.Sites {
		if m, ok := s.Federation.MemberOf(site); ok {
			names = append(names, m.Name)
		}
	}
	return strings.Join(names, ", ")
}

// policy returns the policy of an authority that this site may change.
func (s *Service) policy(authority event.AuthorityID) (*policy, error) {
	if !s.Federation.Member(s.Identity.Site()) {
		return nil, ErrNotMember
	}
	p := s.Federation.snap.Load().authorities[authority]
	if p == nil {
		return nil, ErrNoAuthority.Because("%s", authority)
	}
	if !p.allowed[s.Identity.Site()] {
		return nil, ErrNotItsSite.Because("%s is at %s", authority, s.sitesOf(p))
	}
	return p, nil
}

// headsOf returns how far this site knows the first branches of a site's logs of an authority.
func (s *Service) headsOf(site event.SiteID, authority event.AuthorityID) []eventlog.Head {
	if s.Heads == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.Heads()), func(h eventlog.Head) bool {
		return h.Branch.Site != site || h.Branch.Authority != authority || h.Branch.Fork != ""
	})
}

// record appends facts of one subject to this site's register log of the federation and returns when they are visible here.
func (s *Service) record(ctx context.Context, drafts ...event.Draft) error {
	after, err := s.Model.LastStamp(ctx, event.Federation, drafts[0].Subject)
	if err != nil {
		return err
	}
	for i := range drafts {
		drafts[i].After, drafts[i].Actor = after, s.actor
	}
	receipt, err := s.Log.Append(ctx, event.Federation, event.Register, drafts...)
	if err != nil {
		return fmt.Errorf("record %s: %w", drafts[0].Kind, err)
	}
	if err := s.Model.Wait(ctx, receipt.Log, receipt.Last); err != nil {
		return err
	}
	_, err = s.Refresh(ctx)
	return err
}

// Reconcile brings the keyring to what the policies say: it seals the keys of authorities to sites that are newly
// allowed, takes a new key where the newest one is known to a site that is not allowed any more, makes shared keys anew that an
// earlier version has let be erased, lets go of what only sites gave that are not allowed any more, and drops the keys of authorities
// that no longer allow this site. Besides it records, once, by
// which proposal this site became a member. It may be called at any time and at any number of sites.
func (s *Service) Reconcile(ctx context.Context) error {
	var errs []error
	snap := s.Federation.snap.Load()
	for _, a := range snap.list {
		if err := s.reconcileOne(ctx, snap, snap.authorities[a.ID]); err != nil {
			errs = append(errs, fmt.Errorf("bring the keys of %s in line: %w", a.ID, err))
		}
	}
	if err := s.acknowledge(ctx); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *Service) reconcileOne(ctx context.Context, snap *snapshot, p *policy) error {
	self := s.Identity.Site()
	if _, removed := snap.removed[self]; removed || p.closed[self] != nil {
		if s.handingOver(p.ID) {
			return nil
		}
		return s.Ring.Drop(ctx, p.ID)
	}
	if !p.allowed[self] {
		return nil // never allowed, or the facts are not all here yet: dropping needs a withdrawal
	}
	remaining := make(map[event.SiteID]seal.PublicKey)
	for _, site := range p.Sites {
		m, ok := snap.members[site]
		if !ok {
			continue
		}
		remaining[site] = m.SealKey
		if err := s.Ring.Grant(ctx, p.ID, site, m.SealKey); err != nil {
			return notHeld(err)
		}
	}
	if err := s.Ring.Forbid(ctx, p.ID, remaining); err != nil {
		return notHeld(err)
	}
	if err := s.Ring.Tidy(ctx, p.ID); err != nil {
		return err
	}
	_, err := s.Ring.Mend(ctx, p.ID)
	return notHeld(err)
}

// handingOver reports whether logs of the authority are still here.
func (s *Service) handingOver(authority event.AuthorityID) bool {
	return s.Heads != nil && slices.ContainsFunc(s.Heads(), func(h eventlog.Head) bool { return h.Branch.Authority == authority })
}

// notHeld forgives that this site has no key to give: somebody else has.
func notHeld(err error) error {
	if errors.Is(err, keyring.ErrNoAuthorityKey) || errors.Is(err, keyring.ErrMissing) {
		return nil
	}
	return err
}

// Run keeps the Federation and the keyring current until ctx ends: after each change of the facts, when keys arrive, and
// now and then. It blocks.
func (s *Service) Run(ctx context.Context) {
	names, stop := s.Model.Watch(readmodel.Ref{Authority: event.Federation})
	defer stop()
	keys, cancel := s.Ring.Subscribe()
	defer cancel()
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if _, err := s.Refresh(ctx); err != nil && ctx.Err() == nil {
			s.Logger.ErrorContext(ctx, "the view of the federation is out of date", "error", err)
		}
		if err := s.NameLogs(ctx); err != nil && ctx.Err() == nil {
			s.Logger.WarnContext(ctx, "where the logs of a removed site end is not said yet; it is tried again", "error", err)
		}
		if err := s.Reconcile(ctx); err != nil && ctx.Err() == nil {
			s.Logger.ErrorContext(ctx, "the keyring is not in line with the policies", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-names:
		case <-keys:
		case <-tick.C:
		}
	}
}

// Status is what an operator is shown about the federation.
type Status struct {
	Self event.SiteID `json:"self"`
	Roll
	Authorities []Authority `json:"authorities"`
	// Surplus are the foundings that do not count, by site.
	Surplus []Surplus `json:"surplus,omitempty"`
}

// Status returns who belongs to the federation, who waits, and the authorities with their allowed sites.
func (s *Service) Status(context.Context) (Status, error) {
	snap := s.Federation.snap.Load()
	return Status{Self: s.Identity.Site(), Roll: snap.roll, Authorities: slices.Clone(snap.list), Surplus: slices.Clone(snap.surplus)}, nil
}

// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/deed"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/driver/oidc"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/portal"
	"codeberg.org/holdfast/holdfast/privacy"
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/session"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/web"
)

// people are the services about who somebody is and what they may do.
type people struct {
	access    *access.Service
	audit     *audit.Service
	accounts  *identity.Service
	guests    *guest.Service
	programs  *program.Service
	tokens    *session.Service
	sessions  *web.Sessions
	providers map[event.AuthorityID]portal.Provider
	deeds     *deed.Desk
	privacy   *privacy.Service
}

// holders is the federation in the words of the domains that ask which authorities this site may hold.
type holders struct{ *site.Federation }

// Held returns the authorities that allow this site.
func (h holders) Held() []event.AuthorityID { return h.AuthorityIDs() }

// console is who acts by holding this machine.
func (s *Site) console() access.Principal {
	return access.Principal{Kind: access.Console, Way: access.ByConsole}
}

func (s *Site) openPeople(ctx context.Context) error {
	source, err := s.pseudonym(ctx)
	if err != nil {
		return err
	}
	self, federation := s.identity.Site(), holders{s.federation}
	s.access = access.New(access.Config{
		Log: s.log, Model: s.model, Directory: s.directory, Now: s.now, Rand: rand.Reader,
		Held: func(a event.AuthorityID) bool { return s.federation.Allowed(self, a) },
	})
	s.audit = audit.New(audit.Config{Self: self, Log: s.log, Model: s.model, Keys: s.ring, Now: s.now, Rand: rand.Reader,
		Logger: s.logger, Source: source})
	s.openAccounts()
	s.guests = guest.New(guest.Config{Log: s.log, Model: s.model, Keys: s.ring, Federation: federation, Access: s.access, Now: s.now,
		Rand: rand.Reader, Logger: s.logger})
	s.programs = program.New(program.Config{Self: self, Log: s.log, Model: s.model, Keys: s.ring, Directory: s.directory,
		Federation: federation, Access: s.access, Now: s.now, Rand: rand.Reader, Logger: s.logger})
	s.tokens = session.New(session.Config{
		Identity: s.identity, Federation: s.federation, Log: s.log, Model: s.model, Local: s.local, Now: s.now, Rand: rand.Reader,
		Life: s.config.Identity.SessionIdle, Max: s.config.Identity.SessionMax, MaxOf: s.sessionMax,
		Checks: []func(context.Context, access.Principal) error{s.accounts.Standing, s.guests.Standing},
	})
	s.sessions = &web.Sessions{Store: s.local, Tokens: s.tokens, Audit: s.audit, Self: s.console(), Rand: rand.Reader, Now: s.now,
		BehindTLS: s.config.Portal.Plain}
	s.openDesk()
	return s.openProviders()
}

// openDesk makes what is done over several domains at once.
func (s *Site) openDesk() {
	s.deeds = &deed.Desk{Access: s.access, Alarms: s.alarms,
		Erase: func(ctx context.Context, by access.Principal, _ access.Verdict, a event.AuthorityID, person directory.PersonID) error {
			// The person first: that fact is what the keys of the programs' names are destroyed for.
			erased := s.directory.As(by.Actor()).Erase(ctx, a, person)
			_, err := s.programs.WithdrawAll(ctx, by, a, person, true)
			return errors.Join(erased, err)
		}}
	s.privacy = privacy.New(privacy.Config{Self: s.identity.Site(), Model: s.model, Directory: s.directory, Accounts: s.accounts,
		Rights: s.access, Programs: s.programs, Guests: s.guests, Audit: s.audit, Erasures: s.erasures, Now: s.now})
}

// erasures tells of each erased person which of the authority's sites have confirmed it.
func (s *Site) erasures(ctx context.Context, a event.AuthorityID) ([]privacy.Erasure, error) {
	list, err := s.directory.Erasures(ctx, a)
	if err != nil {
		return nil, err
	}
	var out []privacy.Erasure
	for _, e := range list {
		p := privacy.Erasure{Person: e.Person, At: e.ErasedAt, By: e.By, Confirmed: e.Confirmed}
		for _, id := range s.sitesOf(a) {
			if !slices.Contains(e.Confirmed, id) {
				p.Missing = append(p.Missing, id)
			}
		}
		p.Complete = len(p.Missing) == 0
		out = append(out, p)
	}
	return out, nil
}

// sitesOf returns the member sites that the authority allows.
func (s *Site) sitesOf(a event.AuthorityID) []event.SiteID {
	var ids []event.SiteID
	for _, m := range s.federation.Members() {
		if s.federation.Allowed(m.Site, a) {
			ids = append(ids, m.Site)
		}
	}
	return ids
}

// confirmErasures states, as a fact, which people are erased at this site.
func (s *Site) confirmErasures(ctx context.Context) {
	every(ctx, finishEvery, func() {
		for _, a := range s.federation.AuthorityIDs() {
			if _, err := s.directory.ConfirmErasures(ctx, a, s.identity.Site(), s.sitesOf(a)); err != nil && ctx.Err() == nil {
				s.logger.Warn("an erasure is not confirmed yet; it is tried again", "authority", a, "error", err)
			}
		}
	})
}

func (s *Site) openAccounts() {
	var gateways identity.Messenger // nil without any: then nobody is invited by a message that cannot be sent
	if len(s.drivers) > 0 {
		gateways = messenger{s}
	}
	s.accounts = identity.New(identity.Config{
		Self: s.identity.Site(), Identity: s.identity, Federation: holders{s.federation}, Log: s.log, Model: s.model,
		Directory: s.directory, Keys: s.ring, Local: s.local, Messenger: gateways, Names: s.federation.Names,
		Administrators: func(ctx context.Context, a event.AuthorityID) ([]directory.PersonID, error) {
			return s.access.Holders(ctx, a, access.Administrator)
		},
		MayVouch: s.mayVouch, MayManage: s.mayManage, Protected: s.isAbove,
		ProviderOff: func(ctx context.Context, a event.AuthorityID) (bool, error) {
			p, err := s.access.Policy(ctx, a)
			return p.ProviderOff, err
		},
		ByKey: s.directory.ByKey,
		Audit: func(ctx context.Context, a event.AuthorityID, deed, object string) error {
			return s.audit.Record(ctx, a, audit.Entry{Deed: deed, Actor: "site/" + s.identity.Site().Short(), Object: object})
		},
		Now: s.now, Rand: rand.Reader, Logger: s.logger,
	})
}

// mayManage keeps whoever administers a unit from the accounts of people in it who have a role beyond it.
func (s *Site) mayManage(ctx context.Context, by access.Principal, persons []directory.PersonID) error {
	v, err := s.access.Judge(ctx, by, by.Authority, access.ManageAccounts)
	if err != nil {
		return err
	}
	covered, err := s.access.CoversRoles(ctx, by.Authority, v, persons...)
	if err == nil && !covered {
		err = deed.ErrOutside
	}
	return err
}

// above are the roles that let somebody give rights, read the audit, or run a site.
var above = []access.Role{access.Administrator, access.Auditor, access.Operator}

// isAbove reports whether the person holds one of those roles now.
func (s *Site) isAbove(ctx context.Context, a event.AuthorityID, person directory.PersonID) (bool, error) {
	for _, role := range above {
		holders, err := s.access.Holders(ctx, a, role)
		if err != nil || slices.Contains(holders, person) {
			return err == nil, err
		}
	}
	return false, nil
}

// mayVouch lets only administrators vouch for people through whose account one could give oneself rights, or read the audit; and
// of a unit only for those who have no such role beyond it.
func (s *Site) mayVouch(ctx context.Context, by access.Principal, person directory.PersonID) error {
	above, err := s.isAbove(ctx, by.Authority, person)
	if err != nil || !above {
		return err
	}
	if err := s.mayManage(ctx, by, []directory.PersonID{person}); err != nil {
		return identity.ErrVouchAbove
	}
	return nil
}

// sessionMax is how long a session of the principal may last, where the authority wants less than this site allows.
func (s *Site) sessionMax(ctx context.Context, p access.Principal) time.Duration {
	most := s.config.Identity.SessionMax
	if p.Way == access.ByVouching {
		most = min(most, identity.VouchedSession)
	}
	if p.Authority == "" {
		return most
	}
	if policy, err := s.access.Policy(ctx, p.Authority); err == nil && policy.SessionMaxMinutes > 0 {
		most = min(most, time.Duration(policy.SessionMaxMinutes)*time.Minute)
	}
	return most
}

// isName reports whether people reach the federation under the host's name, as opposed to this machine's own address.
func (s *Site) isName(host string) bool {
	return slices.Contains(s.config.hostNames(), strings.ToLower(host))
}

const keySource = "audit-source"

// pseudonym returns what stands in the federation's audit for a remote address: only this site can tell which it is.
func (s *Site) pseudonym(ctx context.Context) (func(string) string, error) {
	secret, err := s.local.Get(ctx, bucketMeta, keySource)
	if errors.Is(err, localstore.ErrNotFound) {
		secret = make([]byte, 32)
		if _, err := io.ReadFull(rand.Reader, secret); err != nil {
			return nil, fmt.Errorf("make the audit's secret: %w", err)
		}
		err = s.local.Put(ctx, bucketMeta, keySource, secret, time.Time{})
	}
	if err != nil {
		return nil, fmt.Errorf("read the audit's secret: %w", err)
	}
	return func(address string) string {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(address))
		return "source-" + hex.EncodeToString(mac.Sum(nil)[:6])
	}, nil
}

func (s *Site) openProviders() error {
	s.providers = make(map[event.AuthorityID]portal.Provider)
	for _, c := range s.config.Identity.OIDC {
		p, err := oidc.New(oidc.Config{Authority: event.AuthorityID(c.Authority), Issuer: c.Issuer, ClientID: c.ClientID,
			SecretFile: c.SecretFile, Claim: c.Claim, Now: s.now})
		if err != nil {
			return err
		}
		s.providers[p.Authority()] = p
	}
	return nil
}

// messenger tells people through the gateways that alarms use: by every channel they have, the first that takes it suffices.
type messenger struct{ site *Site }

var errNoChannel = fault.New(fault.Unavailable, "app.no_channel", "there is no way to reach this person from this site",
	"tell the person yourself, or configure a gateway (channels) at this site")

// Tell hands one message to the first gateway that takes it.
func (m messenger) Tell(ctx context.Context, authority event.AuthorityID, person directory.PersonID, msg identity.Message) error {
	p, err := m.site.directory.Contact(ctx, authority, person)
	if err != nil {
		return err
	}
	key, err := event.NewID(rand.Reader)
	if err != nil {
		return err
	}
	subject, text := msg.SubjectDE, msg.TextDE
	if p.Language == directory.English {
		subject, text = msg.SubjectEN, msg.TextEN
	}
	last := error(errNoChannel)
	for _, ch := range slices.Backward(m.site.drivers) { // e-mail before SMS: it holds a longer text
		to := p.Address(ch.Kind())
		if to == "" {
			continue
		}
		_, err := ch.Send(ctx, alarm.Message{IdempotencyKey: "identity/" + string(key), To: to, Subject: subject, Text: text, Mode: event.Actual})
		if err == nil {
			return nil
		}
		last = errNoChannel.With(err)
	}
	return last
}

// grounds returns what this site's facts say about erasing keys. Until it has folded what its own disk held when it started, only
// what its own facts have made due counts: a fact that needs a key may be among the rest. It does not wait for what others have: a
// site that always claims to have more would put erasing off for ever.
func (s *Site) grounds(ctx context.Context, a event.AuthorityID, keys []event.KeyID) (map[event.KeyID]keyring.Ground, error) {
	g := privacy.Grounds{Directory: s.directory, Accounts: s.accounts, Programs: s.programs, Guests: s.guests, Audit: s.audit,
		GuestNames: guestNames, AuditDays: func(ctx context.Context, a event.AuthorityID) (int, bool, error) {
			policy, err := s.access.Policy(ctx, a)
			days, bounded := policy.RetentionDays[event.Audit]
			return days, bounded, err
		}}
	found, err := g.Of(ctx, a, keys)
	if !s.caughtUp(ctx) {
		maps.DeleteFunc(found, func(_ event.KeyID, g keyring.Ground) bool { return g.By != s.identity.Site() })
	}
	return found, err
}

// judgeEvery is how often it is looked whether facts have come for which keys are to be destroyed.
const judgeEvery = 2 * time.Second

// judgeErasures destroys the keys whose erasure facts bear out by now. It is cheap when no mark waits.
func (s *Site) judgeErasures(ctx context.Context) {
	every(ctx, judgeEvery, func() {
		if _, err := s.ring.Judge(ctx); err != nil && ctx.Err() == nil {
			s.logger.Warn("marks of erased keys could not be compared with the facts; it is tried again", "error", err)
		}
	})
}

// guestNames is how long the name of a guest is kept after their time here is over.
const guestNames = 30 * 24 * time.Hour

// expireEvery is how often it is looked for what is to be forgotten.
const expireEvery = time.Hour

// forget destroys the keys of months of the audit that the authority's policy does not keep any longer, and the names of guests of
// the past.
func (s *Site) forget(ctx context.Context) {
	every(ctx, expireEvery, func() {
		for _, a := range s.federation.AuthorityIDs() {
			policy, err := s.access.Policy(ctx, a)
			if days, bounded := policy.RetentionDays[event.Audit]; err == nil && bounded {
				_, err = s.audit.Expire(ctx, a, days)
			}
			if err == nil {
				_, err = s.guests.Forget(ctx, a, guestNames)
			}
			if err != nil && ctx.Err() == nil {
				s.logger.Warn("what should be forgotten is still readable; it is tried again", "authority", a, "error", err)
			}
		}
	})
}

// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/privacy"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/session"
	"codeberg.org/holdfast/holdfast/site"
)

// people is what the outside world knows: the secrets on letters and sheets, the tokens in browsers, who asked for what.
type people struct {
	secrets  []*secret
	sessions []*sess
	apps     map[owner]string // the one-time password apps: secrets in base32
	asked    []*request
	lines    []*line
	erased   map[event.AuthorityID]int // how many people somebody wanted to erase
	erasing  []owner                   // whom: the keys are marked before the fact is written
	hashing  int                       // how many argon2 this world may still compute: each takes as long as a hundred other things

	verified, refused, twice, loose, judged, approved, grants int // what happened, for the report
}

// owner is a person of an authority.
type owner struct {
	authority event.AuthorityID
	person    directory.PersonID
}

// way is what kind of secret lets somebody in.
type way string

const (
	byLink       way = "link"
	byInvitation way = "invitation"
	byCode       way = "code"
	byVouching   way = "ticket"
	byGuestCode  way = "guest code"
)

// secret is something that lets somebody in once.
type secret struct {
	no        int
	way       way
	authority event.AuthorityID
	person    directory.PersonID // "" for guests and tickets
	text      string
	accepted  []acceptance
	// vouchers are the sessions of those who have vouched under a ticket, by person.
	vouchers map[string]string
}

// acceptance says where a secret was accepted. Another disk in the same site does not know what its predecessor did.
type acceptance struct {
	node *node
	disk int
}

// sess is a session as the browsers of the world have it.
type sess struct {
	no        int
	principal access.Principal
	secret    *secret
	began     *node
	tokens    []token
	// knew are the "signed out everywhere" that the site knew of when it began; unsure if its disk could not be read then.
	knew   map[event.ID]bool
	unsure bool
}

type token struct {
	text   string
	issuer *node
}

func (s *sess) authority() event.AuthorityID { return s.principal.Authority }

// request is an approval that somebody asked for.
type request struct {
	node      *node // where
	authority event.AuthorityID
	id, by    string
}

// line is a line of the audit that was acknowledged.
type line struct {
	fact      *fact
	authority event.AuthorityID
	id        event.ID
	entry     audit.Entry
}

var console = access.Principal{Kind: access.Console, Way: access.ByConsole}

// judge is access.Service.Judge, or what a plant makes of it.
type judge func(ctx context.Context, p access.Principal, authority event.AuthorityID, need access.Permission) (access.Verdict, error)

// held is the federation in the words of the domains that ask which authorities this site may hold.
type held struct{ *site.Federation }

// Held returns the authorities that allow this site.
func (h held) Held() []event.AuthorityID { return h.AuthorityIDs() }

// openPeople makes the services about who somebody is and what they may do, wired as in a real site.
func (n *node) openPeople(d *domains, logger *slog.Logger) {
	log, rights := eventlog.Appender(recorder{n}), eventlog.Appender(recorder{n})
	if n.w.plant.Rights != nil {
		rights = n.w.plant.Rights(rights)
	}
	d.access = access.New(access.Config{
		Log: rights, Model: n.model, Directory: d.directory, Now: n.clock, Rand: n.rnd,
		Held: func(a event.AuthorityID) bool { return n.fed.Allowed(n.site, a) },
	})
	d.judge = d.access.Judge
	if n.w.plant.Judge != nil {
		d.judge = n.w.plant.Judge(d.access)
	}
	d.lines = &lastReceipt{Appender: log}
	d.audit = audit.New(audit.Config{
		Self: n.site, Log: d.lines, Model: n.model, Keys: n.ring, Now: n.clock, Rand: n.rnd, Logger: logger,
		Source: func(string) string { return "source-1" },
	})
	n.openAccounts(d, log, logger)
	d.guests = guest.New(guest.Config{
		Log: log, Model: n.model, Keys: n.ring, Federation: held{n.fed}, Access: d.access, Now: n.clock, Rand: n.rnd, Logger: logger,
	})
	n.openSessions(d, log)
}

func (n *node) openAccounts(d *domains, log eventlog.Appender, logger *slog.Logger) {
	d.accounts = identity.New(identity.Config{
		Self: n.site, Identity: n.id, Federation: held{n.fed}, Log: log, Model: n.model, Directory: d.directory, Keys: n.ring,
		Local: n.local, Messenger: postman{}, Names: func(event.AuthorityID) []string { return []string{"portal.example"} },
		Administrators: func(ctx context.Context, a event.AuthorityID) ([]directory.PersonID, error) {
			return d.access.Holders(ctx, a, access.Administrator)
		},
		Audit: func(ctx context.Context, a event.AuthorityID, deed, object string) error {
			return n.record(ctx, a, audit.Entry{Deed: deed, Actor: "site/" + n.site.Short(), Object: object})
		},
		Now: n.clock, Rand: n.rnd, Logger: logger,
	})
}

func (n *node) openSessions(d *domains, log eventlog.Appender) {
	c := session.Config{
		Identity: n.id, Federation: n.fed, Log: log, Model: n.model, Local: n.local, Now: n.clock, Rand: n.rnd,
		Life: session.MaxLife, Max: session.MaxLife, // a token that expires proves nothing
		Checks: []func(context.Context, access.Principal) error{d.accounts.Standing, d.guests.Standing},
	}
	if n.w.plant.Sessions != nil {
		n.w.plant.Sessions(&c)
	}
	d.sessions = session.New(c)
}

// grounds is what the site's facts say about erasing keys, as in app: until the read model has what the disk held at the start, only
// the site's own facts count. It does not wait for the others: a site that always claims to have more would put erasing off for ever.
func (n *node) grounds(ctx context.Context, a event.AuthorityID, keys []event.KeyID) (map[event.KeyID]keyring.Ground, error) {
	d := n.people
	g := privacy.Grounds{Directory: d.directory, Accounts: d.accounts, Guests: d.guests, Audit: d.audit, GuestNames: 30 * 24 * time.Hour,
		AuditDays: func(context.Context, event.AuthorityID) (int, bool, error) { return 0, false, nil }}
	found, err := g.Of(ctx, a, keys)
	if !n.settled {
		maps.DeleteFunc(found, func(_ event.KeyID, g keyring.Ground) bool { return g.By != n.site })
	}
	return found, err
}

// accountKeys are the keys of other domains that are destroyed with a person.
func (n *node) accountKeys(ctx context.Context, a event.AuthorityID, p directory.PersonID) ([]event.KeyID, error) {
	if n.w.plant.KeepAccounts {
		return nil, nil
	}
	return n.people.accounts.KeysOf(ctx, a, p)
}

// postman takes every message of identity.
type postman struct{}

// Tell implements identity.Messenger.
func (postman) Tell(context.Context, event.AuthorityID, directory.PersonID, identity.Message) error {
	return nil
}

// lastReceipt remembers what was appended last, which audit.Service.Record does not return.
type lastReceipt struct {
	eventlog.Appender
	last eventlog.Receipt
}

// Append implements eventlog.Appender.
func (l *lastReceipt) Append(ctx context.Context, id event.AuthorityID, class event.Class, drafts ...event.Draft) (r eventlog.Receipt, err error) {
	r, err = l.Appender.Append(ctx, id, class, drafts...)
	l.last = r
	return r, err
}

// record writes a line of the audit and remembers it if it was acknowledged.
func (n *node) record(ctx context.Context, id event.AuthorityID, e audit.Entry) error {
	if err := n.people.audit.Record(ctx, id, e); err != nil {
		return err
	}
	r := n.people.lines.last
	last := r.Events[len(r.Events)-1].ID
	n.w.people.lines = append(n.w.people.lines, &line{n.w.ledger.events[last], r.Log.Authority, last, e})
	return nil
}

// lookAfter is what the loops about people do at a real site.
func (n *node) lookAfter(ctx context.Context) error {
	d := n.people
	// Who was removed can write nothing any more, not even what it has counted of refusals.
	if err := unexpected(d.audit.Step(ctx)); err != nil && n.fed.Member(n.site) {
		return err
	}
	if _, err := n.ring.Judge(ctx); err != nil {
		return err
	}
	if n.w.plant.KeepAccounts {
		return nil
	}
	if err := unexpected(d.accounts.Step(ctx)); err != nil {
		return err
	}
	for _, a := range n.mayHold() {
		if _, err := d.directory.FinishErasures(ctx, a); unexpected(err) != nil {
			return err
		}
		if _, err := d.directory.ConfirmErasures(ctx, a, n.site, n.sitesOf(a)); unexpected(err) != nil {
			return err
		}
	}
	return nil
}

func (n *node) sitesOf(a event.AuthorityID) []event.SiteID {
	known, _ := n.fed.Authority(a)
	return known.Sites
}

// showKeys saves again what can be read with keys that have come or are erased.
func (n *node) showKeys(ctx context.Context) error {
	for {
		select {
		case news := <-n.news:
			if err := n.showAll(ctx, news); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

func (n *node) showAll(ctx context.Context, news []keyring.Changed) error {
	var refs []readmodel.KeyRef
	for _, k := range news {
		if k == (keyring.Changed{}) {
			return n.model.Rebuild(ctx)
		}
		refs = append(refs, readmodel.KeyRef{Authority: k.Authority, KeyID: k.KeyID})
	}
	return n.model.KeysChanged(ctx, refs)
}

// refusal returns err unless it is one that somebody gets who may not, is nobody, or came too late.
func refusal(err error) error {
	switch fault.KindOf(err) {
	case fault.Forbidden, fault.Unauthenticated, fault.Invalid:
		return nil
	}
	return unexpected(err)
}

// persons returns who is in the register, as a site knows it; a few are imported where nobody is.
func (w *World) persons(ctx context.Context, n *node, id event.AuthorityID) ([]directory.PersonID, error) {
	list, err := n.people.directory.Resolve(ctx, id, directory.Audience{Everyone: true})
	if err != nil || len(list) == 0 {
		if err == nil {
			err = w.importPeople(ctx, n, id)
		}
		return nil, err
	}
	var out []directory.PersonID
	for _, r := range list {
		out = append(out, r.Person)
	}
	return out, nil
}

// settleIn gives a new authority a few people, of whom some are administrators and some are signed in.
func (w *World) settleIn(ctx context.Context, n *node, id event.AuthorityID) error {
	if err := n.settle(ctx); err != nil {
		return err
	}
	if _, err := w.persons(ctx, n, id); err != nil {
		return err
	}
	if err := w.noteShared(ctx, n, id); err != nil {
		return err
	}
	for i := range 4 {
		s, err := w.newSecret(ctx, n, id, byLink)
		if err != nil || s == nil {
			return err
		}
		if err := w.use(ctx, n, s); err != nil {
			return err
		}
		if i == 0 {
			if err := w.setApp(ctx, n, w.people.sessions[len(w.people.sessions)-1].principal); err != nil {
				return err
			}
			continue
		}
		if _, _, err := n.people.access.Grant(ctx, console, id, access.GrantDraft{Role: access.Administrator, Person: s.person}); refusal(err) != nil {
			return err
		}
	}
	return nil
}

// later is how long after now something ends that somebody has set a term to.
func (w *World) later() time.Duration { return time.Duration(1+w.rnd.IntN(240)) * time.Minute }

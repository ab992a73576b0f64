// SPDX-License-Identifier: EUPL-1.2

package privacy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/guest"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/program"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/session"
)

// Directory is the register: a directory.Service.
type Directory interface {
	Person(ctx context.Context, authority event.AuthorityID, id directory.PersonID) (directory.Person, error)
	Units(ctx context.Context, authority event.AuthorityID) ([]directory.Unit, error)
	Functions(ctx context.Context, authority event.AuthorityID) ([]directory.Function, error)
}

// Accounts knows what people can come in with: an identity.Service.
type Accounts interface {
	Account(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (identity.Account, error)
	Warnings(ctx context.Context, authority event.AuthorityID) ([]identity.Warning, error)
}

// Rights knows grants and approvals: an access.Service.
type Rights interface {
	Grants(ctx context.Context, authority event.AuthorityID) ([]access.Grant, error)
	Approvals(ctx context.Context, authority event.AuthorityID) ([]access.Approval, error)
}

// Programs knows tokens and app passwords: a program.Service.
type Programs interface {
	Programs(ctx context.Context, authority event.AuthorityID) ([]program.Program, error)
	Owned(ctx context.Context, authority event.AuthorityID, owner directory.PersonID) ([]program.Program, error)
}

// Guests knows who was let in for one incident: a guest.Service.
type Guests interface {
	Guests(ctx context.Context, authority event.AuthorityID) ([]guest.Guest, error)
}

// Entries reads the audit: an audit.Service.
type Entries interface {
	Entries(ctx context.Context, authority event.AuthorityID, q audit.Query) ([]audit.Line, error)
}

// Model is what the package needs of a readmodel.Model.
type Model interface {
	View(ctx context.Context, read func(q readmodel.Query) error) error
}

// Config is what a Service works with. Every field is required.
type Config struct {
	Self      event.SiteID
	Model     Model
	Directory Directory
	Accounts  Accounts
	Rights    Rights
	Programs  Programs
	Guests    Guests
	Audit     Entries
	// Erasures returns the state of all erasures of an authority.
	Erasures func(ctx context.Context, authority event.AuthorityID) ([]Erasure, error)
	Now      func() time.Time
}

// Service gathers documents. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns a service.
func New(c Config) *Service { return &Service{cfg: c} }

// The bounds of a document's lists. A site keeps fewer alarms; of the audit the youngest lines are given.
const (
	maxAlarms = 10_000
	maxAudit  = 20_000
)

// gathering is one document being put together.
type gathering struct {
	*Service
	ctx       context.Context
	authority event.AuthorityID
	person    directory.PersonID
	actor     string
	functions []directory.FunctionID
	out       Document
	// known is set as soon as anything is found about the person.
	known bool
}

// Export returns everything that this site holds about the person. It does not judge: whoever calls has. It returns
// directory.ErrPersonUnknown for somebody about whom nothing is held, else the errors of the services it asks. It reads the
// whole audit of the person and may take seconds.
func (s *Service) Export(ctx context.Context, authority event.AuthorityID, person directory.PersonID) (Document, error) {
	if !person.Valid() {
		return Document{}, directory.ErrPersonUnknown
	}
	g := &gathering{Service: s, ctx: ctx, authority: authority, person: person, actor: string(access.Person) + "/" + string(person)}
	g.out = Document{Format: Format, Authority: authority, Person: person, Site: s.cfg.Self, MadeAt: s.cfg.Now().UTC(), Notes: Notes(), Truncated: []string{}}
	for _, part := range []func() error{g.record, g.account, g.warnings, g.roles, g.approvals, g.programs, g.guests, g.readModel, g.audit, g.erasure} {
		if err := part(); err != nil {
			return Document{}, fmt.Errorf("gather what is stored about a person: %w", err)
		}
	}
	if !g.known {
		return Document{}, directory.ErrPersonUnknown
	}
	return g.out, nil
}

// record goes on without one: somebody who has left the register is still in alarms and in the audit.
func (g *gathering) record() error {
	p, err := g.cfg.Directory.Person(g.ctx, g.authority, g.person)
	r := &g.out.Directory
	*r = Record{Readable: p.Readable, DisplayName: p.DisplayName, GivenName: p.GivenName, FamilyName: p.FamilyName, Title: p.Title,
		Position: p.Position, Phone: p.Phone, Language: p.Language, HasManager: p.Manager != "",
		Channels: []Channel{}, Units: []Named{}, Functions: []Named{}}
	if errors.Is(err, directory.ErrPersonUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	g.known, g.functions = true, p.Functions
	for _, c := range p.Reachability {
		r.Channels = append(r.Channels, Channel{Kind: c.Kind, Address: c.Address})
	}
	return g.names(p)
}

// names says what the person's units and functions are called.
func (g *gathering) names(p directory.Person) error {
	units, err := g.cfg.Directory.Units(g.ctx, g.authority)
	if err != nil {
		return err
	}
	functions, err := g.cfg.Directory.Functions(g.ctx, g.authority)
	if err != nil {
		return err
	}
	for _, u := range units {
		if slices.Contains(p.Units, u.ID) {
			g.out.Directory.Units = append(g.out.Directory.Units, Named{ID: string(u.ID), Name: u.Name})
		}
	}
	for _, f := range functions {
		if slices.Contains(p.Functions, f.ID) {
			g.out.Directory.Functions = append(g.out.Directory.Functions, Named{ID: string(f.ID), Name: f.Name})
		}
	}
	return nil
}

func (g *gathering) account() error {
	a, err := g.cfg.Accounts.Account(g.ctx, g.authority, g.person)
	g.out.Account = Account{State: string(identity.StateNone), Passkeys: []Passkey{}, Missing: []string{}}
	if errors.Is(err, identity.ErrPersonUnknown) || errors.Is(err, directory.ErrPersonUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	out := &g.out.Account
	out.State, out.CodesLeft, out.CodesIssued, out.TOTP = string(a.State), a.CodesLeft, a.CodesIssued, a.TOTP
	out.InvitedAt, out.LastSignIn, out.Missing = a.InvitedAt, a.LastSignIn, append(out.Missing, a.Missing...)
	for _, p := range a.Passkeys {
		out.Passkeys = append(out.Passkeys, Passkey{Label: p.Label, Host: p.Host, Added: p.Added, Site: p.Site, Synced: p.Synced, Void: p.Void})
	}
	return nil
}

func (g *gathering) warnings() error {
	list, err := g.cfg.Accounts.Warnings(g.ctx, g.authority)
	g.out.Warnings = []Warning{}
	for _, w := range list {
		if w.Person == g.person {
			g.out.Warnings = append(g.out.Warnings, Warning{What: w.What, At: w.At, Sites: orEmpty(w.Sites)})
		}
	}
	return err
}

func (g *gathering) roles() error {
	list, err := g.cfg.Rights.Grants(g.ctx, g.authority)
	g.out.Roles = []Role{}
	for _, x := range list {
		if x.Person != g.person && (x.Function == "" || !slices.Contains(g.functions, x.Function)) {
			continue
		}
		g.known = g.known || x.Person == g.person
		g.out.Roles = append(g.out.Roles, Role{Role: x.Role, Unit: x.Unit, Function: x.Function, From: x.From, Until: x.Until,
			GrantedAt: x.GrantedAt, GrantedBy: g.who(x.GrantedBy), Withdrawn: x.Withdrawn, WithdrawnAt: x.WithdrawnAt})
	}
	return err
}

func (g *gathering) approvals() error {
	list, err := g.cfg.Rights.Approvals(g.ctx, g.authority)
	g.out.Approvals = []Approval{}
	if len(list) >= access.MaxListed {
		g.out.Truncated = append(g.out.Truncated, "approvals")
	}
	for _, x := range list {
		var parts []string
		if x.AskedBy == g.actor || x.Behind == g.actor {
			parts = append(parts, "asked")
		}
		if slices.ContainsFunc(x.Decisions, func(d access.Decision) bool { return d.By == g.actor }) {
			parts = append(parts, "decided")
		}
		if strings.Contains(string(x.Args), `"`+string(g.person)+`"`) {
			parts = append(parts, "about")
		}
		if parts != nil {
			g.known = true
			g.out.Approvals = append(g.out.Approvals, Approval{ID: x.ID, Deed: x.Deed, Parts: parts, AskedAt: x.AskedAt,
				AskedBy: g.who(x.AskedBy), State: string(x.State)})
		}
	}
	return err
}

func (g *gathering) programs() error {
	owned, err := g.cfg.Programs.Owned(g.ctx, g.authority, g.person)
	if err != nil {
		return err
	}
	all, err := g.cfg.Programs.Programs(g.ctx, g.authority)
	if err != nil {
		return err
	}
	g.out.Programs = []Program{}
	for _, p := range owned {
		g.out.Programs = append(g.out.Programs, programOf(p, true))
	}
	for _, p := range all {
		if p.MadeBy == g.actor && p.Owner != g.person {
			g.out.Programs = append(g.out.Programs, programOf(p, false))
		}
	}
	g.known = g.known || len(g.out.Programs) > 0
	return nil
}

// programOf leaves out when a program was used that is not the person's.
func programOf(p program.Program, owned bool) Program {
	out := Program{Name: p.Name, Kind: string(p.Kind), Owned: owned, MadeAt: p.MadeAt, Expires: p.Expires, State: string(p.State)}
	switch {
	case owned:
		out.LastUsed = p.LastUsed
	case p.Owner != "":
		out.Name = "" // the name that somebody else gave their app password
	}
	return out
}

func (g *gathering) guests() error {
	list, err := g.cfg.Guests.Guests(g.ctx, g.authority)
	g.out.Guests = []InvitedGuest{}
	for _, x := range list {
		if x.InvitedBy == g.actor {
			g.known = true
			g.out.Guests = append(g.out.Guests, InvitedGuest{Incident: x.Incident, InvitedAt: x.InvitedAt})
		}
	}
	return err
}

// readModel reads alarms and ended sessions in one consistent moment.
func (g *gathering) readModel() error {
	var ended struct {
		Ended []session.Ended `json:"ended"`
	}
	err := g.cfg.Model.View(g.ctx, func(q readmodel.Query) (err error) {
		if g.out.Alarms, err = readReceived(g.ctx, q, g.authority, g.person, maxAlarms); err != nil {
			return err
		}
		if g.out.Raised, err = readRaised(g.ctx, q, g.authority, g.actor, maxAlarms); err != nil {
			return err
		}
		_, err = q.State(g.ctx, g.authority, session.SubjectOf(string(g.person)), &ended)
		return err
	})
	g.out.Alarms, g.out.Raised, g.out.Sessions = orEmpty(g.out.Alarms), orEmpty(g.out.Raised), []EndedSession{}
	for _, e := range ended.Ended {
		g.out.Sessions = append(g.out.Sessions, EndedSession{Expires: e.Expires})
	}
	if len(g.out.Alarms) == maxAlarms {
		g.out.Truncated = append(g.out.Truncated, "alarmsReceived")
	}
	if len(g.out.Raised) == maxAlarms {
		g.out.Truncated = append(g.out.Truncated, "alarmsRaised")
	}
	g.known = g.known || len(g.out.Alarms)+len(g.out.Raised) > 0
	return err
}

// audit finds the lines by the person's id, which is one word of actor and object.
func (g *gathering) audit() error {
	q := audit.Query{Text: string(g.person), Limit: audit.MaxLimit}
	g.out.Audit = []AuditLine{}
	for len(g.out.Audit) < maxAudit {
		page, err := g.cfg.Audit.Entries(g.ctx, g.authority, q)
		if err != nil {
			return err
		}
		for _, l := range page {
			g.out.Audit = append(g.out.Audit, g.auditLine(l))
		}
		if len(page) < q.Limit {
			g.known = g.known || len(g.out.Audit) > 0
			return nil
		}
		q.After = page[len(page)-1].ID
	}
	g.known = true
	g.out.Truncated = append(g.out.Truncated, "audit")
	return nil
}

func (g *gathering) auditLine(l audit.Line) AuditLine {
	out := AuditLine{At: l.At, Site: l.Site, Deed: l.Deed, Object: OwnOnly(l.Object, g.person), Outcome: string(l.Outcome), Code: l.Code, Count: l.Count}
	if l.Actor == g.actor {
		out.Own, out.Way, out.From = true, l.Way, l.From
		return out
	}
	out.By = g.who(l.Actor)
	return out
}

func (g *gathering) erasure() error {
	list, err := g.cfg.Erasures(g.ctx, g.authority)
	for _, e := range list {
		if e.Person == g.person {
			e.By, e.Confirmed, e.Missing = g.who(e.By), orEmpty(e.Confirmed), orEmpty(e.Missing)
			g.known, g.out.Erasure = true, &e
		}
	}
	return err
}

// who says what sort of somebody an actor is, without saying who.
func (g *gathering) who(actor string) string {
	kind, id, _ := strings.Cut(actor, "/")
	switch {
	case actor == g.actor:
		return "you"
	case id == "" && kind != "":
		return kind // the operator, a part of the program
	case kind == string(access.Visitor):
		return "a guest"
	case kind == string(access.Program):
		return "a program"
	case kind == "":
		return "unknown"
	}
	return Another
}

// ofPeople are the segments of subjects and paths behind which somebody's id stands.
var ofPeople = []string{"person", "people", "account", "accounts", "sessions", "guest", "guests", "erasure"}

// OwnOnly cuts the ids of other people out of a path, or out of the subjects that an object names.
func OwnOnly(object string, person directory.PersonID) string {
	words := strings.Split(object, " ")
	for i, word := range words {
		words[i] = ownOnly(word, person)
	}
	return strings.Join(words, " ")
}

func ownOnly(object string, person directory.PersonID) string {
	parts := strings.Split(object, "/")
	for i := 1; i < len(parts); i++ {
		if slices.Contains(ofPeople, parts[i-1]) && directory.PersonID(parts[i]).Valid() && parts[i] != string(person) {
			parts[i] = "…"
		}
	}
	return strings.Join(parts, "/")
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

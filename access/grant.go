// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// MaxGrants is how many grants of one authority may be live at a time.
const MaxGrants = 10_000

// Grant is a role that somebody has, had, or will have.
type Grant struct {
	ID   string
	Role Role
	Unit directory.UnitID // with everything below it; "" is the whole authority
	// One of Person and Function is set. A function's grant is for its holders and deputies, whoever they are at the time.
	Person    directory.PersonID
	Function  directory.FunctionID
	From      time.Time // zero: from the beginning
	Until     time.Time // zero: without end; the instant itself is not in it any more
	GrantedBy string    // an actor: "person/12c0…", "operator"
	GrantedAt time.Time // by the clock of the site where it was granted
	Withdrawn bool
	// The withdrawal, also if the granting arrived after it. Of several it is the first in order.
	WithdrawnBy    string
	WithdrawnAt    time.Time
	WithdrawnStamp event.Stamp
}

// InForce reports whether the grant gives its role at that time.
func (g Grant) InForce(now time.Time) bool {
	return !g.Withdrawn && inForce(millis(g.From), millis(g.Until), now)
}

// GrantDraft is what somebody wants to grant, see Grant for the fields. Its JSON is what an approval of the deed
// DeedGrantRole has as its arguments.
type GrantDraft struct {
	Role     Role                 `json:"role"`
	Unit     directory.UnitID     `json:"unit,omitempty"`
	Person   directory.PersonID   `json:"person,omitempty"`
	Function directory.FunctionID `json:"function,omitempty"`
	From     time.Time            `json:"from,omitzero"`
	Until    time.Time            `json:"until,omitzero"`
}

// Args returns the draft as the arguments of an approval.
func (d GrantDraft) Args() json.RawMessage { return argsOf(d) }

// The refusals of granting and withdrawing.
var (
	ErrRole = fault.New(fault.Invalid, "access.role", "this role cannot be granted",
		"name one of: operator, administrator, alarm-officer, journal-keeper, plan-editor, auditor")
	ErrOperatorOnly = fault.New(fault.Forbidden, "access.operator_only", "only whoever holds the machine may make somebody an operator",
		"grant it at the site's own console")
	ErrHolder = fault.New(fault.Invalid, "access.holder", "a grant is for one person or for one function of the register",
		"name a person or a function, not both")
	ErrUnit = fault.New(fault.Invalid, "access.unit", "there is no such unit in the register", "choose a unit from the list, or none for the whole authority")
	ErrTerm = fault.New(fault.Invalid, "access.term", "the grant would end before it begins, or has ended already",
		"give an end that is later than the beginning and than now")
	ErrGranted = fault.New(fault.Conflict, "access.granted_already", "this role is granted there already, for that time and more",
		"nothing is to be done; to shorten it, withdraw the old grant and grant again")
	ErrTooManyGrants = fault.New(fault.Exhausted, "access.too_many_grants", "there are 10,000 grants in this authority",
		"grant to functions instead of persons, and withdraw what is not needed")
	ErrGrantUnknown = fault.New(fault.NotFound, "access.grant_unknown", "there is no such grant",
		"look at the list again; a grant whose facts have not arrived at this site yet appears as soon as they have")
	ErrWithdrawn = fault.New(fault.Conflict, "access.withdrawn_already", "this grant is withdrawn already", "nothing is to be done")
	// ErrLastAdministrator keeps an authority from locking itself out.
	ErrLastAdministrator = fault.New(fault.Conflict, "access.last_administrator", "this is the last grant that gives the whole authority an administrator",
		"make somebody else an administrator first; whoever holds the machine can withdraw it all the same")
)

// Grant gives a role. It takes GrantRoles, for the unit in question, and for the role Operator the console. It returns the
// refusals of judging, ErrRole, ErrOperatorOnly, ErrHolder, ErrUnit, ErrTerm, ErrGranted, ErrTooManyGrants, or ErrNeedsSecond if
// the policy marks granting and no approval of this very draft is being carried out.
func (s *Service) Grant(ctx context.Context, by Principal, authority event.AuthorityID, d GrantDraft) (Grant, eventlog.Receipt, error) {
	d.From, d.Until = timeOf(millis(d.From)), timeOf(millis(d.Until))
	s.writing.Lock()
	defer s.writing.Unlock()
	v, err := s.mayGrant(ctx, by, authority, d.Role, d.Unit)
	if err != nil {
		return Grant{}, eventlog.Receipt{}, err
	}
	if err := s.check(ctx, authority, d); err != nil {
		return Grant{}, eventlog.Receipt{}, err
	}
	if err := s.takesSecond(ctx, by, authority, DeedGrantRole, d.Args()); err != nil {
		return Grant{}, eventlog.Receipt{}, err
	}
	id, err := event.NewID(s.cfg.Rand)
	if err != nil {
		return Grant{}, eventlog.Receipt{}, deed(err, "grant a role")
	}
	fact := Granted{Role: d.Role, Unit: d.Unit, Person: d.Person, Function: d.Function, From: millis(d.From), Until: millis(d.Until)}
	r, err := s.append(ctx, authority, event.Register, event.Draft{
		Subject: grantSubject(string(id)), Kind: KindGranted, Actor: by.Actor(), Grant: v.Grant, Data: fact})
	g := Grant{ID: string(id), Role: d.Role, Unit: d.Unit, Person: d.Person, Function: d.Function, From: d.From, Until: d.Until, GrantedBy: by.Actor()}
	if len(r.Events) > 0 {
		g.GrantedAt = r.Events[0].Time()
	}
	return g, r, deed(err, "grant a role")
}

// mayGrant judges who may give or take a role in a unit.
func (s *Service) mayGrant(ctx context.Context, by Principal, authority event.AuthorityID, role Role, unit directory.UnitID) (Verdict, error) {
	v, err := s.judgeThere(ctx, by, authority, GrantRoles)
	if err != nil {
		return v, err
	}
	if role == Operator && by.Kind != Console {
		return v, ErrOperatorOnly
	}
	covered, err := s.Covers(ctx, authority, v, unit)
	if err == nil && !covered {
		err = ErrForbidden
	}
	return v, err
}

// judgeThere judges a change, which is always of one named authority.
func (s *Service) judgeThere(ctx context.Context, by Principal, authority event.AuthorityID, need Permission) (Verdict, error) {
	if authority == "" {
		return Verdict{}, ErrNoAuthority
	}
	return s.Judge(ctx, by, authority, need)
}

// check looks whether a draft makes sense here and now.
func (s *Service) check(ctx context.Context, authority event.AuthorityID, d GrantDraft) error {
	if !d.Role.Grantable() {
		return ErrRole.At(0, "role")
	}
	now := s.cfg.Now()
	if !d.Until.IsZero() && (!d.Until.After(d.From) || !d.Until.After(now)) {
		return ErrTerm.At(0, "until")
	}
	if err := s.checkHolder(ctx, authority, d); err != nil {
		return err
	}
	if d.Unit != "" {
		parent, err := s.parents(ctx, authority)
		if err != nil {
			return err
		}
		if _, known := parent[d.Unit]; !known {
			return ErrUnit.At(0, "unit")
		}
	}
	live, err := s.live(ctx, authority)
	if err != nil {
		return err
	}
	if len(live) >= MaxGrants {
		return ErrTooManyGrants
	}
	if slices.ContainsFunc(live, func(g Grant) bool { return g.includes(d, now) }) {
		return ErrGranted
	}
	return nil
}

func (s *Service) checkHolder(ctx context.Context, authority event.AuthorityID, d GrantDraft) error {
	if (d.Person == "") == (d.Function == "") {
		return ErrHolder
	}
	if d.Person != "" {
		p, err := s.cfg.Directory.Person(ctx, authority, d.Person)
		if errors.Is(err, directory.ErrPersonUnknown) || err == nil && p.Readable == directory.Erased {
			return ErrHolder.At(0, "person")
		}
		return deed(err, "look up a person")
	}
	functions, err := s.cfg.Directory.Functions(ctx, authority)
	if err == nil && !slices.ContainsFunc(functions, func(f directory.Function) bool { return f.ID == d.Function }) {
		return ErrHolder.At(0, "function")
	}
	return deed(err, "look up the functions")
}

// includes reports whether the grant gives from now on all that the draft would. Two equal grants would be a trap: the role
// would stay after one of them has been withdrawn.
func (g Grant) includes(d GrantDraft, now time.Time) bool {
	return g.Role == d.Role && g.Unit == d.Unit && g.Person == d.Person && g.Function == d.Function &&
		(!g.From.After(d.From) || !g.From.After(now)) && (g.Until.IsZero() || !d.Until.IsZero() && !g.Until.Before(d.Until))
}

// Withdraw ends a grant for good, wherever and whenever it was given. It takes GrantRoles for the grant's unit; an
// administrator may take the role Operator away too, because less power needs no console. It returns the refusals of judging,
// ErrGrantUnknown, ErrWithdrawn, and ErrLastAdministrator to everybody but the console.
func (s *Service) Withdraw(ctx context.Context, by Principal, authority event.AuthorityID, grant string) (eventlog.Receipt, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	v, err := s.judgeThere(ctx, by, authority, GrantRoles)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	g, err := s.grant(ctx, authority, grant)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	covered, err := s.Covers(ctx, authority, v, g.Unit)
	switch {
	case err != nil:
		return eventlog.Receipt{}, err
	case !covered:
		return eventlog.Receipt{}, ErrForbidden
	case g.Withdrawn:
		return eventlog.Receipt{}, ErrWithdrawn
	}
	if by.Kind != Console {
		if err := s.keepAdministrator(ctx, authority, g); err != nil {
			return eventlog.Receipt{}, err
		}
	}
	r, err := s.append(ctx, authority, event.Register, event.Draft{
		Subject: grantSubject(grant), Kind: KindWithdrawn, Actor: by.Actor(), Grant: v.Grant, Data: Withdrawn{Grant: grant}})
	return r, deed(err, "withdraw a grant")
}

// keepAdministrator returns ErrLastAdministrator if without the grant nobody were an administrator of the whole authority now.
// A grant that reaches nobody, because its function is vacant or its person gone, does not count.
func (s *Service) keepAdministrator(ctx context.Context, authority event.AuthorityID, leaving Grant) error {
	now := s.cfg.Now()
	counts := func(g Grant) bool { return g.Role == Administrator && g.Unit == "" && g.InForce(now) }
	if !counts(leaving) {
		return nil
	}
	live, err := s.live(ctx, authority)
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(live, func(g Grant) bool { return g.ID == leaving.ID || !counts(g) })
	left, err := s.holdersOf(ctx, authority, rest)
	if err == nil && len(left) == 0 {
		err = ErrLastAdministrator
	}
	return err
}

// Grants returns the authority's grants: live ones first, then those withdrawn, each the youngest first, at most MaxGrants.
// Live ones may have ended or not begun, see Grant.InForce.
func (s *Service) Grants(ctx context.Context, authority event.AuthorityID) (list []Grant, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		list, err = listGrants(ctx, q, authority, false)
		return err
	})
	return list, deed(err, "list grants")
}

// Holders returns who has the role now, in person or by a function, in the whole authority or in a unit; sorted, each once.
// For MemberRole and GuestRole, which nobody is granted, it returns nobody.
func (s *Service) Holders(ctx context.Context, authority event.AuthorityID, role Role) ([]directory.PersonID, error) {
	live, err := s.live(ctx, authority)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	return s.holdersOf(ctx, authority, slices.DeleteFunc(live, func(g Grant) bool { return g.Role != role || !g.InForce(now) }))
}

// holdersOf returns the people in the register whom the grants reach.
func (s *Service) holdersOf(ctx context.Context, authority event.AuthorityID, grants []Grant) ([]directory.PersonID, error) {
	var people []directory.PersonID
	for _, g := range grants {
		if g.Person != "" {
			people = append(people, g.Person)
		}
	}
	if slices.ContainsFunc(grants, func(g Grant) bool { return g.Function != "" }) {
		functions, err := s.cfg.Directory.Functions(ctx, authority)
		if err != nil {
			return nil, deed(err, "look up the functions")
		}
		for _, f := range functions {
			if slices.ContainsFunc(grants, func(g Grant) bool { return g.Function == f.ID }) {
				people = slices.Concat(people, f.Holders, f.Deputies)
			}
		}
	}
	slices.Sort(people)
	return s.registered(ctx, authority, slices.Compact(people))
}

// registered leaves out who is not in the register any more.
func (s *Service) registered(ctx context.Context, authority event.AuthorityID, people []directory.PersonID) ([]directory.PersonID, error) {
	kept := people[:0]
	for _, id := range people {
		p, err := s.cfg.Directory.Person(ctx, authority, id)
		if errors.Is(err, directory.ErrPersonUnknown) || err == nil && p.Readable == directory.Erased {
			continue
		}
		if err != nil {
			return nil, deed(err, "look up a person")
		}
		kept = append(kept, id)
	}
	return kept, nil
}

// grant returns one grant, or ErrGrantUnknown.
func (s *Service) grant(ctx context.Context, authority event.AuthorityID, id string) (g Grant, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		g, err = oneGrant(ctx, q, authority, id)
		return err
	})
	return g, err
}

// live returns the grants that are not withdrawn.
func (s *Service) live(ctx context.Context, authority event.AuthorityID) (list []Grant, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		list, err = listGrants(ctx, q, authority, true)
		return err
	})
	return list, deed(err, "look up the grants")
}

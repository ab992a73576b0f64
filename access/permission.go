// SPDX-License-Identifier: EUPL-1.2

package access

import "slices"

// Permission is one thing that somebody may be allowed to do in one authority. Its text is stored in grants of programs and
// in the audit, so it is never renamed.
type Permission string

// The permissions. Every route of the portal and of the API names one, or says that it is open to all.
const (
	SeeOverview     Permission = "overview.see"     // sites, copies, merges, what this site does not know
	OwnAccount      Permission = "account.own"      // one's own passkeys, codes, sessions, app passwords
	Vouch           Permission = "account.vouch"    // say that somebody is who they say they are
	SeeAlarms       Permission = "alarm.see"        // alarms, their boards and replies
	RaiseAlarm      Permission = "alarm.raise"      // also previews and the form
	CloseAlarm      Permission = "alarm.close"      // cancel, all-clear
	SeePeople       Permission = "people.see"       // names, functions, addresses
	ImportDirectory Permission = "directory.import" // the authority's people, units and functions
	SeeAccounts     Permission = "account.see"      // who is enrolled, who is not
	ManageAccounts  Permission = "account.manage"   // invite, remind, end sessions, remove passkeys
	SeeRoles        Permission = "role.see"         // who may do what
	GrantRoles      Permission = "role.grant"       // and withdraw
	SeeApprovals    Permission = "approval.see"     // what waits for a second person
	InviteGuests    Permission = "guest.invite"     // and send away
	ManagePrograms  Permission = "program.manage"   // API tokens
	SetPolicy       Permission = "policy.set"       // two-person rule, retention, identity provider on or off
	SeePolicy       Permission = "policy.see"
	SeeAudit        Permission = "audit.see" // also search and export
	ExportPerson    Permission = "person.export"
	ErasePerson     Permission = "person.erase"
	SeeSite         Permission = "site.see"        // status, forks, troubles, hashes
	ManageSite      Permission = "site.manage"     // invite, admit, describe, scrub, sign-in links
	AddAuthority    Permission = "authority.add"   // a new authority in the federation
	PlaceAuthority  Permission = "authority.place" // allow and forbid sites
	SeeIncident     Permission = "incident.see"    // the one alarm a guest was let in for
)

// Role is a bundle of permissions that people know by its name.
type Role string

// The roles.
const (
	Operator      Role = "operator"       // Betreiber eines Standorts
	Administrator Role = "administrator"  // Administration der Behörde
	AlarmOfficer  Role = "alarm-officer"  // Alarmierungsberechtigte
	JournalKeeper Role = "journal-keeper" // Tagebuchführung
	PlanEditor    Role = "plan-editor"    // Planpflege
	MemberRole    Role = "member"         // jede angemeldete Person
	GuestRole     Role = "guest"          // Gast
	Auditor       Role = "auditor"        // Revision
)

// table is who may do what. What is not here is forbidden. Every enrolled person is a member without a grant; a guest is one by
// their invitation; everything else needs a grant. The console (whoever holds the machine) has every permission for the
// authorities whose keys the machine holds anyway: claiming otherwise would be theatre. Each of its deeds is in the audit.
var table = map[Role][]Permission{
	MemberRole:    {SeeOverview, OwnAccount, Vouch, SeeAlarms, SeePeople, SeeIncident},
	AlarmOfficer:  {RaiseAlarm, CloseAlarm, SeeApprovals, InviteGuests},
	JournalKeeper: {SeeApprovals, InviteGuests},
	PlanEditor:    {SeeRoles},
	Administrator: {ImportDirectory, SeeAccounts, ManageAccounts, SeeRoles, GrantRoles, SeeApprovals, InviteGuests, ManagePrograms,
		SetPolicy, SeePolicy, ExportPerson, ErasePerson, SeeSite, PlaceAuthority},
	Auditor:   {SeeAccounts, SeeRoles, SeePolicy, SeeApprovals, SeeAudit, SeeSite},
	Operator:  {SeeSite, ManageSite},
	GuestRole: {SeeIncident},
}

// never are the permissions that no program ever has, whatever its scopes say: those that give power over rights and sites, and
// those that are about being oneself. A token that is found must not be a way to more than it was made for.
var never = []Permission{OwnAccount, Vouch, ManageAccounts, GrantRoles, ManagePrograms, SetPolicy, ErasePerson, ManageSite, AddAuthority, PlaceAuthority}

// ownKey are the permissions that take a sign-in with something of one's own: a passkey, a code, people who know one. With them
// whoever has seized an identity provider could give themself rights and ways in that stay when it is switched off.
var ownKey = []Permission{Vouch, ImportDirectory, ManageAccounts, GrantRoles, ManagePrograms, SetPolicy, ExportPerson, ErasePerson, ManageSite, AddAuthority, PlaceAuthority}

// order lists all permissions as a person reads them.
var order = []Permission{SeeOverview, OwnAccount, Vouch, SeeAlarms, RaiseAlarm, CloseAlarm, SeePeople, ImportDirectory, SeeAccounts, ManageAccounts,
	SeeRoles, GrantRoles, SeeApprovals, InviteGuests, ManagePrograms, SetPolicy, SeePolicy, SeeAudit, ExportPerson, ErasePerson, SeeSite, ManageSite,
	AddAuthority, PlaceAuthority, SeeIncident}

// Permissions returns all permissions, in the order in which people are shown them. The caller owns the result.
func Permissions() []Permission { return slices.Clone(order) }

// Valid reports whether p is a permission that this program knows.
func (p Permission) Valid() bool { return slices.Contains(order, p) }

// Scopable reports whether p may be among a program's scopes.
func (p Permission) Scopable() bool { return p.Valid() && !slices.Contains(never, p) }

// Roles returns all roles, in the order in which people are shown them. The caller owns the result.
func Roles() []Role {
	return []Role{MemberRole, AlarmOfficer, JournalKeeper, PlanEditor, Administrator, Auditor, Operator, GuestRole}
}

// Valid reports whether r is a role that this program knows.
func (r Role) Valid() bool { return table[r] != nil }

// Grantable reports whether r is had by a grant: a member is one by being enrolled, a guest by being invited.
func (r Role) Grantable() bool { return r.Valid() && r != MemberRole && r != GuestRole }

// Can reports whether the role has the permission.
func (r Role) Can(p Permission) bool { return slices.Contains(table[r], p) }

// RolePermissions returns what a role may do, nothing for one that is not known. Whoever has a granted role is a member
// besides. The caller owns the result.
func RolePermissions(r Role) []Permission { return slices.Clone(table[r]) }

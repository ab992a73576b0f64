// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// The package's comment shows the table to people; it is held to what is judged by.
func TestPermissionTableInTheCommentIsTheOneInForce(t *testing.T) {
	want := strings.Join(documented(), "\n")
	got := strings.Join(commentTable(t), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table in doc.go is not the one in permission.go: %s\nput this there:\n%s", diff, want)
	}
}

const tokenColumn = "program"

// documented returns the lines of the table as people read it.
func documented() []string {
	head := "//\t" + fmt.Sprintf("%-17s", "")
	for _, r := range Roles() {
		head += fmt.Sprintf(" %-*s", len(r), r)
	}
	lines := []string{head + " " + tokenColumn}
	for _, p := range order {
		line := fmt.Sprintf("//\t%-17s", p)
		for _, r := range Roles() {
			line += fmt.Sprintf(" %-*s", len(r), cross(r.Can(p)))
		}
		lines = append(lines, strings.TrimRight(line+" "+cross(p.Scopable()), " "))
	}
	return lines
}

func cross(b bool) string {
	if b {
		return "x"
	}
	return "."
}

// commentTable returns the lines of the table in doc.go.
func commentTable(t *testing.T) (lines []string) {
	t.Helper()
	b, err := os.ReadFile("doc.go")
	ok(t, err)
	for _, l := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(l, "//\t") && strings.HasSuffix(l, " "+tokenColumn) {
			lines = []string{l}
		} else if len(lines) > 0 && len(lines) <= len(order) {
			lines = append(lines, l)
		}
	}
	return lines
}

// commented reads who may do what out of the comment, for the matrix: what people are told is what is tested.
func commented(t *testing.T) map[string]map[Permission]bool {
	t.Helper()
	lines := commentTable(t)
	if len(lines) != len(order)+1 {
		t.Fatalf("doc.go has no table of %d permissions", len(order))
	}
	columns := strings.Fields(strings.TrimPrefix(lines[0], "//"))
	all := make(map[string]map[Permission]bool)
	for _, c := range columns {
		all[c] = make(map[Permission]bool)
	}
	for _, l := range lines[1:] {
		f := strings.Fields(strings.TrimPrefix(l, "//"))
		for i, c := range columns {
			all[c][Permission(f[0])] = f[i+1] == "x"
		}
	}
	return all
}

func TestPermissionsAreAllListedOnce(t *testing.T) {
	var permissions []Permission
	var roles []Role
	f, err := parser.ParseFile(token.NewFileSet(), "permission.go", nil, 0)
	ok(t, err)
	ast.Inspect(f, func(n ast.Node) bool {
		v, isValue := n.(*ast.ValueSpec)
		if !isValue || v.Type == nil || len(v.Values) != 1 {
			return true
		}
		lit, isLit := v.Values[0].(*ast.BasicLit)
		if !isLit {
			return true
		}
		text, err := strconv.Unquote(lit.Value)
		ok(t, err)
		switch v.Type.(*ast.Ident).Name {
		case "Permission":
			permissions = append(permissions, Permission(text))
		case "Role":
			roles = append(roles, Role(text))
		}
		return true
	})
	if diff := cmp.Diff(permissions, Permissions()); diff != "" || len(permissions) != len(slices.Compact(slices.Sorted(slices.Values(permissions)))) {
		t.Errorf("Permissions is not the list of the constants: %s", diff)
	}
	listed := Roles()
	slices.Sort(roles)
	slices.Sort(listed)
	if diff := cmp.Diff(roles, listed); diff != "" || len(table) != len(roles) {
		t.Errorf("Roles is not the list of the constants, or the table lacks one: %s", diff)
	}
	for r, list := range table {
		if len(slices.Compact(slices.Sorted(slices.Values(list)))) != len(list) || slices.ContainsFunc(list, func(p Permission) bool { return !p.Valid() }) {
			t.Errorf("%s has a permission twice or one that does not exist", r)
		}
	}
}

// actor is a principal, with what it may do.
type actor struct {
	name string
	p    Principal
	want func(Permission) bool
}

// actorsOf returns all kinds of principals that a role can come to.
func actorsOf(role Role, doc map[string]map[Permission]bool) []actor {
	name := string(role)
	member := func(p Permission) bool { return doc[string(MemberRole)][p] }
	full := func(p Permission) bool { return doc[name][p] && role != GuestRole || member(p) }
	nothing := func(Permission) bool { return false }
	program := func(owner string, scopes ...Permission) Principal {
		return Principal{Kind: Program, Authority: nordtal, ID: "prog", Way: ByToken, Scopes: scopes, Owner: owner}
	}
	as := func(id string, change func(*Principal)) Principal {
		p := person(id)
		change(&p)
		return p
	}
	return []actor{
		{"in person", person(name), full},
		{"as holder", person(name + "-holder"), full},
		{"as deputy", person(name + "-deputy"), full},
		{"in person, to enrol only", as(name, func(p *Principal) { p.Limited = true }), func(p Permission) bool { return p == OwnAccount }},
		{"a program in their name", program(name, Permissions()...), func(p Permission) bool { return full(p) && doc[tokenColumn][p] }},
		{"a program in their name that may list people", program(name, SeePeople), func(p Permission) bool { return p == SeePeople }},
		{"a program without scopes", program(name), nothing},
		{"a program in the name of nobody there", program("gone", Permissions()...), nothing},
		{"gone from the register", person("gone"), nothing},
		{"erased", person(name + "-erased"), nothing},
		{"a kind to come", as(name, func(p *Principal) { p.Kind = "robot" }), nothing},
	}
}

// others returns those whom nobody can grant anything.
func others(doc map[string]map[Permission]bool) []actor {
	guest := Principal{Kind: Visitor, Authority: nordtal, ID: "guest", Way: ByGuestCode, Incident: "alarm/7f3a"}
	aimless := guest
	aimless.Incident = ""
	limited := guest
	limited.Limited = true
	return []actor{
		{"guest", guest, func(p Permission) bool { return doc[string(GuestRole)][p] }},
		{"guest of no incident", aimless, func(Permission) bool { return false }},
		{"guest, limited", limited, func(Permission) bool { return false }},
		{"program of the authority", Principal{Kind: Program, Authority: nordtal, ID: "prog", Scopes: Permissions()}, func(p Permission) bool { return doc[tokenColumn][p] }},
	}
}

// populate gives the world people who have the role in person, by a function, and some who have it no more.
func populate(w *world, role Role) {
	name := string(role)
	for _, a := range []event.AuthorityID{nordtal, westmark} {
		for _, x := range []string{"", "-holder", "-deputy", "-erased"} {
			w.people[a][directory.PersonID(name+x)] = directory.Person{ID: directory.PersonID(name + x), Readable: directory.Readable}
		}
		w.people[a]["gone"] = directory.Person{ID: "gone", Readable: directory.Readable}
		w.assign(a, directory.FunctionID("f-"+name), directory.PersonID(name+"-holder"), directory.PersonID(name+"-deputy"))
	}
	if role.Grantable() {
		for _, d := range []GrantDraft{{Person: directory.PersonID(name)}, {Function: directory.FunctionID("f-" + name)},
			{Person: directory.PersonID(name + "-erased")}, {Person: "gone"}} {
			d.Role = role
			w.sites[0].mustGrant(d)
		}
	}
	delete(w.people[nordtal], "gone")
	gone := w.people[nordtal][directory.PersonID(name+"-erased")]
	gone.Readable = directory.Erased
	w.people[nordtal][gone.ID] = gone
}

// Every role × every permission × own and other authorities × every kind of principal.
func TestPermissionMatrix(t *testing.T) {
	doc := commented(t)
	judged := 0
	for _, role := range Roles() {
		t.Run(string(role), func(t *testing.T) {
			w := newWorld(t, 1)
			populate(w, role)
			for _, a := range append(actorsOf(role, doc), others(doc)...) {
				t.Run(a.name, func(t *testing.T) { judged += judgeAll(t, w.sites[0], a) })
			}
		})
	}
	t.Logf("%d judgements", judged)
}

// judgeAll asks for everything everywhere and returns how often it asked.
func judgeAll(t *testing.T, s *station, a actor) (n int) {
	t.Helper()
	for _, need := range append(Permissions(), "", "alarm.*", "people") {
		for _, own := range []event.AuthorityID{nordtal, ""} {
			n++
			_, err := s.Judge(s.ctx, a.p, own, need)
			if want := a.want(need); want && err != nil || !want && err != ErrForbidden { //nolint:errorlint // the very same
				t.Errorf("%s in %q: %v, want %v", need, own, err, want)
			}
		}
		for _, other := range []event.AuthorityID{westmark, farland, "sv-nowhere", event.Federation, "NOT A NAME"} {
			n++
			if _, err := s.Judge(s.ctx, a.p, other, need); err != ErrNoAuthority { //nolint:errorlint // the very same
				t.Errorf("%s in %q: %v", need, other, err)
			}
		}
	}
	all, err := s.Permitted(s.ctx, a.p, nordtal)
	ok(t, err)
	for _, need := range Permissions() {
		if _, may := all[need]; may != a.want(need) {
			t.Errorf("Permitted says %v of %s", may, need)
		}
	}
	return n
}

func TestPermissionOfTheConsole(t *testing.T) {
	s := newWorld(t, 1).sites[0]
	for _, need := range Permissions() {
		for _, a := range []event.AuthorityID{"", nordtal, westmark} {
			if v, err := s.Judge(s.ctx, console, a, need); err != nil || v.Grant != "" || v.Units != nil {
				t.Errorf("%s in %q: %+v, %v", need, a, v, err)
			}
		}
		for _, a := range []event.AuthorityID{farland, "sv-nowhere"} {
			if _, err := s.Judge(s.ctx, console, a, need); err != ErrNoAuthority { //nolint:errorlint // the very same
				t.Errorf("%s in %q: %v", need, a, err)
			}
		}
	}
	wantErr(t, second(s.Judge(s.ctx, console, nordtal, "people")), ErrForbidden)
	wantErr(t, second(s.Judge(s.ctx, Principal{}, "", SeeOverview)), ErrNoAuthority)
}

func second[T any](_ T, err error) error { return err }

// Whoever belongs to an authority that this site does not hold finds none here, not even their own.
func TestPermissionWhereTheOwnAuthorityIsNotHeld(t *testing.T) {
	s := newWorld(t, 1).sites[0]
	for _, kind := range []PrincipalKind{Person, Visitor, Program} {
		p := Principal{Kind: kind, Authority: farland, ID: "anna", Incident: "alarm/1", Scopes: Permissions()}
		for _, a := range []event.AuthorityID{farland, "", nordtal} {
			if _, err := s.Judge(s.ctx, p, a, SeeIncident); err != ErrNoAuthority { //nolint:errorlint // the very same
				t.Errorf("%s in %q: %v", kind, a, err)
			}
		}
		wantErr(t, second(s.Permitted(s.ctx, p, "")), ErrNoAuthority)
	}
}

// Every command refuses another authority with the same words, and everybody without the right.
func TestPermissionOfCommands(t *testing.T) {
	w := newWorld(t, 1)
	s := w.sites[0]
	admin := s.grants(Administrator, "anna")
	asked := s.ask(person("anna"), DeedErasePerson, `"x"`)
	carry := func(context.Context, Approval) (string, error) {
		t.Error("something was carried out")
		return "", nil
	}
	commands := map[string]func(p Principal, a event.AuthorityID) error{
		"Grant": func(p Principal, a event.AuthorityID) error {
			_, _, err := s.Grant(s.ctx, p, a, GrantDraft{Role: Auditor, Person: "carl"})
			return err
		},
		"Withdraw":  func(p Principal, a event.AuthorityID) error { return second(s.Withdraw(s.ctx, p, a, admin.ID)) },
		"SetPolicy": func(p Principal, a event.AuthorityID) error { return second(s.SetPolicy(s.ctx, p, a, DefaultPolicy())) },
		"Ask": func(p Principal, a event.AuthorityID) error {
			_, _, err := s.Ask(s.ctx, p, a, DeedErasePerson, []byte(`1`), 1, 0)
			return err
		},
		"Approve": func(p Principal, a event.AuthorityID) error {
			_, _, err := s.Approve(s.ctx, p, a, asked.ID, carry)
			return err
		},
		"Refuse": func(p Principal, a event.AuthorityID) error { return second(s.Refuse(s.ctx, p, a, asked.ID)) },
	}
	for name, do := range commands {
		t.Run(name, func(t *testing.T) {
			for _, role := range []Role{MemberRole, AlarmOfficer, JournalKeeper, PlanEditor, Auditor, Operator} {
				if role.Grantable() && len(s.must(s.Holders(s.ctx, nordtal, role))) == 0 {
					s.mustGrant(GrantDraft{Role: role, Person: "bert"})
				}
				wantErr(t, do(person("bert"), nordtal), ErrForbidden)
			}
			for _, a := range []event.AuthorityID{westmark, farland, "sv-nowhere"} {
				wantErr(t, do(person("anna"), a), ErrNoAuthority)
			}
			wantErr(t, do(console, farland), ErrNoAuthority)
			if name != "Approve" && name != "Refuse" { // those find no request first
				wantErr(t, do(console, ""), ErrNoAuthority)
			}
		})
	}
}

func (s *station) must(list []directory.PersonID, err error) []directory.PersonID {
	s.w.t.Helper()
	ok(s.w.t, err)
	return list
}

// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

// real is a site with the real directory and its read model on disk: 1,000 people, the first a holder, the second a deputy.
func real(t testing.TB) (*Service, []directory.Person) {
	t.Helper()
	ctx := context.Background()
	now := func() time.Time { return noon }
	id, err := seal.NewIdentity(rand.Reader)
	ok(t, err)
	ring, err := keyring.Open(":memory:", keyring.Config{Identity: id, Rand: rand.Reader, Now: now})
	ok(t, err)
	t.Cleanup(func() { ok(t, ring.Close()) })
	ok(t, ring.Found(ctx, nordtal))
	log, err := eventlog.Open(ctx, eventlog.Config{Identity: id, Store: eventlog.NewMemory(now), Clock: event.NewClock(now), Rand: rand.Reader,
		Policy: anybody{}, Keys: ring, Now: now})
	ok(t, err)
	m, err := readmodel.Open(ctx, readmodel.Config{Path: filepath.Join(t.TempDir(), "read.db"), Folds: []readmodel.Fold{directory.Fold(), Fold()},
		Source: log, Keys: ring, Self: id.Site(), Now: now})
	ok(t, err)
	t.Cleanup(func() { ok(t, m.Close()) })
	d := directory.New(directory.Config{Log: log, Model: m, Keys: ring, Rand: rand.Reader})
	var file bytes.Buffer
	file.WriteString("Personalnummer;Nachname;Vorname;Mobil;E-Mail;Organisationseinheit;Funktion;Stellvertretung\n")
	file.WriteString("1;Amsel;Anna;;;Haus;S1;\n2;Buche;Bert;;;Haus > Nord;;S1\n")
	for i := range 998 {
		fmt.Fprintf(&file, "%d;Name%d;Carl;;;Haus > Amt %d;;\n", i+3, i, i%50)
	}
	report, err := d.Import(ctx, nordtal, directory.ImportOptions{}, &file)
	ok(t, err)
	if report.Added != 1000 {
		t.Fatalf("%+v", report)
	}
	s := New(Config{Log: log, Model: m, Directory: d, Held: func(a event.AuthorityID) bool { return a == nordtal }, Now: now, Rand: rand.Reader})
	var people []directory.Person
	for _, name := range []string{"amsel", "buche", "name7"} {
		found, _, err := d.People(ctx, nordtal, directory.Search{Text: name, Limit: 1})
		ok(t, err)
		people = append(people, found...)
	}
	functions, err := d.Functions(ctx, nordtal)
	ok(t, err)
	ok(t, second2(s.Grant(ctx, console, nordtal, GrantDraft{Role: AlarmOfficer, Function: functions[0].ID})))
	ok(t, second2(s.Grant(ctx, console, nordtal, GrantDraft{Role: Administrator, Person: people[2].ID})))
	return s, people
}

// With the real directory, a function gives its role to its holder and its deputy.
func TestAFunctionOfTheRealDirectoryGivesItsRole(t *testing.T) {
	s, people := real(t)
	for i, want := range []bool{true, true, false} {
		_, err := s.Judge(context.Background(), person(string(people[i].ID)), nordtal, RaiseAlarm)
		if (err == nil) != want {
			t.Errorf("person %d: %v", i, err)
		}
	}
	holders, err := s.Holders(context.Background(), nordtal, AlarmOfficer)
	if err != nil || len(holders) != 2 {
		t.Errorf("%v, %v", holders, err)
	}
}

// BenchmarkJudge judges with the real directory and the read model on disk. It is done for every request.
func BenchmarkJudge(b *testing.B) {
	s, people := real(b)
	ctx := context.Background()
	for name, c := range map[string]struct {
		p    Principal
		need Permission
		want error
	}{
		"console":         {console, RaiseAlarm, nil},
		"own program":     {Principal{Kind: Program, Authority: nordtal, Scopes: []Permission{RaiseAlarm}}, RaiseAlarm, nil},
		"foreign":         {Principal{Kind: Person, Authority: westmark, ID: "x"}, RaiseAlarm, ErrNoAuthority},
		"member":          {person(string(people[0].ID)), SeeAlarms, nil},
		"granted":         {person(string(people[2].ID)), GrantRoles, nil},
		"by function":     {person(string(people[1].ID)), RaiseAlarm, nil},
		"without a grant": {person(string(people[2].ID)), ManageSite, ErrForbidden},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Judge(ctx, c.p, nordtal, c.need); err != c.want { //nolint:errorlint // the very same
					b.Fatal(err)
				}
			}
		})
	}
}

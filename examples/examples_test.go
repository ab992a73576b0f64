// SPDX-License-Identifier: EUPL-1.2

package examples_test

import (
	"bytes"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/examples"
)

func TestTheCommittedFilesAreWhatTheGeneratorMakes(t *testing.T) {
	if !bytes.Equal(examples.NordtalLDIF, examples.Export(examples.Nordtal, examples.Seed, examples.NordtalPeople)) {
		t.Error("lk-nordtal.ldif differs: run go generate ./examples")
	}
	if !bytes.Equal(examples.WestmarkCSV, examples.Export(examples.Westmark, examples.Seed, examples.WestmarkPeople)) {
		t.Error("sv-westmark.csv differs: run go generate ./examples")
	}
}

func TestPeopleHaveWhatRealDirectoriesHave(t *testing.T) {
	for _, authority := range []string{examples.Nordtal, examples.Westmark} {
		people := examples.People(authority, 7, 1000)
		if len(people) != 1000 {
			t.Fatalf("%s: %d people", authority, len(people))
		}
		found := make(map[string]int)
		keys, mails, mobiles := make(map[string]bool), make(map[string]bool), make(map[string]bool)
		count := func(what string, yes bool) {
			if yes {
				found[what]++
			}
		}
		for _, p := range people {
			count("umlaut", strings.ContainsAny(p.Family, "äöüÄÖÜ"))
			count("sharp s", strings.Contains(p.Family, "ß"))
			count("title", p.Title != "")
			count("double name", strings.Contains(p.Family, "-"))
			count("no mobile", p.Mobile == "" && p.Mail != "")
			count("no channel", p.Mobile == "" && p.Mail == "")
			count("english", p.Language == "en")
			count("holder", len(p.Holds) > 0)
			count("deputy", len(p.Deputises) > 0)
			if keys[p.Key] || p.Mail != "" && mails[p.Mail] || p.Mobile != "" && mobiles[digits(p.Mobile)] {
				t.Fatalf("%s: something is used twice: %+v", authority, p)
			}
			keys[p.Key], mails[p.Mail], mobiles[digits(p.Mobile)] = true, true, true
			if p.Mail != "" && !strings.HasSuffix(p.Mail, ".example") {
				t.Fatalf("%s is not below .example", p.Mail)
			}
		}
		for _, what := range []string{"umlaut", "sharp s", "title", "double name", "no mobile", "no channel", "english", "holder", "deputy"} {
			if found[what] == 0 {
				t.Errorf("%s: nobody has %s", authority, what)
			}
		}
	}
}

func TestFewPeopleStillFillTheStaff(t *testing.T) {
	for _, n := range []int{1, 2, 30} {
		people := examples.People(examples.Westmark, 1, n)
		if len(people) != n || len(people[0].Holds) == 0 {
			t.Errorf("%d people: %+v", n, people)
		}
	}
	if examples.People("nobody", 1, 3) != nil || examples.Export("nobody", 1, 3) != nil {
		t.Error("an unknown authority has people")
	}
}

// digits makes numbers comparable however they are written.
func digits(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, strings.Replace(s, "(0)", "", 1))
	return strings.TrimPrefix(strings.TrimPrefix(s, "49"), "0")
}

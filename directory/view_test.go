// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEverySpellingFindsTheName(t *testing.T) {
	r := newRig(t)
	r.imports(csvHead+"1;Müller;Jörg\n2;Weiß;Käthe\n3;Mueller-Strauß;Ann\n4;Straßmann;Zoë\n5;Öztürk;Ali\n6;Schmidt;Bo;;ali.baba@x.example\n", ImportOptions{})
	for text, want := range map[string]string{
		"müller": "Jörg Ann", "Muller": "Jörg Ann", "mueller": "Jörg Ann", "MÜLLER": "Jörg Ann", "mu\u0308ller": "Jörg Ann",
		"mü": "Jörg Ann", "mue": "Jörg Ann", "mu": "Jörg Ann", "m": "Jörg Ann",
		"weiß": "Käthe", "weiss": "Käthe", "WEISS": "Käthe", "kathe": "Käthe", "kaethe": "Käthe",
		"strauß": "Ann", "strauss": "Ann", "straß": "Zoë", "zoe": "Zoë", "öz": "Ali", "oez": "Ali", "ozturk": "Ali", "oeztuerk ali": "Ali",
		"jörg mül": "Jörg", "müller, jörg": "Jörg", "ali.baba@x": "Bo", "nobody": "", "!!!": "", `"`: "", "a* OR b": "", "jörg nobody": "",
		strings.Repeat("müller ", 50): "",
	} {
		people, total, err := r.People(r.ctx, nordtal, Search{Text: text})
		ok(t, err)
		var got []string
		for _, p := range people {
			got = append(got, p.GivenName)
		}
		slices.Sort(got)
		words := strings.Fields(want)
		slices.Sort(words)
		if strings.HasPrefix(text, "müller müller") {
			words = []string{"Ann", "Jörg"}
		}
		if diff := cmp.Diff(words, got); len(words)+len(got) > 0 && diff != "" || total != len(words) {
			t.Errorf("%q finds %v, want %v", text, got, words)
		}
	}
}

func TestPeopleComeInPagesByName(t *testing.T) {
	r := newRig(t)
	var file strings.Builder
	file.WriteString(csvHead)
	for i := range 30 {
		fmt.Fprintf(&file, "%d;Name%02d;Person;;;Amt %d > Sachgebiet\n", i, (i*7)%30, i%2)
	}
	file.WriteString("99;Äpfel;Person\n")
	r.imports(file.String(), ImportOptions{})
	for _, c := range []struct {
		search Search
		want   int
		first  string
	}{
		{Search{}, 31, "Äpfel"},
		{Search{Text: "person"}, 31, "Äpfel"},
		{Search{Text: "p"}, 31, "Äpfel"},
		{Search{Unit: r.unit("Amt 1").ID}, 15, "Name01"},
		{Search{Unit: r.unit("Amt 1").ID, Text: "pers"}, 15, "Name01"},
	} {
		seen, after := []string{}, PersonID("")
		for {
			c.search.Limit, c.search.After = 4, after
			people, total, err := r.People(r.ctx, nordtal, c.search)
			ok(t, err)
			if total != c.want {
				t.Fatalf("%+v: total %d, want %d", c.search, total, c.want)
			}
			if len(people) == 0 {
				break
			}
			for _, p := range people {
				seen = append(seen, sortName(private{Family: p.FamilyName}))
			}
			after = people[len(people)-1].ID
		}
		if len(seen) != c.want || !slices.IsSorted(seen) || len(slices.Compact(seen)) != c.want || seen[0] != sortName(private{Family: c.first}) {
			t.Errorf("%+v: %d people: %v", c.search, len(seen), seen)
		}
	}
}

func TestManyMatchesComeInPagesToo(t *testing.T) {
	r := newRig(t)
	var file strings.Builder
	file.WriteString(csvHead)
	for i := range CountLimit + 50 {
		fmt.Fprintf(&file, "%d;Gleich%04d;Person\n", i, i)
	}
	r.imports(file.String(), ImportOptions{})
	seen, after := make(map[PersonID]bool), PersonID("")
	for {
		people, total, err := r.People(r.ctx, nordtal, Search{Text: "gl", Limit: 300, After: after})
		ok(t, err)
		if len(people) == 0 {
			break
		}
		if total != CountLimit+1 {
			t.Fatalf("total %d", total)
		}
		for _, p := range people {
			seen[p.ID] = true
		}
		after = people[len(people)-1].ID
	}
	if len(seen) != CountLimit+50 {
		t.Errorf("%d people", len(seen))
	}
}

const house = csvHead +
	"1;Amsel;Anna;0171 3920001;a@x.example;Haus;Leiter Stab\n" +
	"2;Buche;Bert;0171 3920002;;Haus > Nord;S1;Leiter Stab\n" +
	"3;Cello;Carl;;c@x.example;Haus > Nord > Eins;S2;S1\n" +
	"4;Dorn;Doro;;;Haus > Süd | Haus > Nord;;\n" +
	"5;Efeu;Emil;0171 3920005;;;;\n"

func TestAnAudienceIsResolved(t *testing.T) {
	r := newRig(t)
	r.imports(house, ImportOptions{})
	unit := func(n string) []UnitID { return []UnitID{r.unit(n).ID} }
	fn := func(n string) []FunctionID { return []FunctionID{r.function(n).ID} }
	for name, c := range map[string]struct {
		audience Audience
		want     string
	}{
		"everyone":                   {Audience{Everyone: true}, "Anna Bert Carl Doro Emil"},
		"a unit and all below":       {Audience{Units: unit("Nord")}, "Bert Carl Doro"},
		"the top":                    {Audience{Units: unit("Haus")}, "Anna Bert Carl Doro"},
		"a function":                 {Audience{Functions: fn("S1")}, "Bert Carl"},
		"overlapping parts":          {Audience{Units: unit("Nord"), Functions: fn("Leiter Stab"), Persons: []PersonID{r.find("Doro").ID, r.find("Emil").ID}}, "Anna Bert Carl Doro Emil"},
		"nobody":                     {Audience{}, ""},
		"everyone and somebody else": {Audience{Everyone: true, Persons: []PersonID{r.find("Doro").ID}}, "Anna Bert Carl Doro Emil"},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := r.Resolve(r.ctx, nordtal, c.audience)
			ok(t, err)
			ids := make([]PersonID, len(list))
			for i, x := range list {
				ids[i] = x.Person
			}
			if !slices.IsSorted(ids) {
				t.Error("not ordered by id")
			}
			got := r.names(ids)
			slices.Sort(got)
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
	list, err := r.Resolve(r.ctx, nordtal, Audience{Persons: []PersonID{r.find("Anna").ID}})
	ok(t, err)
	if diff := cmp.Diff([]Recipient{{r.find("Anna").ID, r.unit("Haus").ID, []ChannelKind{SMS, Email}}}, list); diff != "" {
		t.Error(diff)
	}
	list, err = r.Resolve(r.ctx, nordtal, Audience{Persons: []PersonID{r.find("Doro").ID}})
	if err != nil || len(list) != 1 || list[0].Channels != nil || list[0].Unit != r.unit("Süd").ID {
		t.Errorf("a person without a channel: %+v, %v", list, err)
	}
}

func TestAnAudienceThatWasNeverHeardOfIsRefused(t *testing.T) {
	r := newRig(t)
	r.imports(house, ImportOptions{})
	for _, a := range []Audience{{Units: []UnitID{"0123456789abcdef"}}, {Functions: []FunctionID{"0123456789abcdef"}}, {Persons: []PersonID{"x"}}} {
		if _, err := r.Resolve(r.ctx, nordtal, a); !errors.Is(err, ErrAudience) {
			t.Errorf("%+v: %v", a, err)
		}
	}
	if _, err := r.Resolve(r.ctx, nordtal, Audience{Persons: make([]PersonID, MaxAudience+1)}); err == nil {
		t.Error("an endless audience is taken")
	}
}

func TestFunctionsComeInTheOrderOfAStaff(t *testing.T) {
	r := newRig(t)
	r.imports(csvHead+"1;Amsel;Anna;;;;Sichter|S3 Einsatz|Verbindungsperson Polizei|Leiter Stab|S1|Assistenz\n", ImportOptions{})
	functions, err := r.Functions(r.ctx, nordtal)
	ok(t, err)
	var got []string
	for _, f := range functions {
		got = append(got, f.Name)
	}
	if diff := cmp.Diff([]string{"Leiter Stab", "S1", "S3 Einsatz", "Verbindungsperson Polizei", "Assistenz", "Sichter"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnitsAreATree(t *testing.T) {
	r := newRig(t)
	r.imports(house, ImportOptions{})
	if top, north, one := r.unit("Haus"), r.unit("Nord"), r.unit("Eins"); top.Parent != "" || north.Parent != top.ID || one.Parent != north.ID ||
		north.People != 2 || one.Readable != Readable {
		t.Errorf("%+v %+v %+v", top, north, one)
	}
}

func TestNobodySeesAnotherAuthority(t *testing.T) {
	r := newRig(t)
	ok(t, r.ring.Found(r.ctx, "sv-westmark"))
	r.imports(house, ImportOptions{})
	if _, err := r.Import(r.ctx, "sv-westmark", ImportOptions{}, strings.NewReader(csvHead+"1;Amsel;Antonia;;;Haus;S1\n")); err != nil {
		t.Fatal(err)
	}
	people, total, err := r.People(r.ctx, "sv-westmark", Search{Text: "a"})
	if err != nil || total != 1 || people[0].GivenName != "Antonia" {
		t.Errorf("%+v %d %v", people, total, err)
	}
	if people[0].ID == r.find("Amsel").ID {
		t.Error("the same key gives the same id in two authorities")
	}
	if list, err := r.Resolve(r.ctx, "sv-westmark", Audience{Everyone: true}); err != nil || len(list) != 1 {
		t.Errorf("%+v %v", list, err)
	}
	if people, total, err := r.People(r.ctx, "nobody", Search{Text: "a"}); err != nil || total != 0 || people != nil {
		t.Errorf("%+v %d %v", people, total, err)
	}
	if _, err := r.Person(r.ctx, "sv-westmark", r.find("Amsel").ID); !errors.Is(err, ErrPersonUnknown) {
		t.Errorf("got %v", err)
	}
}

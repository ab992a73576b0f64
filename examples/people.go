// SPDX-License-Identifier: EUPL-1.2

package examples

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Nordtal and Westmark are the short names of the two authorities.
const (
	Nordtal  = "lk-nordtal"
	Westmark = "sv-westmark"
)

// Person is one invented person.
type Person struct {
	Key       string // personnel number, the same for the same seed
	Title     string
	Given     string
	Family    string
	Position  string
	Mail      string
	Mobile    string // as people write it, "" for some
	Phone     string
	Language  string   // "en" for a few, else ""
	Unit      []string // from the top of the tree down
	Holds     []string // functions
	Deputises []string
	Manager   int // index, -1 for the first
	Disabled  bool
}

// organisation is how an authority is made up.
type organisation struct {
	name      string
	domain    string
	units     [][]string // the first is the head's
	positions []string
	functions []string
	mobile    func(i int) string
}

var organisations = map[string]organisation{
	Nordtal: {
		name: "Landkreis Nordtal", domain: "lk-nordtal.example",
		units: tree("Landkreis Nordtal", map[string][]string{
			"Büro der Landrätin":                    {"Presse und Öffentlichkeit", "Gremien", "Gleichstellung"},
			"Dezernat 1 Zentrale Dienste":           {"Amt 10 Personal und Organisation", "Amt 11 IT und Digitalisierung", "Amt 14 Rechnungsprüfung", "Amt 20 Kämmerei"},
			"Dezernat 2 Ordnung und Gefahrenabwehr": {"Amt 30 Rechtsamt", "Amt 32 Ordnungsamt", "Amt 36 Straßenverkehr", "Amt 38 Brand- und Katastrophenschutz"},
			"Dezernat 3 Jugend und Soziales":        {"Amt 50 Sozialamt", "Amt 51 Jugendamt", "Amt 53 Gesundheitsamt", "Amt 57 Schulen"},
			"Dezernat 4 Bauen, Umwelt und Verkehr":  {"Amt 61 Kreisplanung", "Amt 63 Bauaufsicht", "Amt 66 Tiefbau und Straßen", "Amt 70 Abfallwirtschaft", "Amt 39 Veterinärwesen"},
		}),
		positions: []string{"Verwaltungsfachangestellte", "Kreisinspektor", "Kreisoberinspektorin", "Kreisamtsrat", "Sachbearbeiterin", "Sachbearbeiter", "Ingenieurin", "Hausmeister", "Sozialarbeiterin", "Lebensmittelkontrolleur"},
		functions: []string{"Leiter Stab", "S1 Personal und Innerer Dienst", "S2 Lage", "S3 Einsatz", "S4 Versorgung", "S5 Presse- und Medienarbeit", "S6 Information und Kommunikation", "Fachberater Gesundheit", "Fachberater Veterinärwesen", "Verbindungsperson Polizei", "Verbindungsperson Bundeswehr"},
		mobile:    nordtalMobile,
	},
	Westmark: {
		name: "Sozialversicherung Westmark", domain: "sv-westmark.example",
		units: tree("Sozialversicherung Westmark", map[string][]string{
			"Geschäftsführung":                  {"Stabsstelle Informationssicherheit", "Innenrevision", "Unternehmenskommunikation"},
			"Abteilung 1 Zentrale Aufgaben":     {"Referat 11 Personal", "Referat 12 Haushalt", "Referat 13 Liegenschaften"},
			"Abteilung 2 Leistungen":            {"Referat 21 Rente", "Referat 22 Rehabilitation", "Referat 23 Widersprüche", "Referat 24 Ausland"},
			"Abteilung 3 Informationstechnik":   {"Referat 31 Rechenzentrum", "Referat 32 Anwendungen", "Referat 33 Arbeitsplatz"},
			"Regionaldirektion Großenhain-West": {"Beratungsstelle Süd", "Beratungsstelle Mühlbach", "Beratungsstelle Höhe"},
		}),
		positions: []string{"Sozialversicherungsfachangestellte", "Regierungsamtfrau", "Regierungsrat", "Sachbearbeiterin", "Sachbearbeiter", "Softwareentwickler", "Ärztin", "Prüfer", "Referentin"},
		functions: []string{"Leitung Stab", "S1 Personal", "S2 Lage", "S3 Einsatz", "S4 Versorgung", "S5 Kommunikation", "S6 IuK", "Fachberatung IT-Sicherheit", "Fachberatung Datenschutz", "Verbindungsperson Rechenzentrum", "Verbindungsperson Aufsicht"},
		mobile:    westmarkMobile,
	},
}

// tree returns the paths of all units in a fixed order: top, branches, leaves.
func tree(top string, branches map[string][]string) [][]string {
	out := [][]string{{top}}
	for _, b := range sorted(branches) {
		out = append(out, []string{top, b})
		for _, leaf := range branches[b] {
			out = append(out, []string{top, b, leaf})
		}
	}
	return out
}

// The numbers begin with one that is reserved for media and go on behind it: dialled, they can reach nobody else. Each is
// used once, up to 50,000 people an authority.
func nordtalMobile(i int) string { return fmt.Sprintf("0171 39200%05d", i%50_000) }

func westmarkMobile(i int) string {
	if i < 10_000 {
		return fmt.Sprintf("0176 040690%04d", i)
	}
	return fmt.Sprintf("0171 39200%05d", 50_000+i%50_000)
}

var (
	given = strings.Fields(`Anna Jürgen Björn Käthe Göran Sören Ursula Müge Günther Hans-Jürgen Karl-Heinz Anne-Katrin Marie-Luise
		Mehmet Ayşe Zoë René Chloé Søren Thomas Sabine Petra Michael Andreas Claudia Stefan Martina Uwe Heike Frank Birgit Jörg Änne
		Lütfi Özlem Emre Ece Jan Lukas Leon Mia Emma Hannah Noah Paul Finn Lena Laura Julia Lisa Katharina Elisabeth Friedrich
		Wolfgang Dieter Renate Ilse Torsten Kerstin Silke Nele Jonas Fatma Ibrahim Olga Dmitri Piotr Agnieszka Zuzana Matteo Giulia
		Noémie Aïcha Ilko Tjark Wiebke Gesa Onno Frauke Levke Malte Rüdiger Hiltrud Bärbel Götz Ansgar Swantje`)
	family = strings.Fields(`Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann Schäfer Koch Bauer Richter
		Klein Wolf Schröder Neumann Schwarz Zimmermann Braun Krüger Hofmann Hartmann Lange Schmitt Werner Krause Meier Lehmann
		Köhler Maier Großmann Weiß Groß Strauß Voß Heß Preuß Böhm Jäger Vögele Mühlenbrock Öztürk Yılmaz Demir Kowalski Nowak
		Größl Übelacker Ährling Österle Mueller Schuetz Bluethgen Löwenthal Tönnies Füßmann Haßloch Kößler Rößler Königsmann Blöß
		Nordmann Talbeck Westermark Sandkrug Uferbach Wiesengrund Hainbuch Steinacker Moorkamp Brückner Dünenberg Deichgraf Söllner
		Gärtner Wüst Kürschner Hülsmann Grönwoldt Jürgensen Möller Lüders Bärwald Krähenbühl Schlüter Thönnissen`)
	doubles = []string{"von der Höhe", "Freiherr zu Nordtal", "Müller-Lüdenscheidt", "Weiß-Großmann", "Schäfer-Öztürk", "de Vries-Köhler",
		"Meyer zu Bentrup", "Strauß-Haßloch", "Böhm-Kowalski", "Krüger-Jürgensen"}
)

// pick returns one of a list.
func pick(r *rand.Rand, list []string) string { return list[r.IntN(len(list))] }

// People returns n people of the authority. The same arguments give the same people; an unknown authority has none.
func People(authority string, seed uint64, n int) []Person {
	org, known := organisations[authority]
	if !known || n <= 0 {
		return nil
	}
	digest := sha256.Sum256([]byte(authority))
	r := rand.New(rand.NewPCG(seed, uint64(digest[0])<<8|uint64(digest[1])))
	people := make([]Person, n)
	used := make(map[string]int)
	for i := range people {
		people[i] = org.person(r, i, n)
		people[i].Mail = mail(people[i], org.domain, used)
		org.gaps(r, i, &people[i])
	}
	org.staff(people)
	return people
}

// person makes the i-th person. The first in a unit manages it.
func (o organisation) person(r *rand.Rand, i, n int) Person {
	p := Person{
		Key: fmt.Sprintf("%s%06d", strings.ToUpper(o.domain[:2]), 100_000+i*7), Given: encodable(r, given), Family: encodable(r, family),
		Position: pick(r, o.positions), Manager: -1, Mobile: spelled(r, o.mobile(i)), Phone: fmt.Sprintf("030 23125-%03d", i%1000),
	}
	at := i
	if i >= len(o.units) {
		at = r.IntN(len(o.units))
		p.Manager = at
	} else if i > 0 {
		p.Manager = 0
	}
	p.Unit = o.units[at]
	switch x := r.IntN(100); {
	case x < 6:
		p.Family = pick(r, doubles)
	case x < 12:
		p.Family += "-" + encodable(r, family)
	}
	switch x := r.IntN(100); {
	case x < 6:
		p.Title = "Dr."
	case x < 7:
		p.Title = "Prof. Dr."
	}
	return p
}

// encodable picks a name that both files can hold: Windows-1252 has no Turkish and Polish letters beyond Latin 1.
func encodable(r *rand.Rand, list []string) string {
	return strings.NewReplacer("ş", "s", "ı", "i", "ğ", "g").Replace(pick(r, list))
}

// gaps takes channels away from some: real directories have holes.
func (o organisation) gaps(r *rand.Rand, i int, p *Person) {
	switch x := r.IntN(100); {
	case x < 8:
		p.Mobile = ""
	case x < 11:
		p.Mail = ""
	case x < 12:
		p.Mobile, p.Mail = "", ""
	}
	if r.IntN(50) == 0 {
		p.Language = "en"
	}
}

// spelled writes a number in one of the ways people write numbers.
func spelled(r *rand.Rand, number string) string {
	area, rest, _ := strings.Cut(number, " ")
	switch r.IntN(4) {
	case 0:
		return "+49 " + area[1:] + " " + rest
	case 1:
		return area + "/" + rest
	case 2:
		return "+49 (0) " + area[1:] + "-" + rest
	}
	return number
}

var ascii = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "ß", "ss", "Ä", "ae", "Ö", "oe", "Ü", "ue", "é", "e", "ë", "e", "ï", "i", "ø", "o", "ç", "c", " ", "")

func mail(p Person, domain string, used map[string]int) string {
	local := strings.ToLower(ascii.Replace(p.Given) + "." + ascii.Replace(p.Family))
	used[local]++
	if n := used[local]; n > 1 {
		local = fmt.Sprintf("%s%d", local, n)
	}
	return local + "@" + domain
}

// staff gives every function a holder, most a second one, and deputies, spread over all units; all of them have a mobile.
func (o organisation) staff(people []Person) {
	step, next := max(1, len(people)/(4*len(o.functions))), 0
	take := func() *Person {
		at := next * step % len(people)
		next++
		if people[at].Mobile == "" {
			people[at].Mobile = o.mobile(at)
		}
		return &people[at]
	}
	for i, f := range o.functions {
		for range 1 + i%2 {
			add(&take().Holds, f)
		}
		for range 2 - i%2 {
			add(&take().Deputises, f)
		}
	}
}

func add(list *[]string, f string) {
	if !slices.Contains(*list, f) {
		*list = append(*list, f)
	}
}

// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/examples"
	"codeberg.org/holdfast/holdfast/fault"
)

const guidA, guidB = "aVAWCNGA7SJaEzpXmx//Dw==", "ZjADZaK9/9y+QryTfk2GNw=="

// adPerson is a record as Active Directory exports it, with more lines at its end.
func adPerson(guid, given, family string, more ...string) string {
	return "dn: CN=" + family + "\\, " + given + ",OU=Amt 32,OU=Dezernat 3,DC=nordtal,DC=example\nchangetype: add\nobjectClass: top\n" +
		"objectClass: person\nobjectClass: user\nsn: " + family + "\ngivenName: " + given + "\nobjectGUID:: " + guid + "\n" +
		strings.Join(more, "\n") + "\n\n"
}

// goodLDIF is put around a broken record, to see that it does not suffer.
var goodLDIF = adPerson("svY3Fjtd+V0dxl7SrWpcmQ==", "Gute", "Nachbarin")

const csvHead = "Personalnummer;Nachname;Vorname;Mobil;E-Mail;Organisationseinheit;Funktion;Stellvertretung;Sprache\n"

func TestBrokenInputIsRefusedWithLineFieldReasonAndWayOut(t *testing.T) {
	// The good record before takes lines 1 to 10; the broken one begins in line 11 (CSV: in line 3).
	for _, c := range []struct {
		name, ldif, csv      string
		line                 int
		field                string
		want                 *fault.Fault
		reason, wayOut       string
		blind, secondRefused bool
	}{
		{name: "ldif: number of no telephone", ldif: adPerson(guidA, "Bea", "Bruch", "mobile: 1713920012"), line: 19, field: "mobile", want: ErrPhone, reason: "neither with +", wayOut: "country or area code"},
		{name: "ldif: address without @", ldif: adPerson(guidA, "Bea", "Bruch", "mail: bea.bruch"), line: 19, field: "mail", want: ErrMail, reason: "@ is missing", wayOut: "exactly one address"},
		{name: "ldif: no base64", ldif: adPerson(guidA, "Bea", "Bruch", "displayName:: !!!"), line: 19, field: "displayName", want: ErrBase64, reason: "not base64", wayOut: "single colon"},
		{name: "ldif: value in a file", ldif: adPerson(guidA, "Bea", "Bruch", "mail:< file:///etc/hostname"), line: 19, field: "mail", want: ErrURL, reason: "another file", wayOut: "inside the file"},
		{name: "ldif: change record", ldif: "dn: CN=Bea,DC=nordtal,DC=example\nchangetype: modify\nreplace: mail\nmail: bea@x.example\n-\n\n", line: 12, field: "changetype", want: ErrChange, reason: "modify", wayOut: "ldifde -f", blind: true},
		{name: "ldif: deletion", ldif: "dn: CN=Bea,DC=nordtal,DC=example\nchangetype: delete\n\n", line: 12, field: "changetype", want: ErrChange, reason: "delete", wayOut: "entries themselves", blind: true},
		{name: "ldif: no colon", ldif: adPerson(guidA, "Bea", "Bruch", "mail bea@x.example"), line: 19, want: ErrLDIF, reason: "colon is missing", wayOut: "begin with dn:"},
		{name: "ldif: no dn", ldif: "objectClass: user\nsn: Bruch\n\n", line: 11, field: "dn", want: ErrLDIF, reason: "instead of dn", wayOut: "begin with dn:", blind: true},
		{name: "ldif: two records run together", ldif: strings.TrimRight(adPerson(guidA, "Bea", "Bruch"), "\n") + "\n" + adPerson(guidB, "Carl", "Bruch"), line: 19, field: "dn", want: ErrLDIF, reason: "second dn", wayOut: "empty line", blind: true},
		{name: "ldif: no key", ldif: "dn: CN=Bea,DC=nordtal,DC=example\nobjectClass: person\nsn: Bruch\n\n", line: 11, field: "objectGUID", want: ErrKey, reason: "no usable key", wayOut: "objectGUID, entryUUID", blind: true},
		{name: "ldif: short key", ldif: adPerson("AAAA", "Bea", "Bruch"), line: 18, field: "objectGUID", want: ErrKey, reason: "16 bytes", wayOut: "objectGUID", blind: true},
		{name: "ldif: unreadable dn", ldif: "dn: Bea Bruch\nobjectClass: person\nsn: Bruch\nobjectGUID:: " + guidA + "\n\n", line: 11, field: "dn", want: ErrLDIF, reason: "cannot be read", wayOut: "ldapsearch"},
		{name: "ldif: no name", ldif: "dn: uid=bea,DC=nordtal,DC=example\nobjectClass: person\nobjectGUID:: " + guidA + "\n\n", line: 11, field: "sn", want: ErrName, reason: "no name", wayOut: "family name"},
		{name: "ldif: flags no number", ldif: adPerson(guidA, "Bea", "Bruch", "userAccountControl: normal"), line: 19, field: "userAccountControl", want: ErrLDIF, reason: "not a number", wayOut: "ldifde"},
		{name: "ldif: language", ldif: adPerson(guidA, "Bea", "Bruch", "preferredLanguage: xx"), line: 19, field: "preferredLanguage", want: ErrLanguage, reason: "neither German", wayOut: "de or en"},
		{name: "ldif: endless line", ldif: adPerson(guidA, "Bea", "Bruch", "title: "+strings.Repeat("x", 70_000)), line: 19, field: "title", want: ErrTooLong, reason: "64 KiB", wayOut: "pictures"},
		{name: "ldif: field too long", ldif: adPerson(guidA, "Bea", "Bruch", "title: "+strings.Repeat("x", 201)), line: 11, field: "sn", want: ErrFieldTooLong, reason: "200 characters", wayOut: "shorten"},
		{name: "ldif: not UTF-8 inside base64", ldif: adPerson(guidA, "Bea", "Bruch", "displayName:: "+base64.StdEncoding.EncodeToString([]byte("M\xfcller"))), line: 19, field: "displayName", want: ErrEncoding, reason: "UTF-8", wayOut: "as UTF-8"},
		{name: "ldif: same key twice", ldif: adPerson("svY3Fjtd+V0dxl7SrWpcmQ==", "Bea", "Bruch"), line: 11, want: ErrTwice, reason: "line 1", wayOut: "key of their own"},

		{name: "csv: mobile", csv: "2;Bruch;Bea;171 3920012\n", line: 3, field: "Mobil", want: ErrPhone, reason: "neither with +", wayOut: "leading 0"},
		{name: "csv: spreadsheet number", csv: "2;Bruch;Bea;\"4,91713E+11\"\n", line: 3, field: "Mobil", want: ErrPhone, reason: "spreadsheet", wayOut: "column as text"},
		{name: "csv: mail", csv: "2;Bruch;Bea;;bea@localhost\n", line: 3, field: "E-Mail", want: ErrMail, reason: "no dot", wayOut: "one address"},
		{name: "csv: no key", csv: ";Bruch;Bea\n", line: 3, field: "Personalnummer", want: ErrKey, reason: "no usable key", wayOut: "personnel number", blind: true},
		{name: "csv: no name", csv: "2;;;0171 3920012\n", line: 3, field: "Nachname", want: ErrName, reason: "no name", wayOut: "family name"},
		{name: "csv: language", csv: "2;Bruch;Bea;;;;;;Klingonisch\n", line: 3, field: "Sprache", want: ErrLanguage, reason: "neither German", wayOut: "de or en"},
		{name: "csv: too many fields", csv: "2;Bruch;Bea;;;Bau;und;Umwelt;de;zu;viel\n", line: 3, want: ErrFieldCount, reason: "11 instead of 9", wayOut: "quotes around", blind: true},
		{name: "csv: open quote", csv: "2;\"Bruch;Bea\n", line: 3, field: "Nachname", want: ErrQuote, reason: "not closed", wayOut: "double every quote", blind: true},
		{name: "csv: text behind quote", csv: "2;\"Bruch\"x;Bea\n", line: 3, field: "Nachname", want: ErrQuote, reason: "text follows", wayOut: "double every quote", blind: true},
		{name: "csv: endless line", csv: "2;" + strings.Repeat("B", 70_000) + "\n", line: 3, want: ErrTooLong, reason: "64 KiB", wayOut: "line break", blind: true},
		{name: "csv: one line of another encoding", csv: "2;Br\xfcch;Bea\n", line: 3, want: ErrEncoding, reason: "UTF-8", wayOut: "whole file", blind: true},
		{name: "csv: same key twice", csv: "1;Bruch;Bea\n", line: 3, want: ErrTwice, reason: "line 2", wayOut: "one of the two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := goodLDIF + c.ldif + adPerson("Xqh3TISVTey/nRCzQlBrsQ==", "Auch", "Gut")
			if c.csv != "" {
				file = csvHead + "1;Nachbarin;Gute;0171 3920001;gute@äx.example\n"
				file = strings.ReplaceAll(file, "gute@äx.example", "") + c.csv + "3;Gut;Auch\n"
				if c.want == ErrEncoding {
					file = strings.ReplaceAll(file, "Nachbarin", "Nächbärin")
				}
			}
			b, report, err := drain([]byte(file), ImportOptions{})
			ok(t, err)
			f := report.refusal(t)
			if f.Line != c.line || f.Field != c.field || !errors.Is(f, c.want) || !strings.Contains(f.Message, c.reason) || !strings.Contains(f.WayOut, c.wayOut) {
				t.Errorf("got line %d, field %q, %s\nwant line %d, field %q, %q with %q (%q)", f.Line, f.Field, f, c.line, c.field, c.want.Code, c.reason, c.wayOut)
			}
			if len(b.people) != 2 {
				t.Errorf("%d of the two good people went in", len(b.people))
			}
			if b.blind != c.blind {
				t.Errorf("blind: %v, want %v", b.blind, c.blind)
			}
		})
	}
}

func TestAFileThatIsNoneIsRefusedAsAWhole(t *testing.T) {
	for _, c := range []struct {
		name, file string
		options    ImportOptions
		want       *fault.Fault
		line       int
		field      string
	}{
		{name: "empty", want: ErrHeader},
		{name: "workbook", file: "PK\x03\x04rest", want: ErrFileKind},
		{name: "old workbook", file: "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", want: ErrFileKind},
		{name: "UTF-16", file: "\xff\xfeN\x00a\x00", want: ErrFileKind},
		{name: "zero bytes", file: "Nachname\x00;x", want: ErrFileKind},
		{name: "prose", file: "Sehr geehrte Damen und Herren\n", want: ErrHeader, line: 1},
		{name: "no name column", file: "Personalnummer;Mobil\n", want: ErrColumnMissing, line: 1, field: "Nachname"},
		{name: "no key column", file: "Nachname;Mobil\n", want: ErrColumnMissing, line: 1, field: "Personalnummer"},
		{name: "named key column is not there", file: "Personalnummer;Nachname\n", options: ImportOptions{KeyColumn: "Kürzel"}, want: ErrColumnMissing, line: 1, field: "Kürzel"},
		{name: "a column twice", file: "Personalnummer;Nachname;Mobil;Handy\n", want: ErrColumnTwice, line: 1, field: "Handy"},
		{name: "unknown format", file: "x", options: ImportOptions{Format: "vcard"}, want: ErrFileKind},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := drain([]byte(c.file), c.options)
			f, _ := errors.AsType[*fault.Fault](err)
			if !errors.Is(err, c.want) || f.Line != c.line || f.Field != c.field || f.WayOut == "" {
				t.Errorf("got %v, want %s at line %d, field %q", err, c.want.Code, c.line, c.field)
			}
		})
	}
}

func TestAFileOverTheBoundIsRefused(t *testing.T) {
	lines, err := newLineReader(strings.NewReader(csvHead + strings.Repeat("1;Viel;Text\n", 100)))
	ok(t, err)
	lines.limit = 500
	for err == nil {
		_, err = lines.next()
	}
	if !errors.Is(err, ErrFileTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestLDIFIsReadHoweverItIsWritten(t *testing.T) {
	name := base64.StdEncoding.EncodeToString([]byte("Dr. Änne Müller-Weiß"))
	file := "\xef\xbb\xbf# Export\n#  goes on\nversion: 1\r\n\r\ndn:: " +
		base64.StdEncoding.EncodeToString([]byte(`CN=Müller-Weiß\, Änne,OU=Benutzer,OU=Amt 32 Straßen,OU=Dezernat 3,DC=nordtal,DC=example`)) +
		"\r\nobjectClass: user\r\n# a comment\r\n#  folded\r\nobjectGUID:: aVAWCNGA7SJa\r\n EzpXmx//Dw==\r\nsn;lang-de: Mü\r\n ller-Weiß\r\ndisplayName:: " +
		name[:9] + "\r\n " + name[9:] + "\r\nseeAlso:\r\njpegPhoto:: " + strings.Repeat("A", 70_000) + "\r\n AAAA\r\nthumbnailPhoto:< file:///x.jpg\r\ntitle: Dr.\r\nmail: Aenne@Nordtal.example\r\n" +
		"mobile: +49 (0) 171 - 3920012\r\ntelephoneNumber: App. 4711\r\npreferredLanguage: en-GB, de;q=0.5\r\nuserAccountControl: 512"
	b, report, err := drain([]byte(file), ImportOptions{})
	ok(t, err)
	if report.Format != LDIF || report.RefusedTotal != 0 || len(b.people) != 1 {
		t.Fatalf("%+v", report)
	}
	want := private{Display: "Dr. Änne Müller-Weiß", Family: "Müller-Weiß", Title: "Dr.", Language: English, Email: "Aenne@nordtal.example",
		Mobile: "+491713920012", Phone: "App. 4711", Ref: "08165069-80d1-22ed-5a13-3a579b1fff0f"}
	if diff := cmp.Diff(want, b.people[0].private); diff != "" {
		t.Error(diff)
	}
	var units []string
	for _, id := range b.order {
		units = append(units, b.units[id].name)
	}
	if diff := cmp.Diff([]string{"Dezernat 3", "Amt 32 Straßen"}, units); diff != "" {
		t.Error(diff)
	}
}

func TestOpenLDAPEntriesAreRead(t *testing.T) {
	file := `dn: ou=people,dc=nordtal,dc=example
objectClass: organizationalUnit
ou: people
entryUUID: 7a1e0f9e-0000-103b-9d4e-000000000001

dn: uid=anna,ou=people,dc=nordtal,dc=example
objectClass: inetOrgPerson
entryUUID: 7A1E0F9E-0000-103B-9D4E-000000000002
cn: Anna Amsel
sn: Amsel
givenName: Anna
ou: Gesundheitsamt
mail: anna@nordtal.example

dn: uid=bert,ou=people,dc=nordtal,dc=example
objectClass: inetOrgPerson
entryUUID: 7a1e0f9e-0000-103b-9d4e-000000000003
cn: Bert Buche
sn: Buche
givenName: Bert
departmentNumber: 12
manager: uid=anna,  ou=People,dc=nordtal,dc=example

dn: cn=S1,ou=Krisenstab,dc=nordtal,dc=example
objectClass: groupOfNames
cn: S1
member: uid=bert,ou=people,dc=nordtal,dc=example
member: uid=anna,ou=people,dc=nordtal,dc=example

dn: cn=S1 Stellvertretung,ou=Krisenstab,dc=nordtal,dc=example
objectClass: groupOfNames
member: UID=Anna,OU=people,dc=nordtal,dc=example
member: uid=nobody,ou=people,dc=nordtal,dc=example

dn: cn=admins,ou=groups,dc=nordtal,dc=example
objectClass: groupOfNames
member: uid=bert,ou=people,dc=nordtal,dc=example
`
	r := newRig(t)
	report := r.imports(file, ImportOptions{})
	if report.Added != 2 || report.Functions.Added != 1 || report.Units.Added != 1 || report.Ignored != 2 || report.WithoutChannel != 1 {
		t.Errorf("%+v", report)
	}
	if len(report.Remarks) != 1 || !errors.Is(report.Remarks[0], ErrMemberUnknown) || report.Remarks[0].Line != 30 {
		t.Errorf("remarks: %v", report.Remarks)
	}
	f := r.function("S1")
	if diff := cmp.Diff([]string{"Bert", "Anna"}, r.names(f.Holders)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Anna"}, r.names(f.Deputies)); diff != "" {
		t.Error(diff)
	}
	if bert := r.find("Buche"); bert.Manager != r.find("Amsel").ID || !slices.Equal(bert.Functions, []FunctionID{f.ID}) {
		t.Errorf("%+v", bert)
	}
}

func TestCSVIsReadHoweverItIsWritten(t *testing.T) {
	want := private{Given: "Jörg", Family: "Groß-Weiß", Title: "Dr.", Position: "Amtsrat", Language: English, Email: "joerg@x.example",
		Mobile: "+491713920012", Ref: "7"}
	for name, file := range map[string]string{
		"semicolons, CRLF":     "Personalnummer;Titel;Nachname;Vorname;Amtsbezeichnung;E-Mail;Mobil;Sprache\r\n7;Dr.;Groß-Weiß;Jörg;Amtsrat;joerg@x.example;0171 3920012;Englisch\r\n",
		"byte order mark":      "\xef\xbb\xbfPersonal-Nr.,Titel,Nachname,Vorname,Amtsbezeichnung,E-Mail-Adresse,Handy,Sprache\n7,Dr.,Groß-Weiß,Jörg,Amtsrat,joerg@x.example,0171 3920012,en\n",
		"Windows-1252":         "Personalnummer;Titel;Nachname;Vorname;Amtsbezeichnung;E-Mail;Mobil;Sprache\r\n7;Dr.;Gro\xdf-Wei\xdf;J\xf6rg;Amtsrat;joerg@x.example;0171/39200-12;EN\r\n",
		"tabs, English":        "employeeID\tpersonalTitle\tlast name\tFirst Name\tJob title\temail address\tMobile phone\tLanguage\n7\tDr.\tGroß-Weiß\tJörg\tAmtsrat\tjoerg@x.example\t+49 171 3920012\tenglish\n",
		"other order, sep=":    "sep=,\nmail,sn,givenName,Sprache,Mobil,Position,Titel,PersNr\njoerg@x.example,Groß-Weiß,Jörg,english,0049 171 3920012,Amtsrat,Dr.,7",
		"quotes, blank lines":  "\n\"Personalnummer\";\"Titel\";\"Nachname\";\"Vorname\";\"Amtsbezeichnung\";\"E-Mail\";\"Mobil\";\"Sprache\"\n\n;;;;;;;\n\"7\"; \"Dr.\" ;\"Groß-Weiß\";\"Jörg\";\"Amtsrat\";\"joerg@x.example\";\"0171 3920012\";\"en\"\n",
		"PowerShell":           "#TYPE Microsoft.ActiveDirectory.Management.ADUser\n\"EmployeeNumber\",\"GivenName\",\"Surname\",\"Title\",\"PersonalTitle\",\"mail\",\"mobile\",\"PreferredLanguage\"\n\"7\",\"Jörg\",\"Groß-Weiß\",\"Amtsrat\",\"Dr.\",\"joerg@x.example\",\"0171 3920012\",\"en-US\"\n",
		"decomposed umlauts":   "Personalnummer;Titel;Nachname;Vorname;Amtsbezeichnung;E-Mail;Mobil;Sprache\n7;Dr.;Groß-Weiß;Jo\u0308rg;Amtsrat;joerg@x.example;0171 3920012;en\n",
		"unknown columns":      "Raum;Personalnummer;Titel;Nachname;Vorname;Amtsbezeichnung;E-Mail;Mobil;Sprache;Schuhgröße\nA 1;7;Dr.;Groß-Weiß;Jörg;Amtsrat;joerg@x.example;0171 3920012;en;44\n",
		"field over two lines": "Personalnummer;Titel;Nachname;Vorname;Amtsbezeichnung;E-Mail;Mobil;Sprache\n7;Dr.;Groß-Weiß;Jörg;\"Amts\nrat\";joerg@x.example;0171 3920012;en\n",
	} {
		t.Run(name, func(t *testing.T) {
			b, report, err := drain([]byte(file), ImportOptions{})
			ok(t, err)
			if report.RefusedTotal != 0 || len(b.people) != 1 {
				t.Fatalf("%v", report.Refused)
			}
			want := want
			if name == "field over two lines" {
				want.Position = "Amts rat"
			}
			if diff := cmp.Diff(want, b.people[0].private); diff != "" {
				t.Error(diff)
			}
			if name == "unknown columns" && !slices.Equal(report.PassedOver, []string{"Raum", "Schuhgröße"}) {
				t.Errorf("passed over: %v", report.PassedOver)
			}
		})
	}
}

func TestABrokenQuoteCostsOneLine(t *testing.T) {
	b, report, err := drain([]byte(csvHead+"1;\"Auf;Anna\n2;Gut;Bea\n3;Gut;\"Carl\"\n4;Gut;Doro\n"), ImportOptions{})
	ok(t, err)
	if f := report.refusal(t); f.Line != 2 || len(b.people) != 3 {
		t.Errorf("%v, %d people", f, len(b.people))
	}
}

func TestImportingTheSameFileAgainAppendsNothing(t *testing.T) {
	for name, file := range map[string][]byte{"ldif": examples.NordtalLDIF, "csv": examples.WestmarkCSV} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			first := r.imports(string(file), ImportOptions{})
			if first.Added < 800 || first.RefusedTotal != 0 || first.Functions.Added != 11 || first.Units.Added < 15 || len(first.Remarks) != 0 {
				t.Fatalf("%+v", first)
			}
			before, _ := r.facts()
			second := r.imports(string(file), ImportOptions{Prune: true})
			if after, _ := r.facts(); len(after) != len(before) {
				t.Errorf("the second import appended %v", after[len(before):])
			}
			if second.Unchanged != first.Added || second.Units.Unchanged != first.Units.Added || second.Functions.Unchanged != 11 {
				t.Errorf("%+v", second)
			}
			_, total, err := r.People(r.ctx, nordtal, Search{})
			if err != nil || total != first.Added {
				t.Errorf("%d people, %v", total, err)
			}
		})
	}
}

func TestADryRunAppendsNothing(t *testing.T) {
	r := newRig(t)
	report := r.imports(csvHead+"1;Amsel;Anna;0171 3920012;;Amt 32;S1\n", ImportOptions{DryRun: true})
	if kinds, _ := r.facts(); len(kinds) != 0 || report.Added != 1 || report.Units.Added != 1 || report.Functions.Added != 1 {
		t.Errorf("%v, %+v", kinds, report)
	}
}

func TestNoNameStandsInALogInClear(t *testing.T) {
	r := newRig(t)
	r.imports(string(examples.WestmarkCSV), ImportOptions{})
	_, raw := r.facts()
	for _, p := range examples.People(examples.Westmark, examples.Seed, examples.WestmarkPeople) {
		for _, secret := range append([]string{p.Key, p.Mail, p.Family, p.Unit[len(p.Unit)-1]}, p.Holds...) {
			if len(secret) > 5 && bytes.Contains(raw, []byte(secret)) {
				t.Fatalf("%q stands in the log", secret)
			}
		}
	}
}

func TestAChangedPersonKeepsTheirKey(t *testing.T) {
	r := newRig(t)
	r.imports(csvHead+"1;Amsel;Anna;0171 3920012\n2;Buche;Bert\n", ImportOptions{})
	report := r.imports(csvHead+"1;Amsel-Specht;Anna;0171 3920013\n2;Buche;Bert\n", ImportOptions{})
	if report.Changed != 1 || report.Unchanged != 1 || report.Added != 0 {
		t.Errorf("%+v", report)
	}
	anna := r.find("specht")
	if anna.FamilyName != "Amsel-Specht" || anna.Address(SMS) != "+491713920013" {
		t.Errorf("%+v", anna)
	}
	var st state
	_, err := r.model.State(r.ctx, nordtal, anna.ID.Subject(), &st)
	ok(t, err)
	if len(st.Person.Keys) != 1 {
		t.Errorf("keys: %v", st.Person.Keys)
	}
}

func TestAnLDIFAndATableNameTheSamePerson(t *testing.T) {
	r := newRig(t)
	r.imports(adPerson(guidA, "Anna", "Amsel"), ImportOptions{})
	report := r.imports("objectGUID,sn,givenName,ou\n{08165069-80D1-22ED-5A13-3A579B1FFF0F},Amsel,Anna,Dezernat 3 > Amt 32\n", ImportOptions{})
	if report.Unchanged != 1 || report.Units.Unchanged != 2 {
		t.Errorf("%+v", report)
	}
}

func TestAbsentPeopleStayUnlessPruned(t *testing.T) {
	r := newRig(t)
	r.imports(csvHead+"1;Amsel;Anna;;;Amt 1;S1\n2;Buche;Bert;;;Amt 2;S1\n3;Cello;Carl;;;Amt 2;S2\n", ImportOptions{})
	r.imports(adPerson(guidA, "Doro", "Dorn"), ImportOptions{}) // from another directory
	short := csvHead + "1;Amsel;Anna;;;Amt 1;S1\n"

	if report := r.imports(short, ImportOptions{}); report.Removed != 0 || report.Functions.Unchanged != 2 || len(r.everybody()) != 4 {
		t.Errorf("without pruning: %+v", report)
	}
	withheld := r.imports(short+"2;\"Buche;Bert\n", ImportOptions{Prune: true})
	if withheld.Removed != 0 || len(withheld.Remarks) != 1 || !errors.Is(withheld.Remarks[0], ErrPruneWithheld) {
		t.Errorf("with a refused line: %+v", withheld)
	}
	kept := r.imports(short+"2;Buche;Bert;falsch;;Amt 2;S1\n", ImportOptions{Prune: true, DryRun: true})
	if kept.Removed != 1 || kept.RefusedTotal != 1 {
		t.Errorf("a refused line with a key is no absence: %+v", kept)
	}
	report := r.imports(short, ImportOptions{Prune: true})
	if report.Removed != 2 || report.Units.Removed != 1 || report.Functions.Removed != 1 || report.Functions.Changed != 1 {
		t.Errorf("with pruning: %+v", report)
	}
	if people := r.everybody(); len(people) != 2 || people[0].FamilyName != "Amsel" || people[1].FamilyName != "Dorn" {
		t.Errorf("%+v", people)
	}
	if diff := cmp.Diff([]string{"Anna"}, r.names(r.function("S1").Holders)); diff != "" {
		t.Error(diff)
	}
	back := r.imports(csvHead+"2;Buche;Bert;;;Amt 2;S1\n", ImportOptions{})
	if back.Added != 1 || back.Units.Added != 1 || r.find("buche").GivenName != "Bert" {
		t.Errorf("coming back: %+v", back)
	}
}

func TestASwitchedOffAccountGoesOut(t *testing.T) {
	r := newRig(t)
	r.imports(adPerson(guidA, "Anna", "Amsel", "userAccountControl: 512")+adPerson(guidB, "Bert", "Buche", "userAccountControl: 514"), ImportOptions{})
	if people := r.everybody(); len(people) != 1 || people[0].GivenName != "Anna" {
		t.Fatalf("%+v", people)
	}
	report := r.imports(adPerson(guidA, "Anna", "Amsel", "userAccountControl: 66050"), ImportOptions{})
	if report.Removed != 1 || report.Disabled != 1 || len(r.everybody()) != 0 {
		t.Errorf("%+v", report)
	}
}

func TestTheFileSpeaksOnlyForItsPeople(t *testing.T) {
	r := newRig(t)
	r.imports(csvHead+"1;Amsel;Anna;;;;S1\n2;Buche;Bert;;;;S1\n", ImportOptions{})
	r.imports(csvHead+"3;Cello;Carl;;;;S1\n1;Amsel;Anna;;;;S2;S1\n", ImportOptions{})
	f := r.function("S1")
	if diff := cmp.Diff([]string{"Carl", "Bert"}, r.names(f.Holders)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Anna"}, r.names(f.Deputies)); diff != "" {
		t.Error(diff)
	}
}

func TestWhoWroteIsRecorded(t *testing.T) {
	r := newRig(t)
	r.Service = r.As("person/12c0")
	r.imports(csvHead+"1;Amsel;Anna\n", ImportOptions{})
	for _, h := range r.log.Heads() {
		pages, err := r.log.Read(r.ctx, h.Branch, 0, 1<<20)
		ok(t, err)
		if e := pages[0].Events[0]; e.Actor != "person/12c0" || h.Branch.Class != event.Register || len(e.Keys) != 1 {
			t.Errorf("%+v", e)
		}
	}
}

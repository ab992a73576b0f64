// SPDX-License-Identifier: EUPL-1.2

package examples

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/text/encoding/charmap"
)

// How many people the committed files hold, and from which seed.
const (
	Seed           = 1
	NordtalPeople  = 1400
	WestmarkPeople = 800
)

// NordtalLDIF and WestmarkCSV are the committed files. Do not change them.
var (
	//go:embed lk-nordtal.ldif
	NordtalLDIF []byte
	//go:embed sv-westmark.csv
	WestmarkCSV []byte
)

// Export returns n people of an authority as its own directory would export them: LDIF for Nordtal, CSV for Westmark. An
// unknown authority gives nothing.
func Export(authority string, seed uint64, n int) []byte {
	var b bytes.Buffer
	var err error
	switch people := People(authority, seed, n); authority {
	case Nordtal:
		err = WriteLDIF(&b, authority, people)
	case Westmark:
		err = WriteCSV(&b, people)
	}
	if err != nil {
		return nil // a buffer takes everything, and the names are chosen to be encodable
	}
	return b.Bytes()
}

// WriteLDIF writes the people as Active Directory would: units first, then people, among them a few whose account is
// switched off, then the groups that are staff functions. It returns w's error.
func WriteLDIF(w io.Writer, authority string, people []Person) error {
	org := organisations[authority]
	l := &ldifWriter{w: bufio.NewWriter(w), base: "DC=" + strings.ReplaceAll(org.domain, ".", ",DC=")}
	l.line("# Invented people for trying things out, made by examples/generate.")
	l.line("version: 1")
	l.line("")
	for _, u := range org.units {
		l.unit(u)
	}
	l.unit([]string{org.name, "Krisenstab"})
	for i := range people {
		l.person(authority, people, i)
	}
	for _, f := range org.functions {
		l.group(org.name, f, people, func(p Person) bool { return slices.Contains(p.Holds, f) })
		l.group(org.name, f+" Stellvertretung", people, func(p Person) bool { return slices.Contains(p.Deputises, f) })
	}
	return l.w.Flush()
}

type ldifWriter struct {
	w    *bufio.Writer
	base string
}

func (l *ldifWriter) line(s string) { _, _ = l.w.WriteString(s + "\n") } // Flush returns the error

// attr writes a value as RFC 2849 wants it: in base64 unless it is plain ASCII, folded after 76 characters.
func (l *ldifWriter) attr(name, value string) {
	if value == "" {
		return
	}
	s := name + ": " + value
	if !plain(value) {
		s = name + ":: " + base64.StdEncoding.EncodeToString([]byte(value))
	}
	for len(s) > 76 {
		l.line(s[:76])
		s = " " + s[76:]
	}
	l.line(s)
}

func plain(v string) bool {
	if strings.ContainsAny(v[:1], " :<") || v[len(v)-1] == ' ' {
		return false
	}
	return !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' })
}

func (l *ldifWriter) unitDN(path []string) string {
	dn := l.base
	for _, u := range path {
		dn = "OU=" + escape(u) + "," + dn
	}
	return dn
}

func escape(s string) string { return strings.ReplaceAll(s, ",", `\,`) }

// guid makes an objectGUID out of what names the entry, so that it stays the same.
func guid(name string) string {
	d := sha256.Sum256([]byte("holdfast example " + name))
	return string(d[:16])
}

func (l *ldifWriter) unit(path []string) {
	dn := l.unitDN(path)
	l.attr("dn", dn)
	l.attr("changetype", "add")
	l.attr("objectClass", "top")
	l.attr("objectClass", "organizationalUnit")
	l.attr("ou", path[len(path)-1])
	l.attr("distinguishedName", dn)
	l.attr("objectGUID", guid(dn))
	l.line("")
}

func (l *ldifWriter) personDN(p Person) string {
	return fmt.Sprintf("CN=%s\\, %s (%s),%s", escape(p.Family), p.Given, p.Key, l.unitDN(p.Unit))
}

func (l *ldifWriter) person(authority string, people []Person, i int) {
	p := people[i]
	dn := l.personDN(p)
	l.attr("dn", dn)
	l.attr("changetype", "add")
	for _, c := range []string{"top", "person", "organizationalPerson", "user"} {
		l.attr("objectClass", c)
	}
	l.attr("cn", fmt.Sprintf("%s, %s (%s)", p.Family, p.Given, p.Key))
	l.attr("sn", p.Family)
	l.attr("givenName", p.Given)
	l.attr("displayName", strings.TrimSpace(p.Title+" "+p.Given+" "+p.Family))
	l.attr("personalTitle", p.Title)
	l.attr("title", p.Position)
	l.attr("department", p.Unit[len(p.Unit)-1])
	l.attr("mail", p.Mail)
	l.attr("mobile", p.Mobile)
	l.attr("telephoneNumber", p.Phone)
	l.attr("preferredLanguage", p.Language)
	if p.Manager >= 0 && p.Manager < len(people) {
		l.attr("manager", l.personDN(people[p.Manager]))
	}
	l.attr("employeeNumber", p.Key)
	l.attr("distinguishedName", dn)
	l.attr("objectGUID", guid(authority+" "+p.Key))
	l.attr("userAccountControl", "512")
	l.line("")
	if i%200 == 150 {
		l.gone(authority, p)
	}
}

// gone writes somebody who has left: the account is still there, switched off.
func (l *ldifWriter) gone(authority string, p Person) {
	p.Key += "X"
	dn := l.personDN(p)
	l.attr("dn", dn)
	l.attr("changetype", "add")
	l.attr("objectClass", "user")
	l.attr("sn", p.Family)
	l.attr("displayName", "(ausgeschieden) "+p.Family)
	l.attr("objectGUID", guid(authority+" "+p.Key))
	l.attr("userAccountControl", "514")
	l.line("")
}

func (l *ldifWriter) group(top, name string, people []Person, member func(Person) bool) {
	dn := "CN=" + escape(name) + "," + l.unitDN([]string{top, "Krisenstab"})
	l.attr("dn", dn)
	l.attr("changetype", "add")
	l.attr("objectClass", "top")
	l.attr("objectClass", "group")
	l.attr("cn", name)
	l.attr("objectGUID", guid(dn))
	for _, p := range people {
		if member(p) {
			l.attr("member", l.personDN(p))
		}
	}
	l.line("")
}

// WriteCSV writes the people as a German spreadsheet does: semicolons, CRLF, Windows-1252. It returns w's error, or one
// for a name that Windows-1252 cannot hold.
func WriteCSV(w io.Writer, people []Person) error {
	out := bufio.NewWriter(charmap.Windows1252.NewEncoder().Writer(w))
	row := func(fields ...string) {
		for i, f := range fields {
			if strings.ContainsAny(f, ";\"\n") {
				fields[i] = `"` + strings.ReplaceAll(f, `"`, `""`) + `"`
			}
		}
		_, _ = out.WriteString(strings.Join(fields, ";") + "\r\n") // Flush returns the error
	}
	row("Personalnummer", "Titel", "Nachname", "Vorname", "Amtsbezeichnung", "E-Mail", "Mobil", "Telefon", "Organisationseinheit",
		"Funktion", "Stellvertretung", "Sprache", "Vorgesetzte", "Raum")
	for i, p := range people {
		manager := ""
		if p.Manager >= 0 && p.Manager < len(people) {
			manager = people[p.Manager].Key
		}
		row(p.Key, p.Title, p.Family, p.Given, p.Position, p.Mail, p.Mobile, p.Phone, strings.Join(p.Unit, " > "),
			strings.Join(p.Holds, "; "), strings.Join(p.Deputises, "; "), p.Language, manager, fmt.Sprintf("%c %d.%02d", 'A'+i%4, i%6, i%40))
	}
	return out.Flush()
}

func sorted(m map[string][]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

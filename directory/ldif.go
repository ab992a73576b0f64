// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"codeberg.org/holdfast/holdfast/fault"
)

// The refusals of an LDIF record (RFC 2849).
var (
	ErrLDIF = fault.New(fault.Invalid, "directory.ldif", "this is not an LDIF record",
		"export again with ldifde or ldapsearch -LLL; records are separated by an empty line and begin with dn:")
	ErrChange = fault.New(fault.Invalid, "directory.ldif_change", "this record is a change, not an entry",
		"export the entries themselves (ldifde -f FILE, ldapsearch -LLL), not a list of changes")
	ErrBase64 = fault.New(fault.Invalid, "directory.ldif_base64", "the value is not base64 although it is marked as such",
		"export again, or write the value in clear behind a single colon")
	ErrURL = fault.New(fault.Invalid, "directory.ldif_url", "the value lies in another file",
		"export with the values inside the file (ldapsearch without -t)")
	ErrTooLong = fault.New(fault.TooLarge, "directory.line_too_long", "the line is longer than 64 KiB",
		"export again without pictures and certificates; check for a missing line break or quote")
)

// wanted are the attributes that are read, in lower case; all others are passed over, however large.
var wanted = map[string]bool{
	"objectclass": true, "objectguid": true, "entryuuid": true, "distinguishedname": true,
	"givenname": true, "sn": true, "cn": true, "name": true, "displayname": true, "title": true, "personaltitle": true,
	"mail": true, "mobile": true, "telephonenumber": true, "manager": true, "department": true, "memberof": true,
	"member": true, "uniquemember": true, "useraccountcontrol": true, "ou": true, "preferredlanguage": true,
	"employeenumber": true, "employeeid": true,
}

type ldifValue struct {
	line int
	text string
}

// ldifRecord is one record with the line of each value. If refused is set, the rest is what was read besides.
type ldifRecord struct {
	line    int
	dn      string
	attrs   map[string][]ldifValue
	refused *fault.Fault
	// mixed is set if more than one entry may be in here, so that nobody knows whom it is about.
	mixed bool
}

func (r *ldifRecord) refuse(f *fault.Fault) {
	if r.refused == nil {
		r.refused = f
	}
}

// first returns the first value of the first of the attributes that has one.
func (r *ldifRecord) first(attrs ...string) ldifValue {
	for _, a := range attrs {
		for _, v := range r.attrs[a] {
			if strings.TrimSpace(v.text) != "" {
				return ldifValue{v.line, strings.TrimSpace(v.text)}
			}
		}
	}
	return ldifValue{line: r.line}
}

func (r *ldifRecord) all(attr string) []string {
	var out []string
	for _, v := range r.attrs[attr] {
		out = append(out, strings.TrimSpace(v.text))
	}
	return out
}

func (r *ldifRecord) is(class string) bool {
	return slices.ContainsFunc(r.attrs["objectclass"], func(v ldifValue) bool { return strings.EqualFold(v.text, class) })
}

// ldifReader splits a file into records by itself, because the library stops at the first broken one, knows no line of
// an attribute, and follows "attr:< file:///..." into this machine's own files.
type ldifReader struct {
	lines *lineReader
	first bool
}

// next returns the next record, refused or not, io.EOF behind the last one, or a fault that ends the file.
func (p *ldifReader) next() (*ldifRecord, error) {
	rec := &ldifRecord{attrs: make(map[string][]ldifValue)}
	for {
		ln, err := p.logical()
		if errors.Is(err, io.EOF) && rec.line > 0 {
			return rec, nil
		}
		if err != nil {
			return nil, err
		}
		switch {
		case ln.text == "" && rec.line == 0:
		case ln.text == "":
			return rec, nil
		case p.first && strings.HasPrefix(ln.text, "version:"):
			if strings.TrimSpace(ln.text[len("version:"):]) != "1" {
				rec.refuse(ErrLDIF.Because("only version 1 is known").At(ln.no, "version"))
				rec.line = ln.no
			}
			p.first = false
		default:
			p.first = false
			p.take(rec, ln)
		}
	}
}

// logical returns a line with its continuation lines joined and comments left out.
func (p *ldifReader) logical() (line, error) {
	for {
		ln, err := p.lines.next()
		if err != nil {
			return line{}, err
		}
		comment := strings.HasPrefix(ln.text, "#")
		keep := !comment && wantsContinuation(ln.text)
		if err := p.unfold(&ln, keep); err != nil {
			return line{}, err
		}
		if !comment {
			return ln, nil
		}
	}
}

func (p *ldifReader) unfold(ln *line, keep bool) error {
	if ln.text == "" {
		return nil
	}
	var b strings.Builder
	for {
		more, err := p.lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if !strings.HasPrefix(more.text, " ") {
			p.lines.push(more)
			break
		}
		ln.bad = ln.bad || more.bad
		if keep && len(ln.text)+b.Len()+len(more.text) > maxLineBytes {
			ln.cut, keep = true, false
		}
		if keep {
			b.WriteString(more.text[1:])
		}
	}
	ln.text += b.String()
	return nil
}

// wantsContinuation keeps pictures out of memory: only lines of wanted attributes are joined.
func wantsContinuation(text string) bool {
	name, _, ok := strings.Cut(text, ":")
	return !ok || name == "dn" || wanted[attrName(name)]
}

func attrName(s string) string {
	name, _, _ := strings.Cut(s, ";") // options: sn;lang-de, member;range=0-1499
	return strings.ToLower(strings.TrimSpace(name))
}

func (p *ldifReader) take(rec *ldifRecord, ln line) {
	begin := rec.line == 0
	if begin {
		rec.line = ln.no
	}
	head, rest, ok := strings.Cut(ln.text, ":")
	name := attrName(head)
	switch {
	case !ok && ln.text == "-":
		rec.refuse(ErrChange.At(ln.no, ""))
		return
	case !ok || name == "":
		rec.refuse(ErrLDIF.Because("a colon is missing, or the line lacks the blank of a continued one").At(ln.no, ""))
		return
	case begin && name != "dn":
		rec.refuse(ErrLDIF.Because("it begins with %.40q instead of dn", head).At(ln.no, "dn"))
	case !begin && name == "dn":
		rec.mixed = true
		rec.refuse(ErrLDIF.Because("a second dn follows without an empty line between").At(ln.no, "dn"))
		return
	}
	if name == "changetype" && strings.TrimSpace(rest) != "add" { // ldifde writes "add" on every entry it exports
		rec.refuse(ErrChange.Because("changetype %.20q", strings.TrimSpace(rest)).At(ln.no, "changetype"))
		return
	}
	if name != "dn" && !wanted[name] {
		return
	}
	value, f := ldifText(rest, ln, name != "objectguid")
	if f != nil {
		rec.refuse(f.At(ln.no, shown(name)))
		return
	}
	if name == "dn" {
		rec.dn = value
	} else if value != "" {
		rec.attrs[name] = append(rec.attrs[name], ldifValue{ln.no, value})
	}
}

// ldifText returns the value behind the first colon: in clear, or in base64 behind a second one.
func ldifText(rest string, ln line, text bool) (string, *fault.Fault) {
	switch {
	case ln.cut:
		return "", ErrTooLong
	case ln.bad:
		return "", ErrEncoding
	case strings.HasPrefix(rest, "<"):
		return "", ErrURL
	case !strings.HasPrefix(rest, ":"):
		return strings.TrimLeft(rest, " "), nil
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest[1:]))
	if err != nil {
		return "", ErrBase64
	}
	if text && (!utf8.Valid(b) || slices.Contains(b, 0)) {
		return "", ErrEncoding
	}
	return string(b), nil
}

// shown gives an attribute back the spelling that administrators know.
func shown(name string) string {
	for _, s := range []string{"givenName", "displayName", "personalTitle", "telephoneNumber", "objectGUID", "entryUUID",
		"memberOf", "userAccountControl", "preferredLanguage", "objectClass", "uniqueMember", "distinguishedName"} {
		if strings.EqualFold(s, name) {
			return s
		}
	}
	return name
}

// ldifSource turns records into entries. See source.
type ldifSource struct {
	records *ldifReader
	options ImportOptions
	dns     map[string]string // written DN → normal form, for managers and groups that return often
	groups  map[string]string // written DN of a group → name of the function that it is, "" if it is none
}

func newLDIFSource(lines *lineReader, o ImportOptions) *ldifSource {
	return &ldifSource{records: &ldifReader{lines: lines, first: true}, options: o, dns: make(map[string]string), groups: make(map[string]string)}
}

func (s *ldifSource) next() (entry, error) {
	rec, err := s.records.next()
	if err != nil {
		return entry{}, err
	}
	return s.entryOf(rec), nil
}

func (s *ldifSource) entryOf(rec *ldifRecord) entry {
	e := entry{line: rec.line, refused: rec.refused}
	if e.source, e.key = s.keyOf(rec, &e); rec.mixed {
		e.key = ""
	}
	if e.refused != nil {
		return e
	}
	dn, err := ldap.ParseDN(rec.dn)
	if err != nil || rec.dn == "" {
		e.refuse(ErrLDIF.Because("the dn cannot be read").At(rec.line, "dn"))
		return e
	}
	e.dn = normalDN(dn)
	switch {
	case rec.is("computer"), rec.is("contact"):
		e.what = other
	case rec.is("group"), rec.is("groupOfNames"), rec.is("groupOfUniqueNames"):
		s.group(&e, rec, dn)
	case isPerson(rec):
		s.person(&e, rec, dn)
	default:
		e.what = other
	}
	return e
}

func isPerson(rec *ldifRecord) bool {
	if len(rec.attrs["objectclass"]) > 0 {
		return rec.is("person") || rec.is("user") || rec.is("inetOrgPerson")
	}
	return rec.attrs["sn"] != nil || rec.attrs["givenname"] != nil || rec.attrs["mail"] != nil
}

// keyOf returns what the source calls the entry, for good. Without --key it is objectGUID, then entryUUID.
func (s *ldifSource) keyOf(rec *ldifRecord, e *entry) (source, key string) {
	if s.options.KeyColumn != "" && !strings.EqualFold(s.options.KeyColumn, "objectGUID") {
		name := strings.ToLower(s.options.KeyColumn)
		return keySource(name), rec.first(name).text
	}
	if v := rec.attrs["objectguid"]; len(v) > 0 {
		guid, err := guidText(v[0].text)
		if err != nil {
			e.refuse(ErrKey.Because("%v", err).At(v[0].line, "objectGUID"))
		}
		return "objectguid", guid
	}
	return "entryuuid", strings.ToLower(rec.first("entryuuid").text)
}

// guidText returns Microsoft's text form of an objectGUID: the first three groups are little-endian in the binary form,
// so that a CSV from PowerShell and an LDIF from ldifde name the same person.
func guidText(v string) (string, error) {
	if len(v) == 16 {
		b := []byte(v)
		return fmt.Sprintf("%x-%x-%x-%x-%x", []byte{b[3], b[2], b[1], b[0]}, []byte{b[5], b[4]}, []byte{b[7], b[6]}, b[8:10], b[10:]), nil
	}
	t := strings.ToLower(strings.Trim(strings.TrimSpace(v), "{}"))
	raw, err := hex.DecodeString(strings.ReplaceAll(t, "-", ""))
	if err != nil || len(raw) != 16 || len(t) != 36 {
		return "", errors.New("it is neither 16 bytes nor the text form of 36 characters")
	}
	return t, nil
}

func (s *ldifSource) person(e *entry, rec *ldifRecord, dn *ldap.DN) {
	e.what = person
	if v := rec.first("useraccountcontrol"); v.text != "" {
		flags, err := strconv.ParseInt(v.text, 10, 64)
		if err != nil {
			e.refuse(ErrLDIF.Because("userAccountControl is not a number").At(v.line, "userAccountControl"))
			return
		}
		if flags&0x2 != 0 { // ACCOUNTDISABLE, [MS-ADTS] 2.2.16
			e.what = disabled
		}
	}
	p := &e.private
	p.Display, p.Given, p.Family = rec.first("displayname").text, rec.first("givenname").text, rec.first("sn").text
	if p.Display == "" && p.Family == "" {
		p.Display = rec.first("cn", "name").text
	}
	p.Title, p.Position = titles(rec.first("personaltitle").text, rec.first("title").text)
	e.readMobile(field(rec.first("mobile"), "mobile"))
	e.readMail(field(rec.first("mail"), "mail"))
	e.readLanguage(field(rec.first("preferredlanguage"), "preferredLanguage"))
	e.readPhone(rec.first("telephonenumber").text)
	e.manager = s.dn(rec.first("manager").text)
	e.units = unitsOf(rec, dn)
	for _, g := range rec.all("memberof") {
		if name := s.functionName(g); name != "" {
			e.addFunction(name)
		}
	}
	e.finish("sn", s.keyField())
}

// keyField is the attribute that is missed where there is no key.
func (s *ldifSource) keyField() string {
	if s.options.KeyColumn != "" {
		return s.options.KeyColumn
	}
	return "objectGUID"
}

func field(v ldifValue, name string) written { return written{v.line, name, v.text} }

// titles tells the academic title from the position: many directories keep "Dr." in title.
func titles(personal, title string) (academic, position string) {
	if personal == "" && looksAcademic(title) {
		return title, ""
	}
	return personal, title
}

func looksAcademic(s string) bool {
	for _, w := range strings.Fields(strings.ToLower(s)) {
		w = strings.Trim(w, "().,-")
		if !slices.Contains([]string{"dr", "prof", "professor", "dipl", "dipl.-ing", "ing", "med", "jur", "rer", "nat", "pol", "phil",
			"h.c", "hc", "habil", "mag", "m.a", "b.a", "m.sc", "b.sc", "ph.d", "phd", "pd", "iur", "oec", "agr"}, w) {
			return false
		}
	}
	return s != ""
}

// technical are containers that hold accounts and are no units of anybody's organisation.
var technical = []string{"benutzer", "users", "user", "accounts", "konten", "people", "personen", "mitarbeiter", "mitarbeitende",
	"beschaeftigte", "employees", "funktionen", "gruppen", "groups"}

// unitsOf returns the path of OUs in the DN, from the top; where there is none, the attribute ou, then department.
func unitsOf(rec *ldifRecord, dn *ldap.DN) []unitPath {
	var path unitPath
	for _, name := range slices.Backward(ouNames(dn)) {
		if !slices.Contains(technical, expand.Replace(spelled(name))) {
			path = append(path, name)
		}
	}
	if len(path) > 0 {
		return []unitPath{path}
	}
	if v := rec.first("ou", "department"); v.text != "" {
		return []unitPath{{v.text}}
	}
	return nil
}

func ouNames(dn *ldap.DN) []string {
	var out []string
	for _, rdn := range dn.RDNs {
		for _, a := range rdn.Attributes {
			if strings.EqualFold(a.Type, "ou") && strings.TrimSpace(a.Value) != "" {
				out = append(out, strings.TrimSpace(a.Value))
			}
		}
	}
	return out
}

// staffUnits are the containers whose groups are functions. An authority may name its own in ImportOptions.
var staffUnits = []string{"stab", "krisenstab", "verwaltungsstab", "fuehrungsstab", "stabsfunktionen", "krisenfunktionen",
	"funktionen", "functions", "crisis team"}

// functionName returns the name of the function that a group is, "" if it is none.
func (s *ldifSource) functionName(group string) string {
	name, ok := s.groups[group]
	if !ok {
		name = s.findFunction(group)
		s.groups[group] = name
	}
	return name
}

func (s *ldifSource) findFunction(group string) string {
	dn, err := ldap.ParseDN(group)
	if err != nil || len(dn.RDNs) == 0 || len(dn.RDNs[0].Attributes) == 0 {
		return ""
	}
	for _, ou := range ouNames(dn) {
		if strings.EqualFold(ou, s.options.FunctionsIn) ||
			s.options.FunctionsIn == "" && slices.Contains(staffUnits, expand.Replace(spelled(ou))) {
			return clean(dn.RDNs[0].Attributes[0].Value)
		}
	}
	return ""
}

func (s *ldifSource) group(e *entry, rec *ldifRecord, dn *ldap.DN) {
	e.what = other
	if name := s.functionName(rec.dn); name != "" {
		e.what = group
		e.addFunction(name)
		for _, m := range append(rec.all("member"), rec.all("uniquemember")...) {
			e.members = append(e.members, s.dn(m))
		}
	}
}

// dn returns the normal form of a written DN, or the written one in lower case if it cannot be read.
func (s *ldifSource) dn(written string) string {
	if written == "" {
		return ""
	}
	if d, ok := s.dns[written]; ok {
		return d
	}
	normal := strings.ToLower(written)
	if dn, err := ldap.ParseDN(written); err == nil {
		normal = normalDN(dn)
	}
	s.dns[written] = normal
	return normal
}

func normalDN(dn *ldap.DN) string {
	var b strings.Builder
	for _, rdn := range dn.RDNs {
		for _, a := range rdn.Attributes {
			b.WriteString(strings.ToLower(a.Type) + "=" + strings.ToLower(strings.TrimSpace(a.Value)) + "\x00")
		}
	}
	return b.String()
}

// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/holdfast/holdfast/fault"
)

// The refusals of a CSV file and its rows (RFC 4180, and what spreadsheets make of it).
var (
	ErrHeader = fault.New(fault.Invalid, "directory.header", "the first line does not name the columns",
		"put a line with the names of the columns first: Personalnummer;Nachname;Vorname;Mobil;E-Mail")
	ErrColumnMissing = fault.New(fault.Invalid, "directory.column_missing", "a column is missing",
		"add the column, or correct its name in the first line")
	ErrColumnTwice = fault.New(fault.Invalid, "directory.column_twice", "two columns mean the same",
		"delete or rename one of the two in the first line")
	ErrQuote = fault.New(fault.Invalid, "directory.quote", "a quoted field is not closed, or text follows its closing quote",
		`double every quote inside a quoted field: "Haus ""Nord"""`)
	ErrFieldCount = fault.New(fault.Invalid, "directory.field_count", "the line has more fields than the first line has columns",
		"put quotes around fields that contain the separator")
)

const (
	maxColumns  = 200
	maxRowLines = 20
)

// column is what a column of a table means to us.
type column string

const (
	colKey       column = "key"
	colDisplay   column = "display"
	colGiven     column = "given"
	colFamily    column = "family"
	colTitle     column = "title"
	colPosition  column = "position"
	colMail      column = "mail"
	colMobile    column = "mobile"
	colPhone     column = "phone"
	colUnit      column = "unit"
	colFunction  column = "function"
	colDeputy    column = "deputy"
	colLanguage  column = "language"
	colManager   column = "manager"
	colGUID      column = "objectguid"
	colEntryUUID column = "entryuuid"
)

// synonyms are the headings that are understood, in the form that headingOf gives them. An authority's own key column is
// named in the options instead.
var synonyms = map[string]column{
	"personalnummer": colKey, "personalnr": colKey, "personnelnumber": colKey, "employeenumber": colKey, "employeeid": colKey,
	"mitarbeiternummer": colKey, "mitarbeiternr": colKey, "persnr": colKey,
	"anzeigename": colDisplay, "displayname": colDisplay, "name": colDisplay, "vollername": colDisplay, "fullname": colDisplay,
	"vorname": colGiven, "givenname": colGiven, "firstname": colGiven, "rufname": colGiven,
	"nachname": colFamily, "familienname": colFamily, "sn": colFamily, "surname": colFamily, "lastname": colFamily, "familyname": colFamily,
	"titel": colTitle, "akademischertitel": colTitle, "akadtitel": colTitle, "academictitle": colTitle, "personaltitle": colTitle,
	"position": colPosition, "amtsbezeichnung": colPosition, "dienststellung": colPosition, "jobtitle": colPosition, "title": colPosition,
	"email": colMail, "mail": colMail, "emailadresse": colMail, "emailaddress": colMail,
	"mobil": colMobile, "mobile": colMobile, "mobiltelefon": colMobile, "mobilnummer": colMobile, "handy": colMobile, "handynummer": colMobile,
	"mobilephone": colMobile, "cell": colMobile, "cellphone": colMobile,
	"telefon": colPhone, "telefonnummer": colPhone, "telephonenumber": colPhone, "telephone": colPhone, "phone": colPhone, "festnetz": colPhone,
	"organisationseinheit": colUnit, "oe": colUnit, "abteilung": colUnit, "einheit": colUnit, "dienststelle": colUnit, "referat": colUnit,
	"department": colUnit, "organisationalunit": colUnit, "organizationalunit": colUnit, "orgunit": colUnit, "ou": colUnit, "unit": colUnit,
	"funktion": colFunction, "funktionen": colFunction, "function": colFunction, "functions": colFunction, "stabsfunktion": colFunction,
	"stellvertretung": colDeputy, "vertretung": colDeputy, "stellvertretungfuer": colDeputy, "deputy": colDeputy, "deputyfor": colDeputy,
	"sprache": colLanguage, "language": colLanguage, "preferredlanguage": colLanguage,
	"vorgesetzte": colManager, "vorgesetzter": colManager, "vorgesetzteperson": colManager, "manager": colManager,
	"objectguid": colGUID, "entryuuid": colEntryUUID,
}

// headingOf folds the spellings of a heading: "E-Mail-Adresse" and "e mail adresse" are the same.
func headingOf(s string) string {
	s = expand.Replace(spelled(clean(s)))
	return strings.NewReplacer(" ", "", "-", "", "_", "", ".", "", "/", "", ":", "", "*", "").Replace(s)
}

// keySource returns the numbering that a key column stands for, so that a personnel number is the same key in every
// format and under every heading.
func keySource(heading string) string {
	h := headingOf(heading)
	if synonyms[h] == colKey {
		return "employee"
	}
	return h
}

// csvSource turns rows into entries. See source.
type csvSource struct {
	lines   *lineReader
	comma   rune
	columns []column // by position, "" for one that is passed over
	names   []string // as written
	source  string
	passed  []string
}

func newCSVSource(lines *lineReader, o ImportOptions) (*csvSource, error) {
	s := &csvSource{lines: lines}
	head, err := s.heading()
	if err != nil {
		return nil, err
	}
	s.comma = separatorOf(head.text, s.comma)
	s.names, err = splitRow(head.text, s.comma)
	if err != nil || head.bad || head.cut || len(s.names) < 2 || len(s.names) > maxColumns {
		return nil, ErrHeader.At(head.no, "")
	}
	return s, s.assign(head.no, o.KeyColumn)
}

// heading returns the first line that is not empty, and heeds Excel's "sep=;".
func (s *csvSource) heading() (line, error) {
	for {
		ln, err := s.lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return line{}, ErrHeader.Because("the file is empty")
		case err != nil:
			return line{}, err
		case strings.HasPrefix(ln.text, "#TYPE "): // what older PowerShells write first
		case strings.HasPrefix(strings.ToLower(ln.text), "sep=") && len(ln.text) == len("sep=")+1:
			s.comma = rune(ln.text[4])
		case strings.TrimSpace(ln.text) != "":
			return ln, nil
		}
	}
}

// separatorOf returns the separator that the heading has most of, unless the file has said which it is.
func separatorOf(head string, said rune) rune {
	if said != 0 {
		return said
	}
	best := ';'
	for _, c := range ",\t" {
		if strings.Count(head, string(c)) > strings.Count(head, string(best)) {
			best = c
		}
	}
	return best
}

func (s *csvSource) assign(no int, keyColumn string) error {
	seen := make(map[column]bool)
	for _, name := range s.names {
		c := synonyms[headingOf(name)]
		if keyColumn != "" && headingOf(name) == headingOf(keyColumn) {
			c, s.source = colKey, keySource(keyColumn)
		} else if c == colKey && keyColumn != "" {
			c = ""
		}
		if c != "" && seen[c] {
			return ErrColumnTwice.Because("%.60q", name).At(no, name)
		}
		if c == "" && strings.TrimSpace(name) != "" {
			s.passed = append(s.passed, clean(name))
		}
		seen[c] = true
		s.columns = append(s.columns, c)
	}
	return s.required(seen, no, keyColumn)
}

// required finds the key's column: the named one, else objectGUID, entryUUID, a personnel number.
func (s *csvSource) required(seen map[column]bool, no int, keyColumn string) error {
	if !seen[colFamily] && !seen[colDisplay] {
		return ErrColumnMissing.Because("neither Nachname nor Anzeigename").At(no, "Nachname")
	}
	switch {
	case keyColumn != "" && s.source == "":
		return ErrColumnMissing.Because("the key column %.60q", keyColumn).At(no, keyColumn)
	case keyColumn != "":
	case seen[colGUID]:
		s.source = string(colGUID)
	case seen[colEntryUUID]:
		s.source = string(colEntryUUID)
	case seen[colKey]:
		s.source = "employee"
	default:
		f := ErrColumnMissing.Because("none holds a key that stays the same for good").At(no, "Personalnummer")
		f.WayOut = "add Personalnummer, objectGUID or entryUUID, or name the column that holds the key"
		return f
	}
	return nil
}

// keyAt returns the position of the column that holds the key.
func (s *csvSource) keyAt() int {
	want := colKey
	if s.source == string(colGUID) || s.source == string(colEntryUUID) {
		want = column(s.source)
		if !slices.Contains(s.columns, want) {
			want = colKey
		}
	}
	return slices.Index(s.columns, want)
}

// next returns the next row that is not empty.
func (s *csvSource) next() (entry, error) {
	for {
		ln, err := s.lines.next()
		if err != nil {
			return entry{}, err
		}
		if strings.Trim(ln.text, " \t"+string(s.comma)) == "" && !ln.cut {
			continue
		}
		fields, f, err := s.row(ln)
		if err != nil {
			return entry{}, err
		}
		e := entry{what: person, line: ln.no}
		if f != nil {
			e.refuse(f)
			return e, nil
		}
		s.read(&e, fields)
		return e, nil
	}
}

// row returns the fields of the row that begins at ln. A quoted field may run over several lines; if it does not close
// soon, only its first line is refused and the others are read as rows of their own.
func (s *csvSource) row(first line) ([]string, *fault.Fault, error) {
	text, ln := first.text, first
	var more []line
	for {
		switch {
		case ln.cut || len(text) > maxLineBytes:
			s.giveBack(more)
			return nil, ErrTooLong.At(first.no, ""), nil
		case ln.bad:
			s.giveBack(more)
			return nil, ErrEncoding.At(first.no, ""), nil
		}
		fields, err := splitRow(text, s.comma)
		if err == nil && len(fields) > len(s.columns) && strings.TrimSpace(strings.Join(fields[len(s.columns):], "")) != "" {
			s.giveBack(more)
			return nil, ErrFieldCount.Because("%d instead of %d", len(fields), len(s.columns)).At(first.no, ""), nil
		}
		if err == nil {
			return fields, nil, nil
		}
		if !errors.Is(err, errOpenQuote) || len(more) == maxRowLines {
			s.giveBack(more)
			return nil, ErrQuote.At(first.no, s.nameOf(len(fields))), nil
		}
		if ln, err = s.lines.next(); errors.Is(err, io.EOF) {
			s.giveBack(more)
			return nil, ErrQuote.At(first.no, s.nameOf(len(fields))), nil
		} else if err != nil {
			return nil, nil, err
		}
		more = append(more, ln)
		text += "\n" + ln.text
	}
}

func (s *csvSource) giveBack(more []line) {
	for _, ln := range slices.Backward(more) {
		s.lines.push(ln)
	}
}

func (s *csvSource) nameOf(i int) string {
	if i < len(s.names) {
		return s.names[i]
	}
	return strconv.Itoa(i + 1)
}

var (
	errOpenQuote  = errors.New("a quoted field is open")
	errAfterQuote = errors.New("text follows a closing quote")
)

// splitRow splits one row. A quote inside an unquoted field stands for itself. On an error it returns the fields before
// the broken one.
func splitRow(text string, comma rune) ([]string, error) {
	var fields []string
	for {
		var value string
		if rest := strings.TrimLeft(text, " "); strings.HasPrefix(rest, `"`) {
			var err error
			if value, text, err = quotedField(rest[1:]); err != nil {
				return fields, err
			}
			text = strings.TrimLeft(text, " ")
			if text != "" && !strings.HasPrefix(text, string(comma)) {
				return fields, errAfterQuote
			}
		} else {
			end := strings.IndexRune(text, comma)
			if end < 0 {
				end = len(text)
			}
			value, text = text[:end], text[end:]
		}
		fields = append(fields, value)
		if text == "" || len(fields) > maxColumns {
			return fields, nil
		}
		text = text[1:]
	}
}

// quotedField returns the value up to the closing quote and what follows it.
func quotedField(text string) (value, rest string, err error) {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(text, `"`)
		b.WriteString(before)
		if !ok {
			return "", "", errOpenQuote
		}
		if !strings.HasPrefix(after, `"`) {
			return b.String(), after, nil
		}
		b.WriteByte('"')
		text = after[1:]
	}
}

func (s *csvSource) read(e *entry, fields []string) {
	keyAt := s.keyAt()
	for i, f := range fields {
		if i >= len(s.columns) {
			break
		}
		w := written{e.line, s.names[i], strings.TrimSpace(f)}
		if i == keyAt {
			s.readKey(e, w)
		} else {
			s.readField(e, s.columns[i], w)
		}
	}
	if e.private.Language == "" {
		e.private.Language = German
	}
	e.source = s.source
	e.finish(s.nameColumn(), s.names[keyAt])
}

func (s *csvSource) nameColumn() string {
	if i := slices.Index(s.columns, colFamily); i >= 0 {
		return s.names[i]
	}
	return s.names[slices.Index(s.columns, colDisplay)]
}

func (s *csvSource) readKey(e *entry, w written) {
	e.key = clean(w.text)
	if s.source == string(colEntryUUID) {
		e.key = strings.ToLower(e.key)
	}
	if s.source == string(colGUID) && e.key != "" {
		guid, err := guidText(e.key)
		if err != nil {
			e.refuse(ErrKey.Because("%v", err).At(w.line, w.field))
		}
		e.key = guid
	}
}

func (s *csvSource) readField(e *entry, c column, w written) {
	p := &e.private
	switch c {
	case colDisplay:
		p.Display = w.text
	case colGiven:
		p.Given = w.text
	case colFamily:
		p.Family = w.text
	case colTitle:
		p.Title = w.text
	case colPosition:
		p.Title, p.Position = orTitle(p.Title, w.text)
	case colMail:
		e.readMail(w)
	case colMobile:
		e.readMobile(w)
	case colPhone:
		e.readPhone(w.text)
	case colLanguage:
		e.readLanguage(w)
	case colManager:
		e.manager = w.text
	case colUnit:
		e.units = unitPaths(w.text)
	case colFunction:
		for _, n := range names(w.text) {
			e.addFunction(n)
		}
	case colDeputy:
		e.deputises = append(e.deputises, names(w.text)...)
	}
}

// orTitle takes the academic title out of a column "title" that English tables use for both.
func orTitle(title, position string) (string, string) {
	if title == "" && looksAcademic(position) {
		return position, ""
	}
	return title, position
}

// names splits "S1 | S2" or "S1; S2".
func names(s string) []string {
	var out []string
	for _, n := range strings.FieldsFunc(s, func(r rune) bool { return r == '|' || r == ';' || r == '\n' }) {
		if n = clean(n); n != "" {
			out = append(out, n)
		}
	}
	return out
}

// unitPaths splits "Dezernat 3 > Ordnungsamt | Krisenstab": units by a bar, levels by > or \ or a slash between blanks.
func unitPaths(s string) []unitPath {
	var out []unitPath
	for _, u := range strings.Split(s, "|") {
		u = strings.ReplaceAll(strings.ReplaceAll(u, " / ", ">"), `\`, ">")
		var path unitPath
		for _, n := range strings.Split(u, ">") {
			if n = clean(n); n != "" {
				path = append(path, n)
			}
		}
		if len(path) > 0 {
			out = append(out, path)
		}
	}
	return out
}

// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"errors"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"codeberg.org/holdfast/holdfast/fault"
)

// The refusals of one entry of a file.
var (
	ErrKey = fault.New(fault.Invalid, "directory.key", "the entry has no usable key that stays the same for good",
		"export objectGUID, entryUUID or a personnel number, or name the column that holds the key")
	ErrTwice = fault.New(fault.Conflict, "directory.key_twice", "an earlier line has the same key",
		"keep one of the two lines, or give each person a key of their own")
	ErrName = fault.New(fault.Invalid, "directory.name_missing", "the person has no name",
		"fill in the family name or the display name")
	ErrFieldTooLong = fault.New(fault.TooLarge, "directory.field_too_long", "the field is longer than 200 characters",
		"shorten it; a missing separator or quote in this line is another cause")
	ErrLanguage = fault.New(fault.Invalid, "directory.language", "the language is neither German nor English",
		"write de or en, or leave the field empty for German")
	ErrCollision = fault.New(fault.Conflict, "directory.key_collision", "another person of the register has the same id by chance",
		"give this person another key in the source")
	ErrStaysErased = fault.New(fault.Conflict, "directory.stays_erased", "this person has been erased and stays erased",
		"take the person out of the export; somebody who really comes back gets a new key in the source")
)

const maxFieldRunes = 200

// what an entry of a file is.
type what int

const (
	other    what = iota // neither person nor function: passed over and counted
	person               // goes in
	disabled             // a person whose account is switched off: goes out
	group                // a function with members
)

// unitPath is the names from the top of the tree down to one unit.
type unitPath []string

// written is a value as it stands in the file.
type written struct {
	line  int
	field string
	text  string
}

// entry is one entry of a file, whatever the format. If refused is set, the rest is what could be read besides.
type entry struct {
	what    what
	line    int
	source  string // which numbering the key is from: "objectguid", "entryuuid", "employee" or a column's name
	key     string
	dn      string // normal form, LDIF only
	manager string // normal DN, or the manager's key
	refused *fault.Fault

	private   private
	units     []unitPath
	holds     []string // names of functions
	deputises []string
	members   []string // of a group: normal DNs, in order
}

// source hands out the entries of a file one by one, then io.EOF. Another error ends the file.
type source interface {
	next() (entry, error)
}

func (e *entry) refuse(f *fault.Fault) {
	if e.refused == nil {
		e.refused = f
	}
}

func (e *entry) refuseErr(err error, w written) {
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		e.refuse(f.At(w.line, w.field))
	}
}

// readMobile and its neighbours check a value and put it into the entry; an empty one is left out.
func (e *entry) readMobile(w written) {
	if w.text == "" {
		return
	}
	number, err := NormalisePhone(w.text, GermanCode)
	if err != nil {
		e.refuseErr(err, w)
		return
	}
	e.private.Mobile = number
}

func (e *entry) readMail(w written) {
	if w.text == "" {
		return
	}
	mail, err := CheckMail(w.text)
	if err != nil {
		e.refuseErr(err, w)
		return
	}
	e.private.Email = mail
}

// readPhone keeps a landline as it is written if it is no number that can be called ("App. 4711"): no channel uses it.
func (e *entry) readPhone(text string) {
	if number, err := NormalisePhone(text, GermanCode); err == nil {
		text = number
	}
	e.private.Phone = text
}

func (e *entry) readLanguage(w written) {
	first, _, _ := strings.Cut(strings.ToLower(w.text), ",") // preferredLanguage: "de, en;q=0.5"
	first, _, _ = strings.Cut(first, ";")
	first, _, _ = strings.Cut(strings.ReplaceAll(first, "_", "-"), "-")
	switch strings.TrimSpace(first) {
	case "", "de", "deu", "ger", "deutsch", "german":
		e.private.Language = German
	case "en", "eng", "englisch", "english":
		e.private.Language = English
	default:
		e.refuse(ErrLanguage.At(w.line, w.field))
	}
}

// finish cleans what was read and refuses an entry without key or name. nameField is where the name is missed.
func (e *entry) finish(nameField, keyField string) {
	p := &e.private
	for _, f := range []*string{&p.Display, &p.Given, &p.Family, &p.Title, &p.Position, &p.Phone} {
		if *f = clean(*f); len([]rune(*f)) > maxFieldRunes {
			e.refuse(ErrFieldTooLong.At(e.line, nameField))
		}
	}
	if e.key == "" || len(e.key) > maxFieldRunes {
		e.refuse(ErrKey.At(e.line, keyField))
	}
	if p.Display == "" && p.Family == "" && p.Given == "" {
		e.refuse(ErrName.At(e.line, nameField))
	}
}

// addFunction notes that the entry holds, deputises or is a function, by the name's ending.
func (e *entry) addFunction(name string) {
	if base, deputy := splitDeputy(name); deputy {
		e.deputises = append(e.deputises, base)
	} else if name != "" {
		e.holds = append(e.holds, name)
	}
}

// splitDeputy takes "S1 Stellvertretung", "S1 (Stv.)" and the like apart: directories have no attribute for deputies.
func splitDeputy(name string) (base string, deputy bool) {
	low := strings.ToLower(name)
	trimmed := strings.TrimRight(low, " ).")
	for _, ending := range []string{"stellvertretung", "stellvertreter", "stellvertreterin", "vertretung", "stv", "deputy"} {
		if rest, ok := strings.CutSuffix(trimmed, ending); ok {
			base = strings.TrimRight(rest, " (-–_.,")
			if base != "" && len(base) < len(rest) && len(low) == len(name) {
				return name[:len(base)], true
			}
		}
	}
	return "", false
}

// clean drops invisible characters, joins runs of blanks and composes accents, so that the same name is the same bytes.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, s)
	return norm.NFC.String(strings.Join(strings.Fields(s), " "))
}

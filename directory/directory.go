// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// PersonID names a person: 16 hexadecimal characters, a keyed hash of the source's key. It tells nothing about them.
type PersonID string

// UnitID names an organisational unit, in the same form as a PersonID.
type UnitID string

// FunctionID names a function, in the same form as a PersonID.
type FunctionID string

// Valid reports whether the id has the form of an id.
func (id PersonID) Valid() bool { return validID(string(id)) }

// Valid reports whether the id has the form of an id.
func (id UnitID) Valid() bool { return validID(string(id)) }

// Valid reports whether the id has the form of an id.
func (id FunctionID) Valid() bool { return validID(string(id)) }

func validID(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 8 && strings.ToLower(s) == s
}

// Subject returns the subject under which the facts about the person are kept.
func (id PersonID) Subject() event.Subject { return event.Subject("person/" + string(id)) }

// Subject returns the subject under which the facts about the unit are kept.
func (id UnitID) Subject() event.Subject { return event.Subject("unit/" + string(id)) }

// Subject returns the subject under which the facts about the function are kept.
func (id FunctionID) Subject() event.Subject { return event.Subject("function/" + string(id)) }

// idOf returns the id of what its source calls name. The key makes it impossible to try out names without the key.
func idOf(key seal.Key, what, source, name string) string {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(what + "\x00" + source + ":" + name))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// Language is the language in which a person is written to.
type Language string

// The languages. German is what a person without a known language is written to in.
const (
	German  Language = "de"
	English Language = "en"
)

// ChannelKind is a way to reach a person.
type ChannelKind string

// The kinds of channels, in the order in which they are tried.
const (
	SMS   ChannelKind = "sms"
	Email ChannelKind = "email"
)

// Channel is one way to reach one person. An SMS address is in E.164 form ("+49171...").
type Channel struct {
	Kind    ChannelKind
	Address string
}

// Readability says whether the sealed fields of something can be read at this site.
type Readability string

// The states of readability.
const (
	Readable Readability = "readable"
	Erased   Readability = "erased"  // the key is destroyed; it will never be readable again
	NotYet   Readability = "not_yet" // the key has not arrived at this site yet
)

// Person is one person as this site can read them. Fields other than ID, Units, Functions and Readable are empty unless
// Readable is Readable.
type Person struct {
	ID           PersonID
	DisplayName  string
	GivenName    string
	FamilyName   string
	Title        string // academic title: "Dr."
	Position     string // Amtsbezeichnung, job title
	Phone        string // landline; E.164 where it could be read as such, else as written in the source
	Language     Language
	Manager      PersonID // "" if unknown
	Units        []UnitID
	Functions    []FunctionID // held or deputised, in no particular order
	Reachability []Channel
	Readable     Readability
}

// Address returns the person's address of the given kind, or "".
func (p Person) Address(kind ChannelKind) string {
	for _, c := range p.Reachability {
		if c.Kind == kind {
			return c.Address
		}
	}
	return ""
}

// Unit is an organisational unit. Parent is "" at the top of the tree.
type Unit struct {
	ID       UnitID
	Parent   UnitID
	Name     string
	People   int // people directly in the unit
	Readable Readability
}

// Function is a function with its holders and deputies, each in the order in which they are asked.
type Function struct {
	ID       FunctionID
	Name     string
	Code     string // "S1" where the name is one of FwDV 100's, else ""
	Holders  []PersonID
	Deputies []PersonID
	Readable Readability
}

// Audience says whom something is for. The parts are added up; a person named twice counts once.
type Audience struct {
	Everyone  bool         `json:"everyone,omitempty"`
	Units     []UnitID     `json:"units,omitempty"`     // with everything below them
	Functions []FunctionID `json:"functions,omitempty"` // holders and deputies
	Persons   []PersonID   `json:"persons,omitempty"`
}

// Empty reports whether the audience names nobody.
func (a Audience) Empty() bool {
	return !a.Everyone && len(a.Units) == 0 && len(a.Functions) == 0 && len(a.Persons) == 0
}

// Recipient is one person of a resolved audience. Unit is the first unit of the person, "" if there is none. Channels
// are the kinds by which the person can be reached; for a person not yet readable here they are all kinds, because
// another site, or this one a moment later, may be able to read the address.
type Recipient struct {
	Person   PersonID
	Unit     UnitID
	Channels []ChannelKind
}

// Search says which people to list. The zero value lists everybody by name, DefaultLimit at a time.
type Search struct {
	Text  string   // words or beginnings of words of names, address or position; umlauts in any spelling
	Unit  UnitID   // only people of this unit or below it
	Limit int      // at most MaxLimit; 0 means DefaultLimit
	After PersonID // the last person of the page before
}

// Bounds of a search. CountLimit is where counting the matches of a text stops.
const (
	DefaultLimit  = 50
	MaxLimit      = 500
	CountLimit    = 1000
	maxSearchText = 100
)

// private is what is sealed with a person's key. Its JSON is a stored form: fields are only added.
type private struct {
	Display  string   `json:"display,omitempty"`
	Given    string   `json:"given,omitempty"`
	Family   string   `json:"family,omitempty"`
	Title    string   `json:"title,omitempty"`
	Position string   `json:"position,omitempty"`
	Language Language `json:"language,omitempty"`
	Email    string   `json:"email,omitempty"`
	Mobile   string   `json:"mobile,omitempty"`
	Phone    string   `json:"phone,omitempty"`
	Manager  PersonID `json:"manager,omitempty"`
	// Ref is what the source calls the person: it tells two people apart whose ids are the same by chance.
	Ref string `json:"ref,omitempty"`
}

// reachability returns the channels in the order in which they are tried.
func (p private) reachability() []Channel {
	var c []Channel
	if p.Mobile != "" {
		c = append(c, Channel{SMS, p.Mobile})
	}
	if p.Email != "" {
		c = append(c, Channel{Email, p.Email})
	}
	return c
}

// displayName returns the name as the source wrote it, or one put together.
func (p private) displayName() string {
	if p.Display != "" {
		return p.Display
	}
	return strings.Join(strings.Fields(p.Title+" "+p.Given+" "+p.Family), " ")
}

func personContext(id PersonID) string     { return "directory/person/" + string(id) }
func unitContext(id UnitID) string         { return "directory/unit/" + string(id) }
func functionContext(id FunctionID) string { return "directory/function/" + string(id) }

// spelled folds the spellings that people use for one name. Lower case, and ß as ss; umlauts stay for the index to strip.
func spelled(s string) string {
	return strings.ReplaceAll(strings.ToLower(s), "ß", "ss")
}

var (
	expand   = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "a\u0308", "ae", "o\u0308", "oe", "u\u0308", "ue", "ø", "oe", "æ", "ae", "å", "aa")
	contract = strings.NewReplacer("ae", "a", "oe", "o", "ue", "u")
	strip    = strings.NewReplacer("ä", "a", "ö", "o", "ü", "u", "é", "e", "è", "e", "à", "a", "ç", "c", "ł", "l", "ø", "o")
)

// searchText returns what the index holds of a text: as written, with umlauts spelled out, and with spelled-out ones
// contracted, so that muller, mueller and müller all find Müller and Mueller.
func searchText(s string) string {
	plain := spelled(s)
	out := plain
	if long := expand.Replace(plain); long != plain {
		out += " " + long
	}
	if short := contract.Replace(plain); short != plain {
		out += " " + short
	}
	return out
}

// sortName returns what a list of people is ordered by: DIN 5007 variant 1, umlauts as their base letters.
func sortName(p private) string {
	name := p.Family + " " + p.Given
	if p.Family == "" {
		name = p.displayName()
	}
	return strip.Replace(spelled(strings.TrimSpace(name)))
}

// StaffCode returns the short code of a staff function of FwDV/DV 100 ("LtrStab", "S1" to "S6", "FB", "VP") that a name
// begins with or spells out, or "". It serves sorting and showing; nothing is decided by it.
func StaffCode(name string) string {
	n := spelled(strings.TrimSpace(name))
	first, _, _ := strings.Cut(n, " ")
	first = strings.Trim(first, ":-–,.")
	if len(first) == 2 && first[0] == 's' && first[1] >= '1' && first[1] <= '6' {
		return strings.ToUpper(first)
	}
	for _, c := range []struct{ prefix, code string }{
		{"leiter stab", "LtrStab"}, {"leiterin stab", "LtrStab"}, {"leitung stab", "LtrStab"}, {"leitung des stab", "LtrStab"},
		{"fachberat", "FB"}, {"verbindungsperson", "VP"},
	} {
		if strings.HasPrefix(n, c.prefix) {
			return c.code
		}
	}
	return ""
}

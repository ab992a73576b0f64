// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// whose adds the flag --authority to a command and all below it, and returns what it says.
func whose(c *cobra.Command, usage string) func() event.AuthorityID {
	var authority string
	c.PersistentFlags().StringVar(&authority, "authority", "", usage)
	_ = c.MarkPersistentFlagRequired("authority")
	return func() event.AuthorityID { return event.AuthorityID(authority) }
}

// maxCandidates bounds how many people, units or functions an error names.
const maxCandidates = 5

// candidate is something that a word may mean.
type candidate struct {
	id, name string
	// exact: the word is its whole name or address.
	exact bool
}

// pick returns the one candidate that a word means: the only exact one, else the only one. Its fault lists some.
func pick(what, word string, more bool, found []candidate) (string, error) {
	exact := make([]candidate, 0, len(found))
	for _, c := range found {
		if c.exact {
			exact = append(exact, c)
		}
	}
	if len(exact) > 0 {
		found, more = exact, false
	}
	if len(found) == 1 && !more {
		return found[0].id, nil
	}
	if len(found) == 0 {
		return "", fault.New(fault.NotFound, "cli.none", fmt.Sprintf("%q means no %s", word, what), "use another word, or an id")
	}
	names := make([]string, 0, maxCandidates)
	for _, c := range found[:min(len(found), maxCandidates)] {
		names = append(names, strings.TrimSpace(c.id+" "+c.name))
	}
	if more || len(found) > maxCandidates {
		names = append(names, "and more")
	}
	return "", fault.New(fault.Conflict, "cli.several", fmt.Sprintf("%q means more than one %s: %s", word, what, strings.Join(names, "; ")), "use an id")
}

// pickPerson returns the person that a word means: an id, an e-mail address, or a name or the beginning of one.
func (s *shell) pickPerson(ctx context.Context, authority event.AuthorityID, word string) (directory.PersonID, error) {
	if id := directory.PersonID(word); id.Valid() {
		return id, nil
	}
	people, err := s.site().People(ctx, authority, directory.Search{Text: word, Limit: 50})
	if err != nil {
		return "", err
	}
	found := make([]candidate, 0, len(people.People))
	for _, p := range people.People {
		c := candidate{id: string(p.ID), name: p.DisplayName, exact: isCalled(p, word)}
		if !strings.Contains(word, "@") || c.exact {
			found = append(found, c)
		}
	}
	id, err := pick("person", word, people.Total > len(people.People), found)
	return directory.PersonID(id), err
}

// isCalled reports whether a word is a person's whole name or one of their addresses.
func isCalled(p api.Person, word string) bool {
	for _, name := range []string{p.DisplayName, p.GivenName + " " + p.FamilyName, p.FamilyName + ", " + p.GivenName} {
		if strings.EqualFold(name, word) {
			return true
		}
	}
	for _, c := range p.Reachability {
		if strings.EqualFold(c.Address, word) {
			return true
		}
	}
	return false
}

// pickPeople is pickPerson for several words.
func (s *shell) pickPeople(ctx context.Context, authority event.AuthorityID, words []string) ([]directory.PersonID, error) {
	ids := make([]directory.PersonID, 0, len(words))
	for _, w := range words {
		id, err := s.pickPerson(ctx, authority, w)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// pickUnit returns the unit that a word means: an id, a name or a part of one. No word is no unit.
func (s *shell) pickUnit(ctx context.Context, authority event.AuthorityID, word string) (directory.UnitID, error) {
	if id := directory.UnitID(word); word == "" || id.Valid() {
		return id, nil
	}
	units, err := s.site().Units(ctx, authority)
	if err != nil {
		return "", err
	}
	var found []candidate
	for _, u := range units {
		found = consider(found, string(u.ID), u.Name, "", word)
	}
	id, err := pick("unit", word, false, found)
	return directory.UnitID(id), err
}

// pickFunction returns the function that a word means: an id, a code, a name or a part of one. No word is no function.
func (s *shell) pickFunction(ctx context.Context, authority event.AuthorityID, word string) (directory.FunctionID, error) {
	if id := directory.FunctionID(word); word == "" || id.Valid() {
		return id, nil
	}
	functions, err := s.site().Functions(ctx, authority)
	if err != nil {
		return "", err
	}
	var found []candidate
	for _, f := range functions {
		found = consider(found, string(f.ID), f.Name, f.Code, word)
	}
	id, err := pick("function", word, false, found)
	return directory.FunctionID(id), err
}

func consider(found []candidate, id, name, code, word string) []candidate {
	exact := strings.EqualFold(name, word) || code != "" && strings.EqualFold(code, word)
	if exact || strings.Contains(strings.ToLower(name), strings.ToLower(word)) {
		return append(found, candidate{id: id, name: name, exact: exact})
	}
	return found
}

// errTime is returned for a word that is no time.
var errTime = fault.New(fault.Invalid, "cli.time", "this is no time", "write 2026-11-22, 2026-11-22T03:14:15Z or a length such as 36h")

// at returns the time that a word means, zero for none: a day (its beginning here), a time, or a length before (-1) or after
// (+1) now.
func at(word string, now time.Time, sign int) (time.Time, error) {
	if word == "" {
		return time.Time{}, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, word, now.Location()); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.RFC3339, word); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(word); err == nil && d >= 0 {
		return now.Add(time.Duration(sign) * d), nil
	}
	return time.Time{}, errTime.Because("%q", word)
}

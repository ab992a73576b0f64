// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// ErrAudience is returned for an audience that names something this site does not know.
var ErrAudience = fault.New(fault.NotFound, "directory.audience", "the audience names a unit, function or person that is not in the register",
	"choose the audience again; if it was named at another site a moment ago, wait until the sites have exchanged it")

// MaxAudience bounds how many units, functions or persons an audience may name one by one.
const MaxAudience = 10_000

// resolve returns everybody whom the audience means, each once, ordered by id. People who were removed or erased are left
// out; a unit, function or person that was never heard of is ErrAudience.
func resolve(ctx context.Context, q readmodel.Query, authority event.AuthorityID, a Audience) ([]Recipient, error) {
	if len(a.Units) > MaxAudience || len(a.Functions) > MaxAudience || len(a.Persons) > MaxAudience {
		return nil, fault.New(fault.TooLarge, "directory.audience_too_large", "the audience names more than 10,000 parts one by one",
			"name units instead of persons, or everyone")
	}
	if err := known(ctx, q, authority, a); err != nil {
		return nil, err
	}
	found := make(map[PersonID]Recipient)
	for _, part := range parts(authority, a) {
		if err := recipients(ctx, q, found, part.where, part.args); err != nil {
			return nil, err
		}
	}
	list := make([]Recipient, 0, len(found))
	for _, r := range found {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Recipient) int { return cmp.Compare(a.Person, b.Person) })
	return list, nil
}

type audiencePart struct {
	where string
	args  []any
}

func parts(authority event.AuthorityID, a Audience) []audiencePart {
	if a.Everyone {
		return []audiencePart{{`SELECT p.n FROM directory_person p WHERE p.authority = ?`, []any{authority}}}
	}
	return []audiencePart{
		{subtree + `SELECT m.n FROM directory_membership m JOIN tree ON m.unit = tree.unit WHERE m.authority = ?`,
			[]any{jsonOf(append([]UnitID{}, a.Units...)), authority, authority}},
		{`SELECT p.n FROM json_each(?) f JOIN directory_assignment s ON s.authority = ? AND s.function = f.value
			JOIN directory_person p ON p.authority = s.authority AND p.id = s.person`,
			[]any{jsonOf(append([]FunctionID{}, a.Functions...)), authority}},
		{`SELECT p.n FROM json_each(?) j JOIN directory_person p ON p.authority = ? AND p.id = j.value`,
			[]any{jsonOf(append([]PersonID{}, a.Persons...)), authority}},
	}
}

// recipients adds the people whose row numbers the query returns.
func recipients(ctx context.Context, q readmodel.Query, found map[PersonID]Recipient, numbers string, args []any) error {
	return each(ctx, q, func(scan func(...any) error) error {
		var r Recipient
		var status Readability
		var sms, email bool
		if err := scan(&r.Person, &status, &r.Unit, &sms, &email); err != nil {
			return err
		}
		if sms || status == NotYet {
			r.Channels = append(r.Channels, SMS)
		}
		if email || status == NotYet {
			r.Channels = append(r.Channels, Email)
		}
		found[r.Person] = r
		return nil
	}, `SELECT id, status, unit, sms, email FROM directory_person WHERE n IN (`+numbers+`) AND status IN ('readable', 'not_yet')`, args...)
}

// known refuses an audience with a part that was never heard of: a mistyped id must not shrink an alarm silently.
func known(ctx context.Context, q readmodel.Query, authority event.AuthorityID, a Audience) error {
	for _, c := range []struct {
		query string
		ids   any
	}{
		{`SELECT count(*) FROM json_each(?) j WHERE NOT EXISTS (SELECT 1 FROM directory_unit u WHERE u.authority = ? AND u.id = j.value)`,
			append([]UnitID{}, a.Units...)},
		{`SELECT count(*) FROM json_each(?) j WHERE NOT EXISTS (SELECT 1 FROM directory_function f WHERE f.authority = ? AND f.id = j.value)`,
			append([]FunctionID{}, a.Functions...)},
		{`SELECT count(*) FROM json_each(?) j WHERE NOT EXISTS (SELECT 1 FROM directory_person p WHERE p.authority = ? AND p.id = j.value)`,
			append([]PersonID{}, a.Persons...)},
	} {
		var unknown int
		if err := q.QueryRowContext(ctx, c.query, jsonOf(c.ids), authority).Scan(&unknown); err != nil {
			return err
		}
		if unknown > 0 {
			return ErrAudience.Because("%d of them", unknown)
		}
	}
	return nil
}

// compareNames orders by name the way people look names up (DIN 5007), then by id.
func compareNames(a, b, aID, bID string) int {
	return cmp.Or(strings.Compare(strip.Replace(spelled(a)), strip.Replace(spelled(b))), strings.Compare(aID, bID))
}

// staffOrder is the order in which a staff is listed.
var staffOrder = []string{"LtrStab", "S1", "S2", "S3", "S4", "S5", "S6", "FB", "VP"}

func compareFunctions(a, b Function) int {
	rank := func(f Function) int {
		if i := slices.Index(staffOrder, f.Code); i >= 0 {
			return i
		}
		return len(staffOrder)
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), compareNames(a.Name, b.Name, string(a.ID), string(b.ID)))
}

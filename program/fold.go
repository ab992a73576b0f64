// SPDX-License-Identifier: EUPL-1.2

package program

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
)

//go:embed schema.sql
var schema string

// maxSites bounds the sites whose last use is kept.
const maxSites = 64

// state is what the fold keeps of a program. The name stays sealed in it.
type state struct {
	Key         event.KeyID         `json:"key,omitempty"`
	Sealed      []byte              `json:"sealed,omitempty"`
	Kind        Kind                `json:"kind,omitempty"`
	Scopes      []access.Permission `json:"scopes,omitempty"`
	Owner       directory.PersonID  `json:"owner,omitempty"`
	Expires     time.Time           `json:"expires,omitzero"`
	Hash        []byte              `json:"hash,omitempty"`
	MadeBy      string              `json:"madeBy,omitempty"`
	MadeAt      time.Time           `json:"madeAt,omitzero"`
	Withdrawn   bool                `json:"withdrawn,omitempty"`
	WithdrawnBy string              `json:"withdrawnBy,omitempty"`
	WithdrawnAt time.Time           `json:"withdrawnAt,omitzero"`
	// Uses are the last use at each site.
	Uses []use `json:"uses,omitempty"`
}

type use struct {
	Site event.SiteID `json:"site"`
	At   time.Time    `json:"at"`
}

// made reports whether the fact that makes the program has arrived.
func (s state) made() bool { return len(s.Hash) > 0 }

// Fold returns the programs' part of the read model.
func Fold() readmodel.Fold {
	return readmodel.Typed[state]{
		Label:      "program",
		OwnedRoots: []string{"program"},
		KnownKinds: []event.Kind{KindMade, KindWithdrawn, KindUsed},
		SQL:        schema,
		ApplyFunc:  apply,
		SaveFunc:   save,
	}
}

var idPattern = regexp.MustCompile(`^[0-9a-f]{16}$`)

func apply(s state, e readmodel.Entry) (state, error) {
	if e.Subject.Root() != "program" || !idPattern.MatchString(e.Subject.Part(1)) || e.Subject.Part(2) != "" {
		return s, fmt.Errorf("%s does not belong into %s", e.Kind, e.Subject)
	}
	switch e.Kind {
	case KindMade:
		var f Made
		if err := e.Decode(&f); err != nil {
			return s, err
		}
		return s.make(e, f), nil
	case KindWithdrawn:
		// Final, whenever it arrives: nothing makes a program anew.
		if !s.Withdrawn {
			s.Withdrawn, s.WithdrawnBy, s.WithdrawnAt = true, e.Actor, e.Time()
		}
	case KindUsed:
		s.Uses = noteUse(s.Uses, use{Site: e.Place.Site, At: e.Time()})
	}
	return s, nil
}

// make takes the program over. What it may do is said once: another secret under the same id would be another program.
func (s state) make(e readmodel.Entry, f Made) state {
	if s.made() {
		return s
	}
	s.Key, s.Sealed, s.Kind, s.Scopes, s.Owner, s.Expires, s.Hash = f.Key, f.Sealed, f.Kind, f.Scopes, f.Owner, f.Expires, f.Hash
	s.MadeBy, s.MadeAt = e.Actor, e.Time()
	return s
}

func noteUse(uses []use, u use) []use {
	i := slices.IndexFunc(uses, func(o use) bool { return o.Site == u.Site })
	switch {
	case i >= 0:
		uses[i] = u
	case len(uses) < maxSites:
		uses = append(uses, u)
	}
	return uses
}

func save(tx *readmodel.Tx, ref readmodel.Ref, _, is state) error {
	if !is.made() {
		return nil
	}
	id := ID(ref.Subject.Part(1))
	name, status, err := openName(tx, ref.Authority, id, is)
	if err != nil {
		return err
	}
	text, err := json.Marshal(is)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO program_program (authority, id, name, status, owner, expires_ms, withdrawn, made_ms, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (authority, id) DO UPDATE SET name = excluded.name, status = excluded.status, owner = excluded.owner,
		expires_ms = excluded.expires_ms, withdrawn = excluded.withdrawn, made_ms = excluded.made_ms, state = excluded.state`,
		ref.Authority, id, name, status, is.Owner, is.Expires.UnixMilli(), is.Withdrawn, is.MadeAt.UnixMilli(), string(text))
	return err
}

// private is what is sealed of a program.
type private struct {
	Name string `json:"name"`
}

// openName opens a program's name and says how that went. Only a key that is there and does not fit is an error.
func openName(tx *readmodel.Tx, authority event.AuthorityID, id ID, is state) (string, directory.Readability, error) {
	plain, err := tx.Open(authority, is.Key, string(id.Subject()), is.Sealed)
	switch {
	case errors.Is(err, keyring.ErrErased):
		return "", directory.Erased, nil
	case errors.Is(err, keyring.ErrMissing), errors.Is(err, keyring.ErrNoAuthorityKey):
		return "", directory.NotYet, nil
	case err != nil:
		return "", directory.NotYet, err
	}
	var p private
	if err := json.Unmarshal(plain, &p); err != nil {
		return "", directory.NotYet, fmt.Errorf("read the name of a program: %w", err)
	}
	return p.Name, directory.Readable, nil
}

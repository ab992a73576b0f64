// SPDX-License-Identifier: EUPL-1.2

package guest

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
)

//go:embed schema.sql
var schema string

// What a state keeps at most: two uses of a code are one too many already.
const (
	maxUses    = 8
	maxSendOff = 32
)

// state is what the fold keeps of a guest. The name stays sealed in it.
type state struct {
	Key       event.KeyID `json:"key,omitempty"`
	Sealed    []byte      `json:"sealed,omitempty"`
	Incident  string      `json:"incident,omitempty"`
	Until     time.Time   `json:"until,omitzero"`
	InvitedBy string      `json:"invitedBy,omitempty"`
	InvitedAt time.Time   `json:"invitedAt,omitzero"`
	Code      Code        `json:"code,omitzero"`
	// Despite are the sendings off that the invitation knew of, Away all there were.
	Despite []event.ID `json:"despite,omitempty"`
	Away    []sendOff  `json:"away,omitempty"`
	// Uses are the uses of the current code.
	Uses []use `json:"uses,omitempty"`
}

type use struct {
	Session string       `json:"session"`
	Site    event.SiteID `json:"site"`
	At      time.Time    `json:"at"`
}

type sendOff struct {
	ID event.ID  `json:"id"`
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Fold returns the guests' part of the read model.
func Fold() readmodel.Fold {
	return readmodel.Typed[state]{
		Label:      "guest",
		OwnedRoots: []string{"guest"},
		KnownKinds: []event.Kind{KindInvited, KindEntered, KindSentAway},
		SQL:        schema,
		ApplyFunc:  apply,
		SaveFunc:   save,
	}
}

var idPattern = regexp.MustCompile(`^[0-9a-f]{16}$`)

func apply(s state, e readmodel.Entry) (state, error) {
	if e.Subject.Root() != "guest" || !idPattern.MatchString(e.Subject.Part(1)) || e.Subject.Part(2) != "" {
		return s, fmt.Errorf("%s does not belong into %s", e.Kind, e.Subject)
	}
	switch e.Kind {
	case KindInvited:
		var f Invited
		if err := e.Decode(&f); err != nil {
			return s, err
		}
		return s.invite(e, f), nil
	case KindEntered:
		var f Entered
		if err := e.Decode(&f); err != nil {
			return s, err
		}
		return s.enter(e, f), nil
	case KindSentAway:
		// The youngest are kept: an invitation has known of the oldest, and the last must count however often that was before.
		s.Away = append(s.Away, sendOff{ID: e.ID, By: e.Actor, At: e.Time()})
		s.Away = s.Away[max(0, len(s.Away)-maxSendOff):]
	}
	return s, nil
}

// invite takes a new invitation over. Whoever used an older code is out with that.
func (s state) invite(e readmodel.Entry, f Invited) state {
	s.Key, s.Sealed, s.Incident, s.Until, s.Code, s.Despite = f.Key, f.Sealed, f.Incident, f.Until, f.Code, f.Despite
	s.InvitedBy, s.InvitedAt, s.Uses = e.Actor, e.Time(), nil
	return s
}

// enter notes a use of the current code. A use of an older one has no effect: its session is void already.
func (s state) enter(e readmodel.Entry, f Entered) state {
	if f.Code != s.Code.ID || len(s.Uses) == maxUses {
		return s
	}
	s.Uses = append(s.Uses, use{Session: f.Session, Site: e.Place.Site, At: e.Time()})
	return s
}

func save(tx *readmodel.Tx, ref readmodel.Ref, _, is state) error {
	if is.Code.ID == "" {
		return nil // the invitation has not arrived yet
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
	_, err = tx.Exec(`INSERT INTO guest_guest (authority, id, name, status, until_ms, away, mark, invited_ms, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (authority, id) DO UPDATE SET name = excluded.name, status = excluded.status, until_ms = excluded.until_ms,
		away = excluded.away, mark = excluded.mark, invited_ms = excluded.invited_ms, state = excluded.state`,
		ref.Authority, id, name, status, is.Until.UnixMilli(), is.away() != nil, is.Code.Mark, is.InvitedAt.UnixMilli(), string(text))
	return err
}

// private is what is sealed of a guest.
type private struct {
	Name string `json:"name"`
}

// openName opens a guest's name and says how that went. Only a key that is there and does not fit is an error.
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
		return "", directory.NotYet, fmt.Errorf("read the name of a guest: %w", err)
	}
	return p.Name, directory.Readable, nil
}

// SPDX-License-Identifier: EUPL-1.2

package session

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// maxEnded bounds the ended sessions that are kept of one subject. Each request reads them: some 80 bytes each.
const maxEnded = 128

// state is what is known of the sessions of one person or guest.
type state struct {
	// Epoch is made of all AllEnded so far, "" for none; Before is the epoch before the last of them.
	Epoch  string `json:"epoch,omitempty"`
	Before string `json:"before,omitempty"`
	// Ended are the sessions that were ended one by one since then.
	Ended []Ended `json:"ended,omitempty"`
}

// schema makes no tables: a session is judged by its subject's state. Its change has states folded anew, see readmodel.Fold.
const schema = "-- 2: what was ended is not forgotten by the time of later facts"

// Fold returns the package's part of the read model.
func Fold() readmodel.Fold {
	return readmodel.Typed[state]{
		Label: "session", OwnedRoots: []string{root}, KnownKinds: []event.Kind{KindEnded, KindAllEnded}, SQL: schema, ApplyFunc: apply,
	}
}

// apply is a pure function of the facts in their order. It looks at no time: one fact from a clock that is days ahead sorts behind
// all others for ever, and sessions that were ended must not be good again because of it.
func apply(s state, e readmodel.Entry) (state, error) {
	if e.Class != event.Register || e.Subject != SubjectOf(e.Subject.Part(1)) {
		return s, nil
	}
	if e.Kind == KindAllEnded {
		s.endAll(e.ID)
		return s, nil
	}
	var f Ended
	if e.Decode(&f) != nil || !validID(f.Session) || s.ended(f.Session) {
		return s, nil // a fact that makes no sense ends nothing; it must not stop the others either
	}
	f.Expires = f.Expires.UTC().Truncate(time.Second)
	s.Ended = append(s.Ended, f)
	if len(s.Ended) > maxEnded {
		s.endAll(e.ID)
	}
	return s, nil
}

// endAll moves to the next epoch. What was ended one by one belongs to an older epoch and need not be kept.
func (s *state) endAll(id event.ID) {
	h := sha256.Sum256([]byte(s.Epoch + "/" + string(id)))
	s.Before, s.Epoch, s.Ended = s.Epoch, hex.EncodeToString(h[:16]), nil
}

func (s *state) ended(session string) bool {
	return slices.ContainsFunc(s.Ended, func(f Ended) bool { return f.Session == session })
}

// epoch returns what a session that begins now carries: "before.epoch".
func (s *state) epoch() string {
	if s.Epoch == "" {
		return ""
	}
	return s.Before + "." + s.Epoch
}

// covers reports whether a session of the epoch knew of every AllEnded that is known here. It may know of one more.
func (s *state) covers(epoch string) bool {
	if epoch == "" {
		return s.Epoch == ""
	}
	before, last, _ := strings.Cut(epoch, ".")
	return s.Epoch == last || s.Epoch == before
}

// stands returns ErrEnded if the session is over according to what is known here.
func (s *state) stands(session, epoch string) error {
	if s.ended(session) || !s.covers(epoch) {
		return ErrEnded
	}
	return nil
}

// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	_ "embed"
	"fmt"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

//go:embed schema.sql
var schema string

// maxMonthKeys bounds the keys of one month that are looked at: one for each site that opened the month unaware of others.
const maxMonthKeys = 1000

// state is what the fold keeps of a subject: a line, or a month's keys in the order of the logs.
type state struct {
	Lines []stated      `json:"lines,omitempty"`
	Keys  []event.KeyID `json:"keys,omitempty"`
}

// stated is a line as a site has stated it. There is one of each subject, unless somebody writes under the subject of
// somebody else: then both are shown.
type stated struct {
	Event event.ID     `json:"event"`
	Site  event.SiteID `json:"site"`
	Stamp event.Stamp  `json:"stamp"`
	Wall  int64        `json:"wall"`
	Actor string       `json:"actor,omitempty"`
	Grant string       `json:"grant,omitempty"`
	Fact  Recorded     `json:"fact"`
}

func (s stated) same(o stated) bool {
	return s.Event == o.Event && s.Site == o.Site && s.Stamp == o.Stamp && s.Wall == o.Wall
}

// Fold returns the audit's part of the read model.
func Fold() readmodel.Fold {
	return readmodel.Typed[state]{
		Label:      "audit",
		OwnedRoots: []string{"audit", "auditkey"},
		KnownKinds: []event.Kind{KindRecorded, KindMonthOpened},
		SQL:        schema,
		ApplyFunc:  apply,
		SaveFunc:   save,
	}
}

func apply(s state, e readmodel.Entry) (state, error) {
	if e.Subject.Part(1) == "" || e.Subject.Part(2) != "" || e.Class != event.Audit {
		return s, fmt.Errorf("%s does not belong into %s of class %s", e.Kind, e.Subject, e.Class)
	}
	switch {
	case e.Kind == KindRecorded && e.Subject.Root() == "audit":
		l := stated{Event: e.ID, Site: e.Place.Site, Stamp: e.Place.Stamp, Wall: e.Wall, Actor: e.Actor, Grant: e.Grant}
		if err := e.Decode(&l.Fact); err != nil {
			return s, err
		}
		s.Lines = append(s.Lines, l)
	case e.Kind == KindMonthOpened && e.Subject.Root() == "auditkey":
		var f MonthOpened
		if err := e.Decode(&f); err != nil {
			return s, err
		}
		if keySubject(f.Month) != e.Subject {
			return s, errNoMonth
		}
		if !slices.Contains(s.Keys, f.Key) && len(s.Keys) < maxMonthKeys {
			s.Keys = append(s.Keys, f.Key)
		}
	default:
		return s, fmt.Errorf("%s does not belong into %s", e.Kind, e.Subject)
	}
	return s, nil
}

// save writes what has changed. Nearly always that is one new line.
func save(tx *readmodel.Tx, ref readmodel.Ref, was, is state) error {
	if ref.Subject.Root() == "auditkey" {
		return saveMonth(tx, ref, is.Keys)
	}
	same := 0
	for same < len(was.Lines) && same < len(is.Lines) && was.Lines[same].same(is.Lines[same]) {
		same++
	}
	no, err := authorityNumber(tx, ref.Authority)
	if err != nil {
		return err
	}
	for _, l := range was.Lines[same:] {
		if err := deleteLine(tx, no, ref, l); err != nil {
			return err
		}
	}
	for _, l := range is.Lines[same:] {
		if err := saveLine(tx, no, ref, l); err != nil {
			return err
		}
	}
	return nil
}

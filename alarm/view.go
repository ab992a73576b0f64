// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"cmp"
	"context"
	"database/sql"
	_ "embed" // the schema
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

//go:embed schema.sql
var schema string

// Fold returns the package's part of the read model.
func Fold() readmodel.Fold {
	return readmodel.Typed[State]{
		Label: "alarm", OwnedRoots: []string{"alarm"}, KnownKinds: Kinds(), SQL: schema,
		ApplyFunc: Apply, SaveFunc: save,
	}
}

// save writes the rows of one subject. The rows of a person come from two subjects, so the row itself, not the old
// state, says what the counters hold already; that makes it idempotent and independent of what arrives first.
func save(tx *readmodel.Tx, ref readmodel.Ref, was, is State) error {
	id := ID(ref.Subject.Part(1))
	switch {
	case is.Alarm != nil:
		return saveAlarm(tx, ref.Authority, id, is.Alarm)
	case is.Caller != nil:
		return saveCaller(tx, ref.Authority, id, is.Caller)
	case is.Clocks != nil:
		return saveClocks(tx, ref.Authority, id, is.Clocks)
	case is.Named != nil:
		return saveNamed(tx, ref.Authority, id, is.Named)
	case is.Person != nil:
		moved := make(tallies)
		person := directory.PersonID(ref.Subject.Part(3))
		if err := changeRow(tx, ref.Authority, id, person, moved, func(r *row) { r.Person = is.Person }); err != nil {
			return err
		}
		return saveTallies(tx, ref.Authority, id, moved)
	}
	return nil
}

func saveAlarm(tx *readmodel.Tx, authority event.AuthorityID, id ID, a *AlarmState) error {
	state, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode an alarm: %w", err)
	}
	closing, _ := a.Closing()
	raised, err1 := arrivedAt(tx, a.Event)
	closed, err2 := arrivedAt(tx, closing.Event)
	start, err3 := startOf(tx, a)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	moment, err := json.Marshal(start)
	if err != nil {
		return fmt.Errorf("encode when an alarm began: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO alarm (authority, id, event, raised_at, ending, closed_at, arrived, closed_arrived, state, start_arrived, start)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
		ON CONFLICT (authority, id) DO UPDATE SET event = ?3, raised_at = ?4, ending = ?5, closed_at = ?6, arrived = ?7,
			closed_arrived = ?8, state = ?9, start_arrived = ?10, start = ?11`,
		string(authority), string(id), string(a.Event), a.RaisedWall, string(closing.Ending), closing.Wall, millis(raised), millis(closed),
		string(state), millis(start.Arrived), string(moment))
	if err != nil {
		return err
	}
	return list(tx, authority, id)
}

// arrivedAt returns when an event of the subject came to this site, zero for no event.
func arrivedAt(tx *readmodel.Tx, id event.ID) (time.Time, error) {
	if id == "" {
		return time.Time{}, nil
	}
	return tx.ArrivedAt(id)
}

// startOf returns the fact that makes sites call in the present wave: the raising or the closing, or an order that arrived here later.
func startOf(tx *readmodel.Tx, a *AlarmState) (start Moment, err error) {
	if a.Event == "" {
		return Moment{}, nil
	}
	wave := Call
	start = Moment{Fact: a.Event, Site: a.Origin, At: wallTime(a.RaisedWall)}
	if c, closed := a.Closing(); closed {
		wave = Closing
		start = Moment{Fact: c.Event, Site: c.Site, At: wallTime(c.Wall)}
	}
	if start.Arrived, err = tx.ArrivedAt(start.Fact); err != nil {
		return start, err
	}
	for _, o := range a.Orders {
		if o.Raised != a.Event || o.Wave != wave {
			continue
		}
		arrived, err := tx.ArrivedAt(o.Event)
		if err != nil {
			return start, err
		}
		if !arrived.Before(start.Arrived) {
			start = Moment{Fact: o.Event, Site: o.Site, At: wallTime(o.Wall), Arrived: arrived}
		}
	}
	return start, nil
}

// list sets the time by which the alarm is listed: when it was raised, corrected by the largest error that anybody has found, and not
// after it came here. So an alarm whose clock was years behind is not looked for at the end of the list.
func list(tx *readmodel.Tx, authority event.AuthorityID, id ID) error {
	var fact event.ID
	var raised, arrived int64
	var clocks string
	err := tx.QueryRow(`SELECT event, raised_at, arrived, clocks FROM alarm WHERE authority = ? AND id = ?`,
		string(authority), string(id)).Scan(&fact, &raised, &arrived, &clocks)
	if err != nil {
		return err
	}
	var c ClockState
	if err := json.Unmarshal([]byte(clocks), &c); err != nil {
		return fmt.Errorf("read an alarm's clocks: %w", err)
	}
	listed := raised
	for _, n := range c.of(fact) {
		listed = max(listed, raised-n.AheadMillis)
	}
	_, err = tx.Exec(`UPDATE alarm SET listed_at = ? WHERE authority = ? AND id = ?`, min(listed, arrived), string(authority), string(id))
	return err
}

func saveClocks(tx *readmodel.Tx, authority event.AuthorityID, id ID, c *ClockState) error {
	state, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode an alarm's clocks: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO alarm (authority, id, clocks) VALUES (?1, ?2, ?3)
		ON CONFLICT (authority, id) DO UPDATE SET clocks = ?3`, string(authority), string(id), string(state))
	if err != nil {
		return err
	}
	return list(tx, authority, id)
}

// millis returns the time in milliseconds since 1970, 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func saveCaller(tx *readmodel.Tx, authority event.AuthorityID, id ID, c *CallerState) error {
	state, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode an alarm's callers: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO alarm (authority, id, caller) VALUES (?1, ?2, ?3)
		ON CONFLICT (authority, id) DO UPDATE SET caller = ?3`, string(authority), string(id), string(state))
	return err
}

func saveNamed(tx *readmodel.Tx, authority event.AuthorityID, id ID, people []Named) error {
	moved := make(tallies)
	for _, n := range people {
		err := changeRow(tx, authority, id, n.Person, moved, func(r *row) {
			r.Named, r.Unit, r.Channels = true, n.Unit, n.Channels
		})
		if err != nil {
			return err
		}
	}
	return saveTallies(tx, authority, id, moved)
}

// changeRow reads a person's row, lets change alter it, writes it, and adds what that moves to the counters.
func changeRow(tx *readmodel.Tx, authority event.AuthorityID, id ID, person directory.PersonID, moved tallies, change func(*row)) error {
	was, err := loadRow(tx, authority, id, person)
	if err != nil {
		return err
	}
	is := was
	change(&is)
	moved.move(was, is)
	state, err := json.Marshal(is.Person)
	if err != nil {
		return fmt.Errorf("encode a recipient: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO alarm_person (authority, alarm, person, named, unit, channels, state, status, due_call, due_closing)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
		ON CONFLICT (authority, alarm, person) DO UPDATE SET named = ?4, unit = ?5, channels = ?6, state = ?7, status = ?8,
			due_call = ?9, due_closing = ?10`,
		string(authority), string(id), string(person), is.Named, string(is.Unit), joined(is.Channels), string(state),
		string(is.status()), joined(is.due(Call)), joined(is.due(Closing)))
	return err
}

func loadRow(tx *readmodel.Tx, authority event.AuthorityID, id ID, person directory.PersonID) (row, error) {
	var r row
	var channels, state string
	err := tx.QueryRow(`SELECT named, unit, channels, state FROM alarm_person WHERE authority = ? AND alarm = ? AND person = ?`,
		string(authority), string(id), string(person)).Scan(&r.Named, &r.Unit, &channels, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, nil
	}
	if err != nil {
		return row{}, err
	}
	r.Channels = split(channels)
	return r, json.Unmarshal([]byte(state), &r.Person)
}

func saveTallies(tx *readmodel.Tx, authority event.AuthorityID, id ID, moved tallies) error {
	for d, t := range moved {
		if *t == (Tally{}) {
			continue
		}
		args := []any{string(authority), string(id), d.kind, d.name}
		for _, f := range t.fields() {
			args = append(args, *f)
		}
		if _, err := tx.Exec(moveTally, args...); err != nil {
			return err
		}
	}
	return nil
}

const tallyColumns = `recipients, called, coming, cannot, safe, silent, without, pending, failed, accepted, refused,
	doubled, unsecured, due_call, due_closing`

// moveTally adds to one row of counters.
var moveTally = func() string {
	var sets []string
	for _, c := range strings.Split(tallyColumns, ",") {
		c = strings.TrimSpace(c)
		sets = append(sets, c+" = "+c+" + excluded."+c)
	}
	return `INSERT INTO alarm_count (authority, alarm, dim, name, ` + tallyColumns + `) VALUES (?, ?, ?, ?` +
		strings.Repeat(", ?", len(sets)) + `) ON CONFLICT (authority, alarm, dim, name) DO UPDATE SET ` + strings.Join(sets, ", ")
}()

func joined(kinds []directory.ChannelKind) string {
	s := make([]string, len(kinds))
	for i, k := range kinds {
		s[i] = string(k)
	}
	return strings.Join(s, ",")
}

func split(s string) []directory.ChannelKind {
	var kinds []directory.ChannelKind
	for k := range strings.SplitSeq(s, ",") {
		if k != "" {
			kinds = append(kinds, directory.ChannelKind(k))
		}
	}
	return kinds
}

// Alarm is an alarm as this site knows it.
type Alarm struct {
	Authority event.AuthorityID `json:"authority"`
	ID        ID                `json:"id"`
	// Event is the id of the fact Raised.
	Event    event.ID     `json:"event"`
	Raised   Raised       `json:"raised"`
	RaisedAt time.Time    `json:"raisedAt"`
	RaisedBy string       `json:"raisedBy,omitempty"`
	Origin   event.SiteID `json:"origin"`
	// ArrivedAt is when this site learnt of it, by its own clock.
	ArrivedAt time.Time `json:"arrivedAt"`
	// Ending is "" while the alarm is open; the rest is set when it is closed.
	Ending    Ending    `json:"ending,omitempty"`
	ClosedAt  time.Time `json:"closedAt,omitzero"`
	ClosedBy  string    `json:"closedBy,omitempty"`
	ClosingDE string    `json:"closingDe,omitempty"`
	ClosingEN string    `json:"closingEn,omitempty"`
	// Due is how many people have something due: of the call while the alarm is open, of the closing message after it.
	Due int `json:"due,omitempty"`
	// Held is why this site does not call them by itself.
	Held Hold `json:"held,omitempty"`
	// Clock is set if the clock by which the alarm was raised was wrong by more than a minute.
	Clock *ClockNote `json:"clock,omitempty"`

	start   Moment
	callers CallerState
	clocks  *ClockState
}

const (
	alarmColumns = `a.authority, a.id, a.state, a.caller, a.clocks, a.start, a.arrived,
		ifnull(CASE a.ending WHEN '' THEN c.due_call ELSE c.due_closing END, 0)`
	alarmTable = `alarm a LEFT JOIN alarm_count c ON c.authority = a.authority AND c.alarm = a.id AND c.dim = 'total' AND c.name = ''`
)

func scanAlarm(scan func(...any) error) (Alarm, error) {
	var a Alarm
	var state, callers, clocks, start string
	var arrived int64
	if err := scan(&a.Authority, &a.ID, &state, &callers, &clocks, &start, &arrived, &a.Due); err != nil {
		return Alarm{}, err
	}
	var s AlarmState
	err := errors.Join(json.Unmarshal([]byte(state), &s), json.Unmarshal([]byte(callers), &a.callers),
		json.Unmarshal([]byte(clocks), &a.clocks), json.Unmarshal([]byte(start), &a.start))
	if err != nil {
		return Alarm{}, fmt.Errorf("read an alarm's row: %w", err)
	}
	a.Event, a.Raised, a.RaisedBy, a.Origin = s.Event, s.Raised, s.RaisedBy, s.Origin
	a.RaisedAt, a.ArrivedAt = wallTime(s.RaisedWall), wallTime(arrived)
	if c, closed := s.Closing(); closed {
		a.Ending, a.ClosedAt, a.ClosedBy, a.ClosingDE, a.ClosingEN = c.Ending, wallTime(c.Wall), c.By, c.TextDE, c.TextEN
	}
	return a, nil
}

// wallTime is the opposite of millis.
func wallTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Reader is the part of a readmodel.Model that this package reads by.
type Reader interface {
	View(ctx context.Context, read func(q readmodel.Query) error) error
	LastStamp(ctx context.Context, authority event.AuthorityID, subject event.Subject) (event.Stamp, error)
}

// rows runs a query and hands every row to take.
func rows(ctx context.Context, q readmodel.Query, take func(scan func(...any) error) error, query string, args ...any) error {
	rs, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rs.Close()
	for rs.Next() {
		if err := take(rs.Scan); err != nil {
			return err
		}
	}
	return rs.Err()
}

func readAlarm(ctx context.Context, q readmodel.Query, authority event.AuthorityID, id ID) (Alarm, error) {
	a, err := scanAlarm(q.QueryRowContext(ctx, `SELECT `+alarmColumns+` FROM `+alarmTable+`
		WHERE a.authority = ? AND a.id = ? AND a.event <> ''`, string(authority), string(id)).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Alarm{}, ErrUnknown
	}
	return a, err
}

func readAlarms(ctx context.Context, q readmodel.Query, authority event.AuthorityID, before time.Time, limit int) ([]Alarm, error) {
	last := int64(1) << 62
	if !before.IsZero() {
		last = before.UnixMilli()
	}
	var out []Alarm
	err := rows(ctx, q, func(scan func(...any) error) error {
		a, err := scanAlarm(scan)
		out = append(out, a)
		return err
	}, `SELECT `+alarmColumns+` FROM `+alarmTable+` WHERE a.authority = ? AND a.event <> '' AND a.listed_at < ?
		ORDER BY a.listed_at DESC, a.id LIMIT ?`, string(authority), last, limit)
	return out, err
}

func readTallies(ctx context.Context, q readmodel.Query, authority event.AuthorityID, id ID, kind string) ([]namedTally, error) {
	var out []namedTally
	err := rows(ctx, q, func(scan func(...any) error) error {
		var n namedTally
		into := []any{&n.name}
		for _, f := range n.tally.fields() {
			into = append(into, f)
		}
		err := scan(into...)
		out = append(out, n)
		return err
	}, `SELECT name, `+tallyColumns+` FROM alarm_count WHERE authority = ? AND alarm = ? AND dim = ? ORDER BY name LIMIT ?`,
		string(authority), string(id), kind, maxTallies)
	return out, err
}

const maxTallies = 5000

type namedTally struct {
	name  string
	tally Tally
}

// PersonLine is one person of an alarm. Their name is the directory's to tell.
type PersonLine struct {
	Person   directory.PersonID      `json:"person"`
	Unit     directory.UnitID        `json:"unit,omitempty"`
	Status   Status                  `json:"status"`
	Channels []directory.ChannelKind `json:"channels,omitempty"`
	Receipts []Receipt               `json:"receipts,omitempty"`
	Reply    *Reply                  `json:"reply,omitempty"`
}

const lineColumns = `person, unit, channels, state, status`

func scanLine(scan func(...any) error) (PersonLine, error) {
	var l PersonLine
	var channels, state string
	if err := scan(&l.Person, &l.Unit, &channels, &state, &l.Status); err != nil {
		return PersonLine{}, err
	}
	var p *PersonState
	if err := json.Unmarshal([]byte(state), &p); err != nil {
		return PersonLine{}, fmt.Errorf("read a recipient's row: %w", err)
	}
	l.Channels = split(channels)
	if p != nil {
		l.Receipts, l.Reply = p.Receipts, p.Reply
	}
	return l, nil
}

func readPeople(ctx context.Context, q readmodel.Query, authority event.AuthorityID, id ID, status Status, after directory.PersonID, limit int) ([]PersonLine, error) {
	var out []PersonLine
	err := rows(ctx, q, func(scan func(...any) error) error {
		l, err := scanLine(scan)
		out = append(out, l)
		return err
	}, `SELECT `+lineColumns+` FROM alarm_person WHERE authority = ?1 AND alarm = ?2 AND status = ?3 AND status <> '' AND person > ?4
		ORDER BY person LIMIT ?5`, string(authority), string(id), string(status), string(after), limit)
	return out, err
}

func readPerson(ctx context.Context, q readmodel.Query, authority event.AuthorityID, id ID, person directory.PersonID) (PersonLine, bool, error) {
	l, err := scanLine(q.QueryRowContext(ctx, `SELECT `+lineColumns+` FROM alarm_person
		WHERE authority = ? AND alarm = ? AND person = ?`, string(authority), string(id), string(person)).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return PersonLine{}, false, nil
	}
	return l, err == nil, err
}

// sortedSites returns the sites of the signs, the latest first.
func sortedSites(signs map[event.SiteID]Sign) []event.SiteID {
	sites := make([]event.SiteID, 0, len(signs))
	for s := range signs {
		sites = append(sites, s)
	}
	slices.SortFunc(sites, func(a, b event.SiteID) int {
		return cmp.Or(cmp.Compare(signs[b].Stamp, signs[a].Stamp), cmp.Compare(a, b))
	})
	return sites
}

// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// Format is the form of an imported file.
type Format string

// The formats. Auto looks at the beginning of the file.
const (
	Auto Format = ""
	LDIF Format = "ldif"
	CSV  Format = "csv"
)

// ImportOptions say how a file is read and what follows from it. The zero value recognises the format, takes objectGUID,
// entryUUID or a personnel number as key, and removes nobody.
type ImportOptions struct {
	Format Format
	// KeyColumn names the column or attribute that identifies a person for good.
	KeyColumn string
	// Prune removes people of the same key numbering, units and functions that the file does not mention any more.
	Prune bool
	// DryRun reports what would be done and does nothing.
	DryRun bool
	// FunctionsIn names the OU whose groups are functions (LDIF). Without it the usual names are recognised: Krisenstab,
	// Verwaltungsstab, Stabsfunktionen and the like.
	FunctionsIn string
}

// Tally counts what an import did to one sort of thing.
type Tally struct {
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"`
	Removed   int `json:"removed"`
}

// Report says what an import did, or would do.
type Report struct {
	Format Format `json:"format"`
	DryRun bool   `json:"dryRun"`
	// Read counts the entries that are people, refused ones included.
	Read int `json:"read"`
	Tally
	Units     Tally `json:"units"`
	Functions Tally `json:"functions"`
	// Disabled counts people whose account is switched off (userAccountControl): they are not added, and are removed if
	// they were in the register.
	Disabled int `json:"disabled"`
	// Ignored counts entries that are neither people nor functions.
	Ignored int `json:"ignored"`
	// WithoutChannel counts people who went in but cannot be reached: neither mobile number nor e-mail.
	WithoutChannel int `json:"withoutChannel"`
	// Refused are the first MaxRefusals refused entries, each with line, field, reason and way out; RefusedTotal counts all.
	Refused      []*fault.Fault `json:"refused"`
	RefusedTotal int            `json:"refusedTotal"`
	// Remarks are what somebody should know although nothing was refused.
	Remarks []*fault.Fault `json:"remarks"`
	// PassedOver are the columns that mean nothing to us.
	PassedOver []string `json:"passedOver"`
	// Receipt is the log and position of the last fact written, without events; zero if none was.
	Receipt eventlog.Receipt `json:"-"`
}

// MaxRefusals bounds the refusals and the remarks that a report lists.
const MaxRefusals = 1000

// Remarks of an import.
var (
	ErrPruneWithheld = fault.New(fault.Conflict, "directory.prune_withheld", "nobody was removed, because the file may be incomplete",
		"mend the refused lines and import again with pruning")
	ErrMemberUnknown = fault.New(fault.NotFound, "directory.member_unknown", "members of this function are not in the file",
		"export the people of the function together with it")
	ErrKeyNotHere = fault.New(fault.Unavailable, "directory.key_not_here", "the person is in the register, but the key to read them has not arrived at this site",
		"wait until the sites have exchanged their keys and import again, or import at the site that did it before")
)

// incoming is a person of the file, on the way in.
type incoming struct {
	line    int
	id      PersonID
	source  string
	manager string
	private private
	units   []UnitID
}

type unitDraft struct {
	id     UnitID
	parent UnitID
	name   string
}

type functionDraft struct {
	id       FunctionID
	name     string
	holders  []PersonID
	deputies []PersonID
}

// batch is a whole file, read: what it says about people, units and functions, and whom it mentions.
type batch struct {
	key       seal.Key // the authority's key "id"
	report    *Report
	people    []incoming
	lines     map[PersonID]int  // line of each person, refused ones included
	refs      map[string]string // normal DN or key → id, for managers and members
	gone      map[PersonID]bool // disabled
	goneDN    map[string]bool
	sources   map[string]bool
	units     map[UnitID]unitDraft
	order     []UnitID
	functions map[FunctionID]*functionDraft
	fnOrder   []FunctionID
	groups    []entry
	claims    []claim
	ids       map[PersonID]bool // see taken
	blind     bool              // a refused entry's key is unknown, so nobody may be called absent
}

// claim is what a person's entry says about functions; it counts behind what the groups say.
type claim struct {
	person           PersonID
	holds, deputises []string
}

func newBatch(key seal.Key, report *Report) *batch {
	return &batch{key: key, report: report, lines: make(map[PersonID]int), refs: make(map[string]string), gone: make(map[PersonID]bool),
		goneDN: make(map[string]bool), sources: make(map[string]bool), units: make(map[UnitID]unitDraft),
		functions: make(map[FunctionID]*functionDraft)}
}

// openSource recognises the format and returns a source of entries.
func openSource(r io.Reader, o ImportOptions, report *Report) (source, error) {
	lines, err := newLineReader(r)
	if err != nil {
		return nil, err
	}
	if report.Format = o.Format; o.Format == Auto {
		report.Format = lines.format()
	}
	if report.Format == LDIF {
		return newLDIFSource(lines, o), nil
	}
	if report.Format != CSV {
		return nil, ErrFileKind.Because("the format %.20q is unknown", string(o.Format))
	}
	s, err := newCSVSource(lines, o)
	if err != nil {
		return nil, err
	}
	report.PassedOver = s.passed
	return s, nil
}

// format tells LDIF from CSV by the first line that is neither empty nor a comment.
func (l *lineReader) format() Format {
	head, _ := l.r.Peek(peekBytes)
	for ln := range strings.Lines(string(head)) {
		ln = strings.ToLower(strings.TrimSpace(ln))
		if ln == "" || strings.HasPrefix(ln, "#") || strings.HasPrefix(ln, "version:") {
			continue
		}
		if strings.HasPrefix(ln, "dn:") {
			return LDIF
		}
		break
	}
	return CSV
}

// read takes all entries of the source in. It ends early with ctx's error, or a fault that concerns the whole file.
func (b *batch) read(ctx context.Context, s source) error {
	for n := 0; ; n++ {
		e, err := s.next()
		if errors.Is(err, io.EOF) {
			b.assignFunctions()
			b.assignManagers()
			return nil
		}
		if err != nil {
			return err
		}
		if n >= MaxPeople {
			return ErrTooManyPeople
		}
		if n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		b.take(&e)
	}
}

func (b *batch) take(e *entry) {
	switch {
	case e.refused != nil:
		b.report.Read++
		b.refuse(e)
	case e.what == other:
		b.report.Ignored++
	case e.what == group:
		b.groups = append(b.groups, *e)
	case e.what == disabled:
		b.report.Read++
		b.report.Disabled++
		b.gone[b.personID(e)] = true
		b.goneDN[e.dn] = true
		b.sources[e.source] = true
	default:
		b.report.Read++
		b.takePerson(e)
	}
}

func (b *batch) personID(e *entry) PersonID { return PersonID(idOf(b.key, "person", e.source, e.key)) }

func (b *batch) takePerson(e *entry) {
	id := b.personID(e)
	if at, twice := b.lines[id]; twice {
		e.refuse(ErrTwice.Because("line %d", at).At(e.line, ""))
		b.refuse(e)
		return
	}
	b.lines[id] = e.line
	b.sources[e.source] = true
	for _, ref := range []string{e.dn, e.key} {
		if ref != "" {
			b.refs[ref] = string(id)
		}
	}
	e.private.Ref = e.key
	p := incoming{line: e.line, id: id, source: e.source, manager: e.manager, private: e.private}
	for _, path := range e.units {
		if u := b.unit(path); !slices.Contains(p.units, u) {
			p.units = append(p.units, u)
		}
	}
	if len(e.holds)+len(e.deputises) > 0 {
		b.claims = append(b.claims, claim{id, e.holds, e.deputises})
	}
	b.people = append(b.people, p)
}

// refuse counts the entry as refused. Where its key is known, the person is not absent, and stays as they are.
func (b *batch) refuse(e *entry) {
	if e.key == "" {
		b.blind = true
	} else if _, known := b.lines[b.personID(e)]; !known {
		b.lines[b.personID(e)] = e.line
	}
	b.report.refuse(e.refused)
}

func (r *Report) refuse(f *fault.Fault) {
	if r.RefusedTotal++; len(r.Refused) < MaxRefusals {
		r.Refused = append(r.Refused, f)
	}
}

func (r *Report) remark(f *fault.Fault) {
	if len(r.Remarks) < MaxRefusals {
		r.Remarks = append(r.Remarks, f)
	}
}

// maxUnitDepth bounds the tree; deeper paths are cut.
const maxUnitDepth = 20

// unit returns the id of the unit at the path, and notes it and all above it.
func (b *batch) unit(path unitPath) UnitID {
	var parent UnitID
	full := ""
	for i, name := range path[:min(len(path), maxUnitDepth)] {
		name = cutRunes(clean(name))
		if i > 0 {
			full += "\x1f"
		}
		full += strings.ToLower(name)
		id := UnitID(idOf(b.key, "unit", "path", full))
		if _, known := b.units[id]; !known {
			b.units[id] = unitDraft{id, parent, name}
			b.order = append(b.order, id)
		}
		parent = id
	}
	return parent
}

func cutRunes(s string) string {
	if r := []rune(s); len(r) > maxFieldRunes {
		return string(r[:maxFieldRunes])
	}
	return s
}

func (b *batch) function(name string) *functionDraft {
	name = cutRunes(name)
	id := FunctionID(idOf(b.key, "function", "name", strings.ToLower(name)))
	f, known := b.functions[id]
	if !known {
		f = &functionDraft{id: id, name: name}
		b.functions[id] = f
		b.fnOrder = append(b.fnOrder, id)
	}
	return f
}

// assignFunctions puts the members of groups first, in their order, then what people's own entries claim, in the order
// of the file.
func (b *batch) assignFunctions() {
	for _, g := range b.groups {
		for _, name := range g.holds {
			f := b.function(name)
			f.holders = b.members(f.holders, g)
		}
		for _, name := range g.deputises {
			f := b.function(name)
			f.deputies = b.members(f.deputies, g)
		}
	}
	for _, c := range b.claims {
		for _, name := range c.holds {
			f := b.function(name)
			f.holders = appendOnce(f.holders, c.person)
		}
		for _, name := range c.deputises {
			f := b.function(name)
			f.deputies = appendOnce(f.deputies, c.person)
		}
	}
}

func (b *batch) members(list []PersonID, g entry) []PersonID {
	unknown := 0
	for _, dn := range g.members {
		if id := PersonID(b.refs[dn]); id != "" {
			list = appendOnce(list, id)
		} else if !b.goneDN[dn] {
			unknown++
		}
	}
	if unknown > 0 {
		b.report.remark(ErrMemberUnknown.Because("%d", unknown).At(g.line, "member"))
	}
	return list
}

func appendOnce[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

func (b *batch) assignManagers() {
	for i := range b.people {
		p := &b.people[i]
		if p.manager == "" {
			continue
		}
		id, known := b.refs[p.manager]
		if !known {
			guid, _ := guidText(p.manager)
			id = b.refs[guid]
		}
		p.private.Manager = PersonID(id)
	}
}

// speaksOfFunctions reports whether the file says anything about functions. If not, they stay as they are.
func (b *batch) speaksOfFunctions() bool { return len(b.functions) > 0 }

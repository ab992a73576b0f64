// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"context"
	"encoding/json"
	"io"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// writeAtOnce is how many people get their keys and facts in one step: about one page.
const writeAtOnce = 500

// ErrFunctionTooLarge is a remark: a fact has to fit into an event.
var ErrFunctionTooLarge = fault.New(fault.TooLarge, "directory.function_too_large", "the function has more than 1,000 people and was left as it is",
	"make it a unit; a function is for those who are asked one after the other")

// Import reads a file of people and takes over what is new in it. Broken entries are refused and reported, good ones go
// in. Importing the same file again changes nothing. The error is a fault if the file as a whole cannot be used; then, and
// on a dry run, nothing was written. If writing fails half-way, what was written stays, and importing again completes it.
func (s *Service) Import(ctx context.Context, authority event.AuthorityID, o ImportOptions, r io.Reader) (Report, error) {
	report := Report{DryRun: o.DryRun}
	id, err := s.cfg.Keys.Named(ctx, authority, keyring.NameID)
	if err != nil {
		return report, deed(err, "import a directory")
	}
	src, err := openSource(r, o, &report)
	if err != nil {
		return report, deed(err, "import a directory")
	}
	b := newBatch(id.Secret, &report)
	if err := b.read(ctx, src); err != nil {
		return report, deed(err, "import a directory")
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if _, err := s.cfg.Model.CatchUp(ctx); err != nil {
		return report, deed(err, "import a directory")
	}
	p, err := s.plan(ctx, authority, b, o.Prune)
	if err == nil && !o.DryRun {
		err = s.carryOut(ctx, authority, p, &report)
	}
	s.cfg.Logger.Info("directory imported", "authority", authority, "format", report.Format, "dry", o.DryRun, "read", report.Read,
		"added", report.Added, "changed", report.Changed, "removed", report.Removed, "refused", report.RefusedTotal)
	return report, deed(err, "import a directory")
}

// register is what is recorded now, as far as this site can read it.
type register struct {
	people    map[PersonID]recorded
	units     map[UnitID]Unit
	functions map[FunctionID]Function
}

// recorded is a person as recorded now.
type recorded struct {
	status string
	source string
	key    event.KeyID
	units  string
	record string
}

// plan is what has to be written to get from the register to the file.
type plan struct {
	people    []change
	units     []unitDraft
	functions []functionDraft
	remove    []event.Draft
}

// change is a person to record; key is "" for one who has none yet.
type change struct {
	*incoming
	key event.KeyID
}

func (s *Service) plan(ctx context.Context, authority event.AuthorityID, b *batch, prune bool) (*plan, error) {
	var now register
	err := s.cfg.Model.View(ctx, func(q readmodel.Query) (err error) {
		now, err = loadRegister(ctx, q, authority)
		return err
	})
	if err != nil {
		return nil, err
	}
	if prune && (b.blind || len(b.sources) == 0) {
		b.report.remark(ErrPruneWithheld)
		prune = false
	}
	p := &plan{}
	d := differ{now: now, b: b, p: p, prune: prune, actor: s.actor}
	d.people()
	d.goners()
	d.unitsAdded()
	d.unitsRemoved()
	d.assignments()
	return p, nil
}

// differ compares the file with the register. Each method handles one sort of thing and counts what it finds.
type differ struct {
	now   register
	b     *batch
	p     *plan
	prune bool
	actor string
	gone  map[PersonID]bool
	// barred are erased people who are still in the file: they get no functions either.
	barred map[PersonID]bool
}

func (d *differ) people() {
	r := d.b.report
	d.barred = make(map[PersonID]bool)
	for i := range d.b.people {
		in := &d.b.people[i]
		in.units = in.units[:min(len(in.units), maxUnits)]
		cur, found := d.now.people[in.id]
		switch {
		case found && cur.status == string(Erased):
			r.refuse(ErrStaysErased.At(in.line, ""))
			d.barred[in.id] = true
			continue
		case found && cur.status == string(NotYet):
			r.refuse(ErrKeyNotHere.At(in.line, ""))
			continue
		case found && cur.belongsToAnother(in):
			r.refuse(ErrCollision.At(in.line, ""))
			continue
		case !found || cur.status == statusRemoved:
			r.Added++
		case cur.record == jsonOf(in.private) && cur.units == jsonOf(append([]UnitID{}, in.units...)):
			r.Unchanged++
			d.countReach(in)
			continue
		default:
			r.Changed++
		}
		d.countReach(in)
		d.p.people = append(d.p.people, change{in, cur.key})
	}
}

// belongsToAnother reports that two keys of the source gave one id: one in 37 million for a million people.
func (r recorded) belongsToAnother(in *incoming) bool {
	if r.record == "" || r.record == jsonOf(in.private) {
		return false
	}
	var p private
	return json.Unmarshal([]byte(r.record), &p) == nil && p.Ref != "" && p.Ref != in.private.Ref
}

func (d *differ) countReach(in *incoming) {
	if len(in.private.reachability()) == 0 {
		d.b.report.WithoutChannel++
	}
}

// goners removes people whose account is switched off and, when pruning, people of the file's numberings who are absent.
func (d *differ) goners() {
	d.gone = make(map[PersonID]bool)
	for id, cur := range d.now.people {
		if cur.status == statusRemoved || cur.status == string(Erased) {
			continue
		}
		_, mentioned := d.b.lines[id]
		if d.b.gone[id] && !mentioned || d.prune && !mentioned && d.b.sources[cur.source] {
			d.gone[id] = true
		}
	}
	d.b.report.Removed = len(d.gone)
	for _, id := range sortedKeys(d.gone) {
		d.p.remove = append(d.p.remove, draftOf(id.Subject(), KindPersonRemoved, d.actor, PersonRemoved{}))
	}
}

func (d *differ) unitsAdded() {
	for _, id := range d.b.order {
		u := d.b.units[id]
		switch cur, found := d.now.units[id]; {
		case !found:
			d.b.report.Units.Added++
		case cur.Readable == Readable && cur.Name == u.name && cur.Parent == u.parent, cur.Readable == NotYet:
			d.b.report.Units.Unchanged++
			continue
		default:
			d.b.report.Units.Changed++
		}
		d.p.units = append(d.p.units, u)
	}
}

// unitsRemoved removes, when pruning, units in which nobody is left, neither of the file nor of those who stay without it.
func (d *differ) unitsRemoved() {
	if !d.prune {
		return
	}
	used := make(map[UnitID]bool)
	for id, cur := range d.now.people {
		if _, mentioned := d.b.lines[id]; cur.status == statusRemoved || d.gone[id] || mentioned && d.b.taken(id) {
			continue
		}
		var units []UnitID
		_ = json.Unmarshal([]byte(cur.units), &units) // written by jsonOf
		for _, u := range units {
			for ; u != "" && !used[u]; u = d.now.units[u].Parent {
				used[u] = true
			}
		}
	}
	removed := make(map[UnitID]bool)
	for id := range d.now.units {
		if _, named := d.b.units[id]; !named && !used[id] {
			removed[id] = true
		}
	}
	d.b.report.Units.Removed = len(removed)
	for _, id := range sortedKeys(removed) {
		d.p.remove = append(d.p.remove, draftOf(id.Subject(), KindUnitRemoved, d.actor, UnitRemoved{}))
	}
}

// taken reports whether the person's entry went in, rather than being refused.
func (b *batch) taken(id PersonID) bool {
	if b.ids == nil {
		b.ids = make(map[PersonID]bool, len(b.people))
		for i := range b.people {
			b.ids[b.people[i].id] = true
		}
	}
	return b.ids[id]
}

// assignments compares who holds and deputises what. The file speaks for the people in it: somebody whom it does not
// mention keeps a function, behind those it names, unless they are pruned.
func (d *differ) assignments() {
	if !d.b.speaksOfFunctions() {
		return
	}
	for _, id := range d.b.fnOrder {
		f := *d.b.functions[id]
		cur, found := d.now.functions[id]
		f.holders = d.keepOthers(f.holders, cur.Holders)
		f.deputies = d.keepOthers(f.deputies, cur.Deputies)
		d.function(f, cur, found)
	}
	for _, id := range sortedKeys(d.now.functions) {
		cur := d.now.functions[id]
		if _, named := d.b.functions[id]; named || cur.Readable != Readable {
			continue
		}
		f := functionDraft{id, cur.Name, d.keepOthers(nil, cur.Holders), d.keepOthers(nil, cur.Deputies)}
		if d.prune && len(f.holders)+len(f.deputies) == 0 {
			d.b.report.Functions.Removed++
			d.p.remove = append(d.p.remove, draftOf(id.Subject(), KindFunctionRemoved, d.actor, FunctionRemoved{}))
			continue
		}
		d.function(f, cur, true)
	}
}

// keepOthers appends those of the recorded people for whom the file does not speak.
func (d *differ) keepOthers(list, recorded []PersonID) []PersonID {
	list = slices.DeleteFunc(list, func(id PersonID) bool { return d.barred[id] })
	for _, id := range recorded {
		if !d.b.taken(id) && !d.gone[id] {
			list = appendOnce(list, id)
		}
	}
	return list
}

func (d *differ) function(f functionDraft, cur Function, found bool) {
	t := &d.b.report.Functions
	switch {
	case len(f.holders)+len(f.deputies) > maxAssigned:
		d.b.report.remark(ErrFunctionTooLarge)
		return
	case !found:
		t.Added++
	case cur.Readable == NotYet, // this site cannot tell, and what it cannot read it does not overwrite
		cur.Name == f.name && slices.Equal(cur.Holders, f.holders) && slices.Equal(cur.Deputies, f.deputies):
		t.Unchanged++
		return
	default:
		t.Changed++
	}
	d.p.functions = append(d.p.functions, f)
}

func sortedKeys[K ~string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// carryOut writes the plan: units first, then people, then functions, so that what refers to something comes after it.
func (s *Service) carryOut(ctx context.Context, authority event.AuthorityID, p *plan, report *Report) error {
	w := &planWriter{s: s, ctx: ctx, authority: authority, report: report}
	steps := []func(*plan) error{w.units, w.people, w.functions, w.removals}
	for _, step := range steps {
		if err := step(p); err != nil {
			return err
		}
	}
	if report.Receipt.Last.Page == 0 {
		return nil
	}
	return s.wait(ctx, report.Receipt)
}

// planWriter seals and appends the parts of a plan.
type planWriter struct {
	s         *Service
	ctx       context.Context
	authority event.AuthorityID
	report    *Report
	register  keyring.Key
}

func (w *planWriter) append(drafts []event.Draft) error {
	for chunk := range slices.Chunk(drafts, writeAtOnce) {
		r, err := w.s.cfg.Log.Append(w.ctx, w.authority, event.Register, chunk...)
		if err != nil {
			return err
		}
		r.Events = nil
		w.report.Receipt = r
	}
	return nil
}

// registerKey returns the key that seals names of units and functions.
func (w *planWriter) registerKey() (keyring.Key, error) {
	if w.register.ID != "" {
		return w.register, nil
	}
	k, err := w.s.cfg.Keys.Named(w.ctx, w.authority, keyring.NameRegister)
	w.register = k
	return k, err
}

func (w *planWriter) units(p *plan) error {
	drafts := make([]event.Draft, 0, len(p.units))
	for _, u := range p.units {
		key, err := w.registerKey()
		if err != nil {
			return err
		}
		sealed, err := key.Secret.Seal(w.s.cfg.Rand, unitContext(u.id), []byte(u.name))
		if err != nil {
			return err
		}
		drafts = append(drafts, draftOf(u.id.Subject(), KindUnitRecorded, w.s.actor, UnitRecorded{key.ID, sealed, u.parent}, key.ID))
	}
	return w.append(drafts)
}

func (w *planWriter) functions(p *plan) error {
	drafts := make([]event.Draft, 0, len(p.functions))
	for _, f := range p.functions {
		key, err := w.registerKey()
		if err != nil {
			return err
		}
		sealed, err := key.Secret.Seal(w.s.cfg.Rand, functionContext(f.id), []byte(f.name))
		if err != nil {
			return err
		}
		fact := FunctionRecorded{key.ID, sealed, f.holders, f.deputies}
		drafts = append(drafts, draftOf(f.id.Subject(), KindFunctionRecorded, w.s.actor, fact, key.ID))
	}
	return w.append(drafts)
}

func (w *planWriter) removals(p *plan) error { return w.append(p.remove) }

func (w *planWriter) people(p *plan) error {
	for chunk := range slices.Chunk(p.people, writeAtOnce) {
		keys, err := w.keys(chunk)
		if err != nil {
			return err
		}
		drafts := make([]event.Draft, len(chunk))
		for i, c := range chunk {
			if drafts[i], err = w.person(c, keys[i]); err != nil {
				return err
			}
		}
		if err := w.append(drafts); err != nil {
			return err
		}
	}
	return nil
}

// keys returns a key for each of the people: the one they have, or a new one. New ones are on the disk before a fact
// names them.
func (w *planWriter) keys(chunk []change) ([]keyring.Key, error) {
	missing := 0
	for _, c := range chunk {
		if c.key == "" {
			missing++
		}
	}
	var fresh []keyring.Key
	if missing > 0 {
		var err error
		if fresh, err = w.s.cfg.Keys.NewKeys(w.ctx, w.authority, missing); err != nil {
			return nil, err
		}
	}
	keys := make([]keyring.Key, len(chunk))
	for i, c := range chunk {
		if c.key == "" {
			keys[i], fresh = fresh[0], fresh[1:]
			continue
		}
		secret, err := w.s.cfg.Keys.Key(w.ctx, w.authority, c.key)
		if err != nil {
			return nil, err
		}
		keys[i] = keyring.Key{ID: c.key, Secret: secret}
	}
	return keys, nil
}

func (w *planWriter) person(c change, key keyring.Key) (event.Draft, error) {
	sealed, err := key.Secret.Seal(w.s.cfg.Rand, personContext(c.id), []byte(jsonOf(c.private)))
	if err != nil {
		return event.Draft{}, err
	}
	fact := PersonRecorded{Key: key.ID, Sealed: sealed, Units: c.units, Source: c.source}
	return draftOf(c.id.Subject(), KindPersonRecorded, w.s.actor, fact, key.ID), nil
}

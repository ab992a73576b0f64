// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"codeberg.org/holdfast/holdfast/directory"
)

// Tally counts people (for a total, or a unit) or hand-overs (for a channel: Recipients, Called, Accepted and so on are
// then those of the channel). Coming, Cannot, Safe, Silent, Without, Pending and Failed add up to Recipients.
type Tally struct {
	Recipients int `json:"recipients"`
	// Called people have at least one accepted hand-over.
	Called  int `json:"called"`
	Coming  int `json:"coming"`
	Cannot  int `json:"cannot"`
	Safe    int `json:"safe"`
	Silent  int `json:"silent"`
	Without int `json:"without"`
	Pending int `json:"pending"`
	Failed  int `json:"failed"`
	// Accepted and Refused count hand-overs of the wave Call: taken by a gateway, and refused for good.
	Accepted int `json:"accepted"`
	Refused  int `json:"refused"`
	// Doubled counts hand-overs beyond the first of the same person, channel and wave.
	Doubled int `json:"doubled"`
	// Unsecured counts hand-overs whose receipt was written while its site was alone.
	Unsecured int `json:"unsecured"`
	// DueCall and DueClosing count people (channels: hand-overs) for whom something is still due in that wave.
	DueCall    int `json:"dueCall"`
	DueClosing int `json:"dueClosing"`
}

// Replied returns how many people have answered.
func (t Tally) Replied() int { return t.Coming + t.Cannot + t.Safe }

// fields lists the counters in the order of the table's columns.
func (t *Tally) fields() []*int {
	return []*int{&t.Recipients, &t.Called, &t.Coming, &t.Cannot, &t.Safe, &t.Silent, &t.Without, &t.Pending,
		&t.Failed, &t.Accepted, &t.Refused, &t.Doubled, &t.Unsecured, &t.DueCall, &t.DueClosing}
}

// add adds n times u.
func (t *Tally) add(u Tally, n int) {
	into, from := t.fields(), u.fields()
	for i := range into {
		*into[i] += n * *from[i]
	}
}

// dim names one counter row.
type dim struct{ kind, name string }

var total = dim{kind: "total"}

// tallies is what one or many people add to the counters.
type tallies map[dim]*Tally

func (t tallies) at(d dim) *Tally {
	if t[d] == nil {
		t[d] = &Tally{}
	}
	return t[d]
}

// move adds the difference between two rows of one person.
func (t tallies) move(was, is row) {
	t.count(was, -1)
	t.count(is, +1)
}

// count adds n times what the row counts for.
func (t tallies) count(r row, n int) {
	if !r.Named && r.Person == nil {
		return
	}
	var all Tally
	for _, rc := range r.Person.receipts() {
		ch := rc.tally(r.Named)
		all.Accepted += ch.Accepted
		all.Refused += ch.Refused
		all.Doubled += ch.Doubled
		all.Unsecured += ch.Unsecured
		t.at(dim{"channel", string(rc.Channel)}).add(ch, n)
	}
	for _, w := range []Wave{Call, Closing} {
		due := r.due(w)
		all.addDue(w, min(1, len(due)))
		for _, k := range due {
			var ch Tally
			ch.addDue(w, 1)
			t.at(dim{"channel", string(k)}).add(ch, n)
		}
	}
	if r.Named {
		all.addStatus(r.status())
		all.Recipients = 1
		if r.Person.Called() {
			all.Called = 1
		}
		for _, k := range r.Channels {
			t.at(dim{"channel", string(k)}).add(Tally{Recipients: 1}, n)
		}
		t.at(dim{"unit", string(r.Unit)}).add(all, n)
	}
	t.at(total).add(all, n)
}

func (p *PersonState) receipts() []Receipt {
	if p == nil {
		return nil
	}
	return p.Receipts
}

// tally returns what one receipt counts for its channel.
func (r Receipt) tally(named bool) Tally {
	var t Tally
	t.Doubled = max(0, r.Accepted-1)
	if !named || r.Wave != Call {
		return t
	}
	switch {
	case r.Accepted > 0:
		t.Accepted, t.Called = 1, 1
	case r.Final:
		t.Refused = 1
	}
	if r.Unsecured {
		t.Unsecured = 1
	}
	return t
}

func (t *Tally) addDue(w Wave, n int) {
	if w == Call {
		t.DueCall += n
		return
	}
	t.DueClosing += n
}

func (t *Tally) addStatus(s Status) {
	switch s {
	case StatusComing:
		t.Coming++
	case StatusCannot:
		t.Cannot++
	case StatusSafe:
		t.Safe++
	case StatusSilent:
		t.Silent++
	case StatusWithout:
		t.Without++
	case StatusPending:
		t.Pending++
	case StatusFailed:
		t.Failed++
	}
}

// row is one person of one alarm, joined from the chunk that names them and their own subject.
type row struct {
	Named    bool
	Unit     directory.UnitID
	Channels []directory.ChannelKind
	Person   *PersonState
}

// due returns the channels due in the wave. Nobody is called before they are named; everybody called gets the closing.
func (r row) due(w Wave) []directory.ChannelKind {
	if w == Call && !r.Named {
		return nil
	}
	return DueChannels(r.Channels, r.Person, w)
}

// status returns the first status that fits, "" for a person who is not named yet.
func (r row) status() Status {
	switch {
	case !r.Named:
		return ""
	case r.Person != nil && r.Person.Reply != nil && r.Person.Reply.Kind.Valid():
		return Status(r.Person.Reply.Kind)
	case r.Person.Called():
		return StatusSilent
	case len(r.Channels) == 0:
		return StatusWithout
	case len(r.due(Call)) > 0:
		return StatusPending
	}
	return StatusFailed
}

// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"cmp"
	"slices"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

// State is the folded state of one subject. Which part is set follows from the subject's form.
type State struct {
	Alarm  *AlarmState  `json:"alarm,omitempty"`
	Named  []Named      `json:"named,omitempty"`
	Person *PersonState `json:"person,omitempty"`
	Caller *CallerState `json:"caller,omitempty"`
	Clocks *ClockState  `json:"clocks,omitempty"`
}

// AlarmState is what subject alarm/<id> says.
type AlarmState struct {
	// Event is the id of the fact Raised, "" while only a closing has arrived.
	Event  event.ID `json:"event,omitempty"`
	Raised Raised   `json:"raised"`
	// RaisedWall and ClosedWall are the origins' clocks in milliseconds since 1970.
	RaisedWall int64  `json:"raisedWall,omitempty"`
	RaisedBy   string `json:"raisedBy,omitempty"`
	// Origin is the site at which the alarm was raised.
	Origin event.SiteID `json:"origin,omitempty"`
	// Closings are the closings that refer to Event, in their order, and the first of them counts. While Event is not known they
	// are the first of each that is referred to, at most maxClosings.
	Closings []Closed `json:"closings,omitempty"`
	// Orders are the last MaxOrders orders to call, in their order.
	Orders []Ordered `json:"orders,omitempty"`
}

// MaxOrders bounds the orders to call that are kept.
const MaxOrders = 20

// Ordered is one order to call.
type Ordered struct {
	Event  event.ID     `json:"event"`
	Raised event.ID     `json:"raised"`
	Wave   Wave         `json:"wave"`
	Wall   int64        `json:"wall"`
	By     string       `json:"by,omitempty"`
	Site   event.SiteID `json:"site"`
}

// Closed is one cancellation or all-clear.
type Closed struct {
	Event  event.ID     `json:"event"`
	Site   event.SiteID `json:"site"`
	Ending Ending       `json:"ending"`
	Raised event.ID     `json:"raised"`
	Wall   int64        `json:"wall"`
	By     string       `json:"by,omitempty"`
	TextDE string       `json:"textDe,omitempty"`
	TextEN string       `json:"textEn,omitempty"`
}

// Closing returns the closing that counts. A closing wins over the raising it refers to even if a wrong clock sorts it
// before; one that refers to something else does not count.
func (a *AlarmState) Closing() (Closed, bool) {
	for _, c := range a.Closings {
		if a.Event != "" && c.Raised == a.Event {
			return c, true
		}
	}
	return Closed{}, false
}

// PersonState is what subject alarm/<id>/person/<pid> says.
type PersonState struct {
	// Receipts are ordered by wave and channel, at most one of each.
	Receipts []Receipt `json:"receipts,omitempty"`
	Reply    *Reply    `json:"reply,omitempty"`
	// Replies counts all of them.
	Replies int `json:"replies,omitempty"`
}

// Receipt sums up what gateways answered for one wave and channel.
type Receipt struct {
	Wave    Wave                  `json:"wave"`
	Channel directory.ChannelKind `json:"channel"`
	// Accepted counts hand-overs that a gateway took; more than one is a double message.
	Accepted int `json:"accepted,omitempty"`
	// Final: refused for good.
	Final  bool         `json:"final,omitempty"`
	Reason string       `json:"reason,omitempty"`
	Ref    string       `json:"ref,omitempty"`
	Site   event.SiteID `json:"site"`
	// Unsecured: at least one acceptance was written while its site was alone.
	Unsecured bool  `json:"unsecured,omitempty"`
	Wall      int64 `json:"wall"`
}

// Done reports whether nothing more is due for this wave and channel.
func (r Receipt) Done() bool { return r.Accepted > 0 || r.Final }

// Reply is the answer that counts.
type Reply struct {
	Kind       ReplyKind    `json:"kind"`
	ETAMinutes int          `json:"etaMinutes,omitempty"`
	Via        event.SiteID `json:"via"`
	Wall       int64        `json:"wall"`
}

// CallerState is what subject alarm/<id>/caller says: the last sign of each site that called.
type CallerState struct {
	Sites map[event.SiteID]Sign `json:"sites"`
	// Takeovers are in order, the last MaxTakeovers of them.
	Takeovers []Takeover `json:"takeovers,omitempty"`
}

// MaxTakeovers bounds the takeovers that are kept for showing.
const MaxTakeovers = 20

// Sign is the last that a caller said.
type Sign struct {
	Stamp   event.Stamp `json:"stamp"`
	Wall    int64       `json:"wall"`
	Wave    Wave        `json:"wave"`
	Pending int         `json:"pending"`
	// CatchingUp: it has decided to take over and does not call yet.
	CatchingUp bool `json:"catchingUp,omitempty"`
}

// Takeover is one change of the caller.
type Takeover struct {
	Site         event.SiteID `json:"site"`
	Rank         int          `json:"rank"`
	Wall         int64        `json:"wall"`
	SilentMillis int64        `json:"silentMillis"`
	Pending      int          `json:"pending"`
}

// receipt returns the receipt of a wave and channel, nil if there is none.
func (p *PersonState) receipt(w Wave, k directory.ChannelKind) *Receipt {
	if p == nil {
		return nil
	}
	for i := range p.Receipts {
		if p.Receipts[i].Wave == w && p.Receipts[i].Channel == k {
			return &p.Receipts[i]
		}
	}
	return nil
}

// Called reports whether any receipt of the wave Call was accepted.
func (p *PersonState) Called() bool {
	return p != nil && slices.ContainsFunc(p.Receipts, func(r Receipt) bool { return r.Wave == Call && r.Accepted > 0 })
}

// DueChannels returns the channels by which the person still has to get a message of the wave, in order. In the wave
// Call that is every channel of the recipient without a final receipt; in the wave Closing every channel by which the
// person was called, whether or not this site knows that it is a recipient. It is pure.
func DueChannels(named []directory.ChannelKind, p *PersonState, w Wave) []directory.ChannelKind {
	var due []directory.ChannelKind
	if w == Call {
		for _, k := range named {
			if r := p.receipt(Call, k); r == nil || !r.Done() {
				due = append(due, k)
			}
		}
		return due
	}
	if p == nil {
		return nil
	}
	for _, r := range p.Receipts {
		if r.Wave != Call || r.Accepted == 0 {
			continue
		}
		if c := p.receipt(Closing, r.Channel); c == nil || !c.Done() {
			due = append(due, r.Channel)
		}
	}
	return due
}

// Apply folds one entry into the state of its subject. It is pure: the same entries in the same order give the same
// state at every site. It returns an error if the data does not fit the kind.
func Apply(s State, e readmodel.Entry) (State, error) {
	switch e.Kind {
	case KindRaised, KindCancelled, KindAllClear:
		return s.applyAlarm(e)
	case KindCallingOrdered:
		return s.applyOrder(e)
	case KindClockDiffered:
		return s.applyClock(e)
	case KindRecipientsNamed:
		var f RecipientsNamed
		if err := e.Decode(&f); err != nil {
			return s, err
		}
		if s.Named == nil { // a chunk is written once; a second one would be a forgery and does not count
			s.Named = f.People
		}
		return s, nil
	case KindAccepted, KindRefused, KindReplied:
		return s.applyPerson(e)
	case KindCallerReported, KindTakenOver:
		return s.applyCaller(e)
	}
	return s, nil
}

func (s State) applyAlarm(e readmodel.Entry) (State, error) {
	if s.Alarm == nil {
		s.Alarm = &AlarmState{}
	}
	if e.Kind == KindRaised {
		var f Raised
		if err := e.Decode(&f); err != nil {
			return s, err
		}
		if s.Alarm.Event == "" {
			s.Alarm.Event, s.Alarm.Raised = e.ID, f
			s.Alarm.RaisedWall, s.Alarm.RaisedBy, s.Alarm.Origin = e.Wall, e.Actor, e.Place.Site
			s.Alarm.Closings = slices.DeleteFunc(s.Alarm.Closings, func(c Closed) bool { return c.Raised != e.ID })
		}
		return s, nil
	}
	var f AllClear // Cancelled has the same fields
	if err := e.Decode(&f); err != nil {
		return s, err
	}
	c := Closed{Event: e.ID, Site: e.Place.Site, Ending: WasCleared, Raised: f.Raised, Wall: e.Wall, By: e.Actor, TextDE: f.TextDE, TextEN: f.TextEN}
	if e.Kind == KindCancelled {
		c.Ending = WasCancelled
	}
	s.Alarm.close(c)
	return s, nil
}

// maxClosings bounds the closings of an alarm that has not arrived. A real one follows the alarm that it refers to, unless its
// site's clock is wrong.
const maxClosings = 64

// close takes a closing in unless it can never count: a site that closes an alarm ten thousand times must not make its state ten
// thousand times as large, since the state is read and written with each event.
func (a *AlarmState) close(c Closed) {
	known := slices.ContainsFunc(a.Closings, func(o Closed) bool { return o.Raised == c.Raised })
	if known || a.Event != "" && c.Raised != a.Event || len(a.Closings) >= maxClosings {
		return
	}
	a.Closings = append(a.Closings, c)
}

func (s State) applyOrder(e readmodel.Entry) (State, error) {
	var f CallingOrdered
	if err := e.Decode(&f); err != nil {
		return s, err
	}
	if s.Alarm == nil {
		s.Alarm = &AlarmState{}
	}
	o := append(s.Alarm.Orders, Ordered{Event: e.ID, Raised: f.Raised, Wave: f.Wave, Wall: e.Wall, By: e.Actor, Site: e.Place.Site})
	s.Alarm.Orders = o[max(0, len(o)-MaxOrders):]
	return s, nil
}

func (s State) applyPerson(e readmodel.Entry) (State, error) {
	if s.Person == nil {
		s.Person = &PersonState{}
	}
	p := s.Person
	switch e.Kind {
	case KindReplied:
		var f Replied
		if err := e.Decode(&f); err != nil {
			return s, err
		}
		p.Reply = &Reply{Kind: f.Kind, ETAMinutes: f.ETAMinutes, Via: f.Via, Wall: e.Wall}
		p.Replies++
	case KindAccepted:
		var f Accepted
		if err := e.Decode(&f); err != nil {
			return s, err
		}
		r := p.at(f.Wave, f.Channel)
		r.Accepted++
		r.Reason = ""
		r.Ref, r.Site, r.Wall, r.Unsecured = f.Ref, f.Site, e.Wall, r.Unsecured || f.Unsecured
	case KindRefused:
		var f Refused
		if err := e.Decode(&f); err != nil {
			return s, err
		}
		r := p.at(f.Wave, f.Channel)
		r.Final = r.Final || f.Final
		if r.Accepted == 0 {
			r.Reason, r.Site, r.Wall = f.Reason, f.Site, e.Wall
		}
	}
	return s, nil
}

// at returns the receipt of a wave and channel, made in its place if there is none yet.
func (p *PersonState) at(w Wave, k directory.ChannelKind) *Receipt {
	i, found := slices.BinarySearchFunc(p.Receipts, Receipt{Wave: w, Channel: k}, func(a, b Receipt) int {
		return cmp.Or(cmp.Compare(a.Wave, b.Wave), cmp.Compare(a.Channel, b.Channel))
	})
	if !found {
		p.Receipts = slices.Insert(p.Receipts, i, Receipt{Wave: w, Channel: k})
	}
	return &p.Receipts[i]
}

func (s State) applyCaller(e readmodel.Entry) (State, error) {
	if s.Caller == nil {
		s.Caller = &CallerState{Sites: make(map[event.SiteID]Sign)}
	}
	var f struct { // what either has
		TakenOver
		CatchingUp bool `json:"catchingUp"`
	}
	if err := e.Decode(&f); err != nil {
		return s, err
	}
	if f.Site != e.Place.Site {
		return s, nil // nobody gives a sign of life for another site, or for sites that do not exist
	}
	s.Caller.Sites[f.Site] = Sign{Stamp: e.Stamp, Wall: e.Wall, Wave: f.Wave, Pending: f.Pending, CatchingUp: f.CatchingUp}
	if e.Kind == KindTakenOver {
		t := append(s.Caller.Takeovers, Takeover{f.Site, f.Rank, e.Wall, f.SilentMillis, f.Pending})
		s.Caller.Takeovers = t[max(0, len(t)-MaxTakeovers):]
	}
	return s, nil
}

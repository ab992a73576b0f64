// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/site"
)

// rogue is a member in the wrong hands, at most one in a world. It runs what everybody runs, and besides signs and answers
// things that nobody should believe. Nothing that it does may keep the honest sites from what they promise.
type rogue struct {
	*node
	rnd *rand.Rand // its handlers may run while others run: it shares no randomness
	// stranger is a site that it wants to let in without a second operator.
	stranger *seal.Identity
	proposal *site.Proposed
	moods    map[mood]bool
	// planted are the records that it adds to its answers about keys, by authority.
	planted map[event.AuthorityID][]keyring.Record
	// named are the authorities for which it has made shared keys of its own.
	named map[event.AuthorityID]bool
	// said are the different facts about members that it has put into its floods.
	said                  map[string]bool
	forged, flooded, logs int // how many events and logs it has signed
	stamps                event.Stamp
	capture               func(event.Draft) bool
}

// mood is a way in which the rogue answers wrongly.
type mood string

const (
	forgesHeads mood = "forges heads"
	plantsKeys  mood = "plants keys"
	babbles     mood = "answers garbage"
)

// rogueEvery is how many worlds there are for one with a rogue.
const rogueEvery = 2

// openRogue puts one of the sites in the wrong hands: the founder's as often as that of any other.
func (w *World) openRogue(ctx context.Context) error {
	if w.js || w.seed%rogueEvery != 1 {
		return nil
	}
	r := &rogue{
		node: w.nodes[0], rnd: rand.New(rand.NewPCG(w.seed, 23)), moods: make(map[mood]bool),
		named:   make(map[event.AuthorityID]bool),
		planted: make(map[event.AuthorityID][]keyring.Record), said: make(map[string]bool),
	}
	if w.rnd.IntN(2) == 0 {
		r.node = w.nodes[w.rnd.IntN(len(w.nodes))]
	}
	w.rogue, w.removing = r, w.rnd.IntN(3) == 0
	w.logf("%v is in the wrong hands", r)
	if err := r.drawStranger(ctx); err != nil {
		return fmt.Errorf("make a stranger: %w", err)
	}
	r.corrupt()
	return nil
}

// isRogue reports whether the node is the one in the wrong hands.
func (n *node) isRogue() bool { return n.w.rogue != nil && n.w.rogue.node == n }

// honest returns the nodes that are up and not in the wrong hands.
func (w *World) honest() []*node {
	var out []*node
	for _, n := range w.living() {
		if !n.isRogue() {
			out = append(out, n)
		}
	}
	return out
}

// drawStranger makes an identity, and a proposal of it with its consent, which the rogue keeps to itself.
func (r *rogue) drawStranger(ctx context.Context) (err error) {
	var seed [32]byte
	copy(seed[:], fmt.Sprintf("stranger of world %d", r.w.seed))
	if r.stranger, err = seal.NewIdentity(rand.NewChaCha8(seed)); err != nil {
		return err
	}
	token, err := r.sites.Invite(ctx, "stranger", r.operator, 0)
	if err != nil {
		return err
	}
	r.capture = func(d event.Draft) bool {
		if p, is := d.Data.(site.Proposed); is {
			r.proposal = &p
			return true
		}
		return false
	}
	defer func() { r.capture = nil }()
	_, err = site.Join(ctx, site.JoinConfig{
		Token: token, Identity: r.stranger, Now: r.clock, Kind: site.Provider, Addresses: []string{"stranger.example:7443"},
		Request: func(ctx context.Context, _ event.SiteID, _ []string, body []byte) ([]byte, error) {
			return r.sites.ServeJoin(ctx, r.stranger.Site(), body)
		},
	})
	if r.proposal == nil {
		return err
	}
	return nil
}

// keeps reports whether the rogue keeps what was to be written to itself.
func (n *node) keeps(drafts []event.Draft) bool {
	return n.isRogue() && n.w.rogue.capture != nil && len(drafts) == 1 && n.w.rogue.capture(drafts[0])
}

// misdeeds is what the rogue may do, and how often.
var misdeeds = []struct {
	weight int
	do     func(*rogue, context.Context) error
}{
	{3, (*rogue).flood},
	{1, (*rogue).scatter},
	{3, (*rogue).dateBack},
	{2, (*rogue).allowItself},
	{2, (*rogue).contradict},
	{3, (*rogue).plant},
	{2, (*rogue).eraseAll},
	{2, (*rogue).push},
	{3, (*rogue).turn},
}

// misbehave lets the rogue do one of its misdeeds.
func (w *World) misbehave(ctx context.Context) error {
	r := w.rogue
	if r == nil || !r.up || r.twin != nil {
		return nil
	}
	total := 0
	for _, m := range misdeeds {
		total += m.weight
	}
	dice := r.rnd.IntN(total)
	for _, m := range misdeeds {
		if dice -= m.weight; dice < 0 {
			return m.do(r, ctx)
		}
	}
	return nil
}

// removeRogue lets an honest site vote for removing the rogue; votes of two operators remove it, or of the only other one. Before
// the second half of a world nobody does.
func (w *World) removeRogue(ctx context.Context) error {
	honest := w.honest()
	if w.rogue == nil || !w.removing || len(honest) == 0 {
		return nil
	}
	n := honest[w.rnd.IntN(len(honest))]
	if n.operator == w.rogue.operator || n.twin != nil {
		return nil
	}
	for _, a := range w.authorities {
		if w.steady(a, w.rogue.node) < 2 {
			return nil
		}
	}
	err := n.sites.Remove(ctx, w.rogue.site, true)
	w.logf("%v votes for removing the rogue: %s", n, outcome(err))
	if err == nil && !n.fed.Member(w.rogue.site) {
		for _, a := range w.authorities {
			if a.forbidden == nil {
				a.forbidden = make(map[event.SiteID]bool)
			}
			a.forbidden[w.rogue.site] = true
		}
	}
	return refusal(err)
}

// turn begins or ends one of its moods.
func (r *rogue) turn(context.Context) error {
	m := []mood{forgesHeads, plantsKeys, babbles}[r.rnd.IntN(3)]
	r.moods[m] = !r.moods[m]
	r.w.logf("the rogue %s: %v", m, r.moods[m])
	return nil
}

// event makes up an event with the stamp of an instant.
func (r *rogue) event(subject event.Subject, kind event.Kind, at event.Stamp, data any) event.Event {
	r.forged++
	r.stamps++
	raw, err := json.Marshal(data)
	if err != nil {
		raw = []byte("{}")
	}
	return event.Event{
		ID: event.ID(r.hex(8)), Subject: subject, Kind: kind, Stamp: at + r.stamps, Wall: at.Time().UnixMilli(), Actor: "operator", Data: raw,
	}
}

func (r *rogue) now() event.Stamp { return event.StampAt(r.clock()) }

// hex returns that many random bytes in hexadecimal.
func (r *rogue) hex(bytes int) string { return hex.EncodeToString(r.bytes(bytes)) }

func (r *rogue) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.rnd.Uint32())
	}
	return b
}

// freshLog names a log of an incarnation that has never been.
func (r *rogue) freshLog(authority event.AuthorityID, class event.Class) eventlog.LogID {
	r.logs++
	return eventlog.LogID{Authority: authority, Class: class, Site: r.site, Incarnation: r.hex(8)}
}

// someLog names the log that the rogue goes on with, with its head, or a fresh one.
func (r *rogue) someLog(authority event.AuthorityID, class event.Class) eventlog.Head {
	if r.rnd.IntN(2) == 0 {
		for _, h := range r.log.Heads() {
			if l := h.Branch; l.Site == r.site && l.Authority == authority && l.Class == class && l.Incarnation == r.incarnation && l.Fork == "" {
				return h
			}
		}
	}
	return eventlog.Head{Branch: eventlog.Branch{LogID: r.freshLog(authority, class)}}
}

// publish signs a page of events behind a head and puts it onto the rogue's own disk, from where the others fetch it. It returns
// the new head.
func (r *rogue) publish(ctx context.Context, after eventlog.Head, events ...event.Event) (eventlog.Head, error) {
	h := eventlog.Header{Log: after.Branch.LogID, Number: after.Page + 1, Prev: after.Hash, Wall: r.clock().UnixMilli()}
	p, err := eventlog.SignPage(r.id, h, events)
	if err != nil {
		return after, err
	}
	if _, err := r.log.Accept(ctx, [][]byte{p.Raw()}); err != nil {
		r.w.logf("the rogue cannot keep what it has forged: %v", err)
		return after, nil
	}
	return eventlog.Head{Branch: eventlog.Branch{LogID: p.Log}, Page: p.Number, Hash: p.Hash}, nil
}

// waiting counts the logs that honest sites keep apart because somebody has begun more than they take at once.
func (w *World) waiting() (logs int) {
	for _, n := range w.honest() {
		for _, kept := range n.log.Waiting() {
			logs += kept.Logs
		}
	}
	return logs
}

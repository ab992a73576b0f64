// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/keyring"
)

// corrupt puts the rogue's answers in the place of those of its software.
func (r *rogue) corrupt() {
	for _, verb := range eventlog.Verbs() {
		r.port.Handle(verb, r.falsify(verb, r.rep.Serve(verb)))
	}
	r.port.Handle(keyring.Verb, r.falsify(keyring.Verb, unpacked(r.syncer.Serve)))
}

// falsify changes some of the answers to one verb. It may run in any goroutine, one at a time, and writes no trace.
func (r *rogue) falsify(verb string, honest eventlog.Handler) eventlog.Handler {
	return func(ctx context.Context, peer event.SiteID, body []byte) ([]byte, error) {
		answer, err := honest(ctx, peer, body)
		if err != nil {
			return nil, err
		}
		if r.moods[babbles] && r.rnd.IntN(4) == 0 {
			return r.garbage(verb, answer), nil
		}
		switch {
		case verb == eventlog.VerbHeads && r.moods[forgesHeads]:
			return r.forgeHeads(answer), nil
		case verb == keyring.Verb && r.moods[plantsKeys]:
			return r.plantInto(answer), nil
		}
		return answer, nil
	}
}

// garbage returns what no honest site answers: noise, a torn answer, another one with bytes changed, or much of nothing.
func (r *rogue) garbage(verb string, answer []byte) []byte {
	switch r.rnd.IntN(4) {
	case 0:
		return r.bytes(r.rnd.IntN(300))
	case 1:
		return answer[:r.rnd.IntN(len(answer)+1)]
	case 2:
		out := slices.Clone(answer)
		for range 1 + len(out)/100 {
			if len(out) > 0 {
				i := r.rnd.IntN(len(out))
				out[i] = r.changed(verb, out[i])
			}
		}
		return out
	}
	return make([]byte, 700<<10)
}

// changed returns another byte. In an answer with keys it does not follow from the one that was there, nor does what those
// around it mean follow from it: a box is sealed with randomness that no seed decides, so the world would not follow from the
// seed.
func (r *rogue) changed(verb string, b byte) byte {
	by := byte(1 + r.rnd.IntN(255))
	if verb != keyring.Verb {
		return b ^ by
	}
	if by == '"' || by == '\\' {
		return 0
	}
	return by
}

// forgeHeads adds heads of pages that nobody has to a message of heads.
func (r *rogue) forgeHeads(answer []byte) []byte {
	var m map[string]json.RawMessage
	var heads []any
	if json.Unmarshal(answer, &m) != nil {
		return answer
	}
	if m["heads"] != nil && json.Unmarshal(m["heads"], &heads) != nil {
		return answer
	}
	for range 1 + r.rnd.IntN(80) {
		heads = append(heads, r.forgedHead())
	}
	forged, err := json.Marshal(heads)
	if err != nil {
		return answer
	}
	m["heads"] = forged
	if answer, err = json.Marshal(m); err != nil {
		return nil
	}
	return answer
}

// forgedHead claims a page: of the rogue's own logs, of another site's, of the federation's; the next one, or an absurd one.
func (r *rogue) forgedHead() any {
	of := r.w.nodes[r.rnd.IntN(len(r.w.nodes))]
	authority := event.Federation
	if held := r.mayHold(); len(held) > 0 && r.rnd.IntN(2) == 0 {
		authority = held[r.rnd.IntN(len(held))]
	}
	log := eventlog.LogID{Authority: authority, Class: event.Register, Site: of.site, Incarnation: of.incarnation}
	if r.rnd.IntN(3) == 0 || log.Incarnation == "" {
		log.Incarnation = r.hex(8)
	}
	page := []uint64{1, 2, 100, 1 << 40, 1<<63 + 7, 1<<64 - 1}[r.rnd.IntN(6)]
	return map[string]any{
		"branch":  eventlog.Branch{LogID: log},
		"page":    page,
		"hash":    r.hex(32),
		"durable": page,
		"version": r.rnd.IntN(1000),
	}
}

// push tells an honest site forged heads without being asked.
func (r *rogue) push(ctx context.Context) error {
	_, to := r.w.pair()
	if to == r.node {
		return nil
	}
	body := r.forgeHeads([]byte(fmt.Sprintf(`{"session":%q,"wall":%d,"since":0,"upTo":%d,"seen":{"session":"","version":0}}`,
		r.hex(8), r.clock().UnixMilli(), uint64(1)<<63)))
	_, err := r.port.Request(ctx, to.site, eventlog.VerbHeads, body)
	r.w.logf("the rogue pushes forged heads to %v: %s", to, outcome(err))
	return nil
}

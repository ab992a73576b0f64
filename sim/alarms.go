// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// alarms is what the outside world knows: which alarms were raised, and which messages the gateways took.
type alarms struct {
	raised    []*raised
	handovers map[handover]int
	log       []taken // every message, in order
}

type raised struct {
	authority event.AuthorityID
	id        alarm.ID
}

// handover is one message to one person over one channel.
type handover struct {
	authority event.AuthorityID
	id        alarm.ID
	person    directory.PersonID
	channel   directory.ChannelKind
	wave      alarm.Wave
}

// take counts a message by its idempotency key: authority/alarm/person/channel/wave.
func (a *alarms) take(by *node, key string) {
	p := strings.Split(key, "/")
	if len(p) != 5 {
		return
	}
	if a.handovers == nil {
		a.handovers = make(map[handover]int)
	}
	wave, _ := strconv.Atoi(p[4])
	h := handover{
		event.AuthorityID(p[0]), alarm.ID(p[1]), directory.PersonID(p[2]), directory.ChannelKind(p[3]), alarm.Wave(wave),
	}
	a.handovers[h]++
	a.log = append(a.log, taken{h, by})
}

// called returns who was called in a wave, in order.
func (a *alarms) called(r *raised, wave alarm.Wave) []directory.PersonID {
	people := make(map[directory.PersonID]bool)
	for h := range a.handovers {
		if h.authority == r.authority && h.id == r.id && h.wave == wave {
			people[h.person] = true
		}
	}
	return slices.Sorted(maps.Keys(people))
}

func (a *alarms) count() (raised, called, twice int) {
	for _, n := range a.handovers {
		called++
		if n > 1 {
			twice++
		}
	}
	return len(a.raised), called, twice
}

// pending counts what is still due at the living sites: the calling is not over before that is nothing.
func (w *World) pending(ctx context.Context) (due int, err error) {
	for _, n := range w.honest() {
		ongoing, err := n.people.desk.Ongoing(ctx, start.Add(-2*farthest))
		if err != nil {
			return 0, err
		}
		for _, o := range ongoing {
			if !n.fed.Allowed(n.site, o.Authority) {
				continue
			}
			if a, err := n.people.alarm.Alarm(ctx, o.Authority, o.ID); err != nil || a.Held != alarm.NotHeld {
				continue
			}
			people, err := n.people.desk.Due(ctx, o.Authority, o.ID, o.Wave, "", 500)
			if err != nil {
				return 0, err
			}
			for _, p := range people {
				if w.reachable(ctx, o.Authority, p.Person) {
					due++
				}
			}
		}
	}
	return due, nil
}

// reachable reports whether some living site can read the person and an address. Keys may be lost with the only site that
// had them.
func (w *World) reachable(ctx context.Context, id event.AuthorityID, person directory.PersonID) bool {
	for _, n := range w.honest() {
		if !w.Allowed(n.site, id) {
			continue
		}
		p, err := n.people.directory.Contact(ctx, id, person)
		if err == nil && p.Readable == directory.Readable && len(p.Reachability) > 0 {
			return true
		}
	}
	return false
}

// checkDomains: everybody who has a channel was called, or the alarm was over before; whoever has a receipt of the call
// was told that it is over.
func (w *World) checkDomains(ctx context.Context) error {
	for _, a := range w.authorities {
		holders := w.holders(a)
		if len(holders) == 0 {
			continue
		}
		for _, n := range holders {
			list, err := n.people.alarm.List(ctx, a.id, start.AddDate(20, 0, 0), 500)
			if err != nil {
				return err
			}
			for _, al := range list {
				w.checkAlarm(ctx, n, &raised{a.id, al.ID}, al)
			}
		}
	}
	return nil
}

// checkAlarm: whoever is owed a message and has had none is shown as held, whatever clocks show.
func (w *World) checkAlarm(ctx context.Context, n *node, r *raised, al alarm.Alarm) {
	if al.Held != alarm.NotHeld {
		w.held++
		return
	}
	wave := alarm.Call
	if al.Ending != alarm.StillOpen {
		wave = alarm.Closing
	}
	called := w.alarms.called(r, wave)
	for person, owed := range w.owed(ctx, n, r, wave) {
		if owed && !slices.Contains(called, person) && w.reachable(ctx, r.authority, person) {
			w.violate("alarm %s of %s: person %s was left out of wave %d, and %v does not show it as held", r.id, r.authority, person, wave, n)
		}
	}
}

// orderSome lets somebody order the calling of a held alarm.
func (w *World) orderSome(ctx context.Context) error {
	n, id := w.someHeld()
	if n == nil {
		return nil
	}
	r := w.someAlarm(id)
	if r == nil {
		return nil
	}
	_, err := n.people.alarm.OrderCalling(ctx, id, r.id, "operator", "")
	w.logf("somebody orders the calling of alarm %s at %v: %s", r.id, n, outcome(err))
	return refusal(err)
}

// owed returns who must have had a message of the wave: of the call everybody named with a channel, of the closing
// everybody with a receipt of the call.
func (w *World) owed(ctx context.Context, n *node, r *raised, wave alarm.Wave) map[directory.PersonID]bool {
	out := make(map[directory.PersonID]bool)
	var given []directory.PersonID // up by a site that may say so, which the board shows
	prefix := "alarm/" + string(r.id) + "/"
	for _, e := range w.countedAt(ctx, n) {
		if e.authority != r.authority || !strings.HasPrefix(string(e.event.Subject), prefix) {
			continue
		}
		switch {
		case e.event.Kind == alarm.KindRefused && w.givesUp(e):
			given = append(given, directory.PersonID(e.event.Subject.Part(3)))
		case wave == alarm.Call && e.event.Kind == alarm.KindRecipientsNamed:
			var named alarm.RecipientsNamed
			if e.event.Decode(&named) == nil {
				for _, p := range named.People {
					out[p.Person] = len(p.Channels) > 0
				}
			}
		case wave == alarm.Closing && e.event.Kind == alarm.KindAccepted:
			var accepted alarm.Accepted
			if e.event.Decode(&accepted) == nil && accepted.Wave == alarm.Call {
				out[directory.PersonID(e.event.Subject.Part(3))] = true
			}
		}
	}
	for _, p := range given {
		delete(out, p)
	}
	return out
}

// givesUp reports whether nobody else need call the person that the refusal is about: the rogue says so, or a site that has heard
// of an erasure. It may turn out later that the erasure does not count, since its site was forbidden meanwhile.
func (w *World) givesUp(refusal located) bool {
	var r alarm.Refused
	return w.rogue != nil && refusal.place.Site == w.rogue.site || refusal.event.Decode(&r) == nil && r.Final && r.Reason == "person.erased"
}

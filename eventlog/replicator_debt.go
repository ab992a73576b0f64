// SPDX-License-Identifier: EUPL-1.2

package eventlog

import "time"

// # Who may make us wait
//
// A silence is whatever a peer makes one. A member that answers nothing and says a word every few seconds would open one
// catch-up after the other, and nobody would be called; so would one that names pages which it does not give, or that answers
// late each time. So what a peer's words make us wait is owed and paid back by time: a peer may owe mayOwe and gets on to hold us
// up for a quarter of the time, all together for half of it. Who was waited for in vain owes twice as much the next time, and
// again, up to eight times, until a wait for it ends well: so who never answers gets on for a thirtieth of the time.
//
// An honest peer does not get there. On a line that comes and goes every 5 s an answer and its pages take a second of ten, and
// with a third of all messages lost still less than a quarter. An exchange that fails is tried again within the same wait, three
// waits in a row that are in vain are below what may be owed, and a cut costs one wait, however long it was. A page that is
// damaged at the peer is not waited for once it has said so. What is beyond: a
// peer whose waits take more than a quarter of the time for minutes is not always waited for, and people may get a message
// twice. We rather have that than a member that can keep all sites from calling; and a member alone cannot use up what the
// others have.
const (
	mayOwe     = 2 * catchUpWithin
	paybackOne = 4 // a peer's second is paid back in so many
	paybackAll = 2
	mostVain   = 3
	// lookLately is for how long whoever has asked counts as waiting: who asks less often does not wait for an answer.
	lookLately = time.Second
)

// debt is time that somebody has made us wait and that is not paid back yet.
type debt struct {
	owed time.Duration
	at   time.Time
}

// owes returns what is left of the debt, of which a second is paid back in so many.
func (d debt) owes(now time.Time, payback time.Duration) time.Duration {
	return max(0, d.owed-max(0, now.Sub(d.at))/payback)
}

func (d *debt) add(now time.Time, more, payback time.Duration) {
	d.owed, d.at = d.owes(now, payback)+more, now
}

// holdsUp reports whether the peer has made us wait too much to do it again. The caller holds r.mu.
func (s *peerState) holdsUp(now time.Time) bool {
	return now.Before(s.rested) || s.debt.owes(now, paybackOne) >= mayOwe
}

// noteWaiting counts the time since it was last counted as waited, as far as somebody asks. The caller holds r.mu.
func (r *Replicator) noteWaiting(now time.Time) {
	last, until := r.pulse.counted, r.pulse.asked.Add(lookLately)
	if until.After(now) {
		until = now
	}
	r.pulse.counted = now
	var all time.Duration
	for _, s := range r.peers {
		if c := s.catch; c != nil {
			all = max(all, c.noteWaiting(last, until))
		}
	}
	r.waited.add(now, all, paybackAll)
}

// noteWaiting counts the time as waited for the peer, and returns how much of it is the peer's doing.
func (c *catchUp) noteWaiting(from, until time.Time) (owed time.Duration) {
	if c.began.After(from) {
		from = c.began
	}
	waited := max(0, until.Sub(from))
	c.held += waited
	if !c.charged {
		return 0
	}
	c.owed += waited
	return waited
}

// charge makes the peer owe what its catch-up has held us up, now that it has ended. One of a start or a pause of ours is not its
// doing, and what nobody has waited for was not in vain.
func (s *peerState) charge(c *catchUp, now time.Time) {
	s.debt.add(now, c.owed<<s.vain, paybackOne)
	switch inVain := !c.answered || c.missing > 0 && now.Sub(c.came) >= stallWithin; {
	case !inVain:
		s.vain = 0
	case c.owed > 0:
		s.vain = min(s.vain+1, mostVain)
	}
}

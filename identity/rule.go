// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

func codeName(set, code string) string { return whatCode + "/" + set + "/" + code }

// void is what must not be trusted any more in one account.
type void struct {
	sessions map[string]bool
	passkeys map[string]bool
}

// session reports whether the session is void. The id of a session by passkey begins with the passkey's, so it is known
// without a fact for each sign-in.
func (v void) session(id string) bool {
	return v.sessions[id] || len(id) == 32 && v.passkeys[id[:16]]
}

// void finds what rests on something that was used twice: the sessions that came of it, the passkeys and codes enrolled
// in those, and what came of these in turn.
func (s *state) void() void {
	v := void{sessions: make(map[string]bool), passkeys: make(map[string]bool)}
	for _, uses := range s.twice() {
		for _, u := range uses {
			v.sessions[u.Session] = true
		}
	}
	if len(v.sessions) == 0 {
		return v
	}
	for again := true; again; {
		again = s.spread(v)
	}
	return v
}

// spread takes one step from what is void to what came of it, and reports whether it found something new.
func (s *state) spread(v void) (found bool) {
	for _, p := range s.Passkeys {
		if !v.passkeys[p.ID] && v.session(p.Session) {
			v.passkeys[p.ID], found = true, true
		}
	}
	for _, set := range s.Sets {
		if !v.session(set.Session) {
			continue
		}
		for _, u := range s.Uses {
			if strings.HasPrefix(u.What, codeName(set.Set, "")) && !v.sessions[u.Session] {
				v.sessions[u.Session], found = true, true
			}
		}
	}
	return found
}

// twice returns the uses of everything that was used in two sessions or more.
func (s *state) twice() map[string][]use {
	all := make(map[string][]use)
	for _, u := range s.Uses {
		all[u.What] = append(all[u.What], u)
	}
	for what, uses := range all {
		if len(uses) < 2 {
			delete(all, what)
		}
	}
	return all
}

// isUsed reports whether something that is good once has been used.
func (s *state) isUsed(what string) bool {
	return slices.ContainsFunc(s.Uses, func(u use) bool { return u.What == what })
}

// live returns the passkeys that were not removed. Void ones are among them, to be shown.
func (s *state) live(v void) (list []passkey) {
	for _, p := range s.Passkeys {
		gone := slices.ContainsFunc(s.Removed, func(r removal) bool { return r.ID == p.ID && !v.session(r.Session) })
		if !gone {
			list = append(list, p)
		}
	}
	return list
}

// good returns the passkeys that are accepted.
func (s *state) good(v void) []passkey {
	return slices.DeleteFunc(s.live(v), func(p passkey) bool { return v.passkeys[p.ID] })
}

// find returns the accepted passkey of the id under the host.
func (s *state) find(id, host string) (passkey, bool) {
	for _, p := range s.good(s.void()) {
		if p.ID == id && p.Host == host {
			return p, true
		}
	}
	return passkey{}, false
}

// sheet returns the set of codes that counts: the youngest that was not issued in a void session. nil if there is none.
func (s *state) sheet(v void) *codeSet {
	for i := len(s.Sets) - 1; i >= 0; i-- {
		if !v.session(s.Sets[i].Session) {
			return &s.Sets[i]
		}
	}
	return nil
}

// codesLeft counts the codes that are still good.
func (s *state) codesLeft(v void) (n int) {
	set := s.sheet(v)
	if set == nil {
		return 0
	}
	for _, c := range set.Codes {
		if !s.isUsed(codeName(set.Set, c.ID)) {
			n++
		}
	}
	return n
}

// codeGood reports whether the code of the set may be used.
func (s *state) codeGood(set, code string) bool {
	sheet := s.sheet(s.void())
	return sheet != nil && sheet.Set == set && !s.isUsed(codeName(set, code))
}

// app returns the one-time password app that codes need, nil if they need none.
func (s *state) app() *totpState {
	v := s.void()
	for i := len(s.Apps) - 1; i >= 0; i-- {
		if a := &s.Apps[i]; !a.Removed && !v.session(a.Session) {
			return a
		}
	}
	return nil
}

// latest returns the youngest secret of the kind, nil if there is none. Earlier ones are replaced by it.
func (s *state) latest(what string) *secret {
	for i := len(s.Secrets) - 1; i >= 0; i-- {
		if s.Secrets[i].What == what {
			return &s.Secrets[i]
		}
	}
	return nil
}

// open returns the secret of the id if it may be used now, else nil.
func (s *state) open(what, id string, now time.Time) *secret {
	x := s.latest(what)
	if x == nil || x.ID != id || s.isUsed(what+"/"+id) || now.Unix() >= x.Expires {
		return nil
	}
	return x
}

// vouchers returns who has vouched under the spoken characters, each once, in order, if it was within the ticket's time.
// Clocks of sites may differ by the drift that logs allow.
func (s *state) vouchers(spoken string, expires time.Time) (list []vouched) {
	from := expires.Add(-VouchingLife - event.MaxDrift).UnixMilli()
	until := expires.Add(event.MaxDrift).UnixMilli()
	for _, x := range s.Vouched {
		known := slices.ContainsFunc(list, func(y vouched) bool { return y.By == x.By })
		if x.Spoken == spoken && x.Wall >= from && x.Wall <= until && !known {
			list = append(list, x)
		}
	}
	return list
}

// hasVouched reports whether the same was said in the same session not long ago.
func (s *state) hasVouched(f Vouched, now time.Time) bool {
	return slices.ContainsFunc(s.Vouched, func(x vouched) bool {
		return x.Vouched == f && now.Sub(time.UnixMilli(x.Wall)).Abs() < VouchingLife
	})
}

// hosts returns the names under which there is an accepted passkey, in order.
func hosts(list []passkey) []string {
	var names []string
	for _, p := range list {
		names = append(names, p.Host)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// missing says what an account lacks for the worst day, see the package comment.
func missing(good []passkey, codes int, names []string) (list []string) {
	perName := make(map[string]int)
	for _, p := range good {
		perName[p.Host]++
	}
	second := false
	for _, n := range names {
		if perName[n] == 0 {
			list = append(list, "passkey:"+n)
		}
		second = second || perName[n] >= 2
	}
	if !second {
		list = append(list, "second passkey")
	}
	if codes < FewCodes {
		list = append(list, "codes")
	}
	return list
}

// summary is what is told of an account in lists.
type summary struct {
	passkeys int
	hosts    []string
	codes    int
	// invited and expires are those of the youngest invitation; expires is 0 if it was used. Seconds since 1970.
	invited, expires int64
	// signedIn and since are in milliseconds since 1970.
	signedIn, since int64
}

func (s *state) summary() summary {
	v := s.void()
	good := s.good(v)
	sum := summary{passkeys: len(good), hosts: hosts(good), codes: s.codesLeft(v), signedIn: s.SignedIn, since: s.Since}
	if x := s.latest(whatInvitation); x != nil {
		sum.invited = x.Wall / 1000
		if !s.isUsed(whatInvitation + "/" + x.ID) {
			sum.expires = x.Expires
		}
	}
	return sum
}

// state sorts an account at an instant, see the package comment.
func (x summary) state(now time.Time) State {
	enrolled := x.passkeys > 0 || x.codes > 0
	switch {
	case enrolled && now.Sub(time.UnixMilli(max(x.signedIn, x.since))) > DormantAfter:
		return StateDormant
	case enrolled:
		return StateEnrolled
	case x.expires > now.Unix():
		return StateInvited
	}
	return StateNone
}

// vouchedPrefix begins the id of a notice that somebody came in by vouching.
const vouchedPrefix = "vouched/"

// againPrefix begins the id of a warning that somebody enrolled was invited again.
const againPrefix = "invited/"

// warnings lists what somebody should know, the youngest first.
func (s *state) warnings(person directory.PersonID) (list []Warning) {
	for what, uses := range s.twice() {
		kind, _, _ := strings.Cut(what, "/")
		w := Warning{ID: what, Person: person, What: kind + "_twice"}
		for _, u := range uses {
			w.Sites, w.Sessions = append(w.Sites, u.Site), append(w.Sessions, u.Session)
			w.At = later(w.At, u.Wall)
		}
		list = append(list, w)
	}
	for _, f := range s.Fell {
		list = append(list, Warning{ID: "counter/" + f.Passkey + "/" + f.Session, Person: person, What: "counter",
			Sites: []event.SiteID{f.Site}, Sessions: []string{f.Session}, At: time.UnixMilli(f.Wall).UTC()})
	}
	for _, x := range s.Secrets {
		if x.Again != "" {
			list = append(list, Warning{ID: againPrefix + x.ID, Person: person, What: InvitedAgain, Sites: []event.SiteID{x.Again},
				At: time.UnixMilli(x.Wall).UTC()})
		}
	}
	for _, u := range s.Uses {
		id := strings.TrimPrefix(u.What, whatVouching+"/")
		if id != u.What && !slices.ContainsFunc(list, func(w Warning) bool { return w.ID == u.What }) {
			list = append(list, Warning{ID: vouchedPrefix + id, Person: person, What: CameByVouching, Sites: []event.SiteID{u.Site},
				Sessions: []string{u.Session}, At: time.UnixMilli(u.Wall).UTC()})
		}
	}
	for i := range list {
		list[i].ToldPerson = slices.Contains(s.Told, list[i].ID)
	}
	slices.SortFunc(list, func(a, b Warning) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.ID, b.ID)) })
	return list
}

func later(t time.Time, wall int64) time.Time {
	if u := time.UnixMilli(wall).UTC(); u.After(t) {
		return u
	}
	return t
}

// fellToday reports whether it was told within a day that the passkey's counter fell: once is enough.
func (s *state) fellToday(id string, now time.Time) bool {
	return slices.ContainsFunc(s.Fell, func(f fell) bool {
		return f.Passkey == id && now.Sub(time.UnixMilli(f.Wall)) < 24*time.Hour
	})
}

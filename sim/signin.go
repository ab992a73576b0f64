// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" // RFC 6238: what the apps on people's phones compute
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity"
)

// someHeld returns a node that is up and an authority that it may hold; nil if there is none.
func (w *World) someHeld() (*node, event.AuthorityID) {
	n := w.someone()
	if n == nil {
		return nil, ""
	}
	list := n.mayHold()
	if len(list) == 0 {
		return nil, ""
	}
	return n, list[w.rnd.IntN(len(list))]
}

// others returns the nodes besides n that are up and may hold the authority's logs, as far as they know.
func (w *World) others(n *node, id event.AuthorityID) []*node {
	return slices.DeleteFunc(w.living(), func(o *node) bool { return o == n || !slices.Contains(o.mayHold(), id) })
}

func pick[T any](w *World, list []T) (one T, ok bool) {
	if len(list) == 0 {
		return one, false
	}
	return list[w.rnd.IntN(len(list))], true
}

func (w *World) addSecret(s *secret) *secret {
	s.no = len(w.people.secrets) + 1
	w.people.secrets = append(w.people.secrets, s)
	return s
}

// newSecret makes a link or an invitation at a site's console, nil if that cannot be done now.
func (w *World) newSecret(ctx context.Context, n *node, id event.AuthorityID, kind way) (*secret, error) {
	persons, err := w.persons(ctx, n, id)
	person, ok := pick(w, persons)
	if err != nil || !ok {
		return nil, refusal(err)
	}
	text := ""
	if kind == byLink {
		text, _, err = n.people.accounts.Link(ctx, console, id, person, identity.MaxLinkLife)
	} else {
		var list []identity.Invitation
		list, _, err = n.people.accounts.Invite(ctx, console, id, []directory.PersonID{person}, 0)
		if err == nil {
			text = list[0].Secret
		}
	}
	w.logf("%v makes a %s for a person of %s: %s", n, kind, id, outcome(err))
	if err != nil {
		return nil, refusal(err)
	}
	return w.addSecret(&secret{way: kind, authority: id, person: person, text: text}), nil
}

func (w *World) secretSome(ctx context.Context) error {
	n, id := w.someHeld()
	if n == nil {
		return nil
	}
	_, err := w.newSecret(ctx, n, id, []way{byLink, byLink, byInvitation}[w.rnd.IntN(3)])
	return err
}

// useSome tries a secret somewhere, used or not.
func (w *World) useSome(ctx context.Context) error {
	n := w.someone()
	s, ok := pick(w, w.people.secrets[max(0, len(w.people.secrets)-25):]) // of the last ones: a sheet has ten codes
	if n == nil || !ok {
		return nil
	}
	return w.use(ctx, n, s)
}

// useTwice lets a link or an invitation be used on both sides of a cut.
func (w *World) useTwice(ctx context.Context) error {
	a, id := w.someHeld()
	if a == nil {
		return nil
	}
	b, ok := pick(w, w.others(a, id))
	if !ok {
		return nil
	}
	var s *secret
	var err error
	for _, old := range w.people.secrets {
		if old.authority == id && len(old.accepted) == 0 && w.rnd.IntN(3) == 0 {
			s = old
		}
	}
	if s == nil {
		if s, err = w.newSecret(ctx, a, id, []way{byLink, byInvitation}[w.rnd.IntN(2)]); s == nil {
			return err
		}
	}
	return w.useBoth(ctx, a, b, s)
}

// useBoth lets b hear what a has, cuts them, and uses the secret at both.
func (w *World) useBoth(ctx context.Context, a, b *node, s *secret) error {
	if err := w.tell(ctx, b, a); err != nil {
		return err
	}
	w.net.Cut(a.site, b.site)
	w.logf("%v and %v are cut, and both get secret %d", a, b, s.no)
	return errors.Join(w.use(ctx, a, s), w.use(ctx, b, s))
}

// tell lets a node hear at once what another has, if they see each other.
func (w *World) tell(ctx context.Context, to, from *node) error {
	if to == from {
		return nil
	}
	w.step(ctx, to, from)
	if _, err := to.syncer.Step(ctx, from.site); err != nil && unexpected(err) != nil && !from.isRogue() {
		return err
	}
	_, err := to.fold(ctx)
	return err
}

// use tries a secret at a node. No site may take one twice.
func (w *World) use(ctx context.Context, n *node, s *secret) error {
	if err := n.settle(ctx); err != nil {
		return err
	}
	p, err := w.enter(ctx, n, s)
	w.logf("%v is given secret %d, a %s: %s", n, s.no, s.way, outcome(err))
	if err != nil {
		if s.authority != "" {
			n.people.audit.Gather(s.authority, audit.Entry{Deed: "signin", Way: string(s.way), From: "192.0.2.7", Outcome: audit.Refused})
		}
		return refusal(err)
	}
	for _, before := range s.accepted {
		if before == (acceptance{n, n.disks}) && !w.everForbidden(n, s.authority) {
			w.violate("%v took secret %d twice", n, s.no)
		}
	}
	if s.accepted = append(s.accepted, acceptance{n, n.disks}); len(s.accepted) == 2 {
		w.people.twice++
	}
	if s.way == byVouching {
		w.checkVouchers(ctx, n, s, p)
	}
	return w.begin(ctx, n, p, s)
}

func (w *World) enter(ctx context.Context, n *node, s *secret) (p access.Principal, err error) {
	switch s.way {
	case byLink:
		return n.people.accounts.UseLink(ctx, s.text)
	case byInvitation:
		return n.people.accounts.UseInvitation(ctx, s.text)
	case byVouching:
		return n.people.accounts.TakeVouching(ctx, s.text)
	}
	if !w.mayHash(1) {
		return p, identity.ErrBusy
	}
	if s.way == byGuestCode {
		return n.people.guests.Enter(ctx, s.text)
	}
	digits := ""
	if app := w.people.apps[owner{s.authority, s.person}]; app != "" {
		digits = digitsOf(app, n.clock())
	}
	return n.people.accounts.SignInWithCode(ctx, s.text, digits)
}

// mayHash takes some argon2 from what this world may compute.
func (w *World) mayHash(count int) bool {
	if w.people.hashing < count {
		return false
	}
	w.people.hashing -= count
	return true
}

func (w *World) everForbidden(n *node, id event.AuthorityID) bool {
	for _, a := range w.authorities {
		if a.id == id && a.forbidden[n.site] {
			return true
		}
	}
	return false
}

// begin makes a session of somebody who has come in.
func (w *World) begin(ctx context.Context, n *node, p access.Principal, by *secret) error {
	h := w.heard(ctx, n, p.Authority)
	text, _, err := n.people.sessions.Issue(ctx, p)
	if err != nil {
		w.logf("no session begins: %v", err)
		return refusal(err)
	}
	// Issue has completed the principal; the token tells how.
	p, _, err = n.people.sessions.Verify(ctx, text)
	if err != nil {
		w.logf("the session is over at once: %v", err)
		return refusal(err)
	}
	s := &sess{no: len(w.people.sessions) + 1, principal: p, secret: by, began: n, tokens: []token{{text, n}}, knew: h.allEnded[p.ID], unsure: h.partial || n.rotten}
	w.people.sessions = append(w.people.sessions, s)
	w.logf("session %d of %s begins at %v by %s", s.no, p.Authority, n, p.Way)
	return nil
}

// present shows a token of a session at a node that has folded what it has, and checks the answer with what was heard.
func (w *World) present(ctx context.Context, n *node, s *sess, t token, h *heard, void map[string]bool) (access.Principal, error) {
	p, _, err := n.people.sessions.Verify(ctx, t.text)
	w.people.verified++
	if err != nil {
		w.people.refused++
		return p, err
	}
	id := s.authority()
	for _, site := range []*node{n, s.began, t.issuer} {
		if !w.Allowed(site.site, id) || !n.fed.Allowed(site.site, id) {
			w.violate("%v accepts session %d of %s, with %v, which may not hold it", n, s.no, id, site)
		}
	}
	if why := h.end(s, void); why != "" {
		w.violate("%v accepts session %d of %s, %s", n, s.no, id, why)
	}
	return p, nil
}

// accepted returns a session that a node accepts now, and who it is; nil if it finds none.
func (w *World) accepted(ctx context.Context, n *node, id event.AuthorityID, fits func(access.Principal) bool) (*sess, access.Principal) {
	h := w.heard(ctx, n, id)
	void := h.void()
	theirs := slices.DeleteFunc(slices.Clone(w.people.sessions), func(s *sess) bool { return s.authority() != id || !fits(s.principal) })
	for range min(4, len(theirs)) {
		s, _ := pick(w, theirs)
		t, _ := pick(w, s.tokens)
		if p, err := w.present(ctx, n, s, t, h, void); err == nil {
			return s, p
		}
	}
	return nil, access.Principal{}
}

func isFull(p access.Principal) bool { return p.Kind == access.Person && !p.Limited }

// presentSome shows some tokens, of this site and of others, and renews one now and then.
func (w *World) presentSome(ctx context.Context) error {
	n := w.someone()
	if n == nil {
		return nil
	}
	s, ok := pick(w, w.people.sessions)
	if !ok {
		return nil
	}
	if err := n.settle(ctx); err != nil {
		return err
	}
	h := w.heard(ctx, n, s.authority())
	void := h.void()
	for _, s := range w.people.sessions {
		for _, t := range s.tokens {
			if s.authority() != h.authority || w.rnd.IntN(2) == 0 {
				continue
			}
			p, err := w.present(ctx, n, s, t, h, void)
			if err != nil || len(s.tokens) > 3 || w.rnd.IntN(6) > 0 {
				continue
			}
			text, _, err := n.people.sessions.Renew(ctx, p)
			w.logf("%v renews session %d: %s", n, s.no, outcome(err))
			if err == nil {
				s.tokens = append(s.tokens, token{text, n})
			}
		}
	}
	return nil
}

// settle brings the read model up to what is on the disk, and to which logs are closed.
func (n *node) settle(ctx context.Context) error {
	for range 2 {
		if _, err := n.fold(ctx); err != nil {
			return err
		}
	}
	return nil
}

// signOutSome ends one session, or all of somebody.
func (w *World) signOutSome(ctx context.Context) error {
	n := w.someone()
	s, ok := pick(w, w.people.sessions)
	if n == nil || !ok || !slices.Contains(n.mayHold(), s.authority()) {
		return nil
	}
	if err := n.settle(ctx); err != nil {
		return err
	}
	p := s.principal
	var err error
	if w.rnd.IntN(3) == 0 {
		_, err = n.people.sessions.End(ctx, p)
		w.logf("session %d ends at %v: %s", s.no, n, outcome(err))
	} else {
		_, err = n.people.sessions.EndAll(ctx, p, p.Authority, p.Kind, p.ID)
		w.logf("who has session %d signs out everywhere at %v: %s", s.no, n, outcome(err))
	}
	if err != nil {
		return refusal(err)
	}
	h := w.heard(ctx, n, s.authority())
	void := h.void()
	for _, o := range w.people.sessions {
		if o.authority() == p.Authority && o.principal.ID == p.ID {
			_, _ = w.present(ctx, n, o, o.tokens[0], h, void)
		}
	}
	return nil
}

// printCodes gives somebody who is signed in a sheet of recovery codes, or an app that shows digits.
func (w *World) printCodes(ctx context.Context) error {
	n, id := w.someHeld()
	if n == nil {
		return nil
	}
	if err := n.settle(ctx); err != nil {
		return err
	}
	_, p := w.accepted(ctx, n, id, func(p access.Principal) bool { return p.Kind == access.Person })
	if p.IsZero() {
		return nil
	}
	person := directory.PersonID(p.ID)
	if w.people.hashing < identity.CodesPerSheet+4 {
		return w.setApp(ctx, n, p)
	}
	w.mayHash(identity.CodesPerSheet)
	codes, _, err := n.people.accounts.IssueCodes(ctx, p)
	w.logf("%v prints codes for somebody of %s: %s", n, id, outcome(err))
	for _, c := range codes {
		w.addSecret(&secret{way: byCode, authority: id, person: person, text: c})
	}
	return refusal(err)
}

func (w *World) setApp(ctx context.Context, n *node, p access.Principal) error {
	plain, _, err := n.people.accounts.BeginTOTP(ctx, p)
	if err != nil {
		return refusal(err)
	}
	_, err = n.people.accounts.ConfirmTOTP(ctx, p, plain, digitsOf(plain, n.clock()))
	w.logf("somebody of %s sets up an app at %v: %s", p.Authority, n, outcome(err))
	if err == nil {
		w.people.apps[owner{p.Authority, directory.PersonID(p.ID)}] = plain
	}
	return refusal(err)
}

// digitsOf is what an app shows (RFC 6238).
func digitsOf(secret string, now time.Time) string {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		return ""
	}
	mac := hmac.New(sha1.New, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(now.Unix()/30)))
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1_000_000)
}

// vouchSome lets two colleagues vouch for somebody, each where they are, and that person come in.
func (w *World) vouchSome(ctx context.Context) error {
	n, id := w.someHeld()
	if n == nil {
		return nil
	}
	persons, err := w.persons(ctx, n, id)
	person, ok := pick(w, persons)
	if err != nil || !ok {
		return refusal(err)
	}
	ticket, spoken, err := n.people.accounts.AskVouching(ctx)
	if err != nil {
		return err
	}
	s := w.addSecret(&secret{way: byVouching, text: ticket, authority: id, vouchers: make(map[string]string)})
	where := append(w.others(n, id), n)
	for range 2 + w.rnd.IntN(3) {
		at, _ := pick(w, where)
		if err := w.vouch(ctx, at, s, spoken, person); err != nil {
			return err
		}
		if err := w.tell(ctx, n, at); err != nil {
			return err
		}
	}
	if b, ok := pick(w, w.others(n, id)); ok && w.rnd.IntN(2) == 0 {
		return w.useBoth(ctx, n, b, s)
	}
	return w.use(ctx, n, s)
}

func (w *World) vouch(ctx context.Context, at *node, s *secret, spoken string, person directory.PersonID) error {
	if err := at.settle(ctx); err != nil {
		return err
	}
	by, p := w.accepted(ctx, at, s.authority, isFull)
	if by == nil {
		return nil
	}
	_, err := at.people.accounts.Vouch(ctx, p, spoken, person)
	w.logf("who has session %d vouches at %v under secret %d: %s", by.no, at, s.no, outcome(err))
	if err == nil || fault.KindOf(err) == fault.Unavailable {
		s.vouchers[p.ID] = p.Session // also if the disk could not tell
	}
	return refusal(err)
}

// checkVouchers: two others have vouched, in sessions that are good as far as is known here.
func (w *World) checkVouchers(ctx context.Context, n *node, s *secret, p access.Principal) {
	h := w.heard(ctx, n, s.authority)
	void := h.void()
	good := 0
	for id, session := range s.vouchers {
		if id != p.ID && !void[session] && !h.erased[directory.PersonID(id)] {
			good++
		}
	}
	if good < 2 {
		w.violate("%v lets somebody in for whom %d have vouched", n, good)
	}
}

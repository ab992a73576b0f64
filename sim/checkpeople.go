// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/session"
)

// sorted returns a map's values in the order of its keys.
func sorted[K cmp.Ordered, V any](m map[K]V) []V {
	var out []V
	for _, k := range sortedIDs(m) {
		out = append(out, m[k])
	}
	return out
}

func sortedIDs[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// finishErasing tries again to erase those of whom somebody wanted that: a full disk may have refused the fact, and then
// whoever had asked for it was told to try again.
func (w *World) finishErasing(ctx context.Context) error {
	for _, o := range slices.Clone(w.people.erasing) {
		for _, n := range w.living() {
			if !slices.Contains(n.mayHold(), o.authority) || n.settle(ctx) != nil {
				continue
			}
			if err := w.erase(ctx, n, console, o.authority, o.person); refusal(err) != nil {
				return err
			} else if err == nil {
				break
			}
		}
	}
	return nil
}

// signInFresh lets somebody of each authority sign in before everything settles: in the end that must hold everywhere. Without
// it, sites that refuse everybody would keep every promise.
func (w *World) signInFresh(ctx context.Context) error {
	for _, a := range w.authorities {
		for _, n := range w.living() {
			if err := n.settle(ctx); err != nil {
				return err
			}
			if !w.Allowed(n.site, a.id) || !slices.Contains(n.mayHold(), a.id) || w.rnd.IntN(3) == 0 {
				continue
			}
			s, err := w.newSecret(ctx, n, a.id, byLink)
			if err != nil {
				return err
			}
			if s != nil {
				if err := w.use(ctx, n, s); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkPeople: what was heard of people is heeded, everywhere and by all sites alike.
func (w *World) checkPeople(ctx context.Context) error {
	for _, a := range w.authorities {
		for _, n := range w.honest() {
			h := w.heard(ctx, n, a.id)
			w.checkSessions(ctx, n, h)
			if !w.Allowed(n.site, a.id) {
				continue
			}
			if err := w.checkRights(ctx, n, h); err != nil {
				return err
			}
			err := errors.Join(w.checkApprovals(ctx, n, h), w.checkAccounts(ctx, n, h), w.checkLines(ctx, n, a.id, h), w.checkExport(ctx, n, h))
			if err != nil {
				return err
			}
		}
	}
	for _, n := range w.honest() {
		if err := w.checkLines(ctx, n, event.Federation, w.heard(ctx, n, event.Federation)); err != nil {
			return err
		}
	}
	return nil
}

// checkSessions: a session is accepted at every site that may hold the authority's data unless there is a reason, and nowhere if
// there is one.
func (w *World) checkSessions(ctx context.Context, n *node, h *heard) {
	void := h.void()
	for _, s := range w.people.sessions {
		if s.authority() != h.authority {
			continue
		}
		for _, t := range s.tokens {
			_, err := w.present(ctx, n, s, t, h, void)
			if err == nil && len(s.secret.accepted) > 1 {
				w.checkTwice(n, s)
			}
			if err != nil && w.mustAccept(n, s, t, h, void, err) {
				w.violate("%v does not accept session %d of %s, which %v began: %v", n, s.no, h.authority, s.began, err)
			}
		}
	}
}

// checkTwice: of a secret that was accepted twice no session is left, unless a disk with one of the uses is lost, or the use was
// written behind the end of a closed log. A use at the rogue does not count here, since it may keep that to itself, and nobody can
// know of what a site leaves out. Where others have heard of it nevertheless, present has told already that the session is accepted.
func (w *World) checkTwice(n *node, s *sess) {
	told := 0
	for _, a := range s.secret.accepted {
		switch {
		case a.node.isRogue():
		case a.node.gone || a.node.disks != a.disk || w.everForbidden(a.node, s.authority()):
			w.goesOn(n, s)
			return
		default:
			told++
		}
	}
	if told < 2 || s.began.isRogue() {
		w.goesOn(n, s)
		return
	}
	w.violate("%v accepts session %d of %s, and secret %d was accepted twice", n, s.no, s.authority(), s.secret.no)
}

// goesOn counts a session that is accepted because another use of its secret cannot be known of.
func (w *World) goesOn(n *node, s *sess) {
	w.people.loose++
	w.logf("session %d goes on at %v; another use of its secret is lost, kept back or set apart", s.no, n)
}

// mustAccept reports whether there is no reason to refuse a session. A site may refuse those that know of "signed out
// everywhere" facts that were lost, and those of times that its clock cannot make sense of.
func (w *World) mustAccept(n *node, s *sess, t token, h *heard, void map[string]bool, why error) bool {
	id, p := h.authority, s.principal
	for _, site := range []*node{n, s.began, t.issuer} {
		if !w.Allowed(site.site, id) || site.isRogue() && !n.fed.Member(site.site) { // an authority may still name who was removed
			return false
		}
	}
	switch {
	case errors.Is(why, session.ErrClock), errors.Is(why, session.ErrExpired), errors.Is(why, identity.ErrVouchedOver):
		return false
	case s.unsure || !maps.Equal(s.knew, h.allEnded[p.ID]) || h.end(s, void) != "":
		return false
	case p.Kind == access.Person:
		who := owner{id, directory.PersonID(p.ID)}
		return h.known[who.person] && !slices.Contains(w.people.erasing, who)
	}
	uses := h.uses["guest/"+p.ID+" "+p.Session[:16]]
	return len(uses) == 1 && uses[p.Session] // who has not entered as far as is known is a second one
}

// checkApprovals: nobody has approved what they had asked for, and every site names all who approved.
func (w *World) checkApprovals(ctx context.Context, n *node, h *heard) error {
	for _, id := range sortedIDs(h.approvals) {
		a := h.approvals[id]
		if slices.Contains(a.approvedBy, a.askedBy) {
			w.violate("request %s of %s was approved by %s, who had asked for it", id, h.authority, a.askedBy)
		}
		if a.askedBy == "" || len(a.approvedBy) == 0 {
			continue
		}
		got, err := n.people.access.Approval(ctx, h.authority, id)
		if err != nil {
			return err
		}
		slices.Sort(a.approvedBy)
		slices.Sort(got.DecidedBy)
		if got.State != access.WasApproved || !slices.Equal(got.DecidedBy, a.approvedBy) {
			w.violate("%v: request %s of %s is %s by %v, want approved by %v", n, id, h.authority, got.State, got.DecidedBy, a.approvedBy)
		}
	}
	return nil
}

// checkAccounts: what was used twice is shown, and nothing of an erased person's account can be read.
func (w *World) checkAccounts(ctx context.Context, n *node, h *heard) error {
	warnings, err := n.people.accounts.Warnings(ctx, h.authority)
	if err != nil {
		return err
	}
	shown := make(map[string]bool)
	for _, x := range warnings {
		shown["account/"+string(x.Person)+" "+x.ID] = true
	}
	for _, what := range sortedIDs(h.uses) {
		if strings.HasPrefix(what, "account/") && len(h.uses[what]) > 1 && !shown[what] {
			w.violate("%v shows no warning of %s of %s, which was used twice", n, what, h.authority)
		}
	}
	// Where a site was forbidden, an erasure may wait at a site for facts behind the end of a closed log. It is shown as a demand;
	// whether it ought to be met is not looked at here.
	demands, err := n.ring.Demands(ctx, h.authority)
	if err != nil || len(demands) > 0 && w.anyForbidden(h.authority) {
		return err
	}
	for _, person := range sortedIDs(h.erased) {
		for _, k := range sortedIDs(h.keys[person]) {
			if _, err := n.ring.Key(ctx, h.authority, k); err == nil {
				w.violate("%v can read the credentials of person %s of %s, who is erased", n, person, h.authority)
			}
		}
	}
	return nil
}

func (w *World) anyForbidden(id event.AuthorityID) bool {
	return slices.ContainsFunc(w.authorities, func(a *authority) bool { return a.id == id && len(a.forbidden) > 0 })
}

// checkLines: every acknowledged line of the audit is there as it was written; an address may be unreadable, never another.
func (w *World) checkLines(ctx context.Context, n *node, id event.AuthorityID, h *heard) error {
	found := make(map[string]audit.Line)
	for after := ""; ; {
		page, err := n.people.audit.Entries(ctx, id, audit.Query{Limit: audit.MaxLimit, After: after})
		if err != nil {
			return err
		}
		for _, l := range page {
			_, event, _ := strings.Cut(l.ID, ".")
			found[event], after = l, l.ID
		}
		if len(page) < audit.MaxLimit {
			break
		}
	}
	for _, l := range w.people.lines {
		if l.authority != id || l.fact.fate != mustBe || !h.lines[l.id] { // that it is on the disk is checked of every fact
			continue
		}
		got, ok := found[string(l.id)]
		switch {
		case !ok:
			w.violate("%v does not show line %s of %s, acknowledged by %v", n, l.id, id, w.node(l.fact.site))
		case got.Deed != l.entry.Deed || got.Actor != l.entry.Actor || got.Object != l.entry.Object || got.Site != l.fact.site:
			w.violate("%v shows line %s of %s as another one: %+v", n, l.id, id, got)
		case got.Readable == audit.Readable && l.entry.From != got.From:
			w.violate("%v shows %q as the address of line %s of %s", n, got.From, l.id, id)
		}
	}
	return nil
}

// checkExport: what a site exports of the audit is sound and has every line.
func (w *World) checkExport(ctx context.Context, n *node, h *heard) error {
	var file bytes.Buffer
	if err := n.people.audit.Export(ctx, h.authority, n.log, &file); err != nil {
		return err
	}
	report, err := audit.Verify(&file)
	if err != nil {
		return err
	}
	for _, p := range report.Problems {
		w.violate("the audit of %s as %v exports it: %v", h.authority, n, p)
	}
	if report.Lines < len(h.lines) {
		w.violate("the audit of %s as %v exports it has %d lines, want at least %d", h.authority, n, report.Lines, len(h.lines))
	}
	return nil
}

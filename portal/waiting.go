// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/web"
)

// waiting says how many requests wait for whoever looks: those of others, for which they have the right themselves. It never
// fails: what cannot be found out is logged and not shown, as in addWho.
func (p *Portal) waiting(r *http.Request, authority event.AuthorityID) *warningView {
	who, _ := web.ActorOf(r.Context())
	may, err := p.cfg.Admin.Rights.Permitted(r.Context(), who.Principal, authority)
	if _, sees := may[access.SeeApprovals]; err != nil || !sees || who.Limited {
		return nil
	}
	list, err := p.cfg.Admin.Rights.Approvals(r.Context(), authority)
	if err != nil {
		p.cfg.Logger.ErrorContext(r.Context(), "waiting requests cannot be shown", "error", err)
		return nil
	}
	var mine []access.Approval
	for _, a := range list {
		if _, ok := may[a.Deed.Permission()]; ok && a.State == access.Pending && a.AskedBy != who.ID {
			mine = append(mine, a)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	t, path := p.texts(r), "/a/"+string(authority)+"/approvals"
	first := slices.MinFunc(mine, func(x, y access.Approval) int { return x.Expires.Compare(y.Expires) })
	if len(mine) == 1 {
		path += "/" + first.ID
	}
	return &warningView{Tone: "warning", Title: t.n("waiting.title", len(mine)), Text: t.t("waiting.text", t.dateTime(first.Expires)),
		Link: linkView{t.t("waiting.go"), path}}
}

// notices says what whoever looks should know before anything of an authority: requests that wait for them, and, to those who may
// raise alarms, that nobody would be called.
func (p *Portal) notices(r *http.Request, a authorityView) (out []warningView) {
	if w := p.waiting(r, a.ID); w != nil {
		out = append(out, *w)
	}
	if w := p.gatewayWarning(p.texts(r), a, channelKinds); w != nil && w.Tone != "info" && p.may(r, a.ID, access.RaiseAlarm) {
		out = append(out, *w)
	}
	return out
}

// maxApprovers bounds the names that are given to whoever waits for somebody.
const maxApprovers = 5

// approvers names people other than the asker whose role lets them approve a deed in the whole authority, maxApprovers at most; more says that there
// are others.
func (p *Portal) approvers(ctx context.Context, o office, names *nameBook, a access.Approval) (text string, more bool, err error) {
	grants, err := p.cfg.Admin.Rights.Grants(ctx, o.ID)
	if err != nil {
		return "", false, err
	}
	functions, err := p.cfg.Directory.Functions(ctx, o.ID)
	if err != nil {
		return "", false, err
	}
	grants = slices.DeleteFunc(slices.Clone(grants), func(g access.Grant) bool {
		return !slices.Contains(access.RolePermissions(g.Role), a.Deed.Permission())
	})
	var out []string
	for _, id := range holders(grants, functions, p.cfg.Now()) {
		if "person/"+string(id) == a.AskedBy {
			continue
		}
		name, err := names.person(ctx, id)
		if err != nil {
			return "", false, err
		}
		if name.Readable == directory.Readable {
			out = append(out, name.Name)
		}
	}
	slices.Sort(out)
	return strings.Join(out[:min(len(out), maxApprovers)], ", "), len(out) > maxApprovers, nil
}

// holders returns whom grants in force for a whole authority reach, each once, in order.
func holders(grants []access.Grant, functions []directory.Function, now time.Time) []directory.PersonID {
	var people []directory.PersonID
	for _, g := range grants {
		if g.Unit != "" || !g.InForce(now) {
			continue
		}
		if g.Person != "" {
			people = append(people, g.Person)
		}
		for _, f := range functions {
			if g.Function == f.ID {
				people = slices.Concat(people, f.Holders, f.Deputies)
			}
		}
	}
	slices.Sort(people)
	return slices.Compact(people)
}

// freshlyEnded is how long a refusal names the role that somebody has lost.
const freshlyEnded = 7 * 24 * time.Hour

// lostRole says which role of whoever is refused has ended lately, "" if none has: who has lost a role otherwise thinks that the
// page is broken. An error page never fails.
func (p *Portal) lostRole(r *http.Request) string {
	a, ok := web.ActorOf(r.Context())
	if !ok || a.Kind != access.Person || a.Limited {
		return ""
	}
	grants, err := p.cfg.Access.Grants(r.Context(), a.Authority)
	if err != nil {
		return ""
	}
	t, now, last, text := p.texts(r), p.cfg.Now(), time.Time{}, ""
	for _, g := range grants {
		at, key := g.WithdrawnAt, "error.withdrawn"
		if !g.Withdrawn {
			at, key = g.Until, "error.ended"
		}
		if string(g.Person) == a.Principal.ID && !at.IsZero() && !at.After(now) && now.Sub(at) < freshlyEnded && at.After(last) {
			last, text = at, t.t(key, t.t("role."+string(g.Role)), t.dateTime(at))
		}
	}
	return text
}

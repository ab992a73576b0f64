// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/deed"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/web"
)

func (p *Portal) approvalRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET /a/{authority}/approvals", Need: access.SeeApprovals, Sealed: true, Handle: p.showApprovals},
		{Pattern: "GET /a/{authority}/approvals/{approval}", Need: access.SeeApprovals, Sealed: true, Handle: p.showApproval},
		{Pattern: "POST /a/{authority}/approvals/{approval}/approve", Need: access.SeeApprovals, Deed: "approval.give", Handle: p.approve},
		{Pattern: "POST /a/{authority}/approvals/{approval}/refuse", Need: access.SeeApprovals, Deed: "approval.refuse", Handle: p.refuseApproval},
	}
}

// maxDecided bounds the decided requests that the list shows.
const maxDecided = 50

type approvalsView struct {
	deskView
	Pending, Decided []approvalRow
}

type approvalRow struct {
	ID, Title, Path string
	Badge           badgeView
	Mode            event.Mode // of an alarm
	Text, TextLang  string     // of an alarm
	Size            int
	AskedBy         actorView
	AskedAt         time.Time
	Site            string
	Expires         time.Time
	Twins           int
}

type approvalView struct {
	deskView
	approvalRow
	Open      bool
	Mine      bool // whoever looks has asked
	MayDecide bool
	Approvers string // what to do now, for whoever has asked
	Facts     []factView
	TextDE    string
	TextEN    string
	Decisions []decisionView
	Result    linkView
	TwinRows  []twinView
	Erases    bool // approving erases a person, so what is not erased is read first
	Broken    bool // this site cannot read what is to be approved
	Go        string
}

// factView is one line of what a request is about.
type factView struct {
	Name  string
	Lines []string
}

type decisionView struct {
	Word, Site string
	By         actorView
	At         time.Time
}

type twinView struct {
	AskedBy     actorView
	AskedAt     time.Time
	Site, State string
	Path        string
}

func approvalBadge(t *texts, s access.ApprovalState) badgeView {
	word := t.t("approval.state." + string(s))
	switch s {
	case access.Pending:
		return badgeView{"warning", "help", word}
	case access.WasApproved:
		return badgeView{"success", "success", word}
	case access.WasRefused:
		return badgeView{"danger", "danger", word}
	}
	return badgeView{"info", "info", word}
}

func (p *Portal) approvalRow(ctx context.Context, o office, names *nameBook, a access.Approval) (approvalRow, error) {
	row := approvalRow{ID: a.ID, Title: wordOr(o.t, "deed."+string(a.Deed), o.t.t("deed.unknown")), Path: o.path("approvals", a.ID), Badge: approvalBadge(o.t, a.State), Size: a.Size,
		AskedAt: a.AskedAt, Site: p.siteName(a.AskedSite), Expires: a.Expires, Twins: len(a.Elsewhere)}
	if d, err := deed.ReadAlarm(a.Args); a.Deed == access.DeedRaiseAlarm && err == nil {
		raised := alarm.Raised{TextDE: d.TextDE, TextEN: d.TextEN}
		row.Mode, row.TextLang = d.Mode, textLanguage(o.t.language, raised)
		row.Text, _, _ = textFor(o.t.language, raised)
	}
	var err error
	row.AskedBy, err = names.actor(ctx, a.AskedBy)
	return row, err
}

func (p *Portal) showApprovals(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	list, err := p.cfg.Admin.Rights.Approvals(r.Context(), o.ID)
	if err != nil {
		return err
	}
	names := p.names(o)
	v := approvalsView{deskView: o.view()}
	for _, a := range list {
		if a.State != access.Pending && len(v.Decided) == maxDecided {
			continue
		}
		row, err := p.approvalRow(r.Context(), o, names, a)
		if err != nil {
			return err
		}
		if a.State == access.Pending {
			v.Pending = append(v.Pending, row)
		} else {
			v.Decided = append(v.Decided, row)
		}
	}
	return p.adminPage(w, r, o, http.StatusOK, "approvals", o.t.t("approvals.title"), v)
}

func (p *Portal) showApproval(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	a, err := p.cfg.Admin.Rights.Approval(r.Context(), o.ID, r.PathValue("approval"))
	if err != nil {
		return err
	}
	names := p.names(o)
	v := approvalView{deskView: o.view(), Open: a.State == access.Pending, Mine: a.AskedBy == o.actor.ID,
		MayDecide: o.view().May[string(a.Deed.Permission())]}
	if v.approvalRow, err = p.approvalRow(r.Context(), o, names, a); err != nil {
		return err
	}
	if err := p.describe(r.Context(), o, names, &v, a); err != nil {
		return err
	}
	if err := p.addDecisions(r.Context(), o, names, &v, a); err != nil {
		return err
	}
	if v.Open && v.Mine {
		who, more, err := p.approvers(r.Context(), o, names, a)
		if err != nil {
			return err
		}
		switch {
		case who == "":
			v.Approvers = o.t.t("approval.minenobody")
		case more:
			v.Approvers = o.t.t("approval.minebymore", who, o.t.dateTime(a.Expires))
		default:
			v.Approvers = o.t.t("approval.mineby", who, o.t.dateTime(a.Expires))
		}
	}
	f := o.t.t("approval.title") + ": " + v.Title
	return p.adminPage(w, r, o, http.StatusOK, "approval", f, v)
}

func (p *Portal) addDecisions(ctx context.Context, o office, names *nameBook, v *approvalView, a access.Approval) error {
	for _, d := range a.Decisions {
		by, err := names.actor(ctx, d.By)
		if err != nil {
			return err
		}
		v.Decisions = append(v.Decisions, decisionView{Word: o.t.t("approval.state." + string(d.State)), Site: p.siteName(d.Site), By: by, At: d.At})
	}
	for _, twin := range a.Elsewhere {
		by, err := names.actor(ctx, twin.AskedBy)
		if err != nil {
			return err
		}
		v.TwinRows = append(v.TwinRows, twinView{AskedBy: by, AskedAt: twin.AskedAt, Site: p.siteName(twin.AskedSite),
			State: o.t.t("approval.state." + string(twin.State)), Path: o.path("approvals", twin.ID)})
	}
	v.Result = resultLink(o, a.Result)
	return nil
}

// resultLink leads to what came of a deed.
func resultLink(o office, result string) linkView {
	kind, id, _ := strings.Cut(result, "/")
	switch kind {
	case "alarm":
		return linkView{o.t.t("approval.result.alarm"), o.path("alarms", id)}
	case "person":
		return linkView{o.t.t("approval.result.person"), o.path("privacy")}
	case "grant":
		return linkView{o.t.t("approval.result.grant"), o.path("roles")}
	case "policy":
		return linkView{o.t.t("approval.result.policy"), o.path("policy")}
	}
	return linkView{}
}

// describe says in words what is to be approved. What this site cannot read whole it does not describe in part.
func (p *Portal) describe(ctx context.Context, o office, names *nameBook, v *approvalView, a access.Approval) (err error) {
	v.Go = wordOr(o.t, "approval.go."+string(a.Deed), "")
	switch a.Deed {
	case access.DeedRaiseAlarm:
		return p.describeAlarm(ctx, o, v, a)
	case access.DeedErasePerson:
		person, err := deed.ReadErase(a.Args)
		if err != nil {
			break
		}
		name, err := names.person(ctx, person)
		v.Erases = true
		v.Facts = []factView{{o.t.t("approval.person"), []string{nameText(o.t, name)}}, {o.t.t("approval.consequence"), []string{o.t.t("erase.what")}}}
		return err
	case access.DeedGrantRole:
		d, err := deed.ReadGrant(a.Args)
		if err != nil {
			break
		}
		return p.describeGrant(ctx, o, v, d)
	case access.DeedSetPolicy:
		policy, err := deed.ReadPolicy(a.Args)
		if err != nil {
			break
		}
		v.Facts = policyFacts(o.t, policy)
		return p.addBefore(ctx, o, v)
	}
	v.Broken = true
	return nil
}

// addBefore adds, to what a request would change in the policy, what it is now.
func (p *Portal) addBefore(ctx context.Context, o office, v *approvalView) error {
	if !v.Open {
		return nil
	}
	now, err := p.cfg.Admin.Rights.Policy(ctx, o.ID)
	if err != nil {
		return err
	}
	for i, before := range policyFacts(o.t, now) {
		if !slices.Equal(before.Lines, v.Facts[i].Lines) {
			v.Facts[i].Lines = append(v.Facts[i].Lines, o.t.t("approval.before", strings.Join(slices.DeleteFunc(before.Lines, func(l string) bool { return l == o.t.t("policy.rest") }), ", ")))
		}
	}
	return nil
}

func nameText(t *texts, n nameView) string {
	switch n.Readable {
	case "readable":
		return n.Name
	case "erased":
		return t.t("person.erased")
	}
	return t.t("person.notyet")
}

func (p *Portal) describeAlarm(ctx context.Context, o office, v *approvalView, a access.Approval) error {
	d, err := deed.ReadAlarm(a.Args)
	if err != nil {
		v.Broken = true
		return nil
	}
	v.TextDE, v.TextEN = d.TextDE, d.TextEN
	audience, err := p.audienceText(ctx, o.t, o.ID, d.Audience)
	if err != nil {
		return err
	}
	for _, id := range d.Audience.Persons {
		if len(d.Audience.Persons) > maxOffered {
			break
		}
		name, err := p.personName(ctx, o.ID, id)
		if err != nil {
			return err
		}
		audience = append(audience, nameText(o.t, name))
	}
	var channels []string
	for _, k := range d.Channels {
		channels = append(channels, o.t.t("channel."+string(k)))
	}
	v.Facts = []factView{{o.t.t("preview.people"), []string{o.t.num(a.Size)}}, {o.t.t("raise.audience"), audience},
		{o.t.t("board.channels"), []string{strings.Join(channels, ", ")}}}
	return nil
}

func (p *Portal) describeGrant(ctx context.Context, o office, v *approvalView, d access.GrantDraft) error {
	seen, err := p.grantsSeen(ctx, o)
	if err != nil {
		return err
	}
	g, err := seen.view(ctx, access.Grant{Role: d.Role, Unit: d.Unit, Person: d.Person, Function: d.Function, From: d.From, Until: d.Until})
	if err != nil {
		return err
	}
	holder := g.Function
	if holder == "" {
		holder = nameText(o.t, g.Who.nameView)
	}
	where := g.Unit
	if where == "" {
		where = o.t.t("roles.everywhere")
	}
	v.Facts = []factView{{o.t.t("roles.role"), []string{g.Role}}, {o.t.t("roles.holder"), []string{holder}}, {o.t.t("roles.where"), []string{where}},
		{o.t.t("roles.term"), []string{termText(o.t, d.From, d.Until)}}}
	return nil
}

// termText writes from when until when; the end that is kept is the first instant that is not in it.
func termText(t *texts, from, until time.Time) string {
	switch {
	case from.IsZero() && until.IsZero():
		return t.t("term.always")
	case until.IsZero():
		return t.t("term.from", t.dateTime(from))
	case from.IsZero():
		return t.t("term.until", t.dateTime(until))
	}
	return t.t("term.both", t.dateTime(from), t.dateTime(until))
}

// errNotRead is returned to whoever approves an erasure without having ticked that they read what is not erased.
var errNotRead = fault.New(fault.Invalid, "portal.not_read", "you have not confirmed that you read what is not erased",
	"go back, read it and tick it")

// approve carries the deed out. Whether the sender may is judged by the deed's own permission, in package access.
func (p *Portal) approve(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	if err := parseForm(r); err != nil {
		return err
	}
	asked, err := p.cfg.Admin.Rights.Approval(r.Context(), o.ID, r.PathValue("approval"))
	if err != nil {
		return err
	}
	if _, may := o.may[asked.Deed.Permission()]; may && asked.Deed == access.DeedErasePerson && r.PostForm.Get("understood") == "" {
		return errNotRead
	}
	a, receipt, err := p.cfg.Admin.Desk.Approve(r.Context(), o.actor.Principal, o.ID, r.PathValue("approval"))
	if err != nil {
		return err
	}
	did, about := deed.NoteOfCarrying(a)
	web.Did(r.Context(), did, about...)
	return p.settled(w, r, o.path("approvals", a.ID), "approved", receipt)
}

func (p *Portal) refuseApproval(w http.ResponseWriter, r *http.Request) error {
	o, err := p.office(r)
	if err != nil {
		return err
	}
	id := r.PathValue("approval")
	receipt, err := p.cfg.Admin.Rights.Refuse(r.Context(), o.actor.Principal, o.ID, id)
	if err != nil {
		return err
	}
	return p.settled(w, r, o.path("approvals", id), "refused", receipt)
}

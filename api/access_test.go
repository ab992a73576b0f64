// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/web"
)

// atConsoleOnly are the routes for which no role is enough.
var atConsoleOnly = []string{"GET /api/v1/audit", "POST /api/v1/sign-in-links", "POST /api/v1/invitations", "POST /api/v1/sites/{site}/endorsement", "POST /api/v1/sites/{site}/removal", "POST /api/v1/authorities",
	"POST " + ofAuthority + "/people/{person}/sign-in-links"}

// TestPermissionOfEveryRoute walks the whole table: every route as every role and as a plain member. Who lacks the permission
// that the route names gets 403 and nothing happens; who has it does not.
func TestPermissionOfEveryRoute(t *testing.T) {
	for _, role := range append(access.Roles(), "") {
		a, h, handler := newAPI(t, somebody(nordtal, insider))
		h.roles = map[string]access.Role{insider: role}
		for _, route := range a.Routes() {
			method, path, ok := strings.Cut(fill.Replace(route.Pattern), " ")
			if !ok || route.Open {
				continue
			}
			if !route.Need.Valid() {
				t.Errorf("%s names no permission", route.Pattern)
			}
			before := len(h.calls)
			rec := ask(handler, method, path, "{}")
			may := (access.MemberRole.Can(route.Need) || role.Can(route.Need)) && !slices.Contains(atConsoleOnly, route.Pattern)
			if refused := rec.Code == http.StatusForbidden; refused == may {
				t.Errorf("%s as %q: %d %s", route.Pattern, role, rec.Code, rec.Body)
			}
			if !may && len(h.calls) != before {
				t.Errorf("%s as %q was refused and has done %v", route.Pattern, role, h.calls[before:])
			}
		}
	}
}

// TestPermissionEndsAtTheAuthority: an authority that is somebody else's, one that does not exist, and one that exists but is
// not held here are answered alike, to the byte, by every route and for everybody.
func TestPermissionEndsAtTheAuthority(t *testing.T) {
	for _, role := range []access.Role{"", access.Administrator, access.Auditor, access.AlarmOfficer} {
		a, h, handler := newAPI(t, somebody(nordtal, insider))
		h.roles = map[string]access.Role{insider: role}
		for _, route := range a.Routes() {
			if !strings.Contains(route.Pattern, "{authority}") {
				continue
			}
			var answers []string
			for _, authority := range []string{string(suedau), "no-such-one"} {
				method, path, _ := strings.Cut(fill.Replace(strings.Replace(route.Pattern, "{authority}", authority, 1)), " ")
				rec := ask(handler, method, path, "{}")
				answers = append(answers, rec.Result().Status+"\n"+rec.Body.String())
				if rec.Code != http.StatusNotFound || !strings.Contains(rec.Body.String(), "access.no_authority") {
					t.Errorf("%s of %s: %d %s", route.Pattern, authority, rec.Code, rec.Body)
				}
			}
			if answers[0] != answers[1] {
				t.Errorf("%s tells authorities apart:\n%s\n%s", route.Pattern, answers[0], answers[1])
			}
		}
		if len(h.calls) > 0 {
			t.Errorf("in another authority was done %v", h.calls)
		}
	}
}

// TestNobodyLearnsOfOtherAuthorities: what is of no authority in particular tells everybody but the console of their own.
func TestNobodyLearnsOfOtherAuthorities(t *testing.T) {
	other := eventlog.LogID{Authority: suedau, Class: event.Operations, Site: self, Incarnation: "00112233aabbccdd"}
	receipt := web.Receipt{Log: other, At: eventlog.Position{Page: 1}}.String()
	for _, role := range append(access.Roles(), "") {
		a, h, handler := newAPI(t, somebody(nordtal, insider))
		h.roles = map[string]access.Role{insider: role}
		for _, route := range a.Routes() {
			if strings.Contains(route.Pattern, "{authority}") {
				continue
			}
			method, path, ok := strings.Cut(fill.Replace(route.Pattern), " ")
			if !ok {
				continue
			}
			rec := ask(handler, method, path+"?receipt="+url.QueryEscape(receipt), "")
			if body := rec.Body.String(); !route.Open && (strings.Contains(body, string(suedau)) || strings.Contains(body, "Südau") || strings.Contains(body, `"secured":true`)) {
				t.Errorf("%s tells %q of another authority: %s", route.Pattern, role, body)
			}
		}
	}
}

// TestPermissionBoundToUnits: who has a right in some units only may use it for people within them; the rest of what takes
// a grant is refused to them, or is for reading what concerns all.
func TestPermissionBoundToUnits(t *testing.T) {
	const outsider = "bbbbbbbbbbbbbbbb"
	a, h, handler := newAPI(t, somebody(nordtal, outsider))
	h.roles, h.units = map[string]access.Role{outsider: access.Administrator}, []directory.UnitID{anID}
	for _, route := range a.Routes() {
		if route.Open || access.MemberRole.Can(route.Need) || !access.Administrator.Can(route.Need) || !strings.Contains(route.Pattern, "{authority}") {
			continue
		}
		if route.Need == access.SeeRoles || route.Need == access.SeePolicy || route.Need == access.SeeApprovals || route.Need == access.InviteGuests ||
			route.Need == access.GrantRoles || strings.HasSuffix(route.Pattern, "/erase") || strings.HasSuffix(route.Pattern, "/erasures") {
			continue // judged by the domain, or no more than what the authority's people may know of each other
		}
		for person, refused := range map[string]bool{insider: !strings.Contains(route.Pattern, "/accounts/") && !strings.Contains(route.Pattern, "/people/"), outsider: true} {
			method, path, _ := strings.Cut(fill.Replace(strings.Replace(route.Pattern, "{person}", person, 1)), " ")
			rec := ask(handler, method, path, `{"persons":["`+person+`"]}`)
			if got := strings.Contains(rec.Body.String(), "deed.outside"); got != refused {
				t.Errorf("%s for %s: %d %s", route.Pattern, person, rec.Code, rec.Body)
			}
		}
	}
}

func TestAlarmsBeyondOnesUnitsAreNotClosed(t *testing.T) {
	_, h, handler := newAPI(t, somebody(nordtal, insider))
	h.roles, h.units = map[string]access.Role{insider: access.AlarmOfficer}, []directory.UnitID{anID}
	h.everyone = true
	path := fill.Replace(ofAuthority + "/alarms/{alarm}/cancel")
	if rec := ask(handler, "POST", path, "{}"); rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), "deed.outside") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	h.everyone = false
	if rec := ask(handler, "POST", path, "{}"); rec.Code != http.StatusOK {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// TestClientAndAccessRoutesAgree walks every method of the client about rights, accounts and the audit.
func TestClientAndAccessRoutesAgree(t *testing.T) {
	c, h := dialled(t)
	ctx := t.Context()
	if l := must(c.Roles(ctx, nordtal, false))(t); len(l) != 1 || !l[0].InForce || l[0].Role != access.Auditor || l[0].Person != anID {
		t.Errorf("roles %+v", l)
	}
	if l := must(c.Roles(ctx, nordtal, true))(t); len(l) != 2 || !l[1].Withdrawn {
		t.Errorf("all roles %+v", l)
	}
	g, asked, err := c.GrantRole(ctx, nordtal, GrantDraft{Role: access.Auditor, Person: anID})
	if err != nil || asked != nil || g.Grant.ID != anID || !g.Written.Secured {
		t.Errorf("granted %+v %+v %v", g, asked, err)
	}
	must(c.WithdrawRole(ctx, nordtal, anID))(t)
	p := must(c.Policy(ctx, nordtal))(t)
	if p.MassAlarmFrom != 500 || p.RetentionDays[event.Audit] != 365 {
		t.Errorf("policy %+v", p)
	}
	if w, asked, err := c.SetPolicy(ctx, nordtal, p); err != nil || asked != nil || !w.Secured {
		t.Errorf("%+v %+v %v", w, asked, err)
	}
	if l := must(c.Approvals(ctx, nordtal))(t); len(l) != 1 || l[0].Size != 900 || string(l[0].Args) != `{"a":1}` || l[0].Elsewhere[0] != "twin" {
		t.Errorf("approvals %+v", l)
	}
	must(c.Approval(ctx, nordtal, anID))(t)
	if a := must(c.Approve(ctx, nordtal, anID))(t); a.Approval.Result != "alarm/7f3a" || a.Approval.State != "approved" {
		t.Errorf("approved %+v", a)
	}
	must(c.Refuse(ctx, nordtal, anID))(t)
	from := now.Add(-time.Hour)
	if l := must(c.Audit(ctx, nordtal, AuditFilter{Text: "sign", Outcome: "done", From: from, Limit: 7}))(t); len(l) != 1 || l[0].Deed != "signin" {
		t.Errorf("audit %+v", l)
	}
	if l := must(c.Audit(ctx, "", AuditFilter{Outcome: "refused"}))(t); len(l) != 1 {
		t.Errorf("audit of nobody %+v", l)
	}
	var file bytes.Buffer
	if err := c.ExportAudit(ctx, nordtal, &file); err != nil || file.String() != "pages of lk-nordtal" {
		t.Errorf("export %q %v", file.String(), err)
	}
	if d := must(c.ExportPerson(ctx, nordtal, anID))(t); d.Person != anID || d.Authority != nordtal {
		t.Errorf("document %+v", d)
	}
	if l := must(c.Erasures(ctx, nordtal))(t); len(l) != 1 || !l[0].Complete {
		t.Errorf("erasures %+v", l)
	}
	want := []string{"grant auditor " + anID + " operator", "withdraw " + anID + " operator", "policy 500 [person.erase] map[audit:365] operator",
		"approve " + anID + " operator", "refuse " + anID + " operator",
		"audit {Text:sign Actor: Deed: Grant: Outcome:done From:2026-11-22 02:14:15 +0000 UTC Until:0001-01-01 00:00:00 +0000 UTC Limit:7 After:}",
		"audit {Text: Actor: Deed: Grant: Outcome:refused From:0001-01-01 00:00:00 +0000 UTC Until:0001-01-01 00:00:00 +0000 UTC Limit:50 After:}",
		"export person " + anID}
	if d := cmp.Diff(want, h.calls); d != "" {
		t.Errorf("what arrived (-want +got):\n%s", d)
	}
}

func TestClientAndAccountRoutesAgree(t *testing.T) {
	c, h := dialled(t)
	ctx := t.Context()
	if l := must(c.Accounts(ctx, nordtal, AccountFilter{State: "enrolled", Limit: 7, After: anID}))(t); l.Counts.None != 2 || l.Accounts[0].Person.DisplayName != "Mia Müller" {
		t.Errorf("accounts %+v", l)
	}
	if x := must(c.Account(ctx, nordtal, anID))(t); x.Passkeys[0].Label != "Telefon" || x.CodesLeft != 9 || x.Missing[0] != "second passkey" {
		t.Errorf("account %+v", x)
	}
	i := must(c.InviteAccounts(ctx, nordtal, AccountInvitationDraft{Persons: []directory.PersonID{anID}, Hours: 2, Send: true}))(t)
	if i.Invitations[0].URL != "https://portal.test/enrol/secret" || i.Invitations[0].Name != "Mia Müller" || i.Sent != 1 {
		t.Errorf("invitations %+v", i)
	}
	if n := must(c.RemindAccounts(ctx, nordtal, []directory.PersonID{anID}))(t); n != 1 {
		t.Errorf("told %d", n)
	}
	must(c.EndSessions(ctx, nordtal, anID))(t)
	must(c.RemovePasskey(ctx, nordtal, anID, "key"))(t)
	if l := must(c.PersonLink(ctx, nordtal, anID, 5))(t); l.URL != "https://portal.test/signin/secret" || l.Expires.IsZero() {
		t.Errorf("link %+v", l)
	}
	must(c.Vouch(ctx, nordtal, anID, "ABCD-EFGH"))(t)
	if l := must(c.Guests(ctx, nordtal))(t); l[0].Name != "THW" {
		t.Errorf("guests %+v", l)
	}
	if g := must(c.InviteGuest(ctx, nordtal, GuestDraft{Name: "THW", Incident: "alarm/7"}))(t); g.Code != "ABCDE-FGHJK" {
		t.Errorf("guest %+v", g)
	}
	if w := must(c.SendAway(ctx, nordtal, anID))(t); w.Receipt != "" || w.Operators == nil {
		t.Errorf("nothing was written, and yet %+v", w)
	}
	if l := must(c.Programs(ctx, nordtal))(t); l[0].Name != "Wachplan" {
		t.Errorf("programs %+v", l)
	}
	if p := must(c.MakeProgram(ctx, nordtal, ProgramDraft{Name: "Wachplan", Kind: "api", Scopes: []access.Permission{access.SeeAlarms}}))(t); p.Secret != "hf1_x_y" {
		t.Errorf("program %+v", p)
	}
	must(c.WithdrawProgram(ctx, nordtal, anID))(t)
	want := []string{"accounts enrolled 7 " + anID, "send invitations https://portal.test", "invite accounts [" + anID + "] 2h0m0s operator",
		"send invitations https://portal.test",
		"remind [" + anID + "] operator", "end sessions person " + anID + " operator", "remove passkey " + anID + " key operator",
		"link " + anID + " 5m0s operator", "vouch ABCD-EFGH " + anID + " operator", "invite guest THW alarm/7 operator", "send away " + anID + " operator",
		"make program Wachplan api [alarm.see] operator", "withdraw program " + anID + " operator"}
	if d := cmp.Diff(want, h.calls); d != "" {
		t.Errorf("what arrived (-want +got):\n%s", d)
	}
}

func TestWhatTakesTwoIsAskedFor(t *testing.T) {
	c, h := dialled(t)
	h.second = true
	ctx := t.Context()
	draft := AlarmDraft{TextDE: "Ausfall", Mode: event.Test, Audience: directory.Audience{Everyone: true}}
	_, asked, err := c.RaiseOrAsk(ctx, nordtal, draft, "a-key-of-16-bytes")
	if err != nil || asked == nil || asked.Approval.ID != anID || asked.Written.Receipt == "" {
		t.Errorf("raise: %+v %v", asked, err)
	}
	if _, again, err := c.RaiseOrAsk(ctx, nordtal, draft, "a-key-of-16-bytes"); err != nil || cmp.Diff(asked, again) != "" {
		t.Errorf("raise again: %+v %v", again, err)
	}
	if _, err := c.Raise(ctx, nordtal, draft, ""); !errors.Is(err, ErrAsked) {
		t.Errorf("raise: %v", err)
	}
	if err := c.Erase(ctx, nordtal, anID); !errors.Is(err, ErrAsked) || !strings.Contains(err.Error(), anID) {
		t.Errorf("erase: %v", err)
	}
	if _, asked, err := c.GrantRole(ctx, nordtal, GrantDraft{Role: access.Auditor}); err != nil || asked == nil {
		t.Errorf("grant: %+v %v", asked, err)
	}
	if _, asked, err := c.SetPolicy(ctx, nordtal, Policy{}); err != nil || asked == nil {
		t.Errorf("policy: %+v %v", asked, err)
	}
	if len(h.calls) > 0 {
		t.Errorf("one person alone has done %v", h.calls)
	}
}

// TestHalfAnExportIsNotTakenForAWholeOne: what breaks off on the way is an error at the other end.
func TestHalfAnExportIsNotTakenForAWholeOne(t *testing.T) {
	c, h := dialled(t)
	h.second = true
	if err := c.ExportAudit(t.Context(), nordtal, io.Discard); !errors.Is(err, ErrNoSite) {
		t.Errorf("got %v", err)
	}
	if err := c.ExportAudit(t.Context(), "elsewhere", io.Discard); !errors.Is(err, access.ErrNoAuthority) {
		t.Errorf("got %v", err)
	}
}

func TestTheAuditHasWhoAskedForWhoseData(t *testing.T) {
	_, h, handler := newAPI(t, somebody(nordtal, insider))
	h.roles = map[string]access.Role{insider: access.Administrator}
	if rec := ask(handler, "POST", fill.Replace(ofAuthority+"/people/{person}/export"), ""); rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if len(h.audited) != 1 || h.audited[0].Deed != "person.export" || !strings.Contains(h.audited[0].Object, anID) || h.audited[0].Grant != "grant-of-"+insider {
		t.Errorf("recorded %+v", h.audited)
	}
	ask(handler, "GET", fill.Replace(ofAuthority+"/accounts/{person}"), "")
	if len(h.gathered) != 1 || h.gathered[0].Deed != "account.see" {
		t.Errorf("gathered %+v", h.gathered)
	}
}

func TestAFactNamesActorAndGrant(t *testing.T) {
	_, h, handler := newAPI(t, somebody(nordtal, insider))
	h.roles = map[string]access.Role{insider: access.AlarmOfficer}
	ask(handler, "POST", fill.Replace(ofAuthority+"/alarms"), `{"textDe":"Ausfall","mode":"test","audience":{"everyone":true}}`)
	ask(handler, "POST", fill.Replace(ofAuthority+"/alarms/{alarm}/cancel"), `{}`)
	want := []string{"raise Ausfall person/" + insider + " 0s 0s grant-of-" + insider, "cancel " + anID + "  person/" + insider + " grant-of-" + insider}
	if d := cmp.Diff(want, h.calls); d != "" {
		t.Error(d)
	}
}

func TestRemoteClient(t *testing.T) {
	var got *http.Request
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got = r; r.URL.Path == prefix+"/state" {
			http.Redirect(w, r, "https://elsewhere.test/", http.StatusFound)
			return
		}
		web.WriteJSON(w, http.StatusOK, "", []Merge{})
	}))
	defer server.Close()
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	t.Run("OK", func(t *testing.T) {
		c := must(NewRemoteClient(server.URL+"/", "hf1_x_y", roots))(t)
		must(c.Merges(t.Context()))(t)
		if got.Header.Get("Authorization") != "Bearer hf1_x_y" || got.URL.Path != prefix+"/merges" {
			t.Errorf("sent %v %v", got.URL, got.Header)
		}
	})
	t.Run("ErrUntrusted", func(t *testing.T) {
		c := must(NewRemoteClient(server.URL, "hf1_x_y", nil))(t)
		if _, err := c.Merges(t.Context()); !errors.Is(err, ErrNoSite) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a token does not follow elsewhere", func(t *testing.T) {
		c := must(NewRemoteClient(server.URL, "hf1_x_y", roots))(t)
		if _, err := c.State(t.Context()); fault.Of(err).Code != "api.answer" {
			t.Errorf("got %v", err)
		}
	})
	for name, x := range map[string][2]string{"ErrPlain": {"http://portal.test", "hf1_x"}, "ErrScheme": {"ftp://portal.test", "hf1_x"}, "ErrNoHost": {"https://", "hf1_x"},
		"ErrUser": {"https://a:b@portal.test", "hf1_x"}, "ErrToken": {"https://portal.test", "x"}, "ErrTwoLines": {"https://portal.test", "hf1_x\ny"}} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewRemoteClient(x[0], x[1], nil); !errors.Is(err, ErrRemote) || strings.Contains(err.Error(), "a:b") {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := NewRemoteClient("http://127.0.0.1:8600", "hf1_x", nil); err != nil {
		t.Errorf("this very machine: %v", err)
	}
}

func TestListsAreNeverNull(t *testing.T) {
	out, err := json.Marshal([]any{approvalOf(access.Approval{}), policyOf(access.Policy{})})
	if err != nil || bytes.Contains(out, []byte("null")) {
		t.Errorf("%s %v", out, err)
	}
}

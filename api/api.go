// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"context"
	_ "embed" // the description
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/web"
)

//go:embed openapi.yaml
var description []byte

// Sites is what the API asks and commands about sites and authorities: a site.Service.
type Sites interface {
	Status(ctx context.Context) (site.Status, error)
	Invite(ctx context.Context, name, operator string, ttl time.Duration) (string, error)
	Endorse(ctx context.Context, id event.SiteID) error
	Remove(ctx context.Context, id event.SiteID, lose bool) error
	AddAuthority(ctx context.Context, d site.AuthorityDraft) error
	Allow(ctx context.Context, authority event.AuthorityID, id event.SiteID) error
	Forbid(ctx context.Context, authority event.AuthorityID, id event.SiteID) error
}

// Directory is what the API asks and commands about people: a directory.Service.
type Directory interface {
	People(ctx context.Context, authority event.AuthorityID, s directory.Search) ([]directory.Person, int, error)
	Person(ctx context.Context, authority event.AuthorityID, id directory.PersonID) (directory.Person, error)
	Units(ctx context.Context, authority event.AuthorityID) ([]directory.Unit, error)
	Functions(ctx context.Context, authority event.AuthorityID) ([]directory.Function, error)
	Import(ctx context.Context, authority event.AuthorityID, o directory.ImportOptions, r io.Reader) (directory.Report, error)
}

// Alarms is what the API asks and commands about alarms: an alarm.Service.
type Alarms interface {
	Preview(ctx context.Context, authority event.AuthorityID, audience directory.Audience, channels ...directory.ChannelKind) (alarm.Preview, error)
	Cancel(ctx context.Context, authority event.AuthorityID, id alarm.ID, w alarm.Words) (eventlog.Receipt, error)
	AllClear(ctx context.Context, authority event.AuthorityID, id alarm.ID, w alarm.Words) (eventlog.Receipt, error)
	Alarm(ctx context.Context, authority event.AuthorityID, id alarm.ID) (alarm.Alarm, error)
	List(ctx context.Context, authority event.AuthorityID, before time.Time, limit int) ([]alarm.Alarm, error)
	Board(ctx context.Context, authority event.AuthorityID, id alarm.ID) (alarm.Board, error)
	People(ctx context.Context, authority event.AuthorityID, id alarm.ID, status alarm.Status, after directory.PersonID, limit int) ([]alarm.PersonLine, error)
}

// Model is what the API needs of the read model: a *readmodel.Model.
type Model interface {
	Wait(ctx context.Context, log eventlog.LogID, pos eventlog.Position) error
	Merges(ctx context.Context) ([]readmodel.Merge, error)
	SetAside(ctx context.Context) ([]readmodel.Trouble, error)
	StateHash(ctx context.Context) (string, error)
	Behind() uint64
}

// Copies knows where writes lie and how far sites are apart: a *eventlog.Replicator.
type Copies interface {
	Secured(log eventlog.LogID, pos eventlog.Position) []string
	Wait(ctx context.Context, log eventlog.LogID, pos eventlog.Position, operators int) error
	Lag() []eventlog.PeerLag
}

// Federation tells from memory which authorities' data this site may hold and who has gateways: a *site.Federation.
type Federation interface {
	AuthorityIDs() []event.AuthorityID
	Gateways(authority event.AuthorityID, kinds ...string) []site.Gateway
}

// Config is what an API works with. Every field is required.
type Config struct {
	Sites      Sites
	Federation Federation
	Directory  Directory
	Alarms     Alarms
	Model      Model
	Copies     Copies
	Judge      web.Judge
	Audit      web.Recorder
	Once       *web.Once
	Access     Access
	Deeds      Deeds
	Accounts   Accounts
	Sessions   Sessions
	Guests     Guests
	Programs   Programs
	Entries    Entries
	// Pages are the logs that an export of the audit takes its pages from.
	Pages    audit.PageSource
	Privacy  Privacy
	Erasures Erasures
	Keys     Keys
	// Scrub reads all logs back and returns what is damaged.
	Scrub func(ctx context.Context) []eventlog.Damage
	Forks func() []eventlog.Fork
	// Health returns what is wrong with this site's stores. It may be nil.
	Health func() []health.Condition
	// SignInLink returns the whole address of a fresh link with which the operator signs in once.
	SignInLink func(ctx context.Context) (string, error)
	// URL returns the whole address of a path at this site's portal; of "", the portal's own without a slash at the end.
	URL    func(path string) string
	Now    func() time.Time
	Logger *slog.Logger
}

// API is the routes of version 1. It is safe for concurrent use.
type API struct {
	cfg    Config
	errors *web.Errors
}

// New returns the API.
func New(c Config) *API { return &API{cfg: c, errors: &web.Errors{Logger: c.Logger}} }

// Mount adds the routes to mux, for those whom auth knows.
func (a *API) Mount(mux *http.ServeMux, auth web.Authenticator) {
	g := &web.Guard{Auth: auth, Judge: a.cfg.Judge, Audit: a.cfg.Audit, Errors: a.errors, Refuse: a.errors.Write}
	g.Mount(mux, a.Routes())
}

// LargeBody reports whether a request imports a directory and may therefore be large, for web.HandlerConfig.
func (a *API) LargeBody(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, prefix+"/authorities/") && strings.HasSuffix(r.URL.Path, "/imports")
}

const prefix = "/api/v1"

// Routes is the API's table of contents; openapi.yaml describes the same ones.
func (a *API) Routes() []web.Route {
	return slices.Concat(a.siteRoutes(), a.directoryRoutes(), a.alarmRoutes(), a.accessRoutes(), a.accountRoutes(), []web.Route{
		{Pattern: prefix + "/", Open: true, Handle: a.unknown},
	})
}

const ofAuthority = prefix + "/authorities/{authority}"

func (a *API) siteRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET " + prefix + "/openapi.yaml", Open: true, Handle: a.describe},
		{Pattern: "GET " + prefix + "/status", Need: access.SeeSite, Handle: a.status},
		{Pattern: "GET " + prefix + "/state", Need: access.SeeSite, Handle: a.state},
		{Pattern: "GET " + prefix + "/troubles", Need: access.SeeSite, Handle: a.troubles},
		{Pattern: "POST " + prefix + "/scrub", Need: access.ManageSite, Handle: whole(a.scrub)},
		{Pattern: "GET " + prefix + "/audit", Need: access.SeeSite, Deed: "audit.see", Sealed: true, Handle: atConsole(a.audit)},
		{Pattern: "GET " + prefix + "/merges", Need: access.SeeOverview, Handle: a.merges},
		{Pattern: "GET " + prefix + "/secured", Need: access.SeeOverview, Handle: a.secured},
		{Pattern: "POST " + prefix + "/sign-in-links", Need: access.ManageSite, Deed: "signin.link", Handle: atConsole(a.signInLink)},
		{Pattern: "POST " + prefix + "/invitations", Need: access.ManageSite, Handle: atConsole(a.invite)},
		{Pattern: "POST " + prefix + "/sites/{site}/endorsement", Need: access.ManageSite, Handle: atConsole(a.admit)},
		{Pattern: "POST " + prefix + "/sites/{site}/removal", Need: access.ManageSite, Deed: "site.remove", Handle: atConsole(a.removeSite)},
		{Pattern: "GET " + prefix + "/authorities", Need: access.SeeOverview, Handle: a.authorities},
		{Pattern: "POST " + prefix + "/authorities", Need: access.AddAuthority, Handle: atConsole(a.addAuthority)},
		{Pattern: "PUT " + ofAuthority + "/sites/{site}", Need: access.PlaceAuthority, Handle: whole(a.allow)},
		{Pattern: "DELETE " + ofAuthority + "/sites/{site}", Need: access.PlaceAuthority, Handle: whole(a.forbid)},
		{Pattern: "GET " + ofAuthority + "/keys", Need: access.SeeSite, Handle: whole(a.keys)},
		{Pattern: "POST " + ofAuthority + "/keys/{site}/release", Need: access.ErasePerson, Deed: "keys.release", Handle: whole(a.releaseKeys)},
		{Pattern: "POST " + ofAuthority + "/keys/{site}/reject", Need: access.ErasePerson, Deed: "keys.reject", Handle: whole(a.rejectKeys)},
	}
}

func (a *API) directoryRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET " + ofAuthority + "/people", Need: access.SeePeople, Sealed: true, Handle: a.people},
		{Pattern: "GET " + ofAuthority + "/people/{person}", Need: access.SeePeople, Sealed: true, Handle: a.person},
		{Pattern: "POST " + ofAuthority + "/people/{person}/erase", Need: access.ErasePerson, Handle: a.erase},
		{Pattern: "POST " + ofAuthority + "/people/{person}/export", Need: access.ExportPerson, Handle: a.exportPerson},
		{Pattern: "POST " + ofAuthority + "/people/{person}/sign-in-links", Need: access.ManageSite, Deed: "signin.link", Handle: atConsole(a.personLink)},
		{Pattern: "POST " + ofAuthority + "/people/{person}/vouch", Need: access.Vouch, Handle: a.vouch},
		{Pattern: "GET " + ofAuthority + "/erasures", Need: access.SeeAccounts, Handle: a.erasures},
		{Pattern: "GET " + ofAuthority + "/units", Need: access.SeePeople, Handle: a.units},
		{Pattern: "GET " + ofAuthority + "/functions", Need: access.SeePeople, Handle: a.functions},
		{Pattern: "POST " + ofAuthority + "/imports", Need: access.ImportDirectory, Handle: whole(a.importPeople)},
	}
}

func (a *API) alarmRoutes() []web.Route {
	return []web.Route{
		{Pattern: "POST " + ofAuthority + "/alarms/preview", Need: access.RaiseAlarm, Deed: "alarm.preview", Handle: a.previewAlarm},
		{Pattern: "POST " + ofAuthority + "/alarms", Need: access.RaiseAlarm, Handle: a.raise},
		{Pattern: "GET " + ofAuthority + "/alarms", Need: access.SeeAlarms, Handle: a.alarms},
		{Pattern: "GET " + ofAuthority + "/alarms/{alarm}", Need: access.SeeAlarms, Handle: a.board},
		{Pattern: "GET " + ofAuthority + "/alarms/{alarm}/people", Need: access.SeeAlarms, Sealed: true, Handle: a.alarmPeople},
		{Pattern: "POST " + ofAuthority + "/alarms/{alarm}/cancel", Need: access.CloseAlarm, Handle: a.cancel},
		{Pattern: "POST " + ofAuthority + "/alarms/{alarm}/all-clear", Need: access.CloseAlarm, Handle: a.allClear},
		{Pattern: "POST " + ofAuthority + "/alarms/{alarm}/call", Need: access.RaiseAlarm, Deed: "alarm.call", Handle: a.callNow},
	}
}

// accessRoutes are about who may do what. Whoever approves needs the deed's own permission besides, see access.Service.Approve.
func (a *API) accessRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET " + ofAuthority + "/roles", Need: access.SeeRoles, Handle: a.roles},
		{Pattern: "POST " + ofAuthority + "/roles", Need: access.GrantRoles, Handle: a.grantRole},
		{Pattern: "DELETE " + ofAuthority + "/roles/{grant}", Need: access.GrantRoles, Deed: "role.withdraw", Handle: a.withdrawRole},
		{Pattern: "GET " + ofAuthority + "/policy", Need: access.SeePolicy, Handle: a.policy},
		{Pattern: "PUT " + ofAuthority + "/policy", Need: access.SetPolicy, Handle: whole(a.setPolicy)},
		{Pattern: "GET " + ofAuthority + "/approvals", Need: access.SeeApprovals, Handle: a.approvals},
		{Pattern: "GET " + ofAuthority + "/approvals/{approval}", Need: access.SeeApprovals, Handle: a.approval},
		{Pattern: "POST " + ofAuthority + "/approvals/{approval}/approve", Need: access.SeeApprovals, Deed: "approval.give", Handle: a.approve},
		{Pattern: "POST " + ofAuthority + "/approvals/{approval}/refuse", Need: access.SeeApprovals, Deed: "approval.refuse", Handle: a.refuse},
		{Pattern: "GET " + ofAuthority + "/audit", Need: access.SeeAudit, Sealed: true, Handle: whole(a.audit)},
		{Pattern: "GET " + ofAuthority + "/audit/export", Need: access.SeeAudit, Deed: "audit.export", Sealed: true, Handle: whole(a.exportAudit)},
	}
}

// accountRoutes are about who can come in: people, guests, programs.
func (a *API) accountRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET " + ofAuthority + "/accounts", Need: access.SeeAccounts, Sealed: true, Handle: whole(a.accounts)},
		{Pattern: "POST " + ofAuthority + "/accounts/invitations", Need: access.ManageAccounts, Deed: "account.invite", Handle: a.inviteAccounts},
		{Pattern: "POST " + ofAuthority + "/accounts/reminders", Need: access.ManageAccounts, Deed: "account.remind", Handle: a.remindAccounts},
		{Pattern: "GET " + ofAuthority + "/accounts/{person}", Need: access.SeeAccounts, Sealed: true, Handle: a.account},
		{Pattern: "DELETE " + ofAuthority + "/accounts/{person}/sessions", Need: access.ManageAccounts, Deed: "account.signout", Handle: a.endSessions},
		{Pattern: "DELETE " + ofAuthority + "/accounts/{person}/passkeys/{passkey}", Need: access.ManageAccounts, Deed: "passkey.remove", Handle: a.removePasskey},
		{Pattern: "GET " + ofAuthority + "/guests", Need: access.InviteGuests, Deed: "guest.see", Sealed: true, Handle: a.guests},
		{Pattern: "POST " + ofAuthority + "/guests", Need: access.InviteGuests, Handle: a.inviteGuest},
		{Pattern: "DELETE " + ofAuthority + "/guests/{guest}", Need: access.InviteGuests, Deed: "guest.away", Handle: a.sendAway},
		{Pattern: "GET " + ofAuthority + "/programs", Need: access.ManagePrograms, Deed: "program.see", Sealed: true, Handle: whole(a.programs)},
		{Pattern: "POST " + ofAuthority + "/programs", Need: access.ManagePrograms, Handle: whole(a.makeProgram)},
		{Pattern: "DELETE " + ofAuthority + "/programs/{program}", Need: access.ManagePrograms, Deed: "program.withdraw", Handle: whole(a.withdrawProgram)},
	}
}

var errNoRoute = fault.New(fault.NotFound, "api.no_route", "the API has no such route", "see "+prefix+"/openapi.yaml")

func (a *API) unknown(http.ResponseWriter, *http.Request) error { return errNoRoute }

func (a *API) describe(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml; charset=utf-8")
	_, err := w.Write(description)
	return err
}

// authority returns the authority of the path, or access.ErrNoAuthority if this site does not hold it: the same that judging
// answers for somebody else's.
func (a *API) authority(r *http.Request) (event.AuthorityID, error) {
	id := event.AuthorityID(r.PathValue("authority"))
	if !slices.Contains(a.cfg.Federation.AuthorityIDs(), id) {
		return "", access.ErrNoAuthority
	}
	return id, nil
}

func actor(r *http.Request) string { return by(r).Actor() }

func ok(w http.ResponseWriter, v any) error {
	web.WriteJSON(w, http.StatusOK, "", v)
	return nil
}

func created(w http.ResponseWriter, v any) error {
	web.WriteJSON(w, http.StatusCreated, "", v)
	return nil
}

var (
	errJSON  = fault.New(fault.Invalid, "api.json", "the body is not the JSON that this route takes", "see "+prefix+"/openapi.yaml")
	errQuery = fault.New(fault.Invalid, "api.query", "a parameter is not of its form", "see "+prefix+"/openapi.yaml")
)

// read decodes the body into v. Unknown fields, several values and other media types are errJSON; no body at all is the
// zero value.
func read(r *http.Request, v any) error {
	if r.ContentLength == 0 {
		return nil
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return errJSON.Because("its media type is not application/json")
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil && d.More() {
		return errJSON.Because("something follows it")
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return web.ErrTooLarge
	}
	if field, unknown := strings.CutPrefix(errorText(err), `json: unknown field "`); unknown {
		return errJSON.Because("there is no such field").At(0, strings.TrimSuffix(field, `"`))
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return errJSON.Because("the field has another type").At(0, wrong.Field)
	}
	if err != nil {
		return errJSON.With(err)
	}
	return nil
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// number reads a query parameter, standard if it is missing. It returns errQuery for anything but 0 to most.
func number(r *http.Request, name string, standard, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return standard, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, errQuery.Because("a number from 0 to %d is wanted", most).At(0, name)
	}
	return n, nil
}

// flag reads a query parameter that is true, false or missing.
func flag(r *http.Request, name string) (bool, error) {
	switch r.URL.Query().Get(name) {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	}
	return false, errQuery.Because("true or false is wanted").At(0, name)
}

// answerWritten answers with where a deed lies, unless it failed.
func (a *API) answerWritten(w http.ResponseWriter, r *http.Request) func(eventlog.Receipt, error) error {
	return func(receipt eventlog.Receipt, err error) error {
		if err != nil {
			return err
		}
		written, err := a.settle(r.Context(), web.ReceiptOf(receipt))
		if err != nil {
			return err
		}
		return ok(w, written)
	}
}

// settle waits until this site shows the write, and tells how safe it is by then.
func (a *API) settle(ctx context.Context, receipt web.Receipt) (Written, error) {
	if receipt.At.Page == 0 {
		return Written{Operators: []string{}}, nil // nothing was to be written
	}
	shown, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := a.cfg.Model.Wait(shown, receipt.Log, receipt.At); err != nil && ctx.Err() != nil {
		return Written{}, ctx.Err()
	}
	return a.written(receipt), nil
}

func (a *API) written(receipt web.Receipt) Written {
	operators := a.cfg.Copies.Secured(receipt.Log, receipt.At)
	if operators == nil {
		operators = []string{}
	}
	return Written{Receipt: receipt.String(), Operators: operators, Secured: len(operators) >= 2}
}

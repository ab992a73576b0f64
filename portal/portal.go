// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/web"
)

// Directory is what the portal asks about people: a directory.Service.
type Directory interface {
	People(ctx context.Context, authority event.AuthorityID, s directory.Search) ([]directory.Person, int, error)
	Person(ctx context.Context, authority event.AuthorityID, id directory.PersonID) (directory.Person, error)
	Units(ctx context.Context, authority event.AuthorityID) ([]directory.Unit, error)
	Functions(ctx context.Context, authority event.AuthorityID) ([]directory.Function, error)
}

// Alarms is what the portal asks and commands about alarms: an alarm.Service.
type Alarms interface {
	Preview(ctx context.Context, authority event.AuthorityID, audience directory.Audience, channels ...directory.ChannelKind) (alarm.Preview, error)
	Raise(ctx context.Context, authority event.AuthorityID, d alarm.Draft) (alarm.Alarm, eventlog.Receipt, error)
	Cancel(ctx context.Context, authority event.AuthorityID, id alarm.ID, w alarm.Words) (eventlog.Receipt, error)
	AllClear(ctx context.Context, authority event.AuthorityID, id alarm.ID, w alarm.Words) (eventlog.Receipt, error)
	List(ctx context.Context, authority event.AuthorityID, before time.Time, limit int) ([]alarm.Alarm, error)
	Board(ctx context.Context, authority event.AuthorityID, id alarm.ID) (alarm.Board, error)
	People(ctx context.Context, authority event.AuthorityID, id alarm.ID, status alarm.Status, after directory.PersonID, limit int) ([]alarm.PersonLine, error)
	ReplyView(ctx context.Context, token string) (alarm.ReplyView, error)
	Reply(ctx context.Context, token string, kind alarm.ReplyKind, etaMinutes int) (alarm.Link, eventlog.Receipt, error)
}

// Model is what the portal needs of the read model: a *readmodel.Model.
type Model interface {
	Wait(ctx context.Context, log eventlog.LogID, pos eventlog.Position) error
	Watch(prefixes ...readmodel.Ref) (<-chan readmodel.Name, func())
	Merges(ctx context.Context) ([]readmodel.Merge, error)
	SetAside(ctx context.Context) ([]readmodel.Trouble, error)
}

// Copies knows where writes lie and how far sites are apart: a *eventlog.Replicator.
type Copies interface {
	Secured(log eventlog.LogID, pos eventlog.Position) []string
	Wait(ctx context.Context, log eventlog.LogID, pos eventlog.Position, operators int) error
	Lag() []eventlog.PeerLag
}

// Config is what a Portal works with. Every field is required.
type Config struct {
	Federation Federation
	Directory  Directory
	Alarms     Alarms
	Model      Model
	Copies     Copies
	Sessions   *web.Sessions
	Judge      web.Judge
	Access     Rights
	Audit      web.Recorder
	Once       *web.Once
	// SignIn is what the pages of signing in, enrolling and one's own account work with; Admin what those of administration do.
	SignIn SignInConfig
	Admin  AdminConfig
	// Health returns what is wrong with this site's stores. It may be nil.
	Health func() []health.Condition
	// Zone is the time zone that times are shown in.
	Zone   *time.Location
	Now    func() time.Time
	Logger *slog.Logger
}

// Portal is the portal's routes. It is safe for concurrent use.
type Portal struct {
	cfg      Config
	render   *renderer
	streams  *web.Streams
	errors   *web.Errors
	signIns  *web.Attempts // wrong ways in
	badLinks *web.Attempts // wrong reply links
}

// Bounds: live pages at a time, and how often one address may try secrets.
const (
	maxStreams   = 1000
	heartbeat    = 15 * time.Second
	maxAddresses = 10_000
)

// New returns a portal. It returns an error only if its own embedded files are broken, which a test would have found.
func New(c Config) (*Portal, error) {
	r, err := newRenderer(c.Zone)
	if err != nil {
		return nil, fmt.Errorf("make the portal: %w", err)
	}
	p := &Portal{cfg: c, render: r, streams: web.NewStreams(c.Sessions, maxStreams, heartbeat),
		signIns:  web.NewAttempts(c.Now, 100, time.Second/5, maxAddresses),
		badLinks: web.NewAttempts(c.Now, 60, time.Second, maxAddresses)}
	p.errors = &web.Errors{HTML: p.showError, Logger: c.Logger}
	return p, nil
}

// Errors returns the writer of errors that knows how to show them as pages, for web.Handler.
func (p *Portal) Errors() *web.Errors { return p.errors }

// Mount adds the portal's routes to mux.
func (p *Portal) Mount(mux *http.ServeMux) {
	g := &web.Guard{Auth: p.cfg.Sessions, Judge: p.cfg.Judge, Audit: p.cfg.Audit, Errors: p.errors, Refuse: p.refuse}
	g.Mount(mux, p.Routes())
	mux.Handle("GET /assets/", p.render.assets)
}

// Routes is the portal's table of contents. Every route names the permission it takes, or is open to everybody.
func (p *Portal) Routes() []web.Route {
	return slices.Concat(p.overviewRoutes(), p.alarmRoutes(), p.signInRoutes(), p.adminRoutes(), []web.Route{
		{Pattern: "GET /r/{token}", Open: true, Handle: p.showReply},
		{Pattern: "POST /r/{token}", Open: true, Handle: p.takeReply},
		{Pattern: "/", Open: true, Handle: p.notFound},
	})
}

func (p *Portal) overviewRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET /{$}", Need: access.SeeOverview, Handle: p.showOverview},
		{Pattern: "GET /fragment/overview", Need: access.SeeOverview, Handle: p.showOverviewFragment},
		{Pattern: "GET /merges", Need: access.SeeOverview, Handle: p.showMerges},
		{Pattern: "GET /fragment/merges", Need: access.SeeOverview, Handle: p.showMergesFragment},
		{Pattern: "GET /receipt", Need: access.SeeOverview, Handle: p.showReceipt},
		{Pattern: "GET /events", Need: access.SeeOverview, Handle: p.streamEvents},
	}
}

func (p *Portal) alarmRoutes() []web.Route {
	return []web.Route{
		{Pattern: "GET /a/{authority}/{$}", Need: access.SeeAlarms, Handle: p.toAlarms},
		{Pattern: "GET /a/{authority}/people", Need: access.SeePeople, Sealed: true, Handle: p.showPeople},
		{Pattern: "GET /a/{authority}/people/{person}", Need: access.SeePeople, Sealed: true, Handle: p.showPerson},
		{Pattern: "GET /a/{authority}/alarms", Need: access.SeeAlarms, Handle: p.showAlarms},
		{Pattern: "GET /a/{authority}/fragment/alarms", Need: access.SeeAlarms, Handle: p.showAlarmsFragment},
		{Pattern: "GET /a/{authority}/alarms/new", Need: access.RaiseAlarm, Handle: p.showRaise},
		{Pattern: "POST /a/{authority}/alarms/new", Need: access.RaiseAlarm, Deed: "alarm.preview", Handle: p.showRaise},
		{Pattern: "POST /a/{authority}/alarms/preview", Need: access.RaiseAlarm, Deed: "alarm.preview", Handle: p.previewAlarm},
		{Pattern: "POST /a/{authority}/alarms", Need: access.RaiseAlarm, Handle: p.raiseAlarm},
		{Pattern: "GET /a/{authority}/alarms/{alarm}", Need: access.SeeAlarms, Sealed: true, Handle: p.showBoard},
		{Pattern: "GET /a/{authority}/alarms/{alarm}/fragment", Need: access.SeeAlarms, Handle: p.showBoardFragment},
		{Pattern: "GET /a/{authority}/alarms/{alarm}/people", Need: access.SeeAlarms, Sealed: true, Handle: p.showBoardPeople},
		{Pattern: "GET /a/{authority}/alarms/{alarm}/cancel", Need: access.CloseAlarm, Handle: p.showCancel},
		{Pattern: "POST /a/{authority}/alarms/{alarm}/cancel", Need: access.CloseAlarm, Handle: p.cancelAlarm},
		{Pattern: "GET /a/{authority}/alarms/{alarm}/call", Need: access.RaiseAlarm, Handle: p.showCall},
		{Pattern: "POST /a/{authority}/alarms/{alarm}/call", Need: access.RaiseAlarm, Deed: "alarm.call", Handle: p.callNow},
		{Pattern: "GET /a/{authority}/alarms/{alarm}/allclear", Need: access.CloseAlarm, Handle: p.showAllClear},
		{Pattern: "POST /a/{authority}/alarms/{alarm}/allclear", Need: access.CloseAlarm, Handle: p.giveAllClear},
	}
}

var errNoPage = fault.New(fault.NotFound, "portal.no_page", "there is no such page", "begin at the overview")

func (p *Portal) notFound(http.ResponseWriter, *http.Request) error { return errNoPage }

// refuse sends strangers who want to look to the sign-in page; strangers who want to change something get an error. Whose
// account or visit has ended learns why, and loses the session that is worth nothing any more.
func (p *Portal) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if code := fault.Of(err).Code; strings.HasPrefix(code, "identity.") || strings.HasPrefix(code, "guest.") {
		p.cfg.Sessions.Forget(w, r)
		p.errors.Write(w, r, err)
		return
	}
	if fault.KindOf(err) == fault.Unauthenticated && r.Method == http.MethodGet && r.Header.Get("X-Holdfast-Fragment") == "" {
		p.keepWanted(w, r)
		http.Redirect(w, r, "/signin", http.StatusSeeOther)
		return
	}
	p.errors.Write(w, r, err)
}

// texts returns the words of the request's language.
func (p *Portal) texts(r *http.Request) *texts { return p.render.texts[web.LanguageOf(r.Context())] }

// frame returns the frame of a page of the request.
func (p *Portal) frame(r *http.Request, nav, title string) frame {
	t := p.texts(r)
	f := frame{Lang: t.language, Title: title, Path: r.URL.RequestURI(), Nav: nav, Site: p.self().Name, Home: "/signin"}
	p.addWho(r, t, &f)
	p.addCame(r, t, &f)
	if r.Method != http.MethodGet || strings.HasPrefix(f.Path, "/signin/oidc/") {
		f.Path = f.Home // changing the language of an answer to a POST would send it again, and a provider's answer is used up
	}
	return f
}

// showError renders an error as a page. It must not fail in turn.
func (p *Portal) showError(w http.ResponseWriter, r *http.Request, status int, f *fault.Fault) {
	t := p.texts(r)
	v := p.render.errorView(t.language, f, p.elsewhereFor(r))
	if f.Code == access.ErrForbidden.Code {
		v.Message = strings.TrimSpace(v.Message + " " + p.lostRole(r))
	}
	fr := p.frame(r, "", v.Title)
	if fr.SignedIn {
		v.Back = fr.Home
	}
	if err := p.render.page(w, status, fr, "error", v); err != nil {
		p.cfg.Logger.ErrorContext(r.Context(), "error page failed", "error", err)
		http.Error(w, v.Message, status)
	}
}

// errNotHere is returned for an authority whose data this site may not hold, or that does not exist.
var errNotHere = fault.New(fault.NotFound, "portal.authority", "this site holds no data of this authority",
	"use one of the authority's own sites")

// authority returns the authority of the path. It returns errNotHere if this site does not hold it.
func (p *Portal) authority(r *http.Request) (authorityView, error) {
	id := event.AuthorityID(r.PathValue("authority"))
	for _, a := range p.heldAuthorities(p.texts(r)) {
		if a.ID == id {
			return a, nil
		}
	}
	return authorityView{}, errNotHere
}

// actor returns who acts, as facts record it.
func actor(r *http.Request) string {
	a, _ := web.ActorOf(r.Context())
	return a.ID
}

// settle waits until this site shows what was just written, and a moment longer for a second operator, so that most
// writes come back as secured. Waiting in vain is no error: the page says what is known.
func (p *Portal) settle(ctx context.Context, receipt web.Receipt) error {
	shown, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := p.cfg.Model.Wait(shown, receipt.Log, receipt.At); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	secured, cancel2 := context.WithTimeout(ctx, 700*time.Millisecond)
	defer cancel2()
	if err := p.cfg.Copies.Wait(secured, receipt.Log, receipt.At, 2); err != nil && fault.KindOf(err) == fault.Internal &&
		!errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// withReceipt appends what to show about a write to a path.
func withReceipt(path, what string, receipt string) string {
	return path + "?" + url.Values{"wrote": {what}, "receipt": {receipt}}.Encode()
}

// saved reads a receipt that a write has left in the path, nil if there is none.
func (p *Portal) saved(r *http.Request) *savedView {
	text := r.URL.Query().Get("receipt")
	if text == "" {
		return nil
	}
	receipt, err := web.ParseReceipt(text)
	if err != nil {
		return nil
	}
	if receipt.Log.Authority != event.Federation && !sees(r, receipt.Log.Authority) {
		return nil
	}
	t := p.texts(r)
	v := &savedView{Operators: len(p.cfg.Copies.Secured(receipt.Log, receipt.At)),
		Path: "/receipt?" + url.Values{"receipt": {text}, "wrote": {r.URL.Query().Get("wrote")}}.Encode()}
	v.Secured = v.Operators >= 2
	switch what := r.URL.Query().Get("wrote"); what {
	case "asked":
		v.What, v.Asked = t.t("done.asked"), true
	case "raised", "closed", "called":
		v.What = t.t("saved." + what)
	}
	return v
}

// showReceipt is the fragment that tells how safe a write is by now.
func (p *Portal) showReceipt(w http.ResponseWriter, r *http.Request) error {
	v := p.saved(r)
	if v == nil {
		return web.ErrReceipt
	}
	return p.render.bare(w, http.StatusOK, p.texts(r).language, "saved", v)
}

func (p *Portal) toAlarms(w http.ResponseWriter, r *http.Request) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/a/"+string(a.ID)+"/alarms", http.StatusSeeOther)
	return nil
}

// parseForm reads a form of the usual kind.
func parseForm(r *http.Request) error {
	if ct := r.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/x-www-form-urlencoded") {
		return fault.New(fault.Invalid, "web.form", "this is not a form", "use the page's own button")
	}
	if err := r.ParseForm(); err != nil {
		return web.BodyError(err)
	}
	return nil
}

// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"bytes"
	"cmp"
	"context"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/web"
)

// statuses are the tiles and lists of a board, in their order.
var statuses = []alarm.Status{alarm.StatusComing, alarm.StatusSafe, alarm.StatusCannot, alarm.StatusSilent, alarm.StatusPending,
	alarm.StatusFailed, alarm.StatusWithout}

// Bounds of a board's lists.
const (
	boardUnits  = 200
	boardPeople = alarm.MaxList
)

func (p *Portal) showAlarms(w http.ResponseWriter, r *http.Request) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	t := p.texts(r)
	rows, err := p.alarmRows(r.Context(), t, a.ID, false)
	if err != nil {
		return err
	}
	f := p.frame(r, "alarms", t.t("alarms.title"))
	f.Authority, f.Live = &a, "/events?of=alarms&authority="+string(a.ID)
	v := alarmsView{Authority: a.ID, Alarms: rows, MayRaise: f.May(access.RaiseAlarm), Notices: p.notices(r, a)}
	return p.render.page(w, http.StatusOK, f, "alarms", v)
}

func (p *Portal) showAlarmsFragment(w http.ResponseWriter, r *http.Request) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	rows, err := p.alarmRows(r.Context(), p.texts(r), a.ID, false)
	if err != nil {
		return err
	}
	return p.render.bare(w, http.StatusOK, p.texts(r).language, "alarms-live", alarmsView{Authority: a.ID, Alarms: rows, Notices: p.notices(r, a)})
}

func (p *Portal) showBoard(w http.ResponseWriter, r *http.Request) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	v, err := p.board(r, a)
	if err != nil {
		return err
	}
	if err := p.addList(r, &v); err != nil {
		return err
	}
	f := p.frame(r, "alarms", shorten(strings.TrimSpace(strings.TrimPrefix(v.Text, p.texts(r).t("mode."+string(v.Mode))+":")), 60))
	f.Authority, f.Mode, f.Saved = &a, v.Mode, p.saved(r)
	f.Live = "/events?of=board&authority=" + string(a.ID) + "&alarm=" + r.PathValue("alarm")
	return p.render.page(w, http.StatusOK, f, "board", v)
}

func (p *Portal) showBoardFragment(w http.ResponseWriter, r *http.Request) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	v, err := p.board(r, a)
	if err != nil {
		return err
	}
	return p.render.bare(w, http.StatusOK, p.texts(r).language, "board-live", v)
}

// showBoardPeople is the fragment with one list of people.
func (p *Portal) showBoardPeople(w http.ResponseWriter, r *http.Request) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	v := boardView{Authority: a.ID, Path: boardPath(a.ID, r.PathValue("alarm"))}
	if err := p.addList(r, &v); err != nil {
		return err
	}
	return p.render.bare(w, http.StatusOK, p.texts(r).language, "board-list", v)
}

func boardPath(authority event.AuthorityID, id string) string {
	return "/a/" + string(authority) + "/alarms/" + url.PathEscape(id)
}

// board makes the view of everything but the list of people.
func (p *Portal) board(r *http.Request, a authorityView) (boardView, error) {
	b, err := p.cfg.Alarms.Board(r.Context(), a.ID, alarm.ID(r.PathValue("alarm")))
	if err != nil {
		return boardView{}, err
	}
	t := p.texts(r)
	c := b.Total
	v := boardView{Authority: a.ID, Path: boardPath(a.ID, string(b.Alarm.ID)), Mode: b.Alarm.Raised.Mode, At: b.Alarm.RaisedAt,
		Open: b.Alarm.Ending == alarm.StillOpen, People: b.Alarm.Raised.Recipients, Called: c.Called, Unsecured: c.Unsecured,
		CallBar: bar(b.Alarm.Raised.Recipients, barPart{"called", c.Called}, barPart{"failed", c.Failed})}
	v.MayClose = v.Open && p.may(r, a.ID, access.CloseAlarm)
	v.Text, v.OtherText, v.OtherLang = textFor(t.language, b.Alarm.Raised)
	v.TextLang = textLanguage(t.language, b.Alarm.Raised)
	v.Title, v.Now = shorten(v.Text, 120), p.cfg.Now()
	if c.Recipients < b.Alarm.Raised.Recipients {
		v.Unknown = t.t("board.partial")
	}
	v.StateBadge = stateBadge(t, b.Alarm)
	v.Summary = t.t("board.summary", t.clock(v.Now), t.num(c.Called), t.num(v.People), t.num(c.Coming), t.num(c.Cannot),
		t.num(c.Safe), t.num(c.Silent))
	for _, s := range statuses {
		v.Tiles = append(v.Tiles, tileView{Class: string(s), Title: t.t("status." + string(s)), Count: count(c, s)})
	}
	for _, ch := range b.Channels {
		v.Channels = append(v.Channels, channelCount{Name: t.t("channel." + string(ch.Channel)), Possible: ch.Recipients,
			Accepted: ch.Accepted, Failed: ch.Refused})
	}
	p.addCallers(t, &v, b)
	v.Times = p.timeWarnings(t, b.Alarm, p.may(r, a.ID, access.RaiseAlarm))
	if v.Open && c.DueCall > 0 {
		v.Gateways = p.gatewayWarning(t, a, b.Alarm.Raised.Channels)
	}
	return v, p.addUnitRows(r.Context(), t, &v, b)
}

func stateBadge(t *texts, a alarm.Alarm) badgeView {
	text := t.t("state." + stateKey(a.Ending))
	if a.Ending == alarm.StillOpen {
		return badgeView{"warning", "warning", text}
	}
	return badgeView{"success", "success", text + ", " + t.dateTime(a.ClosedAt)}
}

func count(c alarm.Tally, s alarm.Status) int {
	switch s {
	case alarm.StatusComing:
		return c.Coming
	case alarm.StatusCannot:
		return c.Cannot
	case alarm.StatusSafe:
		return c.Safe
	case alarm.StatusSilent:
		return c.Silent
	case alarm.StatusWithout:
		return c.Without
	case alarm.StatusPending:
		return c.Pending
	case alarm.StatusFailed:
		return c.Failed
	}
	return 0
}

// addCallers tells who calls: the site with the latest sign while anything is due, and who has taken over from whom.
func (p *Portal) addCallers(t *texts, v *boardView, b alarm.Board) {
	v.Ranking = p.siteNames(b.Alarm.Raised.Ranking)
	due := b.Total.DueCall
	if !v.Open {
		due = b.Total.DueClosing
	}
	switch {
	case due == 0 && b.Total.Recipients > 0:
		v.Caller = t.t("board.done")
	case len(b.Callers) > 0:
		v.Caller = p.siteName(b.Callers[0].Site)
	}
	for _, o := range b.Takeovers {
		v.Takeovers = append(v.Takeovers, takeoverView{Site: p.siteName(o.Site), At: time.UnixMilli(o.Wall)})
	}
}

// addUnitRows shows the units with most people first cut to boardUnits, then by name.
func (p *Portal) addUnitRows(ctx context.Context, t *texts, v *boardView, b alarm.Board) error {
	units, err := p.cfg.Directory.Units(ctx, v.Authority)
	if err != nil {
		return err
	}
	names := unitNames(t, units)
	list := slices.Clone(b.Units)
	slices.SortFunc(list, func(x, y alarm.UnitTally) int {
		return cmp.Or(cmp.Compare(y.Recipients, x.Recipients), cmp.Compare(x.Unit, y.Unit))
	})
	if len(list) > boardUnits {
		v.MoreUnits = len(list) - boardUnits
		list = list[:boardUnits]
	}
	for _, u := range list {
		name, ok := names[u.Unit]
		if !ok {
			name = t.t("person.notyet")
		}
		v.Units = append(v.Units, unitRow{Name: name, People: u.Recipients, Called: u.Called, Coming: u.Coming, Cannot: u.Cannot,
			Safe: u.Safe, Silent: u.Silent, Bar: statusBar(u.Tally)})
	}
	slices.SortStableFunc(v.Units, func(x, y unitRow) int { return cmp.Compare(x.Name, y.Name) })
	return nil
}

// addList adds one list of people, by the page's "list" parameter; silent ones are what one looks for first.
func (p *Portal) addList(r *http.Request, v *boardView) error {
	t := p.texts(r)
	status := alarm.Status(r.URL.Query().Get("list"))
	if !status.Valid() {
		status = alarm.StatusSilent
	}
	for _, s := range statuses {
		v.Lists = append(v.Lists, listTab{Name: string(s), Title: t.t("status." + string(s)), On: s == status})
	}
	v.ListTitle = t.t("status." + string(status))
	after := directory.PersonID(r.URL.Query().Get("after"))
	query := url.Values{"list": {string(status)}}
	if after != "" {
		query.Set("after", string(after))
	}
	v.ListQuery = template.URL(query.Encode()) // our own encoding of checked values
	people, err := p.cfg.Alarms.People(r.Context(), v.Authority, alarm.ID(r.PathValue("alarm")), status, after, boardPeople)
	if err != nil {
		return err
	}
	if v.Listed, err = p.listed(r.Context(), t, v.Authority, people); err != nil {
		return err
	}
	first := v.Path + "?list=" + string(status)
	if after != "" {
		v.Pager.First = first + "#list"
	}
	if len(people) == boardPeople {
		v.Pager.Next = first + "&after=" + string(people[len(people)-1].Person) + "#list"
	}
	return nil
}

// listed names the people and orders them as the directory does, by family name; who cannot be read comes last. A list
// of more than boardPeople is cut by id before it is ordered, because alarms know no names: each page is in order by itself.
func (p *Portal) listed(ctx context.Context, t *texts, authority event.AuthorityID, people []alarm.PersonLine) ([]listedView, error) {
	collator := collate.New(language.German) // DIN 5007: ö sorts as o; the same in both languages, as these are German names
	var buffer collate.Buffer
	out := make([]listedView, 0, len(people))
	for _, line := range people {
		person, err := p.personKnown(ctx, authority, line.Person)
		if err != nil {
			return nil, err
		}
		name := nameOf(person)
		out = append(out, listedView{nameView: name, Note: replyNote(t, line.Reply)})
		if name.Readable == directory.Readable {
			family := cmp.Or(person.FamilyName, person.DisplayName)
			out[len(out)-1].order = collator.KeyFromString(&buffer, family+" "+person.GivenName)
		}
	}
	slices.SortStableFunc(out, func(x, y listedView) int {
		if x.order == nil || y.order == nil {
			return bytes.Compare(y.order, x.order) // the empty one behind
		}
		return bytes.Compare(x.order, y.order)
	})
	return out, nil
}

func replyNote(t *texts, reply *alarm.Reply) string {
	switch {
	case reply == nil:
		return ""
	case reply.Kind == alarm.Coming && reply.ETAMinutes > 0:
		return t.t("board.eta", t.num(reply.ETAMinutes), t.shortTime(time.UnixMilli(reply.Wall)))
	}
	return t.t("board.at", t.shortTime(time.UnixMilli(reply.Wall)))
}

// textFor returns an alarm's text in the language, and the other one with its language, if both are there.
func textFor(l web.Language, a alarm.Raised) (text, other, otherLanguage string) {
	de, en := a.TextDE, a.TextEN
	switch {
	case de == "":
		return en, "", ""
	case en == "":
		return de, "", ""
	case l == web.English:
		return en, de, "de"
	}
	return de, en, "en"
}

// shorten cuts a text for a title, at a character.
func shorten(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}

func (p *Portal) showCancel(w http.ResponseWriter, r *http.Request) error {
	return p.showClose(w, r, "cancel")
}

func (p *Portal) showAllClear(w http.ResponseWriter, r *http.Request) error {
	return p.showClose(w, r, "allclear")
}

// showClose asks before an alarm is closed, and says what follows from it.
func (p *Portal) showClose(w http.ResponseWriter, r *http.Request, how string) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	b, err := p.cfg.Alarms.Board(r.Context(), a.ID, alarm.ID(r.PathValue("alarm")))
	if err != nil {
		return err
	}
	if b.Alarm.Ending != alarm.StillOpen {
		return alarm.ErrClosed
	}
	t := p.texts(r)
	text, _, _ := textFor(t.language, b.Alarm.Raised)
	path := boardPath(a.ID, string(b.Alarm.ID))
	v := closeView{Title: t.t("close." + how), Text: text, TextLang: textLanguage(t.language, b.Alarm.Raised), Consequence: t.n("close.consequence", b.Total.Called),
		Go: t.t("close.go." + how), Path: path + "/" + how, Back: path}
	f := p.frame(r, "alarms", v.Title)
	f.Authority, f.Mode = &a, b.Alarm.Raised.Mode
	return p.render.page(w, http.StatusOK, f, "close", v)
}

func (p *Portal) cancelAlarm(w http.ResponseWriter, r *http.Request) error {
	return p.closeAlarm(w, r, alarm.WasCancelled)
}

func (p *Portal) giveAllClear(w http.ResponseWriter, r *http.Request) error {
	return p.closeAlarm(w, r, alarm.WasCleared)
}

func (p *Portal) closeAlarm(w http.ResponseWriter, r *http.Request, how alarm.Ending) error {
	a, err := p.authority(r)
	if err != nil {
		return err
	}
	id := alarm.ID(r.PathValue("alarm"))
	command := p.cfg.Alarms.AllClear
	if how == alarm.WasCancelled {
		command = p.cfg.Alarms.Cancel
	}
	written, err := command(r.Context(), a.ID, id, alarm.Words{Actor: actor(r)})
	path := boardPath(a.ID, string(id))
	if fault.Of(err).Code == alarm.ErrClosed.Code {
		http.Redirect(w, r, path, http.StatusSeeOther) // a double tap: show what is true
		return nil
	}
	if err != nil {
		return err
	}
	receipt := web.ReceiptOf(written)
	if err := p.settle(r.Context(), receipt); err != nil {
		return err
	}
	http.Redirect(w, r, withReceipt(path, "closed", receipt.String()), http.StatusSeeOther)
	return nil
}

// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/web"
)

// The world of these tests: three sites, two authorities here and one elsewhere, four people, two alarms.

var now = time.Date(2026, 11, 22, 3, 14, 15, 0, time.UTC)

const (
	siteNord = event.SiteID("aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffffgggg")
	siteSued = event.SiteID("bbbbbbbbccccccccddddddddeeeeeeeeffffffffgggggggghhhh")
	siteBox  = event.SiteID("ccccccccddddddddeeeeeeeeffffffffgggggggghhhhhhhhiiii")

	nordtal = event.AuthorityID("lk-nordtal")
	stadt   = event.AuthorityID("stadt-seeheim")
	away    = event.AuthorityID("amt-anderswo")

	alarmOpen   = alarm.ID("0123456789abcdef")
	alarmClosed = alarm.ID("fedcba9876543210")
	alarmHeld   = alarm.ID("00000000000000fe")
)

func member(id event.SiteID, name, operator string, box, self bool) Member {
	return Member{ID: id, Name: name, Operator: operator, Box: box, Self: self, PortalURL: "https://" + strings.ToLower(name) + ".example"}
}

type fakeFederation struct{}

func (fakeFederation) Members() []Member {
	return []Member{member(siteNord, "Nord", "Anbieter Nord GmbH", false, true),
		member(siteSued, "Sued", "Sued Cloud SE", false, false),
		member(siteBox, "Kreishaus", "Landkreis Nordtal", true, false),
		{ID: "ddddddddeeeeeeee", Name: "West", Operator: "Westhost BV", Pending: true}}
}

func (fakeFederation) Authorities() []Authority {
	return []Authority{
		{ID: away, NameDE: "Amt Anderswo", NameEN: "Elsewhere Office", Sites: []event.SiteID{siteSued}},
		{ID: nordtal, NameDE: "Landkreis Nordtal", NameEN: "Nordtal District", Sites: []event.SiteID{siteNord, siteSued, siteBox}},
		{ID: stadt, NameDE: "Stadt Seeheim", NameEN: "City of Seeheim", Sites: []event.SiteID{siteNord, siteSued}},
	}
}

type fakeDirectory struct{}

var people = []directory.Person{
	{ID: "1111111111111111", DisplayName: "Dr. Jürgen Öztürk-Groß", GivenName: "Jürgen", FamilyName: "Öztürk-Groß", Position: "Landrat", Language: directory.German, Units: []directory.UnitID{"a1"},
		Reachability: []directory.Channel{{Kind: directory.SMS, Address: "+491713920012"}, {Kind: directory.Email, Address: "j.oeztuerk@nordtal.example"}}, Readable: directory.Readable},
	{ID: "2222222222222222", DisplayName: "Mia Müller", GivenName: "Mia", FamilyName: "Müller", Position: "Sachbearbeiterin", Language: directory.English, Units: []directory.UnitID{"a2"},
		Reachability: []directory.Channel{{Kind: directory.Email, Address: "m.mueller@nordtal.example"}}, Readable: directory.Readable},
	{ID: "3333333333333333", DisplayName: "Ohne Weg", GivenName: "Ohne", FamilyName: "Weg", Units: []directory.UnitID{"a2"}, Readable: directory.Readable},
	{ID: "4444444444444444", Readable: directory.Erased},
	{ID: "5555555555555555", Readable: directory.NotYet},
}

func (fakeDirectory) People(_ context.Context, _ event.AuthorityID, s directory.Search) ([]directory.Person, int, error) {
	var found []directory.Person
	for _, p := range people {
		if strings.Contains(strings.ToLower(p.DisplayName), strings.ToLower(s.Text)) {
			found = append(found, p)
		}
	}
	return found, len(found), nil
}

func (fakeDirectory) Person(_ context.Context, _ event.AuthorityID, id directory.PersonID) (directory.Person, error) {
	for _, p := range people {
		if p.ID == id {
			return p, nil
		}
	}
	return directory.Person{}, directory.ErrPersonUnknown
}

func (fakeDirectory) Units(context.Context, event.AuthorityID) ([]directory.Unit, error) {
	return []directory.Unit{{ID: "a1", Name: "Kreisverwaltung", People: 1, Readable: directory.Readable},
		{ID: "a2", Parent: "a1", Name: "Amt 32 – Ordnung und Bevölkerungsschutz", People: 2, Readable: directory.Readable}}, nil
}

func (fakeDirectory) Functions(context.Context, event.AuthorityID) ([]directory.Function, error) {
	return []directory.Function{{ID: "f1", Name: "Leiter Stab", Code: "LtrStab", Holders: []directory.PersonID{"1111111111111111"},
		Deputies: []directory.PersonID{"2222222222222222"}, Readable: directory.Readable}}, nil
}

type fakeAlarms struct {
	mu     sync.Mutex
	drafts []alarm.Draft
	closed []string
	held   bool // the list has a held alarm, too
	reply  *alarm.Reply
}

func (f *fakeAlarms) Preview(_ context.Context, _ event.AuthorityID, a directory.Audience, _ ...directory.ChannelKind) (alarm.Preview, error) {
	if !a.Everyone {
		return alarm.Preview{People: 1, PerChannel: map[directory.ChannelKind]int{directory.SMS: 1}}, nil
	}
	return alarm.Preview{People: 1234, WithoutChannel: 12, PerChannel: map[directory.ChannelKind]int{directory.SMS: 1100, directory.Email: 1200}}, nil
}

func (f *fakeAlarms) Raise(_ context.Context, _ event.AuthorityID, d alarm.Draft) (alarm.Alarm, eventlog.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drafts = append(f.drafts, d)
	return alarm.Alarm{ID: alarmOpen}, written(), nil
}

func (f *fakeAlarms) Cancel(_ context.Context, _ event.AuthorityID, id alarm.ID, w alarm.Words) (eventlog.Receipt, error) {
	f.closed = append(f.closed, "cancel "+string(id)+" by "+w.Actor)
	return written(), nil
}

func (f *fakeAlarms) AllClear(_ context.Context, _ event.AuthorityID, id alarm.ID, w alarm.Words) (eventlog.Receipt, error) {
	f.closed = append(f.closed, "allclear "+string(id)+" by "+w.Actor)
	return written(), nil
}

func (f *fakeAlarms) OrderCalling(_ context.Context, _ event.AuthorityID, id alarm.ID, actor, grant string) (eventlog.Receipt, error) {
	f.closed = append(f.closed, "call "+string(id)+" by "+actor)
	return written(), nil
}

func (f *fakeAlarms) Alarm(_ context.Context, _ event.AuthorityID, id alarm.ID) (alarm.Alarm, error) {
	return anAlarm(id), nil
}

func written() eventlog.Receipt {
	return eventlog.Receipt{Log: eventlog.LogID{Authority: nordtal, Class: event.Operations, Site: siteID, Incarnation: "00112233aabbccdd"},
		Last: eventlog.Position{Page: 7, Index: 2}}
}

// siteID is a real key's id, because receipts are checked when they are read.
const siteID = event.SiteID("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")

func anAlarm(id alarm.ID) alarm.Alarm {
	a := alarm.Alarm{Authority: nordtal, ID: id, Event: "00000000000000aa", RaisedAt: now.Add(-4 * time.Minute), Origin: siteNord,
		Raised: alarm.Raised{TextDE: "Serverausfall im Kreishaus. Bitte im Lagezentrum melden.", TextEN: "Servers down. Report to the situation centre.",
			Mode: event.Actual, Ranking: []event.SiteID{siteNord, siteSued, siteBox}, Recipients: 2000, WithoutChannel: 23}}
	if id == alarmHeld {
		a.Held, a.Due, a.Clock = alarm.HeldOld, 377, &alarm.ClockNote{Site: siteBox, AheadMillis: -3 * 24 * 3600_000, By: siteNord}
	}
	if id == alarmClosed {
		a.Raised.Mode, a.Raised.TextEN, a.Ending, a.ClosedAt = event.Exercise, "", alarm.WasCleared, now.Add(-time.Hour)
		a.RaisedAt = now.Add(-2 * time.Hour)
	}
	return a
}

func (f *fakeAlarms) List(_ context.Context, authority event.AuthorityID, _ time.Time, _ int) ([]alarm.Alarm, error) {
	if authority != nordtal {
		return nil, nil
	}
	list := []alarm.Alarm{anAlarm(alarmOpen), anAlarm(alarmClosed)}
	if f.held {
		list = append(list, anAlarm(alarmHeld))
	}
	return list, nil
}

var tally = alarm.Tally{Recipients: 2000, Called: 1600, Coming: 310, Cannot: 45, Safe: 12, Silent: 1228, Without: 23, Pending: 377, Failed: 5,
	Accepted: 2900, Refused: 11, Unsecured: 3, DueCall: 377}

func (f *fakeAlarms) Board(_ context.Context, _ event.AuthorityID, id alarm.ID) (alarm.Board, error) {
	if id != alarmOpen && id != alarmClosed && id != alarmHeld {
		return alarm.Board{}, alarm.ErrUnknown
	}
	return alarm.Board{Alarm: anAlarm(id), Total: tally,
		Channels: []alarm.ChannelTally{{Channel: directory.Email, Tally: alarm.Tally{Recipients: 1900, Accepted: 1600, Refused: 6}},
			{Channel: directory.SMS, Tally: alarm.Tally{Recipients: 1700, Accepted: 1300, Refused: 5}}},
		Units: []alarm.UnitTally{{Unit: "a1", Tally: alarm.Tally{Recipients: 1500, Called: 1200, Coming: 300, Silent: 900}},
			{Unit: "a2", Tally: alarm.Tally{Recipients: 480, Called: 400, Coming: 10, Cannot: 45, Safe: 12, Silent: 328}}, {Unit: "", Tally: alarm.Tally{Recipients: 20}}},
		Callers:   []alarm.CallerLine{{Site: siteSued, At: now.Add(-time.Second), Pending: 377}},
		Takeovers: []alarm.Takeover{{Site: siteSued, Rank: 1, Wall: now.Add(-time.Minute).UnixMilli()}}}, nil
}

func (f *fakeAlarms) People(_ context.Context, _ event.AuthorityID, _ alarm.ID, s alarm.Status, _ directory.PersonID, _ int) ([]alarm.PersonLine, error) {
	if s == alarm.StatusComing {
		return []alarm.PersonLine{{Person: "1111111111111111", Status: s, Reply: &alarm.Reply{Kind: alarm.Coming, ETAMinutes: 20, Wall: now.UnixMilli()}}}, nil
	}
	if s == alarm.StatusSilent {
		return []alarm.PersonLine{{Person: "2222222222222222", Status: s}, {Person: "4444444444444444", Status: s}, {Person: "9999999999999999", Status: s}}, nil
	}
	return nil, nil
}

const goodToken, strangeToken = "good-token", "strange-token"

func (f *fakeAlarms) ReplyView(_ context.Context, token string) (alarm.ReplyView, error) {
	switch token {
	case goodToken:
		return alarm.ReplyView{Link: alarm.Link{Authority: nordtal, Alarm: alarmOpen, Person: "1111111111111111"}, Known: true,
			Alarm: anAlarm(alarmOpen), Language: directory.German, Reply: f.reply}, nil
	case strangeToken:
		return alarm.ReplyView{Link: alarm.Link{Authority: nordtal}, Language: directory.English}, nil
	}
	return alarm.ReplyView{}, alarm.ErrLink
}

func (f *fakeAlarms) Reply(_ context.Context, token string, kind alarm.ReplyKind, eta int) (alarm.Link, eventlog.Receipt, error) {
	if token != goodToken && token != strangeToken {
		return alarm.Link{}, eventlog.Receipt{}, alarm.ErrLink
	}
	if !kind.Valid() {
		return alarm.Link{}, eventlog.Receipt{}, alarm.ErrReply
	}
	f.reply = &alarm.Reply{Kind: kind, ETAMinutes: eta, Wall: now.UnixMilli()}
	return alarm.Link{}, written(), nil
}

type fakeModel struct{ names chan readmodel.Name }

func (fakeModel) Wait(context.Context, eventlog.LogID, eventlog.Position) error { return nil }
func (m fakeModel) Watch(...readmodel.Ref) (<-chan readmodel.Name, func()) {
	return m.names, func() {}
}
func (fakeModel) Merges(context.Context) ([]readmodel.Merge, error) {
	return []readmodel.Merge{
		{Authority: nordtal, From: siteSued, FirstWall: now.Add(-3 * time.Hour), LastWall: now.Add(-2 * time.Hour), ArrivedAt: now.Add(-time.Hour), Events: 1321, Late: 17},
		{Authority: event.Federation, From: siteBox, FirstWall: now.Add(-9 * time.Hour), LastWall: now.Add(-9 * time.Hour), ArrivedAt: now.Add(-8 * time.Hour), Events: 1},
		{Authority: nordtal, From: siteBox, FirstCopy: true, Events: 9}}, nil
}
func (fakeModel) SetAside(context.Context) ([]readmodel.Trouble, error) { return nil, nil }

type fakeCopies struct{ operators []string }

func (c fakeCopies) Secured(eventlog.LogID, eventlog.Position) []string { return c.operators }
func (fakeCopies) Wait(context.Context, eventlog.LogID, eventlog.Position, int) error {
	return nil
}
func (fakeCopies) Lag() []eventlog.PeerLag {
	return []eventlog.PeerLag{{Peer: siteSued, LastHeard: now.Add(-time.Second), Ahead: 3, Offset: 40 * time.Millisecond},
		{Peer: siteBox, LastHeard: now.Add(-2 * time.Minute), Behind: 4, Offset: 95 * time.Second}}
}

// memory is a local store of plain maps.
type memory struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (s *memory) Put(_ context.Context, b, k string, v []byte, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[b+"/"+k] = v
	return nil
}

func (s *memory) PutNew(ctx context.Context, b, k string, v []byte, e time.Time) error {
	s.mu.Lock()
	_, there := s.m[b+"/"+k]
	s.mu.Unlock()
	if there {
		return fault.New(fault.Conflict, "local.exists", "it is there", "")
	}
	return s.Put(ctx, b, k, v, e)
}

func (s *memory) Get(_ context.Context, b, k string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.m[b+"/"+k]
	if !ok {
		return nil, fault.New(fault.NotFound, "local.not_found", "it is not there", "")
	}
	return v, nil
}

func (s *memory) Take(ctx context.Context, b, k string) ([]byte, error) {
	v, err := s.Get(ctx, b, k)
	_ = s.Delete(ctx, b, k)
	return v, err
}

func (s *memory) Delete(_ context.Context, b, k string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, b+"/"+k)
	return nil
}

// world is a portal with its fakes.
type world struct {
	*Portal
	handler http.Handler
	alarms  *fakeAlarms
	names   chan readmodel.Name
	cookie  *http.Cookie

	sessions *web.Sessions
	tokens   *fakeTokens
	access   *fakeAccess
	audit    *fakeAudit
	ways     *fakeWays
	programs *fakePrograms
	provider *fakeProvider
	logged   *bytes.Buffer
}

func newWorld(t testing.TB) *world {
	t.Helper()
	logged := &bytes.Buffer{}
	logger := slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	random := rand.NewChaCha8([32]byte{1})
	store := &memory{m: map[string][]byte{}}
	clock := func() time.Time { return now }
	zone := time.FixedZone("MEZ", 3600)
	w := &world{alarms: &fakeAlarms{}, names: make(chan readmodel.Name, 8), tokens: &fakeTokens{ended: map[string]bool{}}, access: &fakeAccess{},
		audit: &fakeAudit{}, ways: newWays(), programs: &fakePrograms{}, provider: &fakeProvider{}, logged: logged}
	w.sessions = &web.Sessions{Store: store, Tokens: w.tokens, Audit: w.audit, Self: access.Principal{Kind: access.Console}, Rand: random, Now: clock}
	var err error
	w.Portal, err = New(Config{Federation: fakeFederation{}, Directory: fakeDirectory{}, Alarms: w.alarms, Model: fakeModel{w.names},
		Copies: fakeCopies{operators: []string{"a", "b"}}, Sessions: w.sessions, Judge: w.access, Access: w.access, Audit: w.audit,
		Once: &web.Once{Store: store, Rand: random, Now: clock},
		SignIn: SignInConfig{Identity: w.ways, Sessions: w.tokens, Guests: fakeGuests{}, Programs: w.programs,
			Providers: map[event.AuthorityID]Provider{nordtal: w.provider}, Rand: random,
			Names: func(event.AuthorityID) []string { return []string{"holdfast.example", "holdfast-zwei.example"} }},
		Admin: newOffice().config(w.alarms), Zone: zone, Now: clock, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	w.Mount(mux)
	w.handler = web.Handler(web.HandlerConfig{Errors: w.Errors()}, mux)
	w.signInByLink(t)
	return w
}

// as lets the browser of the world be somebody else's, on an encrypted connection to the first name.
func (w *world) as(t testing.TB, who access.Principal) *world {
	t.Helper()
	token, _, err := w.tokens.Issue(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	w.cookie = &http.Cookie{Name: "holdfast", Value: token}
	return w
}

// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/site"
	"codeberg.org/holdfast/holdfast/web"
)

const (
	self    = event.SiteID("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	nordtal = event.AuthorityID("lk-nordtal")
	suedau  = event.AuthorityID("stadt-suedau") // held here, too; nobody of nordtal may learn that
	anID    = "0123456789abcdef"
)

var now = time.Date(2026, 11, 22, 3, 14, 15, 0, time.UTC)

func written() eventlog.Receipt {
	return eventlog.Receipt{Log: eventlog.LogID{Authority: nordtal, Class: event.Operations, Site: self, Incarnation: "00112233aabbccdd"},
		Last: eventlog.Position{Page: 7, Index: 2}}
}

// house is everything behind the API, as one fake that notes what is asked of it.
type house struct {
	mu    sync.Mutex
	calls []string
	// roles are what persons have, by id; units bounds them where it is set.
	roles  map[string]access.Role
	units  []directory.UnitID
	grants []access.Grant
	// everyone makes the alarm one to everybody.
	everyone bool
	// second makes every deed take a second person.
	second bool
	// audited are the deeds that were recorded, refused and read the ones that were gathered.
	audited, gathered []audit.Entry
}

// Judge knows the console, which may do everything in authorities that are here, and people with the roles of the house.
func (h *house) Judge(_ context.Context, p access.Principal, authority event.AuthorityID, need access.Permission) (access.Verdict, error) {
	if authority == "" {
		authority = p.Authority
	}
	if authority == suedau && p.Kind == access.Console {
		return access.Verdict{}, nil
	}
	if authority != nordtal && (p.Kind != access.Console || authority != "") || p.Kind != access.Console && p.Authority != authority {
		return access.Verdict{}, access.ErrNoAuthority
	}
	if p.Kind == access.Console || access.MemberRole.Can(need) {
		return access.Verdict{}, nil
	}
	if h.roles[p.ID].Can(need) {
		return access.Verdict{Grant: "grant-of-" + p.ID, Units: h.units}, nil
	}
	return access.Verdict{}, access.ErrForbidden
}

func (h *house) Record(_ context.Context, _ event.AuthorityID, e audit.Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.audited = append(h.audited, e)
	return nil
}

func (h *house) Gather(_ event.AuthorityID, e audit.Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gathered = append(h.gathered, e)
}

func (h *house) note(parts ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, strings.Join(parts, " "))
}

func (h *house) AuthorityIDs() []event.AuthorityID { return []event.AuthorityID{nordtal, suedau} }

// Gateways has one for SMS at another site and none for e-mail.
func (h *house) Gateways(_ event.AuthorityID, kinds ...string) (out []site.Gateway) {
	for _, k := range kinds {
		g := site.Gateway{Channel: k, Sites: []event.SiteID{}}
		if k == "sms" {
			g.Sites = []event.SiteID{"eqnnuxrcaaaaaaaa"}
		}
		out = append(out, g)
	}
	return out
}

func (h *house) Status(context.Context) (site.Status, error) {
	return site.Status{Self: self, Authorities: []site.Authority{{ID: nordtal, NameDE: "Nordtal", NameEN: "Nordtal", Sites: []event.SiteID{self}}, {ID: suedau, NameDE: "Südau"}},
		Surplus: []site.Surplus{{Site: self, Authorities: 44}}}, nil
}

func (h *house) Invite(_ context.Context, name, operator string, ttl time.Duration) (string, error) {
	h.note("invite", name, operator, ttl.String())
	return "token", nil
}
func (h *house) Endorse(_ context.Context, id event.SiteID) error {
	h.note("endorse", string(id))
	return nil
}
func (h *house) Remove(_ context.Context, id event.SiteID, lose bool) error {
	h.note("remove", string(id), strconv.FormatBool(lose))
	return nil
}
func (h *house) AddAuthority(_ context.Context, d site.AuthorityDraft) error {
	h.note("add", string(d.ID))
	return nil
}
func (h *house) Allow(_ context.Context, a event.AuthorityID, id event.SiteID) error {
	h.note("allow", string(a), string(id))
	return nil
}
func (h *house) Forbid(_ context.Context, a event.AuthorityID, id event.SiteID) error {
	h.note("forbid", string(a), string(id))
	return nil
}

type fakeDirectory struct{ *house }

var mia = directory.Person{ID: anID, DisplayName: "Mia Müller", Readable: directory.Readable,
	Reachability: []directory.Channel{{Kind: directory.SMS, Address: "+491713920012"}}}

func (fakeDirectory) People(context.Context, event.AuthorityID, directory.Search) ([]directory.Person, int, error) {
	return []directory.Person{mia}, 1, nil
}
func (fakeDirectory) Person(_ context.Context, _ event.AuthorityID, id directory.PersonID) (directory.Person, error) {
	switch id {
	case anID:
		return mia, nil
	case insider:
		return directory.Person{ID: insider, Functions: []directory.FunctionID{insidersFunction}}, nil
	}
	return directory.Person{}, directory.ErrPersonUnknown
}
func (fakeDirectory) Units(context.Context, event.AuthorityID) ([]directory.Unit, error) {
	return []directory.Unit{{ID: anID, Name: "Amt 32", People: 1, Readable: directory.Readable}}, nil
}
func (fakeDirectory) Functions(context.Context, event.AuthorityID) ([]directory.Function, error) {
	return []directory.Function{{ID: anID, Name: "S1", Readable: directory.Readable}}, nil
}
func (f fakeDirectory) Import(_ context.Context, _ event.AuthorityID, o directory.ImportOptions, r io.Reader) (directory.Report, error) {
	b, err := io.ReadAll(r)
	f.note("import", string(o.Format), o.KeyColumn, string(b))
	return directory.Report{Read: 2, Tally: directory.Tally{Added: 1}, RefusedTotal: 1, Receipt: written(),
		Refused: []*fault.Fault{fault.New(fault.Invalid, "directory.phone", "no number", "mend it").At(3, "mobile")}}, err
}

type fakeAlarms struct{ *house }

var theAlarm = alarm.Alarm{Authority: nordtal, ID: anID, RaisedAt: now, Raised: alarm.Raised{TextDE: "Ausfall", Mode: event.Test, Recipients: 9, WithoutChannel: 2}}

func (fakeAlarms) Preview(context.Context, event.AuthorityID, directory.Audience, ...directory.ChannelKind) (alarm.Preview, error) {
	return alarm.Preview{People: 9, WithoutChannel: 2}, nil
}
func (f fakeAlarms) Cancel(_ context.Context, _ event.AuthorityID, id alarm.ID, w alarm.Words) (eventlog.Receipt, error) {
	f.note(strings.TrimSpace(strings.Join([]string{"cancel", string(id), w.TextDE, w.Actor, w.Grant}, " ")))
	return written(), nil
}
func (f fakeAlarms) AllClear(context.Context, event.AuthorityID, alarm.ID, alarm.Words) (eventlog.Receipt, error) {
	return eventlog.Receipt{}, alarm.ErrClosed
}
func (f fakeAlarms) Alarm(context.Context, event.AuthorityID, alarm.ID) (alarm.Alarm, error) {
	a := theAlarm
	a.Raised.Audience.Everyone = f.everyone
	return a, nil
}
func (fakeAlarms) List(context.Context, event.AuthorityID, time.Time, int) ([]alarm.Alarm, error) {
	return []alarm.Alarm{theAlarm}, nil
}
func (fakeAlarms) Board(context.Context, event.AuthorityID, alarm.ID) (alarm.Board, error) {
	return alarm.Board{Alarm: theAlarm, Total: alarm.Tally{Recipients: 9}}, nil
}
func (fakeAlarms) People(context.Context, event.AuthorityID, alarm.ID, alarm.Status, directory.PersonID, int) ([]alarm.PersonLine, error) {
	return []alarm.PersonLine{{Person: anID, Status: alarm.StatusComing, Reply: &alarm.Reply{Kind: alarm.Coming, ETAMinutes: 20}}}, nil
}

type fakeModel struct{}

func (fakeModel) Wait(context.Context, eventlog.LogID, eventlog.Position) error { return nil }
func (fakeModel) Merges(context.Context) ([]readmodel.Merge, error) {
	return []readmodel.Merge{{Authority: nordtal, From: self, Events: 5, Late: 1, ArrivedAt: now}, {Authority: suedau, From: self}}, nil
}
func (fakeModel) SetAside(context.Context) ([]readmodel.Trouble, error) {
	return []readmodel.Trouble{{Reason: "broken", Kind: "alarm.Raised"}, {Ref: readmodel.Ref{Authority: suedau}, Reason: "broken"}}, nil
}
func (fakeModel) StateHash(context.Context) (string, error) { return "beef", nil }
func (fakeModel) Behind() uint64                            { return 3 }

type fakeCopies struct{}

func (fakeCopies) Secured(eventlog.LogID, eventlog.Position) []string { return []string{"a", "b"} }
func (fakeCopies) Wait(context.Context, eventlog.LogID, eventlog.Position, int) error {
	return fault.New(fault.Unavailable, "log.unsecured", "not yet", "wait")
}
func (fakeCopies) Lag() []eventlog.PeerLag {
	return []eventlog.PeerLag{{Peer: self, Ahead: 2, Offset: 1500 * time.Millisecond}}
}

// store is the part of a local store that Once needs.
type store struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (s *store) PutNew(ctx context.Context, b, k string, v []byte, e time.Time) error {
	if _, err := s.Get(ctx, b, k); err == nil {
		return fault.New(fault.Conflict, "local.exists", "there", "")
	}
	return s.Put(ctx, b, k, v, e)
}
func (s *store) Put(_ context.Context, b, k string, v []byte, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[b+k] = v
	return nil
}
func (s *store) Get(_ context.Context, b, k string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.m[b+k]; ok {
		return v, nil
	}
	return nil, fault.New(fault.NotFound, "local.not_found", "not there", "")
}
func (s *store) Delete(_ context.Context, b, k string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, b+k)
	return nil
}

type stranger struct{}

func (stranger) Authenticate(*http.Request) (web.Actor, error) { return web.Actor{}, web.ErrSignIn }

// console is who comes through the operator's socket.
var console = web.Fixed(access.Principal{Kind: access.Console, Way: access.ByConsole})

// somebody returns a person with an API session; see house.Judge for what they may do.
func somebody(authority event.AuthorityID, id string) web.Fixed {
	return web.Fixed(access.Principal{Kind: access.Person, Authority: authority, ID: id, Way: access.ByPasskey})
}

func newAPI(t *testing.T, auth web.Authenticator) (*API, *house, http.Handler) {
	t.Helper()
	h := &house{}
	logger := slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil))
	a := New(Config{Sites: h, Federation: h, Directory: fakeDirectory{h}, Alarms: fakeAlarms{h}, Model: fakeModel{}, Copies: fakeCopies{},
		Judge: h, Audit: h, Access: fakeAccess{h}, Deeds: fakeDeeds{h}, Accounts: fakeAccounts{h}, Sessions: h, Guests: fakeGuests{h},
		Programs: fakePrograms{h}, Entries: fakeEntries{h}, Privacy: fakePrivacy{h}, Erasures: h, Keys: fakeKeys{h},
		URL:  func(path string) string { return "https://portal.test" + path },
		Once: &web.Once{Store: &store{m: map[string][]byte{}}, Rand: rand.NewChaCha8([32]byte{}), Now: func() time.Time { return now }},
		Scrub: func(context.Context) []eventlog.Damage {
			return []eventlog.Damage{{Page: 4, Err: errors.New("torn"), Deleted: true}, {Branch: eventlog.Branch{LogID: eventlog.LogID{Authority: suedau}}}}
		},
		Forks: func() []eventlog.Fork { return nil }, SignInLink: func(context.Context) (string, error) { return "https://x/signin/y", nil },
		Now: time.Now, Logger: logger})
	mux := http.NewServeMux()
	a.Mount(mux, auth)
	return a, h, web.Handler(web.HandlerConfig{Errors: &web.Errors{Logger: logger}, LargeBody: a.LargeBody}, mux)
}

// dialled starts the API on a socket, as app does, and returns a client of it.
func dialled(t *testing.T) (*Client, *house) {
	t.Helper()
	_, h, handler := newAPI(t, console)
	dir := t.TempDir()
	ln, err := net.Listen("unix", filepath.Join(dir, SocketFile))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: handler}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	return NewClient(dir), h
}

// ask sends one request to a handler and returns the answer.
func ask(handler http.Handler, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	} else {
		r.ContentLength = 0
	}
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, r)
	return rec
}

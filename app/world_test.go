// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/cli"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/site"
)

var update = flag.Bool("update", false, "write the golden files anew")

// serveEnv makes the test binary a site: the folder that it serves.
const serveEnv = "HOLDFAST_TEST_SERVE"

func TestMain(m *testing.M) {
	if data := os.Getenv(serveEnv); data != "" {
		serveForTest(data)
		return
	}
	os.Exit(m.Run())
}

// world is some sites in this process, with real logs, real files and real TLS between them.
type world struct {
	t     *testing.T
	sites []*station
	sms   *gateway
	// keyFile, if set, has all sites made with encryption at rest; names are the hosts under which people reach them.
	keyFile string
	names   []string
	box     int // which site is the authority's own box, counted from 1; 0 for none
	// said, if set, gets everything that sites log.
	said *told
}

// told is what a program has said. It is safe for concurrent use.
type told struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *told) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *told) bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}

// station is one site. Its relay stands in front of its peer port; the site dials from an address of its own, so that the
// relays of the others know who comes.
type station struct {
	w *world
	*api.Client
	id                   event.SiteID
	data, portal, signIn string
	host, operator, name string
	relay                *relay
	site                 *Site
	stop                 func() error
}

var operators = []string{"Nordwolke eG", "Südrechen GmbH", "Stadt Ostheim", "Vierte AG", "Fünfte AG"}

// newWorld makes n sites of n operators and runs them. The first founds the federation and invites the others, the second
// admits whoever needs a second operator's word. Only whole tests have a world, because it makes them run beside others.
func newWorld(t *testing.T, n int, with ...func(*world)) *world {
	t.Helper()
	t.Parallel() // a world mostly waits
	w := &world{t: t, sms: newGateway(t)}
	for _, change := range with {
		change(w)
	}
	for range n {
		w.add()
	}
	w.everybodyKnows(n)
	return w
}

// add makes and runs one more site.
func (w *world) add() *station {
	w.t.Helper()
	i := len(w.sites)
	s := w.prepare(i)
	if i == 0 {
		r, err := Init(w.t.Context(), s.settings())
		w.must(err)
		s.id, s.signIn = event.SiteID(r.Site), r.SignIn
	} else {
		s.join(w.invite(s))
	}
	w.sites = append(w.sites, s)
	s.useGateway()
	if i >= 2 {
		w.eventually("the second operator admits "+s.name, func() error {
			_, err := w.sites[1].Admit(w.t.Context(), s.id)
			return err
		})
	}
	s.start()
	return s
}

func (w *world) prepare(i int) *station {
	host := fmt.Sprintf("127.0.0.%d", 40+i)
	s := &station{w: w, host: host, operator: operators[i], name: fmt.Sprintf("Standort %d", i+1),
		data: filepath.Join(w.t.TempDir(), fmt.Sprintf("s%d", i)), portal: freePort(w.t), relay: newRelay(w.t)}
	s.Client = api.NewClient(s.data)
	return s
}

func (s *station) settings() cli.SiteSettings {
	return cli.SiteSettings{Data: s.data, Name: s.name, Operator: s.operator, PortalListen: s.portal,
		PeerListen: "127.0.0.1:0", PeerAdvertise: s.relay.addr(), PeerFrom: s.host, KeyFile: s.w.keyFile, Box: len(s.w.sites)+1 == s.w.box}
}

func (w *world) invite(s *station) string {
	w.t.Helper()
	token, err := w.sites[0].Invite(w.t.Context(), s.name, s.operator, 1)
	w.must(err)
	return token
}

func (s *station) join(token string) {
	s.w.t.Helper()
	r, err := Join(s.w.t.Context(), token, s.settings())
	s.w.must(err)
	s.id, s.signIn = event.SiteID(r.Site), r.SignIn
}

// useGateway writes the SMS gateway of the test into the site's configuration.
func (s *station) useGateway() {
	s.w.t.Helper()
	s.changeConfig(func(c *Config) { c.Channels.SMS, c.Portal.Names = &SMS{URL: s.w.sms.server.URL}, s.w.names })
}

func (s *station) changeConfig(change func(*Config)) {
	s.w.t.Helper()
	c, err := LoadConfig(s.data)
	s.w.must(err)
	change(&c)
	s.w.must(os.Remove(filepath.Join(s.data, ConfigFile)))
	s.w.must(WriteConfig(s.data, c))
}

// start runs the site as Serve does, and waits until people can come in.
func (s *station) start() {
	t := s.w.t
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	if s.w.said != nil {
		logger = slog.New(slog.NewTextHandler(s.w.said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if err := finishJoining(ctx, s.data, logger); err != nil {
		cancel()
		t.Fatalf("%s: finish joining: %v", s.name, err)
	}
	opened, err := New(ctx, s.data, logger)
	if err != nil {
		cancel()
		t.Fatalf("%s: %v", s.name, err)
	}
	ready, ended := make(chan cli.Ready, 1), make(chan error, 1)
	go func() { ended <- errors.Join(opened.Run(ctx, func(r cli.Ready) { ready <- r }), opened.Close()) }()
	s.site = opened
	s.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = s.stop() })
	select {
	case r := <-ready:
		s.relay.forward(r.Peer)
	case err := <-ended:
		ended <- err
		t.Fatalf("%s does not run: %v", s.name, err)
	}
}

// end stops the site in order.
func (s *station) end() {
	s.w.t.Helper()
	s.w.must(s.stop())
}

// cut takes the wires between s and all others away, or gives them back.
func (w *world) cut(s *station, cut bool) {
	for _, o := range w.sites {
		if o != s {
			o.relay.bar(s.host, cut)
			s.relay.bar(o.host, cut)
		}
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// patience and tries bound every wait together: a wait fails when both are used up. On a machine that has no time for this process
// the clock goes on and nothing else does, the sites under test included; each look at them takes its part of what little there is.
const (
	patience = 30 * time.Second
	tries    = 500
)

// eventually tries until it works.
func (w *world) eventually(what string, try func() error) {
	w.t.Helper()
	eventually(w.t, what, try)
}

func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	begun := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		err := try()
		if err == nil {
			return
		}
		if n >= tries && time.Since(begun) > patience {
			t.Fatalf("waited %v until %s: %v", time.Since(begun).Round(time.Second), what, err)
		}
		<-tick.C
	}
}

func (w *world) everybodyKnows(n int) {
	w.t.Helper()
	for _, s := range w.sites {
		w.eventually(fmt.Sprintf("%s knows %d members", s.name, n), func() error {
			st, err := s.Status(w.t.Context())
			if err == nil && len(st.Members) != n {
				err = fmt.Errorf("it knows %d", len(st.Members))
			}
			return err
		})
	}
}

// authority adds an authority that allows the first n sites.
func (w *world) authority(id event.AuthorityID, n int) {
	w.t.Helper()
	d := site.AuthorityDraft{ID: id, NameDE: "Behörde " + string(id), NameEN: "Authority " + string(id)}
	for _, s := range w.sites[:n] {
		d.Sites = append(d.Sites, s.id)
	}
	w.must(w.sites[0].AddAuthority(w.t.Context(), d))
	for _, s := range w.sites {
		w.eventually(s.name+" knows the authority "+string(id), func() error {
			if _, ok := s.site.federation.Authority(id); !ok {
				return errors.New("it does not")
			}
			if !slices.Contains(d.Sites, s.id) {
				return nil
			}
			_, err := s.site.ring.Named(w.t.Context(), id, keyring.NameID)
			return err
		})
	}
}

// importAt imports a file at a site.
func (s *station) importAt(id event.AuthorityID, file []byte) api.ImportReport {
	s.w.t.Helper()
	r, err := s.Import(s.w.t.Context(), id, directory.ImportOptions{}, bytes.NewReader(file))
	s.w.must(err)
	return r
}

// same waits until the sites have folded the same.
func (w *world) same(sites ...*station) {
	w.t.Helper()
	w.eventually("the sites reach the same state", func() error {
		hashes := make(map[string]string)
		for _, s := range sites {
			st, err := s.State(w.t.Context())
			if err != nil {
				return err
			}
			if st.BehindPages > 0 {
				return fmt.Errorf("%s is %d pages behind", s.name, st.BehindPages)
			}
			hashes[s.name] = st.Hash
		}
		for _, h := range hashes {
			if h != hashes[sites[0].name] {
				return fmt.Errorf("they differ: %v", hashes)
			}
		}
		return nil
	})
}

// everybody returns all people of the authority as the site shows them, by id.
func (s *station) everybody(id event.AuthorityID) map[directory.PersonID]api.Person {
	s.w.t.Helper()
	out := make(map[directory.PersonID]api.Person)
	for after := directory.PersonID(""); ; {
		p, err := s.People(s.w.t.Context(), id, directory.Search{Limit: directory.MaxLimit, After: after})
		s.w.must(err)
		for _, one := range p.People {
			out[one.ID], after = one, one.ID
		}
		if len(p.People) < directory.MaxLimit {
			return out
		}
	}
}

// named returns the one person whom a search finds, once it does: sites are the same before they have the keys to read each other.
func (s *station) named(id event.AuthorityID, words string) (found api.Person) {
	s.w.t.Helper()
	s.w.eventually(fmt.Sprintf("one person is found by %q at %s", words, s.name), func() error {
		p, err := s.People(s.w.t.Context(), id, directory.Search{Text: words})
		if err == nil && len(p.People) != 1 {
			err = fmt.Errorf("%d are", len(p.People))
		}
		if err == nil {
			found = p.People[0]
		}
		return err
	})
	return found
}

// readable waits until the site shows the person as readable, erased or not yet.
func (s *station) readable(id event.AuthorityID, person directory.PersonID, want directory.Readability) {
	s.w.t.Helper()
	s.w.eventually(fmt.Sprintf("%s shows the person as %s", s.name, want), func() error {
		p, err := s.Person(s.w.t.Context(), id, person)
		if err == nil && p.Readable != want {
			err = fmt.Errorf("they are %s", p.Readable)
		}
		return err
	})
}

func newIdentity() (*seal.Identity, error) { return seal.NewIdentity(rand.Reader) }

// nextPort is below the range from which Linux takes ports for outgoing connections, and another one in each process.
var nextPort atomic.Int64

// freePort returns an address of this machine that nobody listens on, and that no other test gets.
func freePort(t *testing.T) string {
	t.Helper()
	nextPort.CompareAndSwap(0, int64(12_000+os.Getpid()%100*200))
	for range 200 {
		address := fmt.Sprintf("127.0.0.1:%d", nextPort.Add(1))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		_ = l.Close()
		return address
	}
	t.Fatal("no port is free")
	return ""
}

// browser returns a client with a cookie jar of its own that follows no redirects.
func browser() *http.Client {
	cookies, _ := cookiejar.New(nil) // it never fails without options
	return &http.Client{Jar: cookies, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// wantFault checks what a person is told: code, and pieces of message and way out.
func wantFault(t *testing.T, err error, code, message, wayOut string) {
	t.Helper()
	if err == nil {
		t.Fatalf("nothing was refused; wanted %s", code)
	}
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok || f.Code != code || !strings.Contains(f.Message, message) || !strings.Contains(f.WayOut, wayOut) {
		t.Errorf("got  %v\nwant %s: ...%s... (...%s...)", err, code, message, wayOut)
	}
}

// gateway is an SMS gateway that takes everything and keeps it.
type gateway struct {
	server *httptest.Server
	mu     sync.Mutex
	taken  []message
}

type message struct{ To, Text, Key string }

func newGateway(t *testing.T) *gateway {
	g := &gateway{}
	g.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m message
		if json.NewDecoder(r.Body).Decode(&m) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.taken = append(g.taken, m)
	}))
	t.Cleanup(g.server.Close)
	return g
}

func (g *gateway) messages() []message {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.taken)
}

// relay stands in front of a site's peer port, so that a test can cut the wire to the site from one other.
type relay struct {
	listener net.Listener
	mu       sync.Mutex
	target   string
	barred   map[string]bool
	open     map[net.Conn]string
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, barred: make(map[string]bool), open: make(map[net.Conn]string)}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.carry(c)
		}
	}()
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }

func (r *relay) forward(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
}

func (r *relay) carry(near net.Conn) {
	defer near.Close()
	from, _, _ := net.SplitHostPort(near.RemoteAddr().String())
	r.mu.Lock()
	target, barred := r.target, r.barred[from]
	r.mu.Unlock()
	if target == "" || barred {
		return
	}
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer far.Close()
	r.mu.Lock()
	r.open[near] = from
	r.mu.Unlock()
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(far, near); done <- struct{}{} }()
	go func() { _, _ = io.Copy(near, far); done <- struct{}{} }()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, near)
}

func (r *relay) bar(from string, cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.barred[from] = cut
	for c, f := range r.open {
		if cut && f == from {
			_ = c.Close()
		}
	}
}

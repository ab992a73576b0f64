// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// door is a server that listens for peers, whose book of members the test writes.
type door struct {
	*Server
	id *seal.Identity

	mu    sync.Mutex
	roles map[event.SiteID]Role
}

func (d *door) set(id *seal.Identity, r Role) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.roles[id.Site()] = r
}

func (d *door) admit(s event.SiteID) Role {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r, ok := d.roles[s]; ok {
		return r
	}
	return Stranger
}

func tenYearsAhead() time.Time { return time.Now().AddDate(10, 0, 0) }

func openDoor(t *testing.T, seed byte, listen string) *door {
	t.Helper()
	d := &door{id: logtest.Identity(t, seed), roles: make(map[event.SiteID]Role)}
	s, err := Start(Config{
		Identity: d.id, Dir: t.TempDir(), Listen: listen, Admit: d.admit, Rand: rand.Reader, Now: time.Now,
		Logger: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Server = s
	t.Cleanup(func() { _ = s.Close() })
	for _, verb := range []string{"pages", "join"} {
		if err := s.Handle(verb, func(_ context.Context, peer event.SiteID, body []byte) ([]byte, error) {
			return fmt.Appendf(nil, "%s %s %s", verb, peer.Short(), body), nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func linksOf(t *testing.T, id *seal.Identity, addresses ...string) *Links {
	l := NewLinks(LinksConfig{
		Identity: id, Addresses: func(event.SiteID) []string { return addresses }, Now: time.Now, Logger: quiet(),
	})
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// patience bounds what must work: generous, because other tests may have the processor.
const patience = time.Minute

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls, since real connections are involved.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("it never happened: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestMemberIsAnswered(t *testing.T) {
	d, peer := openDoor(t, 1, "127.0.0.1:0"), logtest.Identity(t, 2)
	d.set(peer, Member)
	l := linksOf(t, peer, d.Addr())
	got, err := l.Request(within(t, patience), d.id.Site(), "pages", []byte("after 7"))
	if want := "pages " + peer.Site().Short() + " after 7"; err != nil || string(got) != want {
		t.Fatalf("got %q and %v, want %q", got, err, want)
	}
	if r := d.Peers()[peer.Site()]; r != Member {
		t.Errorf("the door knows the peer as %q", r)
	}
	if c := l.Connected(); len(c) != 1 || c[0] != d.id.Site() {
		t.Errorf("connected to %v", c)
	}
}

func TestFaultsTravel(t *testing.T) {
	d, peer := openDoor(t, 1, "127.0.0.1:0"), logtest.Identity(t, 2)
	d.set(peer, Member)
	for verb, h := range map[string]Handler{
		"plain": func(context.Context, event.SiteID, []byte) ([]byte, error) { return nil, errors.New("secret path") },
		"known": func(context.Context, event.SiteID, []byte) ([]byte, error) {
			return nil, fault.New(fault.NotFound, "x.y", "not here", "go there").With(errors.New("cause"))
		},
		"large": func(context.Context, event.SiteID, []byte) ([]byte, error) { return make([]byte, MaxBodyBytes+1), nil },
		"big":   func(context.Context, event.SiteID, []byte) ([]byte, error) { return make([]byte, MaxBodyBytes), nil },
		"waits": func(ctx context.Context, _ event.SiteID, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	} {
		if err := d.Handle(verb, h); err != nil {
			t.Fatal(err)
		}
	}
	l := linksOf(t, peer, d.Addr())
	ask := func(verb string) ([]byte, *fault.Fault) {
		b, err := l.Request(within(t, 2*time.Second), d.id.Site(), verb, nil)
		if err == nil {
			return b, nil
		}
		return b, fault.Of(err)
	}
	if _, f := ask("known"); f == nil || f.Kind != fault.NotFound || f.Code != "x.y" || f.Message != "not here" || f.WayOut != "go there" || f.Err != nil {
		t.Errorf("known: got %#v", f)
	}
	if _, f := ask("plain"); f == nil || f.Kind != fault.Internal || strings.Contains(f.Error(), "secret") {
		t.Errorf("plain: got %v", f)
	}
	if _, f := ask("large"); f == nil || f.Kind != fault.TooLarge {
		t.Errorf("large: got %v", f)
	}
	if b, f := ask("big"); f != nil || len(b) != MaxBodyBytes {
		t.Errorf("big: got %d bytes and %v", len(b), f)
	}
	if _, f := ask("unheard"); f == nil || f.Kind != fault.Unavailable || f.Code != "peer.no_answer" {
		t.Errorf("unheard: got %v", f)
	}
	if _, err := l.Request(within(t, 100*time.Millisecond), d.id.Site(), "waits", nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("waits: got %v", err)
	}
	if _, err := l.Request(t.Context(), d.id.Site(), "known", make([]byte, MaxBodyBytes+1)); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("a large question: got %v", err)
	}
}

func TestStrangerMayOnlyJoin(t *testing.T) {
	d, peer := openDoor(t, 1, "127.0.0.1:0"), logtest.Identity(t, 2)
	l := linksOf(t, peer, d.Addr())
	if got, err := l.Request(within(t, patience), d.id.Site(), "join", []byte("me")); err != nil || !bytes.HasPrefix(got, []byte("join ")) {
		t.Fatalf("join: got %q and %v", got, err)
	}
	begin := time.Now()
	if _, err := l.Request(within(t, patience), d.id.Site(), "pages", nil); fault.KindOf(err) != fault.Forbidden {
		t.Fatalf("pages: got %v, want Forbidden", err)
	}
	if waited := time.Since(begin); waited > 2*time.Second {
		t.Errorf("the refusal took %s", waited)
	}
	d.set(peer, Member)
	d.Refresh()
	eventually(t, "the admitted stranger is answered", func() bool {
		_, err := l.Request(within(t, time.Second), d.id.Site(), "pages", nil)
		return err == nil
	})
	d.set(peer, Refused)
	d.Refresh()
	eventually(t, "the removed member is cut off", func() bool { return len(d.Peers()) == 0 })
	if _, err := l.Request(within(t, time.Second), d.id.Site(), "pages", nil); err == nil {
		t.Error("a removed member was answered")
	}
}

func TestDialOnce(t *testing.T) {
	d, peer := openDoor(t, 1, "127.0.0.1:0"), logtest.Identity(t, 2)
	cfg := LinksConfig{Identity: peer, LocalAddr: "127.0.0.1", Now: time.Now, Logger: quiet()}
	p, err := Dial(within(t, patience), cfg, []string{d.Addr()}, d.id.Site())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Request(within(t, patience), "join", nil); err != nil {
		t.Error(err)
	}
	cfg.LocalAddr = "no address"
	if _, err := Dial(t.Context(), cfg, []string{d.Addr()}, d.id.Site()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a local address that is none: got %v", err)
	}
	cfg.LocalAddr = ""
	if _, err := Dial(within(t, patience), cfg, []string{"127.0.0.1:1"}, d.id.Site()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("nobody listens: got %v", err)
	}
}

func TestWrongSiteIsNotSpokenTo(t *testing.T) {
	d, peer := openDoor(t, 1, "127.0.0.1:0"), logtest.Identity(t, 2)
	d.set(peer, Member)
	l := linksOf(t, peer, d.Addr())
	other := logtest.Identity(t, 3).Site()
	_, err := l.Request(within(t, patience), other, "pages", nil)
	if f := fault.Of(err); f.Kind != fault.Unavailable || f.Code != "peer.other_site" {
		t.Errorf("got %v, want that another site answers", err)
	}
	if len(d.Peers()) != 0 {
		t.Error("the connection was made")
	}
}

// Certificates have dates and names because TLS wants them; nobody looks at them.
func TestClockTenYearsAhead(t *testing.T) {
	d := &door{id: logtest.Identity(t, 1), roles: make(map[event.SiteID]Role)}
	for name, clocks := range map[string][2]func() time.Time{
		"of the server": {tenYearsAhead, time.Now},
		"of the client": {time.Now, tenYearsAhead},
		"of both, before the certificate": {
			func() time.Time { return time.Unix(0, 0) }, func() time.Time { return time.Unix(0, 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			peer := logtest.Identity(t, 2)
			s, err := Start(Config{
				Identity: d.id, Dir: t.TempDir(), Listen: "127.0.0.1:0", Admit: func(event.SiteID) Role { return Member },
				Rand: rand.Reader, Now: clocks[0], Logger: quiet(),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Handle("hash", func(context.Context, event.SiteID, []byte) ([]byte, error) { return []byte("yes"), nil }); err != nil {
				t.Fatal(err)
			}
			l := NewLinks(LinksConfig{Identity: peer, Addresses: func(event.SiteID) []string { return []string{s.Addr()} }, Now: clocks[1], Logger: quiet()})
			defer l.Close()
			if got, err := l.Request(within(t, patience), d.id.Site(), "hash", nil); err != nil || string(got) != "yes" {
				t.Errorf("got %q and %v", got, err)
			}
		})
	}
}

func TestUsedPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := Config{Identity: logtest.Identity(t, 1), Dir: t.TempDir(), Listen: l.Addr().String(), Rand: rand.Reader, Now: time.Now, Logger: quiet()}
	_, err = Start(cfg)
	if f := fault.Of(err); f.Kind != fault.Conflict || !strings.Contains(f.Message, l.Addr().String()) || f.WayOut == "" {
		t.Errorf("got %v, want a fault that names the address and a way out", err)
	}
	cfg.Listen = "nowhere"
	if _, err := Start(cfg); fault.KindOf(err) != fault.Invalid {
		t.Errorf("not an address: got %v", err)
	}
	cfg.Listen = ""
	s, err := Start(cfg) // the directory is free again
	if err != nil {
		t.Fatal(err)
	}
	if s.Addr() != "" {
		t.Errorf("listens on %q", s.Addr())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestLinkComesBack(t *testing.T) {
	d, peer := openDoor(t, 1, "127.0.0.1:0"), logtest.Identity(t, 2)
	d.set(peer, Member)
	l := linksOf(t, peer, d.Addr())
	if _, err := l.Request(within(t, patience), d.id.Site(), "pages", nil); err != nil {
		t.Fatal(err)
	}
	e, err := d.current()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.restart(e); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	eventually(t, "the link is back", func() bool {
		_, err := l.Request(within(t, time.Second), d.id.Site(), "pages", nil)
		return err == nil
	})
	t.Logf("back after %s", time.Since(begin))
	l.Keep(nil)
	if len(l.Connected()) != 0 {
		t.Error("a removed site is still connected")
	}
}

func TestFloodIsRefused(t *testing.T) {
	d, peer, other := openDoor(t, 1, "127.0.0.1:0"), logtest.Identity(t, 2), logtest.Identity(t, 3)
	d.set(peer, Member)
	d.set(other, Member)
	free := make(chan struct{})
	if err := d.Handle("slow", func(ctx context.Context, _ event.SiteID, _ []byte) ([]byte, error) {
		select {
		case <-free:
		case <-ctx.Done():
		}
		return nil, ctx.Err()
	}); err != nil {
		t.Fatal(err)
	}
	l := linksOf(t, peer, d.Addr())
	results := make(chan error, maxInFlightPeer+1)
	for range maxInFlightPeer + 1 {
		go func() {
			_, err := l.Request(within(t, patience), d.id.Site(), "slow", nil)
			results <- err
		}()
	}
	if err := <-results; fault.KindOf(err) != fault.Exhausted {
		t.Errorf("one too many: got %v, want Exhausted", err)
	}
	m := linksOf(t, other, d.Addr())
	if _, err := m.Request(within(t, patience), d.id.Site(), "pages", nil); err != nil {
		t.Errorf("the flood of one peer keeps another from being answered: %v", err)
	}
	close(free)
	for range maxInFlightPeer {
		if err := <-results; err != nil {
			t.Errorf("got %v", err)
		}
	}
}

// A peer's question that is under way needs the engine that Close takes away: it is told so, and Close does not wait for it in turn.
func TestClosingEndsAQuestionUnderWay(t *testing.T) {
	d, peer := openDoor(t, 1, "127.0.0.1:0"), logtest.Identity(t, 2)
	d.set(peer, Member)
	begun, told := make(chan struct{}), make(chan error, 1)
	if err := d.Handle("late", func(ctx context.Context, _ event.SiteID, _ []byte) ([]byte, error) {
		close(begun)
		<-ctx.Done()
		_, err := d.current()
		told <- err
		return nil, err
	}); err != nil {
		t.Fatal(err)
	}
	l := linksOf(t, peer, d.Addr())
	go func() { _, _ = l.Request(within(t, patience), d.id.Site(), "late", nil) }()
	<-begun
	closed := make(chan error, 1)
	go func() { closed <- d.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("closing waits for a question that waits for closing")
	}
	if err := <-told; !errors.Is(err, errClosed) {
		t.Errorf("got %v, want %v", err, errClosed)
	}
}

// raw connects as a site with NATS's own client, as an attacker would who holds a member's key.
func raw(t *testing.T, d *door, id *seal.Identity, opts ...nats.Option) (*nats.Conn, chan error, error) {
	t.Helper()
	cfg, err := clientTLS(id, d.id.Site(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	trouble := make(chan error, 16)
	nc, err := nats.Connect("tls://"+d.Addr(), append([]nats.Option{
		nats.Secure(cfg), nats.TLSHandshakeFirst(), nats.NoReconnect(), nats.Timeout(5 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { trouble <- err }),
	}, opts...)...)
	if err == nil {
		t.Cleanup(nc.Close)
	}
	return nc, trouble, err
}

func TestPeerMayNothingElse(t *testing.T) {
	d, peer, victim := openDoor(t, 1, "127.0.0.1:0"), logtest.Identity(t, 2), logtest.Identity(t, 3)
	d.set(peer, Member)
	d.set(victim, Member)
	asked := make(chan string, 16)
	if err := d.Handle("hash", func(_ context.Context, p event.SiteID, _ []byte) ([]byte, error) {
		asked <- string(p)
		return []byte("answer"), nil
	}); err != nil {
		t.Fatal(err)
	}
	nc, trouble, err := raw(t, d, peer)
	if err != nil {
		t.Fatal(err)
	}
	denied := func(what string) {
		t.Helper()
		if err := nc.FlushTimeout(patience); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-trouble:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: got %v, want a permissions violation", what, err)
			}
		case <-time.After(patience):
			t.Errorf("%s: was not refused", what)
		}
	}
	for _, subject := range []string{
		">", "*", "hf.>", "hf.*.pages", "$JS.>", "$JS.API.>", "$SYS.>", "log.>", "_INBOX.>", "_INBOX_*.>", "*.>",
		inboxOf(victim.Site()) + ".>", inboxOf(victim.Site()) + ".x", subjectOf(victim.Site(), "pages"), subjectOf(peer.Site(), ">"),
	} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		denied("subscribe to " + subject)
		if _, err := nc.QueueSubscribeSync(subject, "q"); err != nil {
			t.Fatal(err)
		}
		denied("subscribe in a queue to " + subject)
	}
	inbox := inboxOf(peer.Site()) + ".mine"
	own, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{
		subjectOf(victim.Site(), "hash"), "$JS.API.STREAM.LIST", "$JS.API.INFO", "$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO",
		"log.x", inboxOf(victim.Site()) + ".x", "hf.join", "anything",
	} {
		if err := nc.PublishRequest(subject, inbox, nil); err != nil {
			t.Fatal(err)
		}
		denied("publish on " + subject)
	}
	// A reply to somebody else's inbox: not refused by NATS, so the desk does not answer it.
	v, _, err := raw(t, d, victim)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := v.SubscribeSync(inboxOf(victim.Site()) + ".>")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, reply := range []string{inboxOf(victim.Site()) + ".x", "log.x", "$JS.API.STREAM.LIST", ""} {
		if err := nc.PublishRequest(subjectOf(peer.Site(), "hash"), reply, nil); err != nil && reply != "" {
			t.Fatal(err)
		}
	}
	if err := nc.PublishRequest(subjectOf(peer.Site(), "hash"), inbox, nil); err != nil {
		t.Fatal(err)
	}
	if m, err := own.NextMsg(5 * time.Second); err != nil || string(m.Data) != "answer" {
		t.Errorf("its own question: got %v and %v", m, err)
	}
	if err := v.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, _ := theirs.Pending(); n != 0 {
		t.Error("an answer went to somebody else's inbox")
	}
	if got := <-asked; got != string(peer.Site()) || len(asked) != 0 {
		t.Errorf("the handler was asked by %s and %d more times", got, len(asked))
	}
}

func TestNobodyElseComesIn(t *testing.T) {
	d, peer := openDoor(t, 1, "127.0.0.1:0"), logtest.Identity(t, 2)
	d.set(peer, Refused)
	if _, _, err := raw(t, d, peer); err == nil {
		t.Error("a refused site came in")
	}
	d.set(peer, Member)
	// The name and the token of our own connection are worth nothing from outside.
	nc, trouble, err := raw(t, d, peer, nats.UserInfo(storeAccount, d.token))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.SubscribeSync(">"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-trouble:
	case <-time.After(patience):
		t.Error("a peer became the process itself")
	}
	for name, opts := range map[string][]nats.Option{
		"no TLS":         {nats.Timeout(2 * time.Second)},
		"no certificate": {nats.Timeout(2 * time.Second), nats.TLSHandshakeFirst(), nats.Secure(insecure())},
	} {
		if nc, err := nats.Connect("nats://"+d.Addr(), opts...); err == nil {
			nc.Close()
			t.Errorf("%s: came in", name)
		}
	}
}

func TestStrangersAreFew(t *testing.T) {
	d := openDoor(t, 1, "127.0.0.1:0")
	in := 0
	for seed := range byte(maxStrangers + 3) {
		if _, _, err := raw(t, d, logtest.Identity(t, 10+seed)); err == nil {
			in++
		}
	}
	if in != maxStrangers {
		t.Errorf("%d strangers came in, want %d", in, maxStrangers)
	}
	member := logtest.Identity(t, 2)
	d.set(member, Member)
	if _, _, err := raw(t, d, member); err != nil {
		t.Errorf("a member was kept out by strangers: %v", err)
	}
}

// While one site's packets are swallowed, asking it fails quickly, and asking others is not held up.
func TestSilentPeerHoldsNobodyUp(t *testing.T) {
	d, peer := openDoor(t, 1, "127.0.0.1:0"), logtest.Identity(t, 2)
	d.set(peer, Member)
	hole, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	silent := logtest.Identity(t, 3).Site()
	l := NewLinks(LinksConfig{
		Identity: peer, Now: time.Now, Logger: quiet(),
		Addresses: func(s event.SiteID) []string {
			if s == silent {
				return []string{hole.Addr().String()}
			}
			return []string{d.Addr()}
		},
	})
	defer l.Close()
	if _, err := l.Request(within(t, 100*time.Millisecond), silent, "pages", nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("the silent one: got %v", err)
	}
	for range 20 {
		ctx, end := context.WithCancel(t.Context())
		asked := make(chan error, 1)
		go func() { _, err := l.Request(ctx, silent, "pages", nil); asked <- err }()
		if _, err := l.Request(within(t, patience), d.id.Site(), "pages", nil); err != nil {
			t.Error(err)
		}
		select {
		case err := <-asked:
			t.Errorf("the others are answered only when asking the silent one has ended with %v", err)
		default:
		}
		end()
		<-asked
	}
}

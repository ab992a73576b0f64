// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/cli"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/jetstream"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/site"
)

// holdfast runs the real command line and returns what it refused, with its exit code.
func holdfast(t *testing.T, args ...string) (string, int, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, said bytes.Buffer
	code := cli.Run(ctx, append(args, "--json"), Commands(), strings.NewReader(""), &out, &said)
	if said.Len() == 0 {
		return out.String(), code, nil
	}
	var f fault.Fault
	if err := json.Unmarshal(said.Bytes(), &f); err != nil {
		t.Fatalf("holdfast %v says %q", args, said.String())
	}
	return out.String(), code, &f
}

// refused runs a command and checks exit code and refusal.
func refused(t *testing.T, exit int, code, message, wayOut string, args ...string) {
	t.Helper()
	_, got, err := holdfast(t, args...)
	if got != exit {
		t.Errorf("holdfast %s ends with %d, not %d", args[0], got, exit)
	}
	wantFault(t, err, code, message, wayOut)
}

// newcomer returns the flags of a site that wants to join.
func (w *world) newcomer() (data string, flags []string) {
	data = filepath.Join(w.t.TempDir(), "new")
	return data, []string{"--data", data, "--portal-listen", freePort(w.t), "--peer-listen", "127.0.0.1:0", "--peer-advertise", "127.0.0.1:9"}
}

func TestInvitationsAreRefusedWithAWayOut(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	invite := func() string {
		token, err := a.Invite(t.Context(), "Neu", "Vierte AG", 1)
		w.must(err)
		return token
	}
	join := func(t *testing.T, token string, exit int, code, message, wayOut string) {
		t.Helper()
		data, flags := w.newcomer()
		refused(t, exit, code, message, wayOut, append([]string{"join", token}, flags...)...)
		if left, _ := filepath.Glob(filepath.Join(data, "*")); len(left) > 0 {
			t.Errorf("the refused site leaves %v behind", left)
		}
	}
	t.Run("expired", func(t *testing.T) {
		token := invite()
		a.expire(token)
		join(t, token, 4, "join.expired", "the invitation has expired", "new one ('holdfast invite')")
	})
	t.Run("used by another key", func(t *testing.T) {
		token := invite()
		_, flags := w.newcomer()
		if _, code, err := holdfast(t, append([]string{"join", token}, flags...)...); code != 0 || err != nil {
			t.Fatalf("the first one is refused: %v", err)
		}
		join(t, token, 6, "join.used", "another site has already joined", "tell the inviting operator at once")
	})
	t.Run("cut off", func(t *testing.T) {
		token := invite()
		join(t, token[:len(token)-40], 3, "join.malformed", "a part of it is missing", "copy the whole text")
		join(t, token[:len(token)/3], 3, "join.malformed", "a part of it is missing", "copy the whole text")
		join(t, "", 3, "join.malformed", "not an invitation", "copy the whole text")
	})
	t.Run("changed", func(t *testing.T) {
		join(t, changed(t, invite(), nil), 4, "join.signature", "changed after it was written, or it is forged", "by a way that you trust")
	})
	t.Run("forged with a key of its own", func(t *testing.T) {
		id, err := newIdentity()
		w.must(err)
		join(t, changed(t, invite(), id), 8, "peer.other_site", "another site answers", "check the addresses")
	})
	t.Run("a wrong clock, and the same invitation with a right one", func(t *testing.T) {
		token := invite()
		data, _ := w.newcomer()
		set := cli.SiteSettings{Data: data, PortalListen: freePort(t), PeerListen: "127.0.0.1:0", PeerAdvertise: "127.0.0.1:9"}
		for _, wrong := range []time.Duration{time.Hour, -6 * time.Minute} {
			_, err := joinAt(t.Context(), token, set, func() time.Time { return time.Now().Add(wrong) })
			wantFault(t, err, "join.clock", "the joining site's clock says", "set the one that is wrong")
		}
		_, err := Join(t.Context(), token, set)
		w.must(err)
	})
}

// expire sets the end of an invitation to the past, in the inviter's own store.
func (s *station) expire(token string) {
	s.w.t.Helper()
	t, err := site.ParseToken(token)
	s.w.must(err)
	const bucket = "site.invitation"
	b, err := s.site.local.Get(s.w.t.Context(), bucket, t.Invitation)
	s.w.must(err)
	var kept map[string]any
	s.w.must(json.Unmarshal(b, &kept))
	kept["expires"] = time.Now().Add(-time.Minute).Unix()
	b, err = json.Marshal(kept)
	s.w.must(err)
	s.w.must(s.site.local.Put(s.w.t.Context(), bucket, t.Invitation, b, time.Time{}))
}

// changed returns the token with another operator in it; with a key it names that key as inviter and is signed by it.
func changed(t *testing.T, token string, by *seal.Identity) string {
	t.Helper()
	parsed, err := site.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Operator = "Wer anders"
	if by != nil {
		parsed.Inviter = by.Site()
		out, err := parsed.Sign(by)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	b, err := json.Marshal(parsed)
	if err != nil {
		t.Fatal(err)
	}
	_, signature, _ := strings.Cut(token, ".")
	return base64.RawURLEncoding.EncodeToString(b) + "." + signature
}

func TestAJoinWhoseAnswerWasLostGoesOnWithTheSameKey(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	token, err := a.Invite(t.Context(), "Neu", "Vierte AG", 1)
	w.must(err)
	data, flags := w.newcomer()
	// The inviter takes note of the site, but its answer does not arrive: as if the wire broke.
	if _, code, err := holdfast(t, append([]string{"join", token}, flags...)...); code != 0 {
		t.Fatal(err)
	}
	s := &station{w: w, data: data}
	key, err := os.ReadFile(filepath.Join(data, "site.key"))
	w.must(err)
	s.rememberToken(token)
	if _, code, err := holdfast(t, append([]string{"join", token}, flags...)...); code != 0 {
		t.Errorf("joining again is refused: %v", err)
	}
	if again, err := os.ReadFile(filepath.Join(data, "site.key")); err != nil || !bytes.Equal(key, again) {
		t.Errorf("it has another key now: %v", err)
	}
	// With another invitation the folder is in use.
	other, err := a.Invite(t.Context(), "Neu", "Vierte AG", 1)
	w.must(err)
	refused(t, 6, "app.folder_used", "there is a site in this folder already", "choose another folder", append([]string{"join", other}, flags...)...)
}

func TestFoldersAndPortsInUseAreRefusedWithAWayOut(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	defer taken.Close()
	used := taken.Addr().String()

	refused(t, 6, "app.locked", "another process runs the site", "end it first", "serve", "--data", a.data)
	refused(t, 6, "app.folder_used", "there is a site in this folder already", "choose another folder", "init", "--data", a.data, "--name", "X",
		"--operator", "Y", "--peer-listen", "127.0.0.1:0")
	a.end()
	a.changeConfig(func(c *Config) { c.Portal.Listen = used })
	refused(t, 3, "web.port", "the portal's address cannot be listened on", "another program uses the port", "serve", "--data", a.data)
	a.changeConfig(func(c *Config) { c.Portal.Listen, c.Peer.Listen = a.portal, used })
	refused(t, 6, "peer.listen", "cannot listen for peers on "+used, "stop the program that uses this address", "serve", "--data", a.data)

	t.Run("a refused init can be tried again in the same folder", func(t *testing.T) {
		data := filepath.Join(t.TempDir(), "new")
		args := []string{"init", "--data", data, "--name", "Nord", "--operator", "Nordwolke eG", "--portal-listen", freePort(t)}
		refused(t, 6, "peer.listen", "cannot listen for peers", "another one with --peer-listen", append(args, "--peer-listen", used)...)
		if _, code, err := holdfast(t, append(args, "--peer-listen", "127.0.0.1:0")...); code != 0 {
			t.Errorf("the second attempt is refused: %v", err)
		}
	})
	t.Run("a half-made site does not serve", func(t *testing.T) {
		data := filepath.Join(t.TempDir(), "new")
		_, _, err := makeFolder(cli.SiteSettings{Data: data, Name: "Nord", Operator: "Nordwolke eG", PortalListen: freePort(t), PeerListen: "127.0.0.1:0"})
		w.must(err)
		refused(t, 6, "app.half_made", "making it was interrupted", "delete the folder", "serve", "--data", data)
	})
	t.Run("no site at all", func(t *testing.T) {
		refused(t, 5, "config.missing", "does not exist", "holdfast init", "serve", "--data", t.TempDir())
		refused(t, 8, "api.no_site", "the site does not answer", "holdfast serve", "status", "--data", t.TempDir())
	})
}

func TestMistakesInTheConfigurationAreNamed(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	path := filepath.Join(a.data, ConfigFile)
	good, err := os.ReadFile(path)
	w.must(err)
	for _, c := range []struct{ name, old, new, code, message, wayOut, field string }{
		{"unknown key", "operator:", "operater:", "config.unknown_key", "unknown key", `did you mean "operator"?`, "operater"},
		{"unknown key far from all", "name:", "wolkenkuckucksheim: 1\nname:", "config.unknown_key", "unknown key", "remove the line", "wolkenkuckucksheim"},
		{"not a number", "reserve_mib: 256", "reserve_mib: viel", "config.malformed", "cannot unmarshal", "mend the line", ""},
		{"not YAML", "name:", "name: [", "config.malformed", "", "shows the form", ""},
		{"open to the world", "listen: " + a.portal, "listen: 0.0.0.0:8600", "config.invalid", "plain HTTP to the network", "tls_cert and tls_key", "portal.listen"},
		{"no port", "listen: " + a.portal, "listen: localhost", "config.invalid", "not an address with a port", "127.0.0.1:8600", "portal.listen"},
		{"no such encryption", "email: null", "email: {server: 'mail.example:25', from: 'a@b.example', security: rot13}", "config.invalid",
			"no kind of encryption", "starttls or tls", "channels.email.security"},
		{"a gateway that cannot be", "sms:\n        url: ", "sms:\n        url: http://sms.example/?", "sms.config", "only https leaves the house",
			"docs/operating.md", "url"},
		{"wait out of bounds", "takeover_after: 5s", "takeover_after: 5h", "config.invalid", "out of bounds", "for example 5s", "alarm.takeover_after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := strings.Replace(string(good), c.old, c.new, 1)
			if bad == string(good) {
				t.Fatalf("%q is not in the file:\n%s", c.old, good)
			}
			w.must(os.WriteFile(path, []byte(bad), 0o600))
			_, code, err := holdfast(t, "config", "check", "--data", a.data)
			if code != 3 {
				t.Errorf("exit code %d", code)
			}
			wantFault(t, err, c.code, c.message, c.wayOut)
			f := fault.Of(err)
			if f.Field != c.field || strings.HasPrefix(c.code, "config.unknown") && f.Line != 1+strings.Count(bad[:strings.Index(bad, c.field+":")], "\n") {
				t.Errorf("line %d, field %q", f.Line, f.Field)
			}
		})
	}
	w.must(os.WriteFile(path, good, 0o600))
	if _, code, err := holdfast(t, "config", "check", "--data", a.data); code != 0 {
		t.Errorf("the good one is refused: %v", err)
	}
}

func TestCommandsAboutNothingAreRefusedWithAWayOut(t *testing.T) {
	w := newWorld(t, 2)
	w.authority(nordtal, 2)
	a := w.sites[0]
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		w.must(os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	people := file("people.csv", string(table(erika)))
	in := func(args ...string) []string { return append(args, "--data", a.data) }
	refused(t, 5, "access.no_authority", "holds no data of such an authority", "own sites", in("directory", "import", people, "--authority", "gibtesnicht")...)
	refused(t, 5, "access.no_authority", "holds no data of such an authority", "check its short name", in("authority", "allow", "gibtesnicht", w.sites[1].name)...)
	refused(t, 6, "authority.exists", "already an authority", "another short name", in("authority", "add", string(nordtal), "--name-de", "N", "--name-en", "N")...)
	refused(t, 3, "authority.id", "", "", in("authority", "add", "Land Kreis", "--name-de", "N", "--name-en", "N")...)
	refused(t, 5, "cli.site", "means 0 sites", "holdfast status", in("authority", "forbid", string(nordtal), "niemand")...)
	refused(t, 5, "cli.site", "means 0 sites", "holdfast status", in("admit", "zzzz")...)
	refused(t, 5, "directory.person_unknown", "no such person", "look the person up again", in("directory", "erase", "0000000000000000", "--authority", string(nordtal), "--yes")...)
	for name, content := range map[string]string{
		"program": "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x3e\x00\x01\x00\x00\x00", "archive": "PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00",
	} {
		refused(t, 3, "directory.file_kind", "neither LDIF nor CSV", "", in("directory", "import", file(name, content), "--authority", string(nordtal))...)
	}
	refused(t, 3, "directory.column_missing", "neither Nachname nor Anzeigename", "add the column", in("directory", "import", file("prose.csv", "Sehr geehrte Damen und Herren,\nanbei die Liste.\n"), "--authority", string(nordtal))...)
	if _, code, _ := holdfast(t, in("directory", "erase", "0000000000000000", "--authority", string(nordtal))...); code != 2 {
		t.Errorf("erasing without --yes ends with %d", code)
	}
	w.sites[1].end()
	a.end()
	refused(t, 8, "api.no_site", "the site does not answer", "holdfast serve", in("directory", "import", people, "--authority", string(nordtal))...)
}

// fake is a member site's key in the hands of a program that is not ours: it announces one page and gives out these bytes.
type fake struct {
	log  eventlog.LogID
	hash eventlog.Hash
	raw  []byte
}

// serve answers peers as the stopped site s.
func (f fake) serve(s *station, id *seal.Identity) {
	t := s.w.t
	t.Helper()
	server, err := jetstream.Start(jetstream.Config{Identity: id, Dir: t.TempDir(), Listen: "127.0.0.1:0", Rand: zeros{}, Now: time.Now,
		Admit: func(event.SiteID) jetstream.Role { return jetstream.Member }, Logger: slog.New(slog.DiscardHandler)})
	s.w.must(err)
	t.Cleanup(func() { _ = server.Close() })
	answers := map[string]any{
		"heads": map[string]any{"session": f.hash.String(), "upTo": 1, "wall": time.Now().UnixMilli(), "heads": []any{
			map[string]any{"branch": f.log, "page": 1, "hash": f.hash, "durable": 1, "version": 1}}},
		"keys": map[string]any{}, "hash": map[string]any{},
	}
	for verb, v := range answers {
		b, err := json.Marshal(v)
		s.w.must(err)
		s.w.must(server.Handle(verb, func(context.Context, event.SiteID, []byte) ([]byte, error) { return b, nil }))
	}
	pages := sized(nil, []byte(`{"count":1}`))
	pages = sized(pages, f.raw)
	s.w.must(server.Handle("pages", func(context.Context, event.SiteID, []byte) ([]byte, error) { return pages, nil }))
	s.relay.forward(server.Addr())
}

func sized(b, part []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
}

// zeros is a source of what need not be random in a test.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestPagesThatAreNotTheirOriginsAreRefusedAndTheOperatorIsTold(t *testing.T) {
	w := newWorld(t, 3)
	w.authority(nordtal, 3)
	a, b, c := w.sites[0], w.sites[1], w.sites[2]
	a.importAt(nordtal, table(erika))
	w.same(w.sites...)
	hostile := b.site.identity
	stranger, err := newIdentity()
	w.must(err)
	b.end()
	sign := func(by *seal.Identity, origin event.SiteID) *eventlog.Page {
		h := eventlog.Header{Log: eventlog.LogID{Authority: nordtal, Class: event.Operations, Site: origin, Incarnation: "00000000000000aa"},
			Number: 1, Wall: time.Now().UnixMilli()}
		p, err := eventlog.SignPage(by, h, []event.Event{{ID: "00000000000000ab", Stamp: event.StampAt(time.Now()), Subject: "alarm/00000000000000ac",
			Kind: alarm.KindCancelled, Actor: "operator", Data: json.RawMessage(`{}`)}})
		w.must(err)
		return p
	}
	broken := sign(hostile, b.id).Raw()
	broken = append(bytes.Clone(broken[:len(broken)-1]), broken[len(broken)-1]^1)
	for _, f := range []struct {
		name, code, says string
		origin           event.SiteID
		raw              []byte
	}{
		{"a wrong signature", "page.signature", "not signed by the site whose log it is in", b.id, broken},
		{"another member's name", "page.signature", "a site never passes on such a page unless it is broken or hostile", c.id, sign(hostile, c.id).Raw()},
		{"a stranger's page", "log.origin_not_member", "written by a site that is no member", stranger.Site(), sign(stranger, stranger.Site()).Raw()},
		{"no page at all", "page.malformed", "the page is damaged or not a page", b.id, []byte(strings.Repeat("Kraut und Rüben ", 20))},
	} {
		t.Run(f.name, func(t *testing.T) {
			before := len(a.site.log.Heads())
			log := eventlog.LogID{Authority: nordtal, Class: event.Operations, Site: f.origin, Incarnation: "00000000000000aa"}
			fake{log, eventlog.Hash{1, byte(len(f.raw)), f.says[0]}, f.raw}.serve(b, hostile)
			eventually(t, "the operator is told", func() error {
				if f.origin == stranger.Site() {
					return nil // nobody even asks for it
				}
				st, err := a.Status(t.Context())
				w.must(err)
				for _, l := range st.Lag {
					if l.Site == b.id && strings.Contains(l.Trouble, f.says) {
						return nil
					}
				}
				return fmt.Errorf("there is %+v", st.Lag)
			})
			_, err := a.site.log.Accept(t.Context(), [][]byte{f.raw})
			wantFault(t, err, f.code, "", "")
			if got := len(a.site.log.Heads()); got != before {
				t.Errorf("there are %d branches now, not %d", got, before)
			}
			b.relay.forward("")
			b.relay.bar(a.host, true)
			b.relay.bar(a.host, false)
		})
	}
	// Everybody else goes on.
	c.importAt(nordtal, table(jonas))
	w.same(a, c)
}

// rememberToken puts the folder into the state in which a lost answer leaves it.
func (s *station) rememberToken(token string) {
	s.w.t.Helper()
	local, err := localstore.Open(filepath.Join(s.data, localFile), time.Now)
	s.w.must(err)
	s.w.must(local.Put(s.w.t.Context(), bucketMeta, keyToken, []byte(token), time.Time{}))
	s.w.must(local.Close())
}

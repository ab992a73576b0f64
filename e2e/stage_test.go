// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/app"
)

// The authority of the identity tests, and the two names under which its people reach both sites.
const (
	nordtal    = "lk-nordtal"
	firstName  = "alarm.holdfast.test"
	secondName = "zweitname.holdfast.test"
)

// stage is two sites of two operators behind two names and one port, as a federation is set up by its operators: a
// certificate authority of its own, an SMS gateway, an identity provider, relays between the sites that can be cut.
type stage struct {
	t        *testing.T
	dir      string
	holdfast string
	story    string // that was told on it
	port     string
	ca       *ca
	sites    [2]*standing
	sms      *gateway
	people   []person
	secrets  *ledger
	issuer   string
	provider *exec.Cmd
	ahead    time.Duration // how far the sites' clocks are ahead of this machine's
}

// standing is one site of a stage.
type standing struct {
	label, name, operator, host string
	data, errors                string
	wire                        *wire
	cmd                         *exec.Cmd
	stdin                       io.Closer
	ended                       chan struct{}
}

// person is one of the invented people. Their names occur nowhere else, so that they can be searched for.
type person struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Given  string `json:"-"`
	Family string `json:"family"`
	Mail   string `json:"mail"`
	Mobile string `json:"mobile"`
}

var (
	givenNames  = []string{"Adelgunde", "Balduin", "Cosima", "Dankwart", "Edeltraud", "Ferfried", "Gismara", "Hademar", "Irmhild", "Jobst", "Kunigund", "Ludolf"}
	familyNames = []string{"Quittenbaum", "Rübsamen", "Schwanenflügl", "Tannhuber", "Uhrwerker", "Vogelsteller", "Wacholderer", "Xylander", "Ypsilanti", "Zwetschgenbauer", "Ährenleser", "Öltjenbruns"}
)

// newStage makes and starts both sites, founds the authority, imports its people. With keyFile the second site's data folder is
// encrypted. It ends with the test, and then searches what the sites leave for what must not be there.
func newStage(t *testing.T) *stage {
	t.Helper()
	begin := time.Now()
	s := &stage{t: t, dir: t.TempDir(), holdfast: build(t), secrets: &ledger{}}
	s.sms = newGateway(t)
	s.ca = newCA(t, s.dir)
	s.ca.issue(t, "portal", time.Now().Add(-time.Hour), time.Now().AddDate(30, 0, -1), firstName, secondName)
	s.port = samePort(t, "127.0.1.1", "127.0.1.2")
	s.startIssuer()
	t.Cleanup(s.close)
	for i, host := range []string{"127.0.1.1", "127.0.1.2"} {
		s.sites[i] = &standing{label: string(rune('a' + i)), host: host, data: filepath.Join(s.dir, "site-"+string(rune('a'+i))),
			name:     []string{"Rechenzentrum Anker", "Box im Landratsamt"}[i],
			operator: []string{"Nordwolke eG", "Landkreis Nordtal"}[i], wire: newWire(t, host)}
		s.sites[i].errors = s.sites[i].data + ".stderr"
		s.make(s.sites[i])
		s.start(s.sites[i])
	}
	s.settle()
	t.Logf("two sites at %s:%s and %s:%s, %d people, after %v", s.sites[0].host, s.port, s.sites[1].host, s.port, len(s.people), time.Since(begin).Round(time.Millisecond))
	return s
}

// samePort finds a port that nobody listens on at any of the hosts; the kernel picks it.
func samePort(t *testing.T, hosts ...string) string {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", net.JoinHostPort(hosts[0], "0"))
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		free := true
		for _, h := range hosts[1:] {
			other, err := net.Listen("tcp", net.JoinHostPort(h, port))
			free = free && err == nil
			if err == nil {
				_ = other.Close()
			}
		}
		_ = l.Close()
		if free {
			return port
		}
	}
	t.Fatal("no port is free at both addresses")
	return ""
}

// make sets the site up as its operator would, with names, certificate, gateway and provider in its configuration.
func (s *stage) make(x *standing) {
	s.t.Helper()
	args := []string{"init"}
	if x != s.sites[0] {
		key := filepath.Join(s.dir, "disk.key")
		s.must(os.WriteFile(key, bytes.Repeat([]byte("0123456789abcdef"), 4), 0o600))
		args = []string{"join", s.invitation(x), "--box", "--key-file", key}
	}
	args = append(args, "--name", x.name, "--operator", x.operator, "--portal-listen", net.JoinHostPort(x.host, s.port),
		"--portal-url", "https://"+net.JoinHostPort(x.host, s.port), "--peer-listen", "127.0.0.1:0", "--peer-advertise", x.wire.addr(), "--peer-from", x.host)
	var made struct{ SignIn string }
	s.run(x, &made, args...)
	s.secrets.note("sign-in link", last(made.SignIn))
	c, err := app.LoadConfig(x.data)
	s.must(err)
	c.Portal.Names = []string{firstName, secondName}
	c.Portal.TLSCert, c.Portal.TLSKey = s.ca.path("portal.pem"), s.ca.path("portal.key")
	c.Channels.SMS = &app.SMS{URL: s.sms.server.URL}
	c.Identity.OIDC = []app.OIDC{{Authority: nordtal, Issuer: s.issuer, ClientID: "holdfast", SecretFile: s.path("client.secret")}}
	s.must(os.Remove(filepath.Join(x.data, app.ConfigFile)))
	s.must(app.WriteConfig(x.data, c))
}

func (s *stage) invitation(x *standing) string {
	s.t.Helper()
	var made struct{ Token string }
	s.run(s.sites[0], &made, "invite", "--name", x.name, "--operator", x.operator)
	return made.Token
}

// last returns what follows the last slash of an address.
func last(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// run carries out one command against a site and reads its JSON.
func (s *stage) run(x *standing, into any, args ...string) {
	s.t.Helper()
	out, said, err := s.command(x, args...)
	if err != nil {
		s.t.Fatalf("holdfast %s: %v: %s", args[0], err, said)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(out), into); err != nil {
			s.t.Fatalf("holdfast %s printed %q: %v", args[0], out, err)
		}
	}
}

func (s *stage) command(x *standing, args ...string) (out, said string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.holdfast, append(args, "--data", x.data, "--json")...)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	b, err := cmd.Output()
	return string(b), errOut.String(), err
}

// start runs the site and waits until it listens. With a clock ahead it is this test's own binary that serves, see TestMain.
func (s *stage) start(x *standing) {
	s.t.Helper()
	log, err := os.OpenFile(x.errors, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	s.must(err)
	defer log.Close()
	x.cmd = exec.Command(s.holdfast, "serve", "--data", x.data, "--attached", "--json")
	if s.ahead != 0 {
		self, err := os.Executable()
		s.must(err)
		x.cmd = exec.Command(self)
		x.cmd.Env = append(os.Environ(), serveData+"="+x.data, serveAhead+"="+s.ahead.String())
	}
	x.cmd.Stderr = log
	x.stdin, err = x.cmd.StdinPipe()
	s.must(err)
	out, err := x.cmd.StdoutPipe()
	s.must(err)
	s.must(x.cmd.Start())
	x.ended = make(chan struct{})
	ready := make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		var r struct{ Peer string }
		b := bufio.NewReader(out)
		line, err := b.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &r)
		}
		x.wire.forward(r.Peer)
		ready <- err
		_, _ = io.Copy(io.Discard, b)
		_ = cmd.Wait()
	}(x.cmd, x.ended)
	select {
	case err = <-ready:
	case <-time.After(30 * time.Second):
		err = errors.New("not within 30 seconds")
	}
	if err != nil {
		said, _ := os.ReadFile(x.errors)
		s.t.Fatalf("%s did not get ready: %v\n%s", x.name, err, said)
	}
}

// kill ends the site as a power cut would.
func (s *stage) kill(x *standing) {
	if x.cmd == nil {
		return
	}
	_ = x.cmd.Process.Kill()
	<-x.ended
	_ = x.stdin.Close()
	x.cmd = nil
}

// settle founds the authority and imports its people at the first site, and waits until the second has all.
func (s *stage) settle() {
	s.t.Helper()
	a, b := s.sites[0], s.sites[1]
	s.eventually("both sites know each other", func() error {
		var st struct{ Members []any }
		out, said, err := s.command(b, "status")
		if err == nil {
			err = json.Unmarshal([]byte(out), &st)
		}
		if err == nil && len(st.Members) != 2 {
			err = fmt.Errorf("%d members %s", len(st.Members), said)
		}
		return err
	})
	if out, said, err := s.command(a, "authority", "add", nordtal, "--name-de", "Landkreis Nordtal", "--name-en", "Nordtal District",
		"--sites", a.name+","+b.name); err != nil {
		s.t.Fatalf("add the authority: %v %s %s", err, out, said)
	}
	file := s.path("people.csv")
	table := "Personalnummer;Vorname;Nachname;Mobil;E-Mail\n"
	for i, given := range givenNames {
		p := person{Name: given + " " + familyNames[i], Given: given, Family: familyNames[i], Mobile: fmt.Sprintf("+4915112340%03d", i),
			Mail: fmt.Sprintf("%s.%d@lk-nordtal.example", strings.ToLower(given), i)}
		table += fmt.Sprintf("K%03d;%s;%s;%s;%s\n", i, p.Given, p.Family, p.Mobile, p.Mail)
		s.people = append(s.people, p)
	}
	s.must(os.WriteFile(file, []byte(table), 0o600))
	s.run(a, nil, "directory", "import", file, "--authority", nordtal)
	s.eventually("the second site knows everybody", func() error {
		var found struct {
			People []struct{ ID, DisplayName string }
		}
		out, said, err := s.command(b, "directory", "people", "--authority", nordtal)
		if err == nil {
			err = json.Unmarshal([]byte(out), &found)
		}
		ids := make(map[string]string)
		for _, p := range found.People {
			ids[p.DisplayName] = p.ID
		}
		for i, p := range s.people {
			if s.people[i].ID = ids[p.Name]; s.people[i].ID == "" {
				return fmt.Errorf("%v: %s %s", err, out, said)
			}
		}
		return nil
	})
	for _, role := range []string{"administrator", "auditor", "alarm-officer"} {
		s.run(a, nil, "role", "grant", role, "--person", s.people[0].ID, "--authority", nordtal)
	}
}

// eventually tries until it works, for half a minute at most.
func (s *stage) eventually(what string, try func() error) {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("waited in vain until %s: %v", what, err)
		}
	}
}

// cut takes the wire between the two sites away, or gives it back.
func (s *stage) cut(cut bool) {
	for i, x := range s.sites {
		x.wire.bar(s.sites[1-i].host, cut)
	}
}

// close searches what was left, then ends the sites.
func (s *stage) close() {
	if s.sites[0] != nil && s.sites[0].cmd != nil {
		s.search()
	}
	for _, x := range s.sites {
		if x != nil {
			s.kill(x)
		}
	}
}

// startIssuer starts the identity provider that the authority has on ordinary days.
func (s *stage) startIssuer() {
	s.t.Helper()
	s.must(os.WriteFile(s.path("client.secret"), []byte("e2e-client-secret\n"), 0o600))
	port := samePort(s.t, "127.0.0.1")
	s.issuer = "http://127.0.0.1:" + port
	cmd := exec.Command("node", "oidc_provider.mjs", port, "https://"+net.JoinHostPort(firstName, s.port)+"/signin/oidc/"+nordtal+"/callback")
	stdin, err := cmd.StdinPipe()
	s.must(err)
	out, err := cmd.StdoutPipe()
	s.must(err)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("this test needs node (e2e/install.sh): %v", err)
	}
	s.provider = cmd
	s.t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready ") {
		s.t.Fatalf("the identity provider did not start: %v %q %s", err, line, said.String())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
}

// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTwoSitesOneName: invited, enrolled under both names, signed in at one site, and on at the other when the first is killed.
func TestTwoSitesOneName(t *testing.T) {
	newStage(t).tell("two-sites", 21)
}

// TestEveryWayIn goes each way in there is, and is refused where it should be.
func TestEveryWayIn(t *testing.T) {
	newStage(t).tell("ways-in", 58)
}

// TestACodeUsedOnBothSidesOfACut: both get in, and when the sites see each other again neither stays in, and people are told.
func TestACodeUsedOnBothSidesOfACut(t *testing.T) {
	newStage(t).tell("both-sides", 9)
}

// TestTenYearsAhead: ten years later, with no network but the machine's own and every outside service gone, people come in with
// what they enrolled today; and with a code at a box's own address when even the certificate is out of date.
func TestTenYearsAhead(t *testing.T) {
	if !withoutNetwork(t) {
		return
	}
	s := newStage(t)
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O2", "-o", s.path("clock.so"), filepath.Join("clock", "ahead.c")).CombinedOutput(); err != nil {
		t.Fatalf("this test needs a C compiler (e2e/install.sh): %v %s", err, out)
	}
	if c, err := net.DialTimeout("tcp", "192.0.2.1:80", time.Second); err == nil || !errors.Is(err, syscall.ENETUNREACH) {
		t.Fatalf("there is a network: %v %v", c, err)
	}
	s.tell("ten-years", 20)
}

// aloneIn, when set, is where a test without a network leaves what its search found; it tells that test what it is.
const aloneIn = "HOLDFAST_E2E_ALONE"

var (
	childCheck  = regexp.MustCompile(`^\s+--- (PASS|FAIL): [^/]+/(.+) \([0-9.]+s\)$`)
	childDetail = regexp.MustCompile(`^\s+portal_test\.go:\d+: `)
)

// withoutNetwork runs the test in a process with a network of its own, in which there is nothing but loopback, and reports
// whether this is that process. Its checks become tests of this one.
func withoutNetwork(t *testing.T) (inside bool) {
	t.Helper()
	if os.Getenv(aloneIn) != "" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("bring up loopback: %v %s", err, out)
		}
		return true
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test takes the network away from itself and needs root")
	}
	found := filepath.Join(t.TempDir(), "found.json")
	child := again(t, t.Name(), "")
	child.Env = append(os.Environ(), aloneIn+"="+found, builtBinary+"="+build(t))
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := child.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if m := childCheck.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			t.Run(m[2], func(t *testing.T) {
				if m[1] == "FAIL" {
					t.Error("see the output of the process without a network")
				}
			})
		} else if childDetail.MatchString(line) && testing.Verbose() {
			t.Log(strings.TrimSpace(line))
		}
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(found)
	var s searched
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		t.Errorf("read what the search found: %v", err)
	}
	searches = append(searches, s)
	return false
}

// stageHand is what a script asks of its stage.
type stageHand struct {
	Do    string   `json:"do"`
	Site  int      `json:"site"`
	Args  []string `json:"args"`
	Kind  string   `json:"kind"`
	Value string   `json:"value"`
	Cut   bool     `json:"cut"`
	Hours int      `json:"hours"`
	Until int      `json:"until"`
}

// tell has a script act out one story in a browser that trusts the authority's certificates, in a mount namespace in which
// both names resolve to both sites. Fewer checks than fewest are a failure, and so are more than four minutes.
func (s *stage) tell(story string, fewest int) {
	s.t.Helper()
	if os.Geteuid() != 0 {
		s.t.Fatal("this test gives two names to two addresses, in a mount namespace of its own, and needs root")
	}
	s.story = story
	hosts := s.path("hosts")
	s.must(os.WriteFile(hosts, []byte(strings.Join([]string{"127.0.0.1 localhost", "127.0.1.1 " + firstName, "127.0.1.2 " + firstName,
		"127.0.1.2 " + secondName, "127.0.1.1 " + secondName, ""}, "\n")), 0o644))
	hand := httptest.NewServer(http.HandlerFunc(s.serve))
	defer hand.Close()
	sites := make([]map[string]string, 0, len(s.sites))
	for _, x := range s.sites {
		sites = append(sites, map[string]string{"name": x.name, "host": x.host, "url": "https://" + x.host + ":" + s.port})
	}
	seen := walk(s.t, []string{"unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/hosts && exec timeout --foreground 900 "$@"`, hosts, "node", "identity.mjs", story},
		map[string]any{"stage": hand.URL, "names": []string{firstName, secondName}, "port": s.port, "sites": sites, "people": s.people,
			"authority": nordtal, "ca": s.ca.path("ca.pem"), "folder": s.dir, "issuer": s.issuer}, "HOME="+s.ca.trustedHome(s.t))
	if seen < fewest {
		s.t.Errorf("only %d checks, want %d at least", seen, fewest)
	}
}

func (s *stage) serve(w http.ResponseWriter, r *http.Request) {
	var h stageHand
	var out any = struct{}{}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&h)
	if err == nil {
		out, err = s.do(h)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (s *stage) do(h stageHand) (any, error) {
	x := s.sites[h.Site&1]
	switch h.Do {
	case "run":
		out, said, err := s.command(x, h.Args...)
		code := 0
		if e, ok := err.(*exec.ExitError); ok {
			code = e.ExitCode()
		} else if err != nil {
			return nil, err
		}
		return map[string]any{"code": code, "out": out, "said": said}, nil
	case "secret":
		s.secrets.note(h.Kind, h.Value)
	case "kill":
		s.kill(x)
	case "start":
		s.start(x)
	case "cut":
		s.cut(h.Cut)
	case "messages":
		return s.sms.messages(), nil
	case "alone": // nothing outside answers any more
		s.sms.server.Close()
		_ = s.provider.Process.Kill()
	case "ahead": // both sites are started anew by a clock that is so far ahead
		s.ahead = time.Duration(h.Hours) * time.Hour
		s.restart()
	case "certificate": // both sites are started anew with one that is good until so many hours from now
		s.ca.issue(s.t, "portal", time.Now().AddDate(-1, 0, 0), time.Now().Add(time.Duration(h.Until)*time.Hour), firstName, secondName)
		s.restart()
	default:
		return nil, fmt.Errorf("nobody knows how to do %q", h.Do)
	}
	return struct{}{}, nil
}

func (s *stage) restart() {
	for _, x := range s.sites {
		s.kill(x)
		s.start(x)
	}
}

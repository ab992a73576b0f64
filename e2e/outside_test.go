// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// What stands around two sites: a certificate authority, an SMS gateway, the wires between them.

// ca is an authority's own certificate authority, valid for thirty years.
type ca struct {
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	leaf *x509.Certificate // the latest
}

func newCA(t *testing.T, dir string) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Landkreis Nordtal CA"},
		NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(30, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	c := &ca{dir: dir, key: key, cert: cert}
	writePEM(t, c.path("ca.pem"), "CERTIFICATE", der)
	return c
}

func (c *ca) path(name string) string { return filepath.Join(c.dir, name) }

// issue writes NAME.pem and NAME.key for the hosts, in the place of any before.
func (c *ca) issue(t *testing.T, name string, from, until time.Time, hosts ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: hosts[0]},
		DNSNames: hosts, NotBefore: from, NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, c.cert, &key.PublicKey, c.key)
	if err != nil {
		t.Fatal(err)
	}
	if c.leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, c.path(name+".pem"), "CERTIFICATE", der)
	writePEM(t, c.path(name+".key"), "PRIVATE KEY", secret)
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// trustedHome returns a home folder in which Chromium trusts the authority's certificates, and no others besides the system's.
func (c *ca) trustedHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	store := filepath.Join(home, ".pki", "nssdb")
	if err := os.MkdirAll(store, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-N", "--empty-password"}, {"-A", "-n", "nordtal", "-t", "C,,", "-i", c.path("ca.pem")}} {
		if out, err := exec.Command("certutil", append([]string{"-d", "sql:" + store}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("this test needs certutil (e2e/install.sh): %v %s", err, out)
		}
	}
	return home
}

// gateway is an SMS gateway that takes everything and keeps it.
type gateway struct {
	server *httptest.Server
	mu     sync.Mutex
	taken  []sms
}

type sms struct {
	To   string `json:"to"`
	Text string `json:"text"`
	Key  string `json:"key"`
}

const maxSMS = 10_000

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{taken: []sms{}}
	g.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m sms
		g.mu.Lock()
		defer g.mu.Unlock()
		if json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&m) != nil || len(g.taken) >= maxSMS {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		g.taken = append(g.taken, m)
	}))
	t.Cleanup(g.server.Close)
	return g
}

func (g *gateway) messages() []sms {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.taken)
}

// wire stands in front of a site's peer port so that it can be cut from the other: open connections break, new ones fail. It
// knows who dials by the loopback address a site dials from.
type wire struct {
	listener net.Listener
	mu       sync.Mutex
	target   string
	barred   map[string]bool
	open     map[net.Conn]string
}

func newWire(t *testing.T, host string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, barred: make(map[string]bool), open: make(map[net.Conn]string)}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(c)
		}
	}()
	return w
}

func (w *wire) addr() string { return w.listener.Addr().String() }

func (w *wire) forward(target string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.target = target
}

func (w *wire) carry(near net.Conn) {
	defer near.Close()
	from, _, _ := net.SplitHostPort(near.RemoteAddr().String())
	w.mu.Lock()
	target, barred := w.target, w.barred[from]
	w.mu.Unlock()
	if target == "" || barred {
		return
	}
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer far.Close()
	w.mu.Lock()
	w.open[near] = from
	w.mu.Unlock()
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(far, near); done <- struct{}{} }()
	go func() { _, _ = io.Copy(near, far); done <- struct{}{} }()
	<-done
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, near)
}

// bar cuts or mends the wire from one host.
func (w *wire) bar(from string, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.barred[from] = cut
	for c, f := range w.open {
		if cut && f == from {
			_ = c.Close()
		}
	}
}

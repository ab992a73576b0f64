// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package e2e_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// secret is something that a test has seen on somebody's screen and that must lie nowhere else.
type secret struct{ Kind, Value string }

// ledger gathers the secrets of one stage.
type ledger struct {
	mu   sync.Mutex
	list []secret
}

func (l *ledger) note(kind, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := (secret{kind, value}); value != "" && !slices.Contains(l.list, s) {
		l.list = append(l.list, s)
	}
}

func (l *ledger) all() []secret {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// searched is what the search of one stage has come to.
type searched struct {
	Story    string
	Kinds    map[string]int // secrets that were looked for
	Bytes    int64
	Files    int
	Leaks    []string
	Names    []string // of people, in an encrypted data folder
	Controls []string // what the search should have found and has not
	Sent     int      // messages that carried a secret they were meant to carry
}

// searches are the results of all stages so far.
var searches []searched

// fewestSecrets keeps a search that looks for nothing from passing: so many of each kind the identity tests see at least.
var fewestSecrets = map[string]int{
	"invitation": 3, "recovery code": 40, "session": 20, "sign-in link": 3, "TOTP secret": 1, "guest code": 1, "token": 1,
	"hand-over": 1, "spoken": 1, "vouching ticket": 1, "client secret": 1, "app password": 1, "passkey key": 2,
}

// TestNothingSecretIsLeft judges what the tests before it have left in data folders, on standard error, in answers that are for
// machines and in messages. It tells the stories that it needs and that were not told.
func TestNothingSecretIsLeft(t *testing.T) {
	for name, tell := range map[string]func(*testing.T){"ways-in": TestEveryWayIn, "two-sites": TestTwoSitesOneName} {
		if !slices.ContainsFunc(searches, func(s searched) bool { return s.Story == name }) {
			t.Run(name, tell)
		}
	}
	kinds, sent := map[string]int{}, 0
	var size int64
	for _, s := range searches {
		for k, n := range s.Kinds {
			kinds[k] += n
		}
		size, sent = size+s.Bytes, sent+s.Sent
		for _, list := range [][]string{s.Leaks, s.Names, s.Controls} {
			for _, x := range list {
				t.Error(x)
			}
		}
	}
	for k, n := range fewestSecrets {
		if kinds[k] < n {
			t.Errorf("only %d of the kind %q were looked for, want %d", kinds[k], k, n)
		}
	}
	if sent != 1 {
		t.Errorf("%d messages carried an invitation, want the one that was to be sent", sent)
	}
	t.Logf("%d stages, %d MiB, looked for %v", len(searches), size>>20, kinds)
}

// search looks through everything that the stage's sites have left.
func (s *stage) search() {
	begin := time.Now()
	s.secrets.note("client secret", "e2e-client-secret")
	r := searched{Story: s.story, Kinds: map[string]int{}}
	n := newNeedles()
	for _, x := range s.secrets.all() {
		r.Kinds[x.Kind]++
		for form, v := range formsOf(x.Value) {
			n.add(v, x.Kind+" ("+form+")")
		}
	}
	look := func(where string, b []byte) {
		r.Files, r.Bytes = r.Files+1, r.Bytes+int64(len(b))
		for what := range n.in(b) {
			r.Leaks = append(r.Leaks, what+" in "+where)
		}
	}
	names := s.nameNeedles()
	for i, x := range s.sites {
		plain := map[string]bool{}
		s.eachFile(x.data, func(path string, b []byte) {
			look(x.label+": "+path, b)
			for what := range names.in(b) {
				plain[what] = true
			}
		})
		if i == 1 {
			for what := range plain {
				r.Names = append(r.Names, what+" lies in the clear in an encrypted data folder")
			}
		} else if len(plain) < len(s.people) {
			r.Controls = append(r.Controls, fmt.Sprintf("only %d names were found in a data folder that is not encrypted", len(plain)))
		}
		if b, err := os.ReadFile(x.errors); err != nil {
			r.Controls = append(r.Controls, err.Error())
		} else {
			look(x.label+": standard error", b)
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			b, err := s.get(x, path)
			if err != nil && x.cmd != nil {
				r.Controls = append(r.Controls, fmt.Sprintf("%s at %s: %v", path, x.label, err))
			}
			look(x.label+": "+path, b)
		}
	}
	for _, m := range s.sms.messages() {
		meant := false
		for what := range n.in([]byte(m.Text + "\n" + m.Key)) {
			if strings.HasPrefix(what, "invitation (") && strings.Contains(m.Text, "/enrol/") {
				meant = true
				continue
			}
			r.Leaks = append(r.Leaks, what+" in a message")
		}
		if meant {
			r.Sent++
		}
	}
	searches = append(searches, r)
	if path := os.Getenv(aloneIn); path != "" {
		b, err := json.Marshal(r)
		s.must(err)
		s.must(os.WriteFile(path, b, 0o600))
	}
	s.t.Logf("searched %d files, %d KiB, for %d forms of %d secrets in %v", r.Files, r.Bytes>>10, n.count, len(s.secrets.all()), time.Since(begin).Round(time.Millisecond))
}

func (s *stage) nameNeedles() *needles {
	n := newNeedles()
	for _, p := range s.people {
		for form, v := range map[string]string{"plain": p.Family, "lower": strings.ToLower(p.Family), "base64": base64.StdEncoding.EncodeToString([]byte(p.Family))} {
			n.add([]byte(strings.TrimRight(v, "=")), p.Family+" ("+form+")")
		}
		n.add([]byte(p.Mail), p.Mail)
		n.add([]byte(p.Mobile), p.Mobile)
	}
	return n
}

func (s *stage) eachFile(dir string, do func(path string, b []byte)) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // the site is running: files come and go
		}
		if b, err := os.ReadFile(path); err == nil {
			name, _ := filepath.Rel(dir, path)
			do(name, b)
		}
		return nil
	})
	s.must(err)
}

// get asks a site at its own address, as what watches over machines does, under the name that its certificate has.
func (s *stage) get(x *standing, path string) ([]byte, error) {
	pool := x509.NewCertPool()
	pool.AddCert(s.ca.cert)
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: firstName, Time: func() time.Time { return s.ca.leaf.NotBefore.Add(time.Minute) }}}}
	resp, err := c.Get("https://" + x.host + ":" + s.port + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}

// formsOf returns how a secret may have been written down: as it is, without its hyphens, in other letters, in base64 (at each
// of the three places where it may begin inside a longer text) and hex, and what it decodes to.
func formsOf(value string) map[string][]byte {
	forms := map[string][]byte{"plain": []byte(value)}
	bare := strings.ReplaceAll(value, "-", "")
	forms["without hyphens"], forms["lower case"] = []byte(bare), []byte(strings.ToLower(bare))
	if i := strings.LastIndexByte(value, '.'); i > 0 { // a token: its signature is what makes it good
		forms["signature"] = []byte(value[i+1:])
	}
	raw := map[string][]byte{"": []byte(value), " without hyphens": []byte(bare)}
	for _, e := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding} {
		if b, err := e.DecodeString(value); err == nil && len(b) >= 16 {
			raw[" decoded"] = b
		}
	}
	if b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(value); err == nil && len(b) >= 16 {
		raw[" decoded from base32"] = b
	}
	for name, b := range raw {
		if strings.HasPrefix(name, " decoded") {
			forms["bytes"+name] = b
		}
		forms["hex"+name], forms["HEX"+name] = []byte(hex.EncodeToString(b)), []byte(strings.ToUpper(hex.EncodeToString(b)))
		for shift := range 3 {
			for kind, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
				text := e.EncodeToString(append(make([]byte, shift), b...))
				text = text[(shift*8+5)/6 : (shift+len(b))*8/6]
				forms[fmt.Sprintf("%s%s, shifted by %d", kind, name, shift)] = []byte(text)
			}
		}
	}
	return forms
}

// needles are texts that are looked for all at once, by their first eight bytes.
type needles struct {
	count int
	by    map[uint64][]needle
	first [1 << 16]bool // by the first two bytes
}

type needle struct {
	text []byte
	what string
}

func newNeedles() *needles { return &needles{by: map[uint64][]needle{}} }

// add adds a text; one of fewer than eight bytes says nothing and is left out.
func (n *needles) add(text []byte, what string) {
	if len(text) < 8 {
		return
	}
	n.count++
	key := binary.BigEndian.Uint64(text)
	n.by[key] = append(n.by[key], needle{text, what})
	n.first[key>>48] = true
}

// in returns what of them occurs in b.
func (n *needles) in(b []byte) map[string]bool {
	found := map[string]bool{}
	for i := 0; i+8 <= len(b); i++ {
		if !n.first[uint16(b[i])<<8|uint16(b[i+1])] {
			continue
		}
		for _, x := range n.by[binary.BigEndian.Uint64(b[i:])] {
			if bytes.HasPrefix(b[i:], x.text) {
				found[x.what] = true
			}
		}
	}
	return found
}

// TestTheSearchFindsWhatIsThere judges the instrument: it must find a secret in each of the forms.
func TestTheSearchFindsWhatIsThere(t *testing.T) {
	const code, link = "7K2M-9XPQ-A0B1-C2D3-E4F5-G6H7", "q3JkX0v-91_aZ4mTn2LwEr5cYb8uHs7D"
	n := newNeedles()
	for _, v := range []string{code, link} {
		for form, b := range formsOf(v) {
			n.add(b, v+" ("+form+")")
		}
	}
	raw, err := base64.RawURLEncoding.DecodeString(link)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]string{
		"plain": "x" + code, "bare": strings.ReplaceAll(code, "-", "") + "y", "lower": strings.ToLower(strings.ReplaceAll(code, "-", "")),
		"JSON in base64, begun at 0": base64.StdEncoding.EncodeToString([]byte(`{}` + code + `"}`)),
		"begun at 1":                 base64.StdEncoding.EncodeToString([]byte(`{"` + code + `"}`)),
		"begun at 2":                 base64.URLEncoding.EncodeToString([]byte(`{"c":"` + link + `"}`)),
		"hex":                        hex.EncodeToString([]byte(code)), "the bytes of a link": "\x00" + string(raw), "their hex": hex.EncodeToString(raw),
	} {
		if len(n.in([]byte("before "+b+" after"))) == 0 {
			t.Errorf("not found: %s", name)
		}
	}
	if found := n.in([]byte("nothing of the kind is in here at all, 7K2M-9XPQ-A0B1")); len(found) != 0 {
		t.Errorf("found %v", slices.Collect(maps.Keys(found)))
	}
}

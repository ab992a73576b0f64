// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"codeberg.org/holdfast/holdfast/cli"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/examples"
)

// sealedBy has all sites of a world made with encryption at rest.
func sealedBy(path string) func(*world) {
	return func(w *world) {
		w.keyFile = path
		w.must(writeSecret(path))
	}
}

func writeSecret(path string) error {
	var b [32]byte
	if _, err := io.ReadFull(rand.Reader, b[:]); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(hex.EncodeToString(b[:])+"\n"), 0o600)
}

// With a key file, whoever gets the disk finds no name, no address, no number and no secret on it, and the site starts only
// with that file.
func TestAnEncryptedDataFolderShowsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	w := newWorld(t, 1, named, sealedBy(path))
	w.authority(nordtal, 1)
	a := w.sites[0]
	a.importAt(nordtal, table(erika, jonas, fatma))
	links := w.alarmPeople("Geheime Sache.")
	if r := a.importAt(nordtal, examples.NordtalLDIF); r.Added != examples.NordtalPeople {
		t.Fatalf("%d people are imported", r.Added)
	}
	v := a.everyWayIn()
	for _, link := range links {
		v.add("reply link", link)
	}
	before := shown(a.everybody(nordtal))
	w.must(a.site.audit.Flush(t.Context()))
	names := imported()
	for text := range erikas {
		names[text] = true
	}
	for _, text := range []string{"Zwergdommel", "Rohrweihe", "491713920102", "Schlüsselbund", "Leitstelle", "Geheime Sache"} {
		names[text] = true
	}
	people, ways := newScanner(names), v.scanner()
	look := func() (size int) {
		for p, b := range filesBelow(t, a.data) {
			size += len(b)
			for text, form := range people.find(b) {
				t.Errorf("%s holds %q as %s", p, text, form)
			}
			for text, form := range ways.find(b) {
				t.Errorf("%s holds a secret (%s) as %s", p, v.secrets[text], form)
			}
		}
		return size
	}
	look()
	a.end()
	size := look()
	if size < 1<<20 {
		t.Errorf("only %d bytes: the test proves nothing", size)
	}
	t.Logf("%d names, addresses and numbers, %d secrets in %d forms, none in %d bytes", len(names), len(v.secrets), people.needles+ways.needles, size)

	a.startsOnlyWith(path)
	a.start()
	w.eventually("everything is folded again", func() error {
		p, err := a.People(t.Context(), nordtal, directory.Search{})
		if err == nil && p.Total != len(before) {
			err = fmt.Errorf("there are %d people", p.Total)
		}
		if err == nil && !maps.Equal(before, shown(a.everybody(nordtal))) {
			err = errors.New("other people are shown after the restart")
		}
		return err
	})
	a.importAt(nordtal, table(erika, jonas, fatma, "4;Eisvogel;Kai;;;Amt 32"))
	for _, c := range v.sessions[:1] {
		a.sees(c, "/", http.StatusOK) // sessions go on, too
	}
	look()
}

// startsOnlyWith tries to open the stopped site without its secret, with a wrong one, and as if it had never been sealed.
func (s *station) startsOnlyWith(path string) {
	t := s.w.t
	t.Helper()
	right, err := os.ReadFile(path)
	s.w.must(err)
	refuses := func(code, wayOut string) {
		t.Helper()
		opened, err := New(t.Context(), s.data, slog.New(slog.DiscardHandler))
		if err == nil {
			err = errors.Join(errors.New("it opens"), opened.Close())
		}
		wantFault(t, err, code, "", wayOut)
	}
	s.w.must(os.Remove(path))
	refuses("secret.missing", "never write a new one")
	refusedServe(t, s.data, "secret.missing")
	s.w.must(writeSecret(path))
	refuses("identity.wrong_key", "")
	s.w.must(os.WriteFile(path, right, 0o600))
	s.w.must(os.Chmod(path, 0o604))
	refuses("secret.readable", "chmod")
	s.w.must(os.Chmod(path, 0o600))
	s.changeConfig(func(c *Config) { c.Disk.KeyFile = "" })
	refuses("identity.sealed", "name the file with the secret")
	s.changeConfig(func(c *Config) { c.Disk.KeyFile = path })
}

func refusedServe(t *testing.T, data, want string) {
	t.Helper()
	_, code, err := holdfast(t, "serve", "--data", data)
	if code == 0 {
		t.Error("serving begins")
	}
	wantFault(t, err, want, "", "")
}

// A site that was made without a key file is not half-sealed by giving it one.
func TestAPlainSiteDoesNotStartWithAKeyFile(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	a.end()
	path := filepath.Join(t.TempDir(), "secret")
	w.must(writeSecret(path))
	a.changeConfig(func(c *Config) { c.Disk.KeyFile = path })
	refusedServe(t, a.data, "identity.plain")
}

// init and join leave nothing behind when the key file is not to be had.
func TestInitWithoutTheKeyFileLeavesNothing(t *testing.T) {
	data := filepath.Join(t.TempDir(), "new")
	_, err := Init(t.Context(), cli.SiteSettings{Data: data, Name: "Nord", Operator: "Nordwolke eG", PortalListen: freePort(t), PeerListen: "127.0.0.1:0",
		KeyFile: filepath.Join(t.TempDir(), "none")})
	wantFault(t, err, "secret.unusable", "", "")
	left, err := filepath.Glob(filepath.Join(data, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/cli"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/localstore"
)

// harm changes a file of the site's folder while the site is down.
func (s *station) harm(file string, change func([]byte) []byte) {
	s.w.t.Helper()
	path := filepath.Join(s.data, file)
	b, err := os.ReadFile(path)
	s.w.must(err)
	s.w.must(os.WriteFile(path, change(b), 0o600))
}

// wrong waits until the site tells of a condition, and returns it as status does.
func (s *station) wrong(store health.Store, cause health.Cause, open bool) health.Condition {
	s.w.t.Helper()
	var found health.Condition
	s.w.eventually(fmt.Sprintf("%s tells that its %s is %s, open %v", s.name, store, cause, open), func() error {
		st, err := s.Status(s.w.t.Context())
		if err != nil {
			return err
		}
		for _, c := range st.Conditions {
			if c.Store == store && c.Cause == cause && c.Open() == open {
				found = c
				return nil
			}
		}
		return fmt.Errorf("it tells %+v", st.Conditions)
	})
	return found
}

// ask returns status and body of a path at the portal's own port.
func (s *station) ask(path string) (int, string) {
	s.w.t.Helper()
	return get(s.w.t, http.DefaultClient, "http://"+s.portal+path)
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// metrics returns what the operator's socket tells.
func (s *station) metrics() string {
	s.w.t.Helper()
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(s.data, api.SocketFile))
	}}}
	_, body := get(s.w.t, c, "http://holdfast/metrics")
	return body
}

// A damaged keyring took the read model down: 24,177 pages behind, and nobody said why. Now the site shows what needs no key, gets
// the keys from the others, and says what was wrong.
func TestADamagedKeyringIsRepairedAndTold(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"its header":   func(b []byte) []byte { copy(b, make([]byte, 100)); return b },
		"half of it":   func(b []byte) []byte { return b[:len(b)/2] },
		"zero length":  func([]byte) []byte { return nil },
		"not a trace":  func(b []byte) []byte { return bytes.Repeat([]byte("nothing "), len(b)/8) },
		"a whole page": func(b []byte) []byte { copy(b[len(b)-4096:], bytes.Repeat([]byte{0xab}, 4096)); return b },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.authority(nordtal, 2)
			a, b := w.sites[0], w.sites[1]
			a.importAt(nordtal, table(erika, jonas))
			w.same(a, b)
			person := b.named(nordtal, "Quastenflosser").ID
			b.end()
			b.harm(keyringFile, change)
			for _, suffix := range []string{"", "-wal", "-shm", sumsOfModel} { // folded anew, so that the keys are needed
				if err := os.Remove(filepath.Join(b.data, modelFile+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
			b.start()
			b.readable(nordtal, person, directory.Readable)
			w.same(a, b)
			if c := b.wrong(health.Keyring, health.Damaged, false); c.Message == "" || c.WayOut == "" {
				t.Errorf("told is %+v", c)
			}
			w.eventually("the site is ready", func() error {
				if code, body := b.ask("/readyz"); code != http.StatusOK {
					return errors.New(body)
				}
				return nil
			})
			if m := b.metrics(); !strings.Contains(m, `holdfast_conditions_total{store="keyring",cause="damaged"} 1`) ||
				!strings.Contains(m, `holdfast_condition{store="keyring",cause="damaged"} 0`) {
				t.Errorf("the metrics are\n%s", m)
			}
			if code, _ := b.ask("/metrics"); code != http.StatusNotFound {
				t.Errorf("the public port answers /metrics with %d", code)
			}
		})
	}
}

// sumsOfModel is behind read.db's name for the sums of its pages.
const sumsOfModel = "-sum"

// A digit that flips in read.db was shown as the number of a person.
func TestAFlippedDigitInTheReadModelIsNotShown(t *testing.T) {
	w := newWorld(t, 1)
	w.authority(nordtal, 1)
	a := w.sites[0]
	a.importAt(nordtal, table(erika, jonas))
	w.same(a)
	before := a.named(nordtal, "Quastenflosser")
	number := numberOf(t, before)
	a.end()
	a.harm(modelFile, func(b []byte) []byte {
		if !bytes.Contains(b, []byte(number)) {
			t.Fatalf("the file does not contain %s", number)
		}
		wrong := []byte(number)
		wrong[len(wrong)-1] ^= 1
		return bytes.ReplaceAll(b, []byte(number), wrong)
	})
	a.start()
	w.eventually("the read model is folded", func() error {
		if n := a.site.model.Behind(); n > 0 {
			return fmt.Errorf("%d pages behind", n)
		}
		return nil
	})
	if after := numberOf(t, a.named(nordtal, "Quastenflosser")); after != number {
		t.Errorf("shown is %s, the number is %s", after, number)
	}
	if c := a.wrong(health.Model, health.Damaged, false); !strings.Contains(c.Message, "is not what was written") {
		t.Errorf("told is %+v", c)
	}
	list, err := a.Troubles(t.Context())
	if w.must(err); len(list) != 0 {
		t.Errorf("what is mended is still a trouble: %+v", list)
	}
}

func numberOf(t *testing.T, p api.Person) string {
	t.Helper()
	for _, c := range p.Reachability {
		if c.Kind == directory.SMS {
			return c.Address
		}
	}
	t.Fatalf("%+v has no number", p)
	return ""
}

// Sessions and the like are this site's alone. What can be read of a damaged file goes on; our logs go on under another word, since
// the one in the file may be an old one.
func TestADamagedLocalStoreCostsNoMoreThanItsEntries(t *testing.T) {
	w := newWorld(t, 2)
	w.authority(nordtal, 2)
	a, b := w.sites[0], w.sites[1]
	a.importAt(nordtal, table(erika))
	w.same(a, b)
	was := a.site.log.Incarnation()
	a.end()
	a.harm(localFile, func(f []byte) []byte { return bytes.Repeat([]byte("nothing "), len(f)/8) })
	a.start()
	a.wrong(health.Local, health.Damaged, false)
	a.wrong(health.Local, health.SetAside, true)
	a.importAt(nordtal, table(erika, jonas))
	w.same(a, b)
	if now := a.site.log.Incarnation(); now == was || now == "" {
		t.Errorf("our logs go on under %q, before it was %q", now, was)
	}
	if list := b.site.log.Forks(); len(list) > 0 {
		t.Errorf("the log is forked: %+v", list)
	}
}

// The running site is the last one to have the key.
func TestADamagedSiteKeyIsWrittenAgainWhileTheSiteRuns(t *testing.T) {
	w := newWorld(t, 1)
	a := w.sites[0]
	for name, change := range map[string]func([]byte) []byte{
		"flipped": func(b []byte) []byte { b[len(b)/2] ^= 2; return b },
		"cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"empty":   func([]byte) []byte { return nil },
	} {
		a.harm(localstore.IdentityFile, change)
		if err := a.site.checkSmall(t.Context(), atFullSpeed); err != nil {
			t.Fatal(err)
		}
		if id, err := localstore.LoadIdentity(a.data); err != nil || id.Site() != a.id {
			t.Errorf("%s: the file has %v, %v", name, id, err)
		}
	}
	a.wrong(health.Key, health.Damaged, false)
	a.notAsAnother()
	a.harm(ConfigFile, func(b []byte) []byte { return append(b, "\nnonsense: yes\n"...) })
	if err := a.site.checkSmall(t.Context(), atFullSpeed); err != nil {
		t.Fatal(err)
	}
	if c := a.wrong(health.Config, health.Damaged, true); !strings.Contains(c.Message, "line ") {
		t.Errorf("told is %+v", c)
	}
}

// notAsAnother tries to open the folder with a key that a flipped bit has turned into another one.
func (s *station) notAsAnother() {
	t := s.w.t
	t.Helper()
	copied := t.TempDir()
	for _, file := range []string{ConfigFile, localFile, localFile + "-wal"} {
		b, err := os.ReadFile(filepath.Join(s.data, file))
		s.w.must(err)
		s.w.must(os.WriteFile(filepath.Join(copied, file), b, 0o600))
	}
	if _, err := localstore.CreateIdentity(copied, rand.Reader); err != nil {
		t.Fatal(err)
	}
	_, err := New(t.Context(), copied, slog.New(slog.DiscardHandler))
	wantFault(t, err, "identity.other", "does not hold the key of the site", "from its backup")
}

// Whoever routes people by /readyz must not send them to a site that answers them with errors.
func TestReadyzSaysWhatRequestsSay(t *testing.T) {
	w := newWorld(t, 1)
	w.authority(nordtal, 1)
	a := w.sites[0]
	w.eventually("the site is ready", func() error {
		if code, body := a.ask("/readyz"); code != http.StatusOK {
			return errors.New(body)
		}
		return nil
	})
	a.site.health.Tell(health.Condition{Store: health.Model, Cause: health.Damaged, Detail: "test", Message: "it is damaged", Blocks: true})
	if code, body := a.ask("/readyz"); code != http.StatusServiceUnavailable || !strings.HasPrefix(body, "model.damaged: ") {
		t.Errorf("with a damaged model: %d %s", code, body)
	}
	a.site.health.Mend(health.Model, health.Damaged, "test")
	if code, body := a.ask("/readyz"); code != http.StatusOK {
		t.Errorf("afterwards: %d %s", code, body)
	}
	w.must(a.site.ring.Close()) // no request gets a key any more
	if code, body := a.ask("/readyz"); code != http.StatusServiceUnavailable || !strings.HasPrefix(body, "keyring.failing: ") {
		t.Errorf("without the keyring: %d %s", code, body)
	}
	w.must(a.site.model.Close())
	if _, err := a.People(t.Context(), nordtal, directory.Search{}); err == nil {
		t.Error("people are shown without the read model")
	}
	if code, _ := a.ask("/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("without the read model: %d", code)
	}
}

// A store that is found damaged while the site runs is repaired by opening the site anew; people come in once more, and the
// program that started the site hears nothing of it.
func TestServeOpensTheSiteAnewToRepairAStore(t *testing.T) {
	data := filepath.Join(t.TempDir(), "a")
	_, err := Init(t.Context(), cli.SiteSettings{Data: data, Name: "a", Operator: "Nordwolke eG", PeerListen: "127.0.0.1:0",
		PeerAdvertise: "127.0.0.1:1", PortalListen: freePort(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan cli.Ready, 2), make(chan error, 1)
	go func() { ended <- Serve(ctx, data, func(r cli.Ready) { ready <- r }) }()
	<-ready
	c := api.NewClient(data)
	f, err := os.OpenFile(filepath.Join(data, localFile), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0x99}, int(info.Size())-4096), 4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Scrub(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store is repaired", func() error {
		st, err := c.Status(ctx)
		if err != nil {
			return err
		}
		for _, x := range st.Conditions {
			if x.Store == health.Local && x.Cause == health.SetAside {
				return nil
			}
		}
		return fmt.Errorf("told is %+v", st.Conditions)
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(ready) != 0 {
		t.Error("it was told twice that people can come in")
	}
}

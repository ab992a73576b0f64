// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/examples"
)

const (
	nordtal  = event.AuthorityID(examples.Nordtal)
	westmark = event.AuthorityID(examples.Westmark)
)

// digits returns the digits of a number as it is stored: with the country code, and without it.
func digits(written string) (international, national string) {
	s := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, strings.Replace(written, "(0)", "", 1))
	national = strings.TrimPrefix(strings.TrimPrefix(s, "49"), "0")
	return "49" + national, national
}

// imported returns everything in the examples that no log may show in clear.
func imported() map[string]bool {
	texts := make(map[string]bool)
	add := func(list ...string) {
		for _, s := range list {
			if len([]rune(s)) >= 5 {
				texts[s] = true
			}
		}
	}
	for _, p := range append(examples.People(examples.Nordtal, examples.Seed, examples.NordtalPeople),
		examples.People(examples.Westmark, examples.Seed, examples.WestmarkPeople)...) {
		add(p.Given, p.Family, p.Given+" "+p.Family, p.Position, p.Mail)
		for _, number := range []string{p.Mobile, p.Phone} {
			international, national := digits(number)
			add(number, international, national)
		}
		add(p.Unit...)
		add(p.Holds...)
		add(p.Deputises...)
	}
	return texts
}

// show returns people as every site should show them.
func shown(people map[directory.PersonID]api.Person) map[string]string {
	out := make(map[string]string, len(people))
	for id, p := range people {
		out[string(id)] = fmt.Sprintf("%s %s %v %v %v %s", p.DisplayName, p.Readable, p.Units, p.Functions, p.Reachability, p.Phone)
	}
	return out
}

var replyToken = regexp.MustCompile(`/r/([A-Za-z0-9_-]{47})`)

func TestThreeSitesShowTheSamePeopleAndNoLogHoldsTheirNames(t *testing.T) {
	w := newWorld(t, 3)
	w.authority(nordtal, 3)
	w.authority(westmark, 3)
	a := w.sites[0]
	people := map[event.AuthorityID]int{nordtal: examples.NordtalPeople, westmark: examples.WestmarkPeople}
	for id, file := range map[event.AuthorityID][]byte{nordtal: examples.NordtalLDIF, westmark: examples.WestmarkCSV} {
		if r := a.importAt(id, file); r.Added != people[id] || r.RefusedTotal != 0 {
			t.Fatalf("import of %s: %d added, %d refused: %v", id, r.Added, r.RefusedTotal, r.Refused)
		}
	}
	tokens := w.alarmSome()
	w.same(w.sites...)
	for id, n := range people {
		want := shown(a.everybody(id))
		if len(want) != n {
			t.Errorf("%d people of %s are shown, not %d", len(want), id, n)
		}
		for _, s := range w.sites[1:] {
			if diff := cmp.Diff(want, shown(s.everybody(id))); diff != "" {
				t.Errorf("%s shows other people of %s:\n%s", s.name, id, diff)
			}
		}
	}
	for _, s := range w.sites {
		w.must(s.stop())
	}
	w.noLogHolds(imported(), tokens)
}

// alarmSome raises an alarm for one unit and returns the tokens of the links in the messages.
func (w *world) alarmSome() []string {
	w.t.Helper()
	a := w.sites[0]
	units, err := a.Units(w.t.Context(), nordtal)
	w.must(err)
	d := api.AlarmDraft{TextDE: "Probe.", Mode: event.Test, Channels: []directory.ChannelKind{directory.SMS}}
	for _, u := range units {
		if u.People > 20 && len(d.Audience.Units) < 2 {
			d.Audience.Units = append(d.Audience.Units, u.ID)
		}
	}
	r, err := a.Raise(w.t.Context(), nordtal, d, "")
	w.must(err)
	var board struct{ called int }
	w.eventually("everybody is called", func() error {
		b, err := a.Board(w.t.Context(), nordtal, r.ID)
		if board.called = b.Total.Called; err == nil && b.Total.Pending > 0 {
			err = fmt.Errorf("%d are not", b.Total.Pending)
		}
		return err
	})
	if board.called < 10 {
		w.t.Fatalf("only %d people are called: the test proves nothing", board.called)
	}
	var tokens []string
	for _, m := range w.sms.messages() {
		for _, found := range replyToken.FindAllStringSubmatch(m.Text, -1) {
			tokens = append(tokens, found[1])
		}
	}
	if len(tokens) < 2*board.called {
		w.t.Fatalf("%d links in messages to %d people", len(tokens), board.called)
	}
	return tokens
}

// noLogHolds reads every byte below the log folders.
func (w *world) noLogHolds(texts map[string]bool, tokens []string) {
	w.t.Helper()
	names := newScanner(texts)
	links := make(map[string]bool)
	for _, token := range tokens {
		links[token] = true
		raw, err := base64.RawURLEncoding.DecodeString(token)
		w.must(err)
		links[string(raw)] = true
		links[string(raw[25:])] = true // the part that cannot be guessed
	}
	secrets, bytes, readable := newScanner(links), 0, make(map[string]bool)
	for _, s := range w.sites {
		for path, b := range filesBelow(w.t, filepath.Join(s.data, logFolder)) {
			bytes += len(b)
			for text, form := range names.find(b) {
				w.t.Errorf("%s holds %q as %s", path, text, form)
			}
			for text, form := range secrets.find(b) {
				w.t.Errorf("%s holds the link %q as %s", path, text, form)
			}
		}
		// The read model is in the clear: it shows that the scanner would have found them.
		b, err := os.ReadFile(filepath.Join(s.data, modelFile))
		w.must(err)
		for text := range names.find(b) {
			readable[text] = true
		}
	}
	w.t.Logf("%d texts and %d links in %d forms, none in %d bytes of logs", len(texts), len(links), names.needles+secrets.needles, bytes)
	if len(readable) < len(texts)*6/10 || bytes < 1<<20 {
		w.t.Errorf("the scanner finds only %d of %d texts where they are, and has read %d bytes of logs: it proves nothing", len(readable), len(texts), bytes)
	}
}

// oneFamily makes a table of people; the file's bytes are Latin letters only.
func table(rows ...string) []byte {
	return []byte("Personalnummer;Nachname;Vorname;E-Mail;Mobil;Organisationseinheit\n" + strings.Join(rows, "\n") + "\n")
}

var (
	erika = "1;Quastenflosser;Erika;erika.quastenflosser@nordtal.example;0171 3920101;Amt 32"
	jonas = "2;Zwergdommel;Jonas;jonas.zwergdommel@nordtal.example;0171 3920102;Amt 32"
	fatma = "3;Rohrweihe;Fatma;fatma.rohrweihe@nordtal.example;0171 3920103;Amt 32"
)

// erikas are the texts that must be nowhere once Erika is erased.
var erikas = map[string]bool{"Quastenflosser": true, "Erika": true, "quastenflosser": true, "erika.quastenflosser": true, "3920101": true,
	"491713920101": true}

func TestAnErasedPersonIsUnreadableEverywhereAndForGood(t *testing.T) {
	w := newWorld(t, 3)
	w.authority(nordtal, 3)
	a, b, c := w.sites[0], w.sites[1], w.sites[2]
	a.importAt(nordtal, table(erika, jonas, fatma))
	w.same(w.sites...)
	person := c.named(nordtal, "Quastenflosser").ID
	c.shows(erikas, modelFile)
	c.end() // it is gone with her key

	w.must(a.Erase(t.Context(), nordtal, person))
	for _, s := range []*station{a, b} {
		s.readable(nordtal, person, directory.Erased)
		s.forgot(person)
	}
	b.end()
	w.must(errors.Join(os.Remove(filepath.Join(b.data, modelFile)), removeIfThere(filepath.Join(b.data, modelFile+"-wal")), removeIfThere(filepath.Join(b.data, modelFile+"-shm"))))
	b.start()
	b.readable(nordtal, person, directory.Erased)
	b.forgot(person)

	c.start()
	c.readable(nordtal, person, directory.Erased)
	c.forgot(person)
	w.same(w.sites...)
	for _, s := range w.sites {
		s.readable(nordtal, person, directory.Erased)
		if p, err := s.People(t.Context(), nordtal, directory.Search{Text: "Quastenflosser"}); err != nil || p.Total != 0 {
			t.Errorf("%s still finds her: %d, %v", s.name, p.Total, err)
		}
		if p := s.named(nordtal, "Zwergdommel"); p.Readable != directory.Readable {
			t.Errorf("%s has lost somebody else: %+v", s.name, p)
		}
	}
	// Nor does the next import bring her back.
	a.importAt(nordtal, table(erika, jonas, fatma))
	w.same(w.sites...)
	for _, s := range w.sites {
		s.readable(nordtal, person, directory.Erased)
		s.end()
		s.forgot(person)
	}
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// holds returns which of the texts stand in the site's files whose names begin so.
func (s *station) holds(texts map[string]bool, files ...string) map[string]string {
	s.w.t.Helper()
	scan, found := newScanner(texts), make(map[string]string)
	for _, name := range files {
		paths, err := filepath.Glob(filepath.Join(s.data, name+"*"))
		s.w.must(err)
		for _, path := range paths {
			for p, b := range filesBelow(s.w.t, path) {
				for text, form := range scan.find(b) {
					found[text] = form + " in " + p
				}
			}
		}
	}
	return found
}

// shows makes sure that a test can fail: the texts are there before they must be gone. It looks again, because SQLite may move
// them from one file to another between two looks.
func (s *station) shows(texts map[string]bool, files ...string) {
	s.w.t.Helper()
	s.w.eventually(s.name+" holds what it is to lose", func() error {
		if len(s.holds(texts, files...)) == 0 {
			return errors.New("it does not: the test proves nothing")
		}
		return nil
	})
}

// forgot checks that no file of the site holds Erika, and that the key of nobody else has gone with hers.
func (s *station) forgot(person directory.PersonID) {
	s.w.t.Helper()
	s.w.eventually(s.name+" holds nothing of her", func() error {
		if found := s.holds(erikas, modelFile, keyringFile, localFile, logFolder); len(found) > 0 {
			return fmt.Errorf("of %s there is %v", person, found)
		}
		return nil
	})
}

func TestAPersonRecordedElsewhereBeforeTheErasureIsHeardOfIsErasedInTheEnd(t *testing.T) {
	w := newWorld(t, 2)
	w.authority(nordtal, 2)
	a, b := w.sites[0], w.sites[1]
	a.importAt(nordtal, table(jonas))
	w.same(a, b)
	w.cut(b, true)
	a.importAt(nordtal, table(erika))
	person := a.named(nordtal, "Quastenflosser").ID
	w.must(a.Erase(t.Context(), nordtal, person))
	b.importAt(nordtal, table(erika)) // b makes a key of its own for her
	b.readable(nordtal, person, directory.Readable)
	w.cut(b, false)
	for _, s := range w.sites {
		s.readable(nordtal, person, directory.Erased)
		s.forgot(person)
	}
	w.eventually("both keys of hers are destroyed at both sites", func() error {
		for _, s := range w.sites {
			if n := s.keysOf(nordtal, person); n != 0 {
				return fmt.Errorf("%d are left at %s", n, s.name)
			}
		}
		return nil
	})
	w.same(a, b)
}

// keysOf counts the person's living keys at the site: what any fact about them names and the keyring still opens.
func (s *station) keysOf(id event.AuthorityID, person directory.PersonID) int {
	s.w.t.Helper()
	var st struct {
		Person struct{ Keys []event.KeyID }
	}
	found, err := s.site.model.State(s.w.t.Context(), id, person.Subject(), &st)
	s.w.must(err)
	if !found || len(st.Person.Keys) != 2 {
		return -1 // the other site's fact has not come yet
	}
	living := 0
	for _, k := range st.Person.Keys {
		if _, err := s.site.ring.Key(s.w.t.Context(), id, k); err == nil {
			living++
		}
	}
	return living
}

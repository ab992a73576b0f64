// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package net_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"codeberg.org/holdfast/holdfast/examples"
)

// peopleFile returns a table of n invented people, of whom fewer are the first.
func peopleFile(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := examples.WriteCSV(&b, examples.People(examples.Westmark, examples.Seed, allPeople)[:n]); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// allPeople is how many there are at most.
const allPeople = 5000

// templateOf returns a folder with the folders of three sites whose authority has so many people, set up once on good
// lines.
func templateOf(t *testing.T, people int) string {
	t.Helper()
	path := filepath.Join(sharedFolder(t), fmt.Sprintf("%d-people", people))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if !t.Run("setting up", func(t *testing.T) { makeTemplate(t, path, people) }) {
		t.FailNow()
	}
	return path
}

func makeTemplate(t *testing.T, path string, people int) {
	w := newWorld(t, 1, siteA, siteB, siteC)
	w.settleIn(peopleFile(t, people))
	for _, s := range w.sites {
		s.stop()
	}
	w.must(os.MkdirAll(path, 0o700))
	for _, s := range w.sites {
		w.must(copyFolder(s.data, filepath.Join(path, s.label)))
	}
}

// copyFolder copies a site's folder with its permissions, of which the site is particular.
func copyFolder(from, to string) error {
	if said, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, said)
	}
	return nil
}

// newScenarioWorld starts three sites from the template on good lines, and waits until they have the same state.
func newScenarioWorld(t *testing.T, seed uint64, people int) *world {
	t.Helper()
	from := templateOf(t, people)
	w := newWorld(t, seed, siteA, siteB, siteC)
	for _, s := range w.sites {
		w.must(copyFolder(filepath.Join(from, s.label), s.data))
		w.must(s.setGateways(w.gateways))
		w.must(s.start())
	}
	w.must(eventually(patience, "every site knows every other", w.allKnown))
	w.must(eventually(patience, "the sites reach the same state", w.sameState))
	return w
}

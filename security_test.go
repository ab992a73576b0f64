// SPDX-License-Identifier: EUPL-1.2

package holdfast_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// claims are the documents that say what holds. What they name as evidence must exist, so that they cannot rot in silence.
var claims = []string{"docs/security.md", "docs/asvs.md", "SECURITY.md"}

var (
	quoted    = regexp.MustCompile("`([^`\n]+)`")
	testName  = regexp.MustCompile(`^([a-z0-9_/]+)\.((?:Test|Fuzz|Benchmark)\w*)$`)
	linked    = regexp.MustCompile(`\]\(([^)#:]+)\)`)
	bareTest  = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`)
	fileNames = []string{".go", ".md", ".yaml", ".js", ".html", ".mod", ".sum", ".mjs"}
)

// evidence is what a text names: tests as "package.TestName", and files.
type evidence struct{ tests, files []string }

func evidenceIn(text string) (e evidence) {
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		switch word := m[1]; {
		case testName.MatchString(word):
			e.tests = append(e.tests, word)
		case isFile(word):
			e.files = append(e.files, word)
		}
	}
	return e
}

// isFile tells a path of this repository from a route, a setting, or a package of somebody else's.
func isFile(word string) bool {
	if word == "Makefile" || slices.Contains(fileNames, filepath.Ext(word)) {
		return true
	}
	first, _, deeper := strings.Cut(word, "/")
	_, err := os.Stat(first)
	return deeper && first != "" && err == nil
}

// testsOf returns the names of the tests in a package's folder, whatever their build tags.
func testsOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w*)\(`).FindAllStringSubmatch(string(b), -1) {
			names = append(names, m[1])
		}
	}
	return names
}

func TestClaimsNameWhatExists(t *testing.T) {
	known := make(map[string][]string)
	count := 0
	for _, doc := range claims {
		b, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		e := evidenceIn(text)
		count += len(e.tests)
		for _, name := range e.tests {
			m := testName.FindStringSubmatch(name)
			if known[m[1]] == nil {
				known[m[1]] = testsOf(t, filepath.FromSlash(m[1]))
			}
			if !slices.Contains(known[m[1]], m[2]) {
				t.Errorf("%s names %s, which does not exist", doc, name)
			}
		}
		for _, m := range linked.FindAllStringSubmatch(text, -1) {
			e.files = append(e.files, filepath.Join(filepath.Dir(doc), m[1]))
		}
		for _, file := range e.files {
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s names the file %s, which does not exist", doc, file)
			}
		}
		// A test that is named in another form would escape.
		rest := quoted.ReplaceAllStringFunc(text, func(q string) string {
			if testName.MatchString(strings.Trim(q, "`")) {
				return ""
			}
			return q
		})
		if stray := bareTest.FindString(rest); stray != "" {
			t.Errorf("%s names %s in another form than `package.%s`", doc, stray, stray)
		}
	}
	if count < 200 {
		t.Errorf("only %d tests are named: the documents or this test are not what they were", count)
	}
}

// asvs are the requirements of levels 1 and 2 of OWASP ASVS 5.0.0, as section and how many; those of level 3 that stand between
// them are left out.
const asvs = `1.1:2 1.2:9 1.3:11 1.4:3 1.5:2 2.1:3 2.2:3 2.3:4 2.4:1 3.2:2 3.3:4 3.4:6 3.5:5 3.7:2 4.1:3 4.2:1 4.3:2 4.4:4 5.1:1 5.2:3 5.3:2 5.4:3
6.1:3 6.2:12 6.3:4 6.4:4 6.5:5 6.6:3 6.8:4 7.1:3 7.2:4 7.3:2 7.4:5 7.5:2 7.6:2 8.1:2 8.2:3 8.3:1 8.4:1 9.1:3 9.2:4 10.1:2 10.2:2 10.3:4 10.4:11
10.5:5 10.6:2 10.7:3 11.1:2 11.2:3 11.3:3 11.4:4 11.5:1 11.6:1 12.1:3 12.2:2 12.3:4 13.1:1 13.2:5 13.3:2 13.4:5 14.1:2 14.2:4 14.3:3 15.1:3 15.2:3
15.3:7 16.1:1 16.2:5 16.3:4 16.4:3 16.5:3 17.1:1 17.2:4 17.3:2`

func TestEveryRequirementOfASVSHasAVerdict(t *testing.T) {
	b, err := os.ReadFile("docs/asvs.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, section := range strings.Fields(asvs) {
		var n int
		name, number, _ := strings.Cut(section, ":")
		if _, err := fmt.Sscan(number, &n); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			want = append(want, fmt.Sprintf("%s.%d", name, i+1))
		}
	}
	verdicts := make(map[string]int)
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+\.\d+\.\d+) \| ([12]) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`).FindAllStringSubmatch(string(b), -1) {
		id, words, verdict, reason := m[1], m[3], m[4], m[5]
		got = append(got, id)
		verdicts[verdict]++
		if n := len(strings.Fields(words)); n > 8 {
			t.Errorf("%s is told in %d words: shorten it, the standard's own text is not repeated here", id, n)
		}
		switch e := evidenceIn(reason); {
		case !slices.Contains([]string{"holds", "does not apply", "not yet"}, verdict):
			t.Errorf("%s: %q is no verdict", id, verdict)
		case verdict == "holds" && len(e.tests)+len(e.files) == 0:
			t.Errorf("%s holds, and nothing shows it", id)
		case verdict == "not yet" && !strings.Contains(reason, "Way") && !strings.Contains(reason, "as 1") && len(reason) < 60:
			t.Errorf("%s: not yet, and neither reason nor way", id)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("there are %d requirements in docs/asvs.md, want %d in their order", len(got), len(want))
	}
	for verdict, n := range verdicts {
		if line := fmt.Sprintf("| %s | %d |", verdict, n); !strings.Contains(string(b), line) {
			t.Errorf("the head of docs/asvs.md should say %q", line)
		}
	}
}

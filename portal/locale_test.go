// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/web"
)

// TestTextsAreThereInBothLanguages compares the two files with each other and with what the code asks for.
func TestTextsAreThereInBothLanguages(t *testing.T) {
	all, err := loadTexts(nil)
	if err != nil {
		t.Fatal(err)
	}
	de, en := all[web.German].words, all[web.English].words
	for key, text := range de {
		if en[key] == "" || text == "" {
			t.Errorf("%s lacks one language", key)
		}
		if strings.Count(text, "%") != strings.Count(en[key], "%") {
			t.Errorf("%s has other placeholders in the other language", key)
		}
	}
	for key := range en {
		if de[key] == "" {
			t.Errorf("%s lacks German", key)
		}
	}
	source := sources(t)
	for key := range de {
		base := strings.TrimSuffix(strings.TrimSuffix(key, ".one"), ".other")
		if !used(source, base) {
			t.Errorf("%s is used nowhere", key)
		}
	}
	for _, m := range regexp.MustCompile(`(?:\{|\()(T|N) "([a-z.-]+)"|t\.(t|n)\("([a-z.-]+)"[,)]`).FindAllStringSubmatch(source, -1) {
		key := m[2] + m[4]
		if m[1] == "N" || m[3] == "n" {
			key += ".other"
		}
		if de[key] == "" {
			t.Errorf("%s is not translated", key)
		}
	}
}

// used finds a key as a whole, or as a beginning that code completes ("status." + ...).
func used(source, key string) bool {
	if strings.Contains(source, `"`+key+`"`) {
		return true
	}
	for i := len(key) - 1; i > 0; i-- {
		if key[i] == '.' && strings.Contains(source, `"`+key[:i+1]+`"`) {
			return true
		}
	}
	return false
}

func sources(t *testing.T) string {
	t.Helper()
	var all bytes.Buffer
	for _, pattern := range []string{"*.go", "templates/*.html"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(f, "_test.go") {
				all.Write(b)
			}
		}
	}
	return all.String()
}

// TestStylesheetHasWhatTemplatesUse finds a component that a template uses and the committed stylesheet lacks: then
// assets/build.mjs has not been run.
func TestStylesheetHasWhatTemplatesUse(t *testing.T) {
	css, err := assetFiles.ReadFile("assets/kern.css")
	if err != nil {
		t.Fatal(err)
	}
	structural := map[string]bool{"kern-table__head": true, "kern-table__row": true, "kern-table__body": true}
	for _, name := range regexp.MustCompile(`kern-[a-z_-]*[a-z]\b`).FindAllString(sources(t), -1) {
		if strings.HasSuffix(name, "-") || strings.HasSuffix(name, "kern-ux") || structural[name] || name == "kern-icon--" {
			continue
		}
		if !bytes.Contains(css, []byte("."+name)) {
			t.Errorf("the stylesheet lacks .%s", name)
		}
	}
}

// TestFaultsSpeakGerman finds every fault that the portal, its doors and the packages behind its pages can answer with. Those of
// kind Internal never reach a person in their own words.
func TestFaultsSpeakGerman(t *testing.T) {
	var german map[string]string
	if err := readLocale("faults*.de.json", "", &german); err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`fault\.New\(fault\.(\w+), "([a-z_.]+)"`)
	for _, dir := range []string{".", "../web", "../alarm", "../identity", "../session", "../guest", "../program", "../access", "../sheet", "../driver/oidc"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			source, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declared.FindAllSubmatch(source, -1) {
				code := string(m[2])
				if !strings.HasSuffix(f, "_test.go") && string(m[1]) != "Internal" && (german[code] == "" || german[code+".wayout"] == "") {
					t.Errorf("%s of %s has no German text in locale/faults*.de.json", code, f)
				}
			}
		}
	}
	for code := range german {
		if base, isWay := strings.CutSuffix(code, ".wayout"); isWay && german[base] == "" {
			t.Errorf("%s has a way out but no message", base)
		}
	}
}

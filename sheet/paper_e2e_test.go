// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package sheet

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool runs a tool of the distribution; e2e/install.sh installs poppler-utils and zbar-tools.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v (apt-get install poppler-utils zbar-tools)", name, err)
	}
	return string(out)
}

// What leaves the printer in black and white, at the resolution of a poor one, is read by a camera's decoder, and the text
// by whoever copies it out of the file.
func TestAPrintedSheetIsRead(t *testing.T) {
	dir := t.TempDir()
	codes, err := Codes(sample("de"))
	ok(t, err)
	letter, err := Invitations(letters()[:1])
	ok(t, err)
	for name, c := range map[string]struct {
		pdf     []byte
		link    string
		written []string
	}{
		"codes":  {codes, sample("de").SignInURLs[0], strings.Split(strings.Join(tenCodes(), "-"), "-")},
		"letter": {letter, letters()[0].URL, []string{"Łukasz Šťastný", letters()[0].URL}},
	} {
		file := filepath.Join(dir, name)
		ok(t, os.WriteFile(file+".pdf", c.pdf, 0o600))
		tool(t, "pdftoppm", "-mono", "-r", "150", "-singlefile", file+".pdf", file)
		if got := strings.TrimSpace(tool(t, "zbarimg", "-q", "--raw", file+".pbm")); got != c.link {
			t.Errorf("%s: the code reads %q, want %q", name, got, c.link)
		}
		text := tool(t, "pdftotext", file+".pdf", "-")
		for _, want := range c.written {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q cannot be copied out of the file", name, want)
			}
		}
		if fonts := tool(t, "pdffonts", file+".pdf"); !strings.Contains(fonts, "Fira") && !strings.Contains(fonts, "yes") {
			t.Errorf("%s: the fonts are not embedded:\n%s", name, fonts)
		}
	}
}

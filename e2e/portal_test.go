// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// check is one line of portal.mjs.
type check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// fewestChecks keeps a portal.mjs that judges nothing from passing.
const fewestChecks = 2600

// TestPortal lets portal.mjs walk through the portal of a demonstration that was cut and has healed. Every page, language,
// width and check is a test of its own. With UPDATE_SCREENSHOTS=1 it takes the pictures of docs/screenshots anew.
func TestPortal(t *testing.T) {
	holdfast := build(t)
	d := startDemo(t, holdfast, "--people", "240", "--scenario", "partition")
	shots := ""
	if os.Getenv("UPDATE_SCREENSHOTS") == "1" {
		shots = t.TempDir()
	}
	checks := walk(t, []string{"node", "portal.mjs"}, map[string]any{
		"sites": d.up.Sites, "staff": d.up.Staff, "folder": t.TempDir(), "phones": d.up.Phones, "screenshots": shots, "links": signInLinks(t, holdfast, d.up.Sites[0].Data,
			"pages", "plain-de", "plain-en", "keys-de-360", "keys-de-1440", "keys-en-360", "keys-en-1440"),
	})
	if checks < fewestChecks {
		t.Errorf("only %d checks, want %d at least", checks, fewestChecks)
	}
	if shots != "" {
		keepScreenshots(t, shots, filepath.Join("..", "docs", "screenshots"))
	}
}

func signInLinks(t *testing.T, holdfast, data string, purposes ...string) map[string]string {
	t.Helper()
	links := make(map[string]string, len(purposes))
	for _, p := range purposes {
		out, err := exec.CommandContext(t.Context(), holdfast, "signin-link", "--data", data).Output()
		if err != nil {
			t.Fatalf("make a sign-in link: %v", err)
		}
		links[p] = strings.TrimSpace(string(out))
	}
	return links
}

// walk runs a script that judges pages and makes its lines tests as they come. It returns how many there were.
func walk(t *testing.T, command []string, config map[string]any, environment ...string) int {
	t.Helper()
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), command[0], append(command[1:], path)...)
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stderr = t.Output()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // so that it can end its browser
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("this test needs node (e2e/install.sh): %v", err)
	}
	seen, promised := 0, 0
	var failed []string
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c check
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Errorf("the script printed %q: %v", lines.Text(), err)
			continue
		}
		if c.Name == "finished" {
			promised, _ = strconv.Atoi(c.Detail)
			continue
		}
		seen++
		t.Run(c.Name, func(t *testing.T) {
			if !c.OK {
				failed = append(failed, fmt.Sprintf("%s: %.600s", c.Name, c.Detail))
				t.Error(c.Detail)
			} else if c.Detail != "" && testing.Verbose() {
				t.Log(c.Detail)
			}
		})
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the script ended early: %v", err)
	}
	if seen != promised {
		t.Errorf("%d checks were made, the script speaks of %d", seen, promised)
	}
	if len(failed) > 0 { // once more at the end: whoever sees only that must not look for them among thousands
		t.Errorf("%d of %d checks failed:\n%s", len(failed), seen, strings.Join(failed[:min(len(failed), 20)], "\n"))
	}
	return seen
}

// maxScreenshots bounds the folder of pictures: everyone who clones the repository pays for it.
const maxScreenshots = 2_500_000

// keepScreenshots writes the pictures with 256 colours each, which the eye does not notice on these pages.
func keepScreenshots(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(from, "*.png"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no pictures were taken: %v", err)
	}
	var total int64
	for _, name := range names {
		total += squeeze(t, name, filepath.Join(to, filepath.Base(name)))
	}
	if total > maxScreenshots {
		t.Errorf("the pictures have %d bytes, more than %d", total, maxScreenshots)
	}
	t.Logf("%d pictures, %d bytes", len(names), total)
}

func squeeze(t *testing.T, from, to string) int64 {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(out, reduce(img)); err != nil {
		t.Fatal(err)
	}
	info, err := out.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// reduce keeps the 256 most frequent colours and gives every other pixel the nearest of them.
func reduce(img image.Image) *image.Paletted {
	b := img.Bounds()
	counts := make(map[color.RGBA]int)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			counts[color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)]++
		}
	}
	colours := make([]color.RGBA, 0, len(counts))
	for c := range counts {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.RGBA) int { return counts[b] - counts[a] })
	palette := make(color.Palette, 0, 256)
	for _, c := range colours[:min(256, len(colours))] {
		palette = append(palette, c)
	}
	index := make(map[color.RGBA]uint8, len(colours))
	for _, c := range colours {
		index[c] = uint8(palette.Index(c))
	}
	out := image.NewPaletted(b, palette)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			out.SetColorIndex(x, y, index[color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)])
		}
	}
	return out
}

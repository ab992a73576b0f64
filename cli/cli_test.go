// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/fault"
)

var update = flag.Bool("update", false, "write the golden files anew")

// helpOf returns the help of a command and of all below it.
func helpOf(c *cobra.Command, b *strings.Builder) {
	if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
		return
	}
	c.InitDefaultHelpFlag()
	fmt.Fprintf(b, "=== %s\n", c.CommandPath())
	c.SetOut(b)
	if err := c.Help(); err != nil {
		fmt.Fprintln(b, err)
	}
	b.WriteString("\n")
	for _, sub := range c.Commands() {
		helpOf(sub, b)
	}
}

func TestTheHelpIsWhatIsCommitted(t *testing.T) {
	s := &shell{in: strings.NewReader(""), out: io.Discard, err: io.Discard}
	var b strings.Builder
	helpOf(s.root(), &b)
	path := filepath.Join("testdata", "help.txt")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("the help has changed; if that is meant: go test ./cli -run Help -update\n%s", diff)
	}
}

func TestEveryCommandAndFlagIsExplained(t *testing.T) {
	s := &shell{in: strings.NewReader(""), out: io.Discard, err: io.Discard}
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no explanation", c.CommandPath())
		}
		if !c.HasSubCommands() && c.Args == nil {
			t.Errorf("%s takes any number of arguments without a word", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(s.root())
}

func run(roof Commands, args ...string) (code int, out, said string) {
	var o, e bytes.Buffer
	code = Run(context.Background(), args, roof, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

func TestExitCodesTellWhatSortOfTroubleItIs(t *testing.T) {
	for kind, want := range map[fault.Kind]int{fault.Invalid: 3, fault.TooLarge: 3, fault.Unauthenticated: 4, fault.Forbidden: 4, fault.NotFound: 5,
		fault.Conflict: 6, fault.Exhausted: 7, fault.Unavailable: 8, fault.Internal: 1} {
		roof := Commands{CheckConfig: func(string) error { return fault.New(kind, "test.code", "what", "way out").At(7, "name") }}
		code, _, said := run(roof, "config", "check")
		if code != want || said != "holdfast: line 7, field name: what (way out)\n" {
			t.Errorf("%s ends with %d and says %q", kind, code, said)
		}
		code, _, said = run(roof, "config", "check", "--json")
		var f fault.Fault
		if err := json.Unmarshal([]byte(said), &f); err != nil || code != want || f.Kind != kind || f.Code != "test.code" || f.Line != 7 || f.Field != "name" || f.WayOut != "way out" {
			t.Errorf("%s as JSON: %d %q %v", kind, code, said, err)
		}
	}
	if code, _, said := run(Commands{CheckConfig: func(string) error { return errors.New("disk on fire") }}, "config", "check"); code != 1 || !strings.Contains(said, "disk on fire") {
		t.Errorf("another error ends with %d and says %q", code, said)
	}
}

func TestWrongCommandLinesEndWithTwo(t *testing.T) {
	for _, args := range [][]string{{"nonsense"}, {"log", "nonsense"}, {"join"}, {"join", "a", "b"}, {"status", "x"}, {"init", "--nonsense"}, {"alarm", "list"},
		{"directory", "import", "x"}, {"directory", "erase", "x", "--authority", "a"}, {"alarm", "board"}, {"alarm", "raise", "--authority", "a"}} {
		if code, _, said := run(Commands{}, args...); code != 2 || said == "" {
			t.Errorf("holdfast %s ends with %d and says %q", strings.Join(args, " "), code, said)
		}
	}
}

func TestInitSaysWhatToDoNext(t *testing.T) {
	var got SiteSettings
	roof := Commands{Init: func(_ context.Context, s SiteSettings) (InitResult, error) {
		got = s
		return InitResult{Site: "abc", SignIn: "http://127.0.0.1:8600/signin/x"}, nil
	}}
	code, out, said := run(roof, "init", "--data", "d", "--name", "Nord", "--operator", "Nordwolke eG", "--box")
	want := SiteSettings{Data: "d", Name: "Nord", Operator: "Nordwolke eG", Box: true, PortalListen: "127.0.0.1:8600", PeerListen: "127.0.0.1:8601"}
	if diff := cmp.Diff(want, got); code != 0 || said != "" || diff != "" {
		t.Errorf("%d %q\n%s", code, said, diff)
	}
	for _, part := range []string{"Site abc", "holdfast serve --data d", "http://127.0.0.1:8600/signin/x"} {
		if !strings.Contains(out, part) {
			t.Errorf("%q is not in %q", part, out)
		}
	}
}

func TestAPendingSiteIsToldWhoMustAdmitIt(t *testing.T) {
	roof := Commands{Join: func(context.Context, string, SiteSettings) (JoinResult, error) {
		return JoinResult{Site: "abc", Pending: true}, nil
	}}
	if _, out, _ := run(roof, "join", "token"); !strings.Contains(out, "holdfast admit abc") {
		t.Error(out)
	}
}

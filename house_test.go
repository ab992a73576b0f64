// SPDX-License-Identifier: EUPL-1.2

package holdfast_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "codeberg.org/holdfast/holdfast"

// floors is the house: imports go down only, never sideways and never up (docs/overview.md has the drawing). A package
// that is not here does not belong to the house yet: give it a floor.
var floors = map[string]int{
	"event": 0, "fault": 0, "seal": 0, "synced": 0, "health": 0, "salvage": 0, "packed": 0,
	"eventlog": 1, "keyring": 1, "localstore": 1,
	"eventlog/jetstream": 2, "eventlog/logtest": 2, "readmodel": 2,
	"site": 3, "audit": 3,
	"directory": 4, "examples": 4,
	"alarm": 5, "access": 5, "sheet": 5, "secretcode": 5,
	"alarm/channeltest": 6, "driver/sms": 6, "driver/smtp": 6, "session": 6, "guest": 6, "program": 6,
	"identity": 7,
	"web":      8, "driver/oidc": 8, "privacy": 8, "deed": 8, "identity/authenticator": 6,
	"portal": 9, "api": 9, "bench": 9, "demo/phones": 9,
	"cli": 10, "demo": 10, "sim": 10, "e2e/net/router": 10,
	"app":          11,
	"cmd/holdfast": 12, "examples/generate": 12,
}

// sideways lists the imports between packages of one floor that are allowed, each with its reason.
var sideways = map[string]string{
	"salvage -> fault":  "what a disk has done is told in one set of words",
	"salvage -> synced": "a repaired file must survive a power cut like any other",
	"seal -> event":     "a site's id is its public key: the ground's two halves share that one type",
}

// foreign says where a foreign SDK may appear. Everything else imports the standard library and ourselves.
var foreign = map[string]map[string]string{
	"github.com/nats-io":     {"eventlog/jetstream": "the log engine", "bench": "measures against the raw engine in the same run"},
	"modernc.org/sqlite":     {"readmodel": "the fold", "keyring": "its file", "localstore": "its file"},
	"github.com/spf13/cobra": {"cli": "the commands"},
	"go.yaml.in/yaml/v3":     {"app": "the configuration file"},
	"github.com/emersion":    {"driver/smtp": "speaks SMTP", "demo/phones": "plays a mail server"},
	"github.com/go-ldap":     {"directory": "reads LDIF"},
	"golang.org/x/text":      {"directory": "Windows-1252 and accents", "examples": "writes Windows-1252", "portal": "language choice", "web": "language choice"},
	"golang.org/x/sys":       {"eventlog/jetstream": "free space of a disk", "app": "free space of a disk", "e2e/net/router": "network namespaces and tun devices"},
	"golang.org/x/sync":      {"app": "waits for loops", "eventlog": "bounds what is read at once"},

	"github.com/go-webauthn/webauthn": {"identity": "passkeys"},
	"github.com/fxamacker/cbor":       {"identity/authenticator": "plays an authenticator"},
	"github.com/pquerna/otp":          {"identity": "one-time passwords by time"},
	"golang.org/x/crypto":             {"secretcode": "argon2id"},
	"github.com/coreos/go-oidc":       {"driver/oidc": "the authority's own identity provider"},
	"golang.org/x/oauth2":             {"driver/oidc": "the authority's own identity provider"},
	"codeberg.org/go-pdf/fpdf":        {"sheet": "writes PDF"},
	"rsc.io/qr":                       {"sheet": "draws QR codes"},
}

type listed struct {
	ImportPath   string
	Dir          string
	Imports      []string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		all = append(all, p)
	}
}

func name(p listed) string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

func TestImportsGoDownOnly(t *testing.T) {
	for _, p := range packages(t) {
		from := name(p)
		if from == "" || from == "e2e" {
			continue
		}
		floor, known := floors[from]
		if !known {
			t.Errorf("package %s has no floor: put it into the table of house_test.go", from)
			continue
		}
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module+"/")
			if !ours || sideways[from+" -> "+to] != "" {
				continue
			}
			if below, ok := floors[to]; ok && below >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go down only", from, floor, to, below)
			}
		}
	}
}

func TestGroundNeedsOnlyTheStandardLibrary(t *testing.T) {
	for _, p := range packages(t) {
		if floors[name(p)] != 0 || name(p) == "" || name(p) == "e2e" {
			continue
		}
		for _, imp := range p.Imports {
			if strings.Contains(imp, ".") && !strings.HasPrefix(imp, module) {
				t.Errorf("%s imports %s: the ground stands on the standard library alone", name(p), imp)
			}
		}
	}
}

func TestForeignSDKsStayInTheirRooms(t *testing.T) {
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			if !strings.Contains(strings.Split(imp, "/")[0], ".") || strings.HasPrefix(imp, module) {
				continue
			}
			if !hasReason(name(p), imp) {
				t.Errorf("%s imports %s: no reason is given for that in house_test.go", name(p), imp)
			}
		}
	}
}

func TestEveryReasonIsStillNeeded(t *testing.T) {
	used := make(map[string]bool)
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			for prefix := range foreign {
				if imp == prefix || strings.HasPrefix(imp, prefix+"/") {
					used[prefix+" in "+name(p)] = true
				}
			}
		}
	}
	for prefix, rooms := range foreign {
		for room := range rooms {
			if !used[prefix+" in "+room] {
				t.Errorf("%s no longer appears in %s: take the line out", prefix, room)
			}
		}
	}
}

func hasReason(from, imp string) bool {
	for prefix, rooms := range foreign {
		if (imp == prefix || strings.HasPrefix(imp, prefix+"/")) && rooms[from] != "" {
			return true
		}
	}
	return false
}

func TestNoGrabBags(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if d.Name() == ".git" || d.Name() == "node_modules" {
			return filepath.SkipDir
		}
		if slices.Contains([]string{"internal", "pkg", "util", "utils", "helper", "helpers", "common"}, d.Name()) {
			t.Errorf("%s: a package is named after what it is in the field, not after where leftovers go", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// domains never read the wall clock or draw randomness themselves: both are injected, so that rules can be simulated.
func TestDomainsReadNoClock(t *testing.T) {
	for _, p := range packages(t) {
		if n := name(p); floors[n] > 5 || n == "" || n == "e2e" || n == "eventlog/jetstream" || n == "eventlog/logtest" || n == "examples" {
			continue
		}
		for _, file := range p.GoFiles {
			b, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			for _, bad := range []string{"time.Now()", "time.Sleep(", "\"math/rand\"", "\"math/rand/v2\""} {
				if bytes.Contains(b, []byte(bad)) {
					t.Errorf("%s/%s uses %s: time and randomness are injected", name(p), file, bad)
				}
			}
		}
	}
}

func TestEveryPackageAndExportedNameIsDocumented(t *testing.T) {
	for _, p := range packages(t) {
		if name(p) == "" || name(p) == "e2e" {
			continue
		}
		var documented bool
		for _, file := range p.GoFiles {
			path := filepath.Join(p.Dir, file)
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			documented = documented || f.Doc != nil && len(f.Doc.Text()) > 80
			for _, missing := range undocumented(f) {
				t.Errorf("%s/%s: %s has no comment", name(p), file, missing)
			}
		}
		if !documented {
			t.Errorf("package %s has no comment that teaches its terms", name(p))
		}
	}
}

func undocumented(f *ast.File) []string {
	var out []string
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || exportedReceiver(d.Recv)) && !isInterfaceBoilerplate(d) {
				out = append(out, d.Name.Name)
			}
		case *ast.GenDecl:
			out = append(out, undocumentedSpecs(d)...)
		}
	}
	return out
}

// isInterfaceBoilerplate spares the three methods of sort and the error method: their meaning is the standard library's.
func isInterfaceBoilerplate(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{"Len", "Less", "Swap"}, d.Name.Name)
}

func exportedReceiver(r *ast.FieldList) bool {
	t := r.List[0].Type
	if s, ok := t.(*ast.StarExpr); ok {
		t = s.X
	}
	if g, ok := t.(*ast.IndexExpr); ok {
		t = g.X
	}
	id, ok := t.(*ast.Ident)
	return ok && id.IsExported()
}

func undocumentedSpecs(d *ast.GenDecl) []string {
	var out []string
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
				out = append(out, s.Name.Name)
			}
		case *ast.ValueSpec:
			if s.Names[0].IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				out = append(out, s.Names[0].Name)
			}
		}
	}
	return out
}

// The shape of the house, printed as figures; only what nobody should have to scroll through fails.
func TestFunctionsAndFilesStayShort(t *testing.T) {
	var lengths []int
	for _, p := range packages(t) {
		for _, file := range p.GoFiles {
			lengths = append(lengths, functionLengths(t, filepath.Join(p.Dir, file))...)
		}
	}
	slices.Sort(lengths)
	if len(lengths) == 0 {
		t.Fatal("no function found")
	}
	median, p95 := lengths[len(lengths)/2], lengths[len(lengths)*95/100]
	t.Logf("%d functions, median %d lines, 95 %% under %d, longest %d", len(lengths), median, p95, lengths[len(lengths)-1])
	if p95 >= 60 {
		t.Errorf("5 %% of the functions have %d lines or more", p95)
	}
}

func functionLengths(t *testing.T, path string) []int {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if lines := fset.Position(f.End()).Line; lines > 650 {
		t.Errorf("%s has %d lines: split it by subject", path, lines)
	}
	var out []int
	for _, d := range f.Decls {
		if fd, ok := d.(*ast.FuncDecl); ok && fd.Body != nil {
			out = append(out, fset.Position(fd.End()).Line-fset.Position(fd.Pos()).Line+1)
		}
	}
	return out
}

func TestEveryGoFileNamesItsLicence(t *testing.T) {
	for _, p := range packages(t) {
		for _, file := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			b, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(b[:min(len(b), 300)], []byte("SPDX-License-Identifier: ")) {
				t.Errorf("%s/%s: no SPDX line", name(p), file)
			}
		}
	}
}

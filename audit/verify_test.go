// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/seal"
)

// shelf is a source of pages made by hand.
type shelf map[eventlog.Branch][]*eventlog.Page

func (s shelf) Heads() (heads []eventlog.Head) {
	for b, pages := range s {
		last := pages[len(pages)-1]
		heads = append(heads, eventlog.Head{Branch: b, Page: last.Number, Hash: last.Hash})
	}
	return heads
}

func (s shelf) Read(_ context.Context, b eventlog.Branch, after uint64, _ int) ([]*eventlog.Page, error) {
	i := slices.IndexFunc(s[b], func(p *eventlog.Page) bool { return p.Number > after })
	return s[b][i:min(i+2, len(s[b]))], nil
}

func identity(t testing.TB, n byte) *seal.Identity {
	t.Helper()
	id, err := seal.NewIdentity(rand.NewChaCha8([32]byte{n}))
	ok(t, err)
	return id
}

func logOf(id *seal.Identity, authority event.AuthorityID) eventlog.LogID {
	return eventlog.LogID{Authority: authority, Class: event.Audit, Site: id.Site(), Incarnation: "00000000000000aa"}
}

// sign makes the page that follows prev (nil: the first one) with one line in it.
func sign(t testing.TB, id *seal.Identity, log eventlog.LogID, prev *eventlog.Page, deed string) *eventlog.Page {
	t.Helper()
	h := eventlog.Header{Log: log, Number: 1, Wall: 1795316400000}
	if prev != nil {
		h.Number, h.Prev, h.Wall = prev.Number+1, prev.Hash, prev.Wall+1000
	}
	p, err := eventlog.SignPage(id, h, []event.Event{{ID: "00112233445566aa", Subject: "audit/1", Kind: KindRecorded, Stamp: 1, Wall: h.Wall,
		Data: []byte(`{"deed":"` + deed + `","outcome":"done","count":1}`)}})
	ok(t, err)
	return p
}

func chain(t testing.TB, id *seal.Identity, log eventlog.LogID, from *eventlog.Page, n int, deed string) (pages []*eventlog.Page) {
	t.Helper()
	for range n {
		from = sign(t, id, log, from, deed)
		pages = append(pages, from)
	}
	return pages
}

// library is two sites' logs; the first one has forked behind its second page.
func library(t testing.TB) shelf {
	t.Helper()
	a, b := identity(t, 1), identity(t, 2)
	s := shelf{}
	main := chain(t, a, logOf(a, nordtal), nil, 4, "main")
	fork := chain(t, a, logOf(a, nordtal), main[1], 2, "fork")
	s[eventlog.Branch{LogID: logOf(a, nordtal)}] = main
	s[eventlog.Branch{LogID: logOf(a, nordtal), Fork: fork[0].Hash.String()[:16]}] = fork
	s[eventlog.Branch{LogID: logOf(b, nordtal)}] = chain(t, b, logOf(b, nordtal), nil, 3, "other")
	s[eventlog.Branch{LogID: logOf(b, "other-town")}] = chain(t, b, logOf(b, "other-town"), nil, 3, "foreign")
	return s
}

func exported(t testing.TB, s shelf) []byte {
	t.Helper()
	var b bytes.Buffer
	service := New(Config{Self: identity(t, 1).Site(), Now: func() time.Time { return time.UnixMilli(1795316400000) }})
	ok(t, service.Export(context.Background(), nordtal, s, &b))
	return b.Bytes()
}

// rows takes an export apart; made puts it together again, with an end that fits.
func rows(t testing.TB, file []byte) (list []row) {
	t.Helper()
	for line := range bytes.Lines(file[len(exportTitle):]) {
		r, err := decodeRow(line)
		ok(t, err)
		list = append(list, r)
	}
	return list[:len(list)-1]
}

func made(t testing.TB, list []row) []byte {
	t.Helper()
	file := []byte(exportTitle)
	var end exportEnd
	for _, r := range list {
		b, err := r.encode()
		ok(t, err)
		file = append(file, b...)
		if r.Branch != nil {
			end.Branches++
		}
		if r.Page != nil {
			end.Pages++
		}
	}
	sum := sha256.Sum256(file)
	end.SHA256 = hex.EncodeToString(sum[:])
	b, err := row{End: &end}.encode()
	ok(t, err)
	return append(file, b...)
}

func TestAnExportIsCheckedWithoutServerAndKeys(t *testing.T) {
	w := newWorld(t, 2)
	for i := range 20 {
		ok(t, w.sites[i%2].Record(w.ctx, nordtal, signin))
		ok(t, w.sites[i%2].Record(w.ctx, "other-town", signin))
	}
	w.meet()
	file := w.sites[1].export(nordtal)
	if !strings.HasPrefix(string(file), "Holdfast audit export 1: ") {
		t.Errorf("the first line does not say what it is: %.60s", file)
	}
	r, err := Verify(iotest.OneByteReader(bytes.NewReader(file)))
	ok(t, err)
	if r.Authority != nordtal || r.By != w.sites[1].id.Site() || !r.Made.Equal(w.now) || r.Lines != 20 || len(r.Sites) != 2 || len(r.Forks)+len(r.Problems) != 0 {
		t.Errorf("%+v", r)
	}
	for _, s := range r.Sites {
		if s.Lines != 10 || len(s.Branches) != 1 {
			t.Errorf("%+v", s)
		}
		br := s.Branches[0]
		if h, here := w.sites[0].log.Head(br.Branch); !here || h.Page != br.EndPage || h.Hash != br.EndHash {
			t.Errorf("it ends at page %d, %s; the log at %d, %s", br.EndPage, br.EndHash, h.Page, h.Hash)
		}
	}
	if !bytes.Equal(made(t, rows(t, file)), file) {
		t.Error("the test's own way to write exports differs")
	}
	if _, err := Verify(bytes.NewReader(w.sites[0].export("nowhere"))); err != nil {
		t.Errorf("an empty audit: %v", err)
	}
}

func TestForksAreReportedAndNoProblem(t *testing.T) {
	r, err := Verify(bytes.NewReader(exported(t, library(t))))
	ok(t, err)
	if len(r.Forks) != 1 || r.Forks[0].Page != 3 || len(r.Forks[0].Hashes) != 2 || r.Lines != 9 || len(r.Sites) != 2 {
		t.Errorf("%+v", r)
	}
	var text strings.Builder
	ok(t, r.Print(&text))
	for _, want := range []string{"FORK: ", "ends at page 4, hash ", "9 lines on 9 pages", "sound: "} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, text.String())
		}
	}
}

func TestEveryChangedByteIsFound(t *testing.T) {
	file := exported(t, library(t))
	for i := range file {
		changed := bytes.Clone(file)
		changed[i] ^= 1 << (i % 7)
		if _, err := Verify(bytes.NewReader(changed)); err == nil {
			t.Errorf("byte %d is not found: %q", i, file[max(0, i-20):i+1])
		}
	}
}

func TestEveryCutIsFound(t *testing.T) {
	file := exported(t, library(t))
	for i := 0; i < len(file); i += 1 + i%5 {
		r, err := Verify(bytes.NewReader(file[:i]))
		if err == nil || i >= len(exportTitle) && (!errors.Is(err, ErrUnsound) || len(r.Problems) == 0) {
			t.Fatalf("a cut before byte %d is not found: %v", i, err)
		}
	}
	if _, err := Verify(bytes.NewReader(append(bytes.Clone(file), '\n'))); !errors.Is(err, ErrUnsound) {
		t.Errorf("a byte behind the end: %v", err)
	}
}

// The one who tampers here knows the form of the file and makes an end that fits.
func TestEveryTamperingIsFound(t *testing.T) {
	s := library(t)
	list := rows(t, exported(t, s))
	// head, log a: 4 pages, fork of a: 2 pages, log b: 3 pages; or b before a
	at := func(site *seal.Identity, fork bool) int {
		return slices.IndexFunc(list, func(r row) bool {
			return r.Branch != nil && r.Branch.Site == site.Site() && (r.Branch.Fork != "") == fork
		})
	}
	a, b := at(identity(t, 1), false), at(identity(t, 2), false)
	fork := at(identity(t, 1), true)
	stranger := identity(t, 3)
	foreign := s[eventlog.Branch{LogID: logOf(identity(t, 2), "other-town")}]
	resign := func(p row, by *seal.Identity) row {
		page, err := eventlog.DecodePage(p.Page)
		ok(t, err)
		again, err := eventlog.SignPage(by, page.Header, page.Events)
		ok(t, err)
		return row{Page: again.Raw()}
	}
	without := func(from, to int) func([]row) []row {
		return func(r []row) []row { return slices.Delete(r, from, to) }
	}
	set := func(i int, r row) func([]row) []row {
		return func(list []row) []row { list[i] = r; return list }
	}
	for name, c := range map[string]struct {
		tamper func([]row) []row
		says   string
	}{
		"a flipped bit":                  {func(r []row) []row { r[a+2].Page[200] ^= 1; return r }, "not signed"},
		"a flipped bit of the signature": {func(r []row) []row { r[a+4].Page[len(r[a+4].Page)-1] ^= 1; return r }, "not signed"},
		"a dropped first page":           {without(a+1, a+2), "does not begin with page 1"},
		"a dropped page":                 {without(a+2, a+3), "pages are missing"},
		"two pages changed places":       {func(r []row) []row { r[a+2], r[a+3] = r[a+3], r[a+2]; return r }, "not in order"},
		"a page twice":                   {func(r []row) []row { return slices.Insert(r, a+2, r[a+2]) }, "twice"},
		"a page of another log":          {set(b+2, list[a+2]), "the page belongs to"},
		"a page of another authority":    {set(b+2, row{Page: foreign[1].Raw()}), "the page belongs to"},
		"a page of the fork in the log":  {set(a+4, list[fork+2]), "does not follow"},
		"signed by somebody else":        {func(r []row) []row { r[a+4] = resign(r[a+4], stranger); return r }, "not signed"},
		"a last page made anew": {func(r []row) []row {
			p := sign(t, stranger, logOf(identity(t, 1), nordtal), nil, "made up")
			return slices.Insert(r, a+5, row{Page: p.Raw()})
		}, "not signed"},
		"a fork without what it follows": {without(a, fork), "the page before the fork is not in the file"},
		"a fork's first page dropped":    {without(fork+1, fork+2), "named after another page"},
		"a log without pages":            {without(b+1, b+4), "has no pages"},
		"a log's name dropped":           {without(b, b+1), "belongs to"},
		"another log's name":             {set(b, row{Branch: &eventlog.Branch{LogID: logOf(stranger, nordtal)}}), "belongs to"},
		"another authority's log":        {set(b, row{Branch: &eventlog.Branch{LogID: logOf(identity(t, 2), "other-town")}}), "not an audit log of"},
		"no name of a log":               {set(b, row{Branch: &eventlog.Branch{Fork: "\x1b[31m"}}), "not the name of a log"},
		"the logs in another order": {func(r []row) []row {
			parts := [][]row{r[a:fork], r[fork : fork+3], r[b : b+4]}
			if a < b {
				parts = [][]row{r[b : b+4], r[a:fork], r[fork : fork+3]}
			}
			return slices.Concat(append([][]row{r[:1]}, parts...)...)
		}, "not in order"},
		"a log twice":            {func(r []row) []row { return append(r, r[b:b+4]...) }, "twice"},
		"a page before all logs": {func(r []row) []row { return slices.Insert(r, 1, r[a+1]) }, "before the first log"},
		"a second head":          {func(r []row) []row { return slices.Insert(r, 2, r[0]) }, "does not belong here"},
		"no head":                {without(0, 1), "the head of the file"},
		"a row of two kinds":     {func(r []row) []row { r[a+2].Branch = r[a].Branch; return r }, "does not belong here"},
		"an empty row":           {set(a+2, row{}), "does not belong here"},
	} {
		t.Run(name, func(t *testing.T) {
			copied := slices.Clone(list)
			for i := range copied {
				copied[i].Page = bytes.Clone(copied[i].Page)
			}
			r, err := Verify(bytes.NewReader(made(t, c.tamper(copied))))
			if !errors.Is(err, ErrUnsound) {
				t.Fatalf("not found: %v", err)
			}
			if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return strings.Contains(p.Text, c.says) }) {
				t.Errorf("no problem says %q: %v", c.says, r.Problems)
			}
			if strings.Contains(fmt.Sprint(r.Problems), "\x1b") {
				t.Error("what stands in the file is printed")
			}
		})
	}
}

// A file made anew with less in it is sound; the report tells what there is, so that it can be compared.
func TestACutTailIsToldByWhereTheLogEnds(t *testing.T) {
	list := rows(t, exported(t, library(t)))
	whole, err := Verify(bytes.NewReader(made(t, list)))
	ok(t, err)
	last := len(list) - 1
	short, err := Verify(bytes.NewReader(made(t, list[:last])))
	ok(t, err)
	ends := func(r Report) map[string]string {
		m := map[string]string{}
		for _, s := range r.Sites {
			for _, b := range s.Branches {
				m[b.Branch.String()] = fmt.Sprint(b.EndPage, b.EndHash)
			}
		}
		return m
	}
	differing := 0
	for name, end := range ends(whole) {
		if ends(short)[name] != end {
			differing++
		}
	}
	if differing != 1 || short.Lines != whole.Lines-1 {
		t.Errorf("%d logs end elsewhere", differing)
	}
}

func TestWhatIsNoExportIsRefused(t *testing.T) {
	for _, file := range []string{"", "\n", "hello\n", exportTitle[:20], strings.Replace(exportTitle, "1", "2", 1), strings.Repeat("x", 2*maxRowBytes)} {
		if _, err := Verify(strings.NewReader(file)); !errors.Is(err, ErrNoExport) {
			t.Errorf("%.20q: %v", file, err)
		}
	}
	for _, at := range []int64{0, 50, 300, 3000} {
		broken := io.MultiReader(io.LimitReader(bytes.NewReader(exported(t, library(t))), at), iotest.ErrReader(io.ErrClosedPipe))
		if _, err := Verify(broken); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a broken disk: %v", err)
		}
	}
}

func TestAnExportEndsWithTheErrorOfItsWriter(t *testing.T) {
	w := newWorld(t, 1)
	ok(t, w.sites[0].Record(w.ctx, nordtal, signin))
	for n := range int64(1200) {
		err := w.sites[0].Export(w.ctx, nordtal, w.sites[0].log, &fullDisk{n})
		if !errors.Is(err, io.ErrShortWrite) {
			t.Fatalf("room for %d bytes: %v", n, err)
		}
	}
}

type fullDisk struct{ room int64 }

func (f *fullDisk) Write(b []byte) (int, error) {
	if f.room -= int64(len(b)); f.room < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func FuzzVerify(f *testing.F) {
	file := exported(f, library(f))
	f.Add(file)
	f.Add(file[:len(file)/2])
	f.Add([]byte(exportTitle))
	f.Add([]byte(exportTitle + `{"head":{"authority":"lk-nordtal","site":"","made":"2026-11-22T03:00:00Z"}}` + "\n"))
	signed := make(map[string]bool)
	for _, r := range rows(f, file) {
		signed[string(r.Page)] = true
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Verify(bytes.NewReader(b))
		if err != nil {
			if errors.Is(err, ErrUnsound) == (len(r.Problems) == 0) {
				t.Fatalf("%v with problems %v", err, r.Problems)
			}
			return
		}
		for _, row := range rows(t, b) {
			if !signed[string(row.Page)] {
				t.Fatal("a page that nobody has signed passes")
			}
		}
		if !bytes.Equal(made(t, rows(t, b)), b) {
			t.Fatal("a file passes that Export would not write")
		}
	})
}

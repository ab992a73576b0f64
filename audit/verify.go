// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
)

// The bounds of an export as Verify reads it.
const (
	maxRowBytes = (eventlog.MaxPageBytes+2)/3*4 + 1024
	maxProblems = 200
)

// The refusals of an export.
var (
	// ErrNoExport is returned for a file that does not begin like an export.
	ErrNoExport = fault.New(fault.Invalid, "audit.no_export", "this is not an audit export of Holdfast",
		"make one with 'holdfast audit export', or use a newer program if the first line names a newer form")
	// ErrUnsound is returned together with a report that names what is wrong.
	ErrUnsound = fault.New(fault.Conflict, "audit.unsound", "the audit export is not what the sites have signed",
		"do not rely on it: export again, at several sites, and find out who had this file in hand")
)

// Verify checks an export without a server, a network or a key: that every page is signed by the site whose log it is in,
// that the pages of each log follow each other without a gap by number and hash, that forks begin where a page of the same
// log is, that nothing stands twice or in another log's place, and that the file is whole. It returns ErrUnsound with a
// report that names the problems, ErrNoExport for another file, and r's error. A fork is reported and is no problem of
// the file. It needs about a tenth of the file's size in memory at most.
func Verify(r io.Reader) (Report, error) {
	v := &verifier{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New(), seen: make(map[eventlog.LogID]map[uint64][]eventlog.Hash)}
	if err := v.begin(); err != nil {
		return v.report, err
	}
	for !v.ended {
		if err := v.next(); err != nil {
			return v.report, err
		}
	}
	v.finish()
	if n := len(v.report.Problems); n > 0 {
		return v.report, ErrUnsound.Because("problems found: %d, the first: %s", n, v.report.Problems[0])
	}
	return v.report, nil
}

type verifier struct {
	r      *bufio.Reader
	long   []byte // a row that is longer than r's buffer
	sum    hash.Hash
	row    int
	ended  bool
	report Report

	counted exportEnd
	list    []*BranchReport
	cur     *BranchReport // nil before the first branch
	prev    string        // the name of the branch before
	forks   []attachment
	seen    map[eventlog.LogID]map[uint64][]eventlog.Hash
}

// attachment is where a fork says that it begins: behind a page of its log.
type attachment struct {
	log  eventlog.LogID
	row  int
	page uint64
	prev eventlog.Hash
}

func (v *verifier) problem(page uint64, format string, args ...any) {
	p := Problem{Row: v.row, Page: page, Text: fmt.Sprintf(format, args...)}
	if v.cur != nil && v.cur.Branch.Site != "" {
		p.Branch = v.cur.Branch.String()
	}
	v.note(p)
}

func (v *verifier) note(p Problem) {
	if len(v.report.Problems) < maxProblems {
		v.report.Problems = append(v.report.Problems, p)
	}
}

// line returns the next line with its line feed, valid until the next call, and nil if there is none or only a part of one.
func (v *verifier) line() ([]byte, error) {
	b, err := v.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		b, err = v.longLine(b)
	}
	v.row++
	switch {
	case err == nil:
		return b, nil
	case errors.Is(err, io.EOF) && len(b) == 0:
		v.problem(0, "the file is cut off: it has no end")
	case errors.Is(err, io.EOF):
		v.problem(0, "the file is cut off in this row")
	case errors.Is(err, bufio.ErrBufferFull):
		v.problem(0, "the row is longer than any page")
	default:
		return nil, fmt.Errorf("read the export: %w", err)
	}
	v.ended = true
	return nil, nil
}

// longLine reads on until the line ends, or is too long.
func (v *verifier) longLine(b []byte) ([]byte, error) {
	v.long = append(v.long[:0], b...)
	for len(v.long) <= maxRowBytes {
		b, err := v.r.ReadSlice('\n')
		v.long = append(v.long, b...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return v.long, err
		}
	}
	return v.long, bufio.ErrBufferFull
}

// begin reads the title and the head.
func (v *verifier) begin() error {
	b, err := v.line()
	if err != nil {
		return err
	}
	if string(b) != exportTitle {
		v.report.Problems = nil
		return ErrNoExport
	}
	v.sum.Write(b)
	if b, err = v.line(); b == nil {
		return err
	}
	v.sum.Write(b)
	r, err := decodeRow(b)
	if err != nil || r.kinds() != 1 || r.Head == nil || r.Head.check() != nil {
		v.problem(0, "the head of the file is not in the form in which exports are written")
		return nil
	}
	v.report.Authority, v.report.By, v.report.Made = r.Head.Authority, r.Head.Site, r.Head.Made
	return nil
}

// next reads one row.
func (v *verifier) next() error {
	b, err := v.line()
	if b == nil {
		return err
	}
	r, err := decodeRow(b)
	switch {
	case err != nil:
		v.problem(0, "%v", err)
	case r.kinds() != 1 || r.Head != nil:
		v.problem(0, "the row does not belong here")
	case r.Branch != nil:
		v.branch(*r.Branch)
	case r.Page != nil:
		v.page(r.Page)
	default:
		return v.end(*r.End)
	}
	v.sum.Write(b)
	return nil
}

func (v *verifier) branch(b eventlog.Branch) {
	v.closeBranch()
	v.counted.Branches++
	v.cur = new(BranchReport)
	if b.Check() != nil || !plainFork(b.Fork) {
		v.problem(0, "this is not the name of a log") // nor is it one to show
		return
	}
	v.cur.Branch = b
	v.list = append(v.list, v.cur)
	name := b.String()
	switch {
	case b.Authority != v.report.Authority || b.Class != event.Audit:
		v.problem(0, "this is not an audit log of %s", v.report.Authority)
	case name <= v.prev:
		v.problem(0, "the logs are not in order, or one stands twice")
	}
	v.prev = max(v.prev, name)
}

func plainFork(fork string) bool {
	return fork == "" || len(fork) == 16 && strings.Trim(fork, "0123456789abcdef") == ""
}

// closeBranch is called when the last page of a branch has been read.
func (v *verifier) closeBranch() {
	if v.cur != nil && v.cur.Pages == 0 {
		v.problem(0, "the log has no pages")
	}
}

func (v *verifier) page(raw []byte) {
	v.counted.Pages++
	if v.cur == nil {
		v.problem(0, "a page stands before the first log")
		return
	}
	p, err := eventlog.ParsePage(raw)
	if err != nil {
		v.problem(0, "the page after page %d is damaged or not signed by the site: %v", v.cur.EndPage, fault.Of(err).Message)
		return
	}
	if p.Log != v.cur.Branch.LogID {
		v.problem(p.Number, "the page belongs to %s", p.Log)
		return
	}
	v.follow(p)
	v.remember(p)
	v.count(p)
}

// follow checks that the page goes on where the one before ended.
func (v *verifier) follow(p *eventlog.Page) {
	c := v.cur
	switch {
	case c.Pages == 0 && c.Branch.Fork == "":
		if p.Number != 1 || p.Prev != (eventlog.Hash{}) {
			v.problem(p.Number, "the log does not begin with page 1: pages are missing before it")
		}
	case c.Pages == 0:
		if p.Hash.String()[:16] != c.Branch.Fork {
			v.problem(p.Number, "the fork is named after another page than its first: pages are missing before it")
		}
		v.forks = append(v.forks, attachment{p.Log, v.row, p.Number, p.Prev})
	case p.Number != c.EndPage+1:
		v.problem(p.Number, "it stands after page %d: pages are missing or not in order", c.EndPage)
	case p.Prev != c.EndHash:
		v.problem(p.Number, "it does not follow the page %d that stands before it", c.EndPage)
	}
}

// remember notes the page's hash under its number; two of one number are a fork.
func (v *verifier) remember(p *eventlog.Page) {
	pages, ok := v.seen[p.Log]
	if !ok {
		pages = make(map[uint64][]eventlog.Hash)
		v.seen[p.Log] = pages
	}
	if slices.Contains(pages[p.Number], p.Hash) {
		v.problem(p.Number, "the page stands twice")
		return
	}
	pages[p.Number] = append(pages[p.Number], p.Hash)
}

func (v *verifier) count(p *eventlog.Page) {
	c := v.cur
	wall := time.UnixMilli(p.Wall).UTC()
	if c.Pages == 0 {
		c.First, c.Succeeds = wall, p.Succeeds
	}
	c.Pages++
	c.EndPage, c.EndHash, c.Last = p.Number, p.Hash, wall
	for i := range p.Events {
		if p.Events[i].Kind == KindRecorded {
			c.Lines++
		}
	}
}

func (v *verifier) end(e exportEnd) error {
	v.closeBranch()
	v.cur, v.ended = nil, true
	v.counted.SHA256 = hex.EncodeToString(v.sum.Sum(nil))
	if e != v.counted {
		v.problem(0, "the end does not fit the file: something was changed, added or left out")
	}
	switch _, err := v.r.ReadByte(); {
	case err == nil:
		v.row++
		v.problem(0, "something stands behind the end")
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("read the export: %w", err)
	}
	return nil
}

// finish checks what needs all pages, and sums up.
func (v *verifier) finish() {
	for _, f := range v.forks {
		begins := f.page == 1 && f.prev == eventlog.Hash{}
		if !begins && (f.page == 1 || !slices.Contains(v.seen[f.log][f.page-1], f.prev)) {
			v.note(Problem{Row: f.row, Branch: f.log.String(), Page: f.page, Text: "the page before the fork is not in the file"})
		}
	}
	for log, pages := range v.seen {
		for number, hashes := range pages {
			if len(hashes) > 1 {
				slices.SortFunc(hashes, func(a, b eventlog.Hash) int { return bytes.Compare(a[:], b[:]) })
				v.report.Forks = append(v.report.Forks, Fork{log, number, hashes})
			}
		}
	}
	v.report.Forks = firstForks(v.report.Forks)
	for _, b := range v.list {
		v.sumUp(*b)
	}
}

// firstForks returns of each log only the first page number that forked: those behind it follow from it.
func firstForks(forks []Fork) []Fork {
	slices.SortFunc(forks, func(a, b Fork) int {
		return cmp.Or(strings.Compare(a.Log.String(), b.Log.String()), cmp.Compare(a.Page, b.Page))
	})
	return slices.CompactFunc(forks, func(a, b Fork) bool { return a.Log == b.Log })
}

func (v *verifier) sumUp(b BranchReport) {
	i := slices.IndexFunc(v.report.Sites, func(s SiteReport) bool { return s.Site == b.Branch.Site })
	if i < 0 {
		i = len(v.report.Sites)
		v.report.Sites = append(v.report.Sites, SiteReport{Site: b.Branch.Site})
	}
	s := &v.report.Sites[i]
	s.Branches = append(s.Branches, b)
	s.Pages += b.Pages
	s.Lines += b.Lines
	v.report.Pages += b.Pages
	v.report.Lines += b.Lines
}

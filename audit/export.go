// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// exportTitle is the first line of an export: it says to a person what the file is, and to Verify which form it has.
//
// Then follow rows of JSON, in exactly the form in which encoding/json writes them:
//
//	{"head":{"authority":…,"site":…,"made":…}}     whose audit, who wrote the file and when
//	{"branch":{…}}                                 a log or a fork of it, ordered by name; its pages follow
//	{"page":"…"}                                   base64 of a page as it is stored and signed
//	{"end":{"branches":…,"pages":…,"sha256":…}}    the hash of everything before this row
const exportTitle = "Holdfast audit export 1: the signed pages of all audit logs of one authority. Check it with: holdfast audit verify FILE\n"

// PageSource is where an export takes its pages from: an eventlog.Log.
type PageSource interface {
	// Heads returns how far each branch goes.
	Heads() []eventlog.Head
	// Read returns pages after the given number, as eventlog.Store.Read does.
	Read(ctx context.Context, branch eventlog.Branch, after uint64, maxBytes int) ([]*eventlog.Page, error)
}

// row is one row of an export after the title. Exactly one field is set.
type row struct {
	Head   *exportHead      `json:"head,omitempty"`
	Branch *eventlog.Branch `json:"branch,omitempty"`
	Page   []byte           `json:"page,omitempty"`
	End    *exportEnd       `json:"end,omitempty"`
}

type exportHead struct {
	Authority event.AuthorityID `json:"authority"`
	Site      event.SiteID      `json:"site"`
	Made      time.Time         `json:"made"`
}

type exportEnd struct {
	Branches int    `json:"branches"`
	Pages    int    `json:"pages"`
	SHA256   string `json:"sha256"`
}

// readBytes is how much of a branch is read at once.
const readBytes = 1 << 20

// Export writes a file with the pages of all audit logs of the authority that this site has, as they are stored and signed,
// with the names of their branches. It has no key in it: addresses stay sealed. It reads as it writes and holds about a
// megabyte; lines that come while it runs are not in it. It returns the errors of the log and of w.
func (s *Service) Export(ctx context.Context, authority event.AuthorityID, pages PageSource, w io.Writer) error {
	if authority == "" {
		authority = event.Federation
	}
	x := &exporter{w: w, sum: sha256.New()}
	if err := x.write(ctx, pages, exportHead{authority, s.cfg.Self, s.cfg.Now().UTC().Truncate(time.Second)}); err != nil {
		return fmt.Errorf("export the audit of %s: %w", authority, err)
	}
	return nil
}

type exporter struct {
	w   io.Writer
	sum hash.Hash
	end exportEnd
}

func (x *exporter) write(ctx context.Context, pages PageSource, head exportHead) error {
	if err := x.bytes([]byte(exportTitle)); err != nil {
		return err
	}
	if err := x.row(row{Head: &head}); err != nil {
		return err
	}
	for _, h := range auditHeads(pages, head.Authority) {
		if err := x.branch(ctx, pages, h); err != nil {
			return err
		}
	}
	x.end.SHA256 = hex.EncodeToString(x.sum.Sum(nil))
	return x.row(row{End: &x.end})
}

// auditHeads returns the heads of the authority's audit logs, in the order of an export.
func auditHeads(pages PageSource, authority event.AuthorityID) []eventlog.Head {
	heads := slices.DeleteFunc(slices.Clone(pages.Heads()), func(h eventlog.Head) bool {
		return h.Branch.Authority != authority || h.Branch.Class != event.Audit || h.Page == 0
	})
	slices.SortFunc(heads, func(a, b eventlog.Head) int { return strings.Compare(a.Branch.String(), b.Branch.String()) })
	return heads
}

func (x *exporter) branch(ctx context.Context, pages PageSource, h eventlog.Head) error {
	x.end.Branches++
	if err := x.row(row{Branch: &h.Branch}); err != nil {
		return err
	}
	for after := uint64(0); after < h.Page; {
		list, err := pages.Read(ctx, h.Branch, after, readBytes)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return eventlog.ErrDamaged.Because("%s has no page after %d", h.Branch, after)
		}
		for _, p := range list {
			after = p.Number
			if after > h.Page {
				break
			}
			x.end.Pages++
			if err := x.row(row{Page: p.Raw()}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *exporter) row(r row) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	return x.bytes(b)
}

func (x *exporter) bytes(b []byte) error {
	x.sum.Write(b)
	_, err := x.w.Write(b)
	return err
}

// encode returns the one form in which a row stands in a file, with its line feed.
func (r row) encode() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// errRow says nothing of what stands in the row: it may be anything.
var errRow = errors.New("the row is not in the form in which exports are written")

// decodeRow reads a row and refuses whatever encode would not have written.
func decodeRow(line []byte) (row, error) {
	var r row
	if err := json.Unmarshal(line, &r); err != nil {
		return row{}, errRow
	}
	again, err := r.encode()
	if err != nil || !bytes.Equal(again, line) {
		return row{}, errRow
	}
	return r, nil
}

// kinds returns how many fields of the row are set: one, unless somebody has made it up.
func (r row) kinds() (n int) {
	for _, is := range []bool{r.Head != nil, r.Branch != nil, r.Page != nil, r.End != nil} {
		if is {
			n++
		}
	}
	return n
}

// check returns an error unless authority and site are names that can be shown.
func (h exportHead) check() error {
	return eventlog.LogID{Authority: h.Authority, Class: event.Audit, Site: h.Site, Incarnation: "0000000000000000"}.Check()
}

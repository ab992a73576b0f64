// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

func (s *shell) audit() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Search who did what, export it, and check an export"}
	c.AddCommand(s.auditLines(), s.exportAudit(), s.verifyAudit())
	return c
}

var errWhosePerson = fault.New(fault.Invalid, "cli.whose_person", "a person is somebody of an authority, and none is named",
	"name it with --authority; 'holdfast status' shows them")

func (s *shell) auditLines() *cobra.Command {
	var f api.AuditFilter
	var person, from, until string
	c := &cobra.Command{Use: "list [WORDS]", Short: "Search the audit, the newest lines first", Args: cobra.MaximumNArgs(1),
		Long: "Shows who did what, when, at which site, from where and by which way in. WORDS are beginnings of words in deed, actor, way, object\n" +
			"and code; all must occur. Without --authority it shows what belongs to none: refused sign-ins of people whom nobody knows, and what\n" +
			"the operator did to the site."}
	var of string
	c.Flags().StringVar(&of, "authority", "", "whose audit; none: what belongs to no authority")
	authority := func() event.AuthorityID { return event.AuthorityID(of) }
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		if len(args) == 1 {
			f.Text = args[0]
		}
		if person != "" && of == "" {
			return errWhosePerson
		}
		if person != "" {
			id, err := s.pickPerson(c.Context(), authority(), person)
			if err != nil {
				return err
			}
			f.Actor = "person/" + string(id)
		}
		var err2 error
		f.From, err = at(from, time.Now(), -1)
		f.Until, err2 = at(until, time.Now(), -1)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		list, err := s.site().Audit(c.Context(), authority(), f)
		if err != nil {
			return err
		}
		return s.table(list, "AT\tSITE\tDEED\tACTOR\tWAY\tFROM\tOBJECT\tOUTCOME\tTIMES\tLINE", func(w io.Writer) {
			for _, l := range list {
				outcome := l.Outcome
				if l.Code != "" {
					outcome += " " + l.Code
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", second(l.At), l.Site.Short(), l.Deed, l.Actor, l.Way, l.From, l.Object, outcome, l.Count, l.ID)
			}
		})
	}
	fl := c.Flags()
	fl.StringVar(&person, "person", "", "only what this person did (id, e-mail address or name)")
	fl.StringVar(&f.Actor, "actor", "", "only what this actor did, such as operator or program/ID")
	fl.StringVar(&f.Deed, "deed", "", "only this deed, such as signin")
	fl.StringVar(&f.Grant, "grant", "", "only what was done under this grant (id)")
	fl.StringVar(&f.Outcome, "outcome", "", "only done, seen or refused")
	fl.StringVar(&from, "from", "", "not before: a day, a time, or a length before now such as 36h")
	fl.StringVar(&until, "until", "", "before: a day, a time, or a length before now")
	fl.IntVar(&f.Limit, "limit", 100, "at most so many (500)")
	fl.StringVar(&f.After, "after", "", "go on after this line")
	return c
}

func (s *shell) exportAudit() *cobra.Command {
	var path string
	c := &cobra.Command{Use: "export", Short: "Write all audit logs as signed pages, for 'audit verify'", Args: exactly(),
		Long: "The file holds no key: remote addresses in it stay sealed. Compare the ends that 'audit verify' prints with those of another site's\n" +
			"export: where one ends earlier, something is missing."}
	authority := whose(c, "whose audit")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		if path == "-" {
			return s.site().ExportAudit(c.Context(), authority(), s.out)
		}
		file, err := newFile(path)
		if err != nil {
			return err
		}
		defer func() {
			if err = finish(file, err); err == nil {
				err = s.show(map[string]string{"file": path}, func() { s.say("Written to %s. Check it with:  holdfast audit verify %s", path, path) })
			}
		}()
		return s.site().ExportAudit(c.Context(), authority(), file)
	}
	c.Flags().StringVarP(&path, "out", "o", "-", "write to this new file; - is standard output")
	return c
}

// verifyAudit needs neither a site nor a network nor a key.
func (s *shell) verifyAudit() *cobra.Command {
	return &cobra.Command{
		Use: "verify FILE", Short: "Check an export without a server: chain, hashes and signatures of every page", Args: exactly("FILE"),
		Long: "Prints per site what was checked and where its logs end. Ends with 0 if the file is sound, with 6 if it is not, with 3 if it is no export. '-' reads standard input.",
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := s.openInput(args[0])
			if err != nil {
				return errFile.With(err)
			}
			defer f.Close()
			report, err := audit.Verify(f)
			if err != nil && !errors.Is(err, audit.ErrUnsound) {
				return err
			}
			return errors.Join(s.show(report, func() { s.showReportOf(report) }), err)
		},
	}
}

func (s *shell) showReportOf(r audit.Report) {
	s.say("%s: %s, %s; the file says that site %s wrote it at %s", r.Authority, count(r.Pages, "page"), count(r.Lines, "line"), event.SiteID(r.By).Short(), r.Made.Format(time.RFC3339))
	for _, x := range r.Sites {
		s.say("site %s: %s and %s checked", x.Site, count(x.Pages, "page"), count(x.Lines, "line"))
		for _, b := range x.Branches {
			s.say("  %s ends at page %d, %s, %s to %s", b.Branch, b.EndPage, b.EndHash, day(b.First), day(b.Last))
		}
	}
	for _, f := range r.Forks {
		s.say("fork: the site has signed %d different pages %d of %s", len(f.Hashes), f.Page, f.Log)
	}
	for _, p := range r.Problems {
		s.say("problem: %v", p)
	}
	if len(r.Problems) == 0 {
		s.say("The file is sound.")
	}
}

// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

func (s *shell) directory() *cobra.Command {
	c := &cobra.Command{Use: "directory", Short: "Import, search and erase people"}
	c.AddCommand(s.importPeople(), s.people(), s.units(), s.functions(), s.eraseAs())
	return c
}

func (s *shell) importPeople() *cobra.Command {
	var authority, format string
	var o directory.ImportOptions
	c := &cobra.Command{
		Use: "import FILE", Short: "Import people, units and functions from LDIF or CSV", Args: exactly("FILE"),
		Long: "Reads an LDIF export (Active Directory, OpenLDAP) or a CSV table with a line of headings. What is new is taken over, what is\n" +
			"unchanged stays, refused lines are listed with their number and reason. '-' reads standard input.",
		RunE: func(c *cobra.Command, args []string) error {
			f, err := s.openInput(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			o.Format = directory.Format(format)
			r, err := s.site().Import(c.Context(), event.AuthorityID(authority), o, f)
			if err != nil {
				return err
			}
			if s.json {
				return s.print(r)
			}
			s.showReport(r)
			return nil
		},
	}
	fl := c.Flags()
	fl.StringVar(&authority, "authority", "", "whose people they are")
	fl.StringVar(&format, "format", "", "ldif or csv; default: recognised")
	fl.StringVar(&o.KeyColumn, "key-column", "", "column or attribute that names a person for good; default: objectGUID, entryUUID, personnel number")
	fl.StringVar(&o.FunctionsIn, "functions-in", "", "OU whose groups are functions (LDIF); default: the usual names")
	fl.BoolVar(&o.Prune, "prune", false, "remove people who are not in the file")
	fl.BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and do nothing")
	_ = c.MarkFlagRequired("authority")
	return c
}

func (s *shell) showReport(r api.ImportReport) {
	tense := ""
	if r.DryRun {
		tense = "nothing is done; it would be "
	}
	s.say("%s read (%s): %s%d added, %d changed, %d unchanged, %d removed, %d refused", count(r.Read, "person"), r.Format, tense, r.Added, r.Changed, r.Unchanged, r.Tally.Removed, r.RefusedTotal)
	s.say("units: %d added, %d changed, %d removed; functions: %d added, %d changed, %d removed", r.Units.Added, r.Units.Changed, r.Units.Removed,
		r.Functions.Added, r.Functions.Changed, r.Functions.Removed)
	if r.Disabled > 0 {
		s.say("%s switched off: not in the register", count(r.Disabled, "person's account is"))
	}
	if len(r.PassedOver) > 0 {
		s.say("passed over: %s", strings.Join(r.PassedOver, ", "))
	}
	if r.WithoutChannel > 0 {
		s.say("%s neither mobile number nor e-mail: no alarm can reach them", count(r.WithoutChannel, "person has"))
	}
	for _, p := range r.Refused {
		s.say("refused: %v", p.Fault())
	}
	for _, p := range r.Remarks {
		s.say("remark: %v", p.Fault())
	}
	if r.Written.Receipt != "" {
		s.say("%s", safety(r.Written))
	}
}

// safety says how safe a write is.
func safety(w api.Written) string {
	if w.Secured {
		return fmt.Sprintf("Secured: on disk at sites of %s.", count(len(w.Operators), "operator"))
	}
	return "Stored: on this site's disk; not yet at a second operator."
}

func (s *shell) people() *cobra.Command {
	var authority string
	c := &cobra.Command{
		Use: "people [WORDS]", Short: "Search people by words or by id, with their addresses", Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			found, err := s.findPeople(c.Context(), event.AuthorityID(authority), strings.Join(args, " "))
			if err != nil {
				return err
			}
			if s.json {
				return s.print(found)
			}
			t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
			showPeople(t, found.People)
			fmt.Fprintf(t, "%d of %d\n", len(found.People), found.Total)
			return t.Flush()
		},
	}
	c.Flags().StringVar(&authority, "authority", "", "whose people")
	_ = c.MarkFlagRequired("authority")
	return c
}

// findPeople finds people by words, or one by id.
func (s *shell) findPeople(ctx context.Context, authority event.AuthorityID, text string) (api.People, error) {
	if id := directory.PersonID(text); id.Valid() {
		p, err := s.site().Person(ctx, authority, id)
		if err == nil {
			return api.People{Total: 1, People: []api.Person{p}}, nil
		}
		if fault.KindOf(err) != fault.NotFound {
			return api.People{}, err
		}
	}
	return s.site().People(ctx, authority, directory.Search{Text: text})
}

func (s *shell) units() *cobra.Command {
	var authority string
	c := &cobra.Command{
		Use: "units", Short: "List the organisational units with their ids, as a tree", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := s.site().Units(c.Context(), event.AuthorityID(authority))
			if err != nil {
				return err
			}
			if s.json {
				return s.print(list)
			}
			t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "UNIT\tPEOPLE\tNAME")
			below := make(map[directory.UnitID][]api.Unit)
			for _, u := range list {
				below[u.Parent] = append(below[u.Parent], u)
			}
			showUnits(t, below, "", 0)
			return t.Flush()
		},
	}
	c.Flags().StringVar(&authority, "authority", "", "whose units")
	_ = c.MarkFlagRequired("authority")
	return c
}

// maxDepth bounds how deep a tree of units is shown.
const maxDepth = 20

func showUnits(w io.Writer, below map[directory.UnitID][]api.Unit, parent directory.UnitID, depth int) {
	for _, u := range below[parent] {
		fmt.Fprintf(w, "%s\t%d\t%s%s\n", u.ID, u.People, strings.Repeat("  ", depth), nameOr(u.Name, u.Readable))
		if depth < maxDepth {
			showUnits(w, below, u.ID, depth+1)
		}
	}
}

// nameOr returns the name, or why there is none.
func nameOr(name string, r directory.Readability) string {
	if name == "" {
		return "(" + string(r) + ")"
	}
	return name
}

func (s *shell) functions() *cobra.Command {
	var authority string
	c := &cobra.Command{
		Use: "functions", Short: "List the functions with their ids, in the order of a staff", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := s.site().Functions(c.Context(), event.AuthorityID(authority))
			if err != nil {
				return err
			}
			if s.json {
				return s.print(list)
			}
			t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "FUNCTION\tHOLDERS\tDEPUTIES\tNAME")
			for _, f := range list {
				fmt.Fprintf(t, "%s\t%d\t%d\t%s\n", f.ID, len(f.Holders), len(f.Deputies), nameOr(f.Name, f.Readable))
			}
			return t.Flush()
		},
	}
	c.Flags().StringVar(&authority, "authority", "", "whose functions")
	_ = c.MarkFlagRequired("authority")
	return c
}

// eraseAs is 'person erase' under the name that it had first.
func (s *shell) eraseAs() *cobra.Command {
	var authority string
	var sure bool
	c := &cobra.Command{
		Use: "erase PERSON", Short: "The same as 'person erase'", Args: exactly("PERSON"),
		RunE: func(c *cobra.Command, args []string) error {
			return s.erase(c, event.AuthorityID(authority), args[0], sure)
		},
	}
	c.Flags().StringVar(&authority, "authority", "", "whose person")
	c.Flags().BoolVar(&sure, "yes", false, "erase without asking")
	_ = c.MarkFlagRequired("authority")
	return c
}

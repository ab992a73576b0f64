// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

func (s *shell) person() *cobra.Command {
	c := &cobra.Command{Use: "person", Short: "Give a person what is stored about them, or erase it"}
	authority := whose(c, "whose person")
	c.AddCommand(s.exportPerson(authority), s.erasePerson(authority))
	return c
}

func (s *shell) exportPerson(authority func() event.AuthorityID) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "export PERSON", Short: "Write everything that the site holds about a person, as JSON with explanations", Args: exactly("PERSON"),
		Long: "The answer to a request for information (Art. 15 GDPR): the register's record, the account, roles, approvals, programs, alarms\n" +
			"with receipts and own replies, and the audit's lines. No other person's data is in it. Notes in German and English explain every\n" +
			"field. The audit has who asked for it. The person is named by id, e-mail address or name.",
		RunE: func(c *cobra.Command, args []string) (err error) {
			id, err := s.pickPerson(c.Context(), authority(), args[0])
			if err != nil {
				return err
			}
			out := s.out
			if path != "" && path != "-" {
				file, err := newFile(path)
				if err != nil {
					return err
				}
				defer func() {
					if err = finish(file, err); err == nil {
						err = s.show(map[string]string{"file": path}, func() { s.say("Written to %s. It is all about one person: hand it to them only, and delete it.", path) })
					}
				}()
				out = file
			}
			d, err := s.site().ExportPerson(c.Context(), authority(), id)
			if err != nil {
				return err
			}
			e := json.NewEncoder(out)
			e.SetEscapeHTML(false)
			if !s.json {
				e.SetIndent("", "  ")
			}
			return e.Encode(d)
		},
	}
	c.Flags().StringVarP(&path, "out", "o", "-", "write to this new file; - is standard output")
	return c
}

// finish closes a file, and takes it away if what was to be written into it is not there.
func finish(file *os.File, err error) error {
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

func (s *shell) erasePerson(authority func() event.AuthorityID) *cobra.Command {
	var sure bool
	c := &cobra.Command{
		Use: "erase PERSON", Short: "Destroy a person's keys, so that nobody can read their fields any more", Args: exactly("PERSON"),
		RunE: func(c *cobra.Command, args []string) error {
			return s.erase(c, authority(), args[0], sure)
		},
	}
	c.Flags().BoolVar(&sure, "yes", false, "erase without asking")
	return c
}

// erase takes an id only: what cannot be taken back is not left to the search for a name.
func (s *shell) erase(c *cobra.Command, authority event.AuthorityID, person string, sure bool) error {
	if !sure {
		return fmt.Errorf("%w: erasing cannot be taken back; say --yes", errUsage)
	}
	id := directory.PersonID(person)
	if !id.Valid() {
		return fmt.Errorf("%w: erasing wants the person's id, see 'holdfast directory people'", errUsage)
	}
	w, asked, err := s.site().EraseOrAsk(c.Context(), authority, id)
	if err != nil {
		return err
	}
	if asked != nil {
		return s.waits(authority, asked)
	}
	return s.show(w, func() {
		s.say("Erased here; other sites follow as soon as they hear of it: see 'holdfast erasures'. Free text that others wrote is not covered.")
	})
}

func (s *shell) erasures() *cobra.Command {
	c := &cobra.Command{
		Use: "erasures", Short: "Show of every erased person which sites have confirmed it", Args: exactly(),
	}
	authority := whose(c, "whose people")
	c.RunE = func(c *cobra.Command, _ []string) error {
		list, err := s.site().Erasures(c.Context(), authority())
		if err != nil {
			return err
		}
		return s.table(list, "PERSON\tASKED\tBY\tCONFIRMED\tSTATE", func(w io.Writer) {
			for _, e := range list {
				state := "complete"
				if !e.Complete {
					state = "waiting for"
					for _, m := range e.Missing {
						state += " " + m.Short()
					}
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d of %s\t%s\n", e.Person, day(e.At), e.By, len(e.Confirmed), count(len(e.Confirmed)+len(e.Missing), "site"), state)
			}
		})
	}
	return c
}

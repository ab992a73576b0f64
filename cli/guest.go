// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/event"
)

func (s *shell) guest() *cobra.Command {
	c := &cobra.Command{Use: "guest", Short: "Let somebody in for one incident, with a code"}
	authority := whose(c, "whose guests")
	c.AddCommand(&cobra.Command{
		Use: "list", Short: "List guests", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := s.site().Guests(c.Context(), authority())
			if err != nil {
				return err
			}
			return s.table(list, "GUEST\tNAME\tINCIDENT\tSTATE\tUNTIL\tENTERED\tINVITED BY", func(w io.Writer) {
				for _, g := range list {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", g.ID, nameOr(g.Name, g.Readable), g.Incident, g.State, day(g.Until), day(g.EnteredAt), g.InvitedBy)
				}
			})
		},
	}, s.inviteGuest(authority), &cobra.Command{
		Use: "away GUEST", Short: "Send a guest away", Args: exactly("GUEST"),
		RunE: func(c *cobra.Command, args []string) error {
			return s.done(s.site().SendAway(c.Context(), authority(), args[0]))
		},
	})
	return c
}

func (s *shell) inviteGuest(authority func() event.AuthorityID) *cobra.Command {
	var d api.GuestDraft
	var alarm, until string
	c := &cobra.Command{
		Use: "invite NAME", Short: "Invite a guest and print the code, which works once", Args: exactly("NAME"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			d.Name, d.Incident = args[0], "alarm/"+strings.TrimPrefix(alarm, "alarm/")
			if d.Until, err = at(until, time.Now(), 1); err != nil {
				return err
			}
			g, err := s.site().InviteGuest(c.Context(), authority(), d)
			if err != nil {
				return err
			}
			return s.show(g, func() {
				s.say("%s", g.Code)
				fmt.Fprintf(s.err, "Read this code to the guest. It works once, at /signin/guest of any portal of the authority, until %s, and is shown only now.\n", day(g.Guest.Until))
				s.say("Guest %s is invited. %s", g.Guest.ID, safety(g.Written))
			})
		},
	}
	c.Flags().StringVar(&alarm, "alarm", "", "the alarm that the guest may see (id)")
	c.Flags().StringVar(&until, "until", "", "until when: a day, a time, or a length from now such as 36h; default: a day")
	_ = c.MarkFlagRequired("alarm")
	return c
}

func (s *shell) program() *cobra.Command {
	c := &cobra.Command{Use: "program", Short: "Make tokens for programs and app passwords, and withdraw them"}
	authority := whose(c, "whose programs")
	c.AddCommand(&cobra.Command{
		Use: "list", Short: "List programs and when they were used last", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := s.site().Programs(c.Context(), authority())
			if err != nil {
				return err
			}
			return s.table(list, "PROGRAM\tNAME\tKIND\tSCOPES\tOWNER\tEXPIRES\tLAST USED\tSTATE", func(w io.Writer) {
				for _, p := range list {
					scopes := make([]string, 0, len(p.Scopes))
					for _, x := range p.Scopes {
						scopes = append(scopes, string(x))
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.ID, nameOr(p.Name, p.Readable), p.Kind, strings.Join(scopes, ","), p.Owner, day(p.Expires), day(p.LastUsed), p.State)
				}
			})
		},
	}, s.makeProgram(authority), &cobra.Command{
		Use: "withdraw PROGRAM", Short: "Make a program's secret worthless", Args: exactly("PROGRAM"),
		RunE: func(c *cobra.Command, args []string) error {
			return s.done(s.site().WithdrawProgram(c.Context(), authority(), args[0]))
		},
	})
	return c
}

func (s *shell) makeProgram(authority func() event.AuthorityID) *cobra.Command {
	var d api.ProgramDraft
	var owner, expires, into string
	var scopes []string
	c := &cobra.Command{
		Use: "make NAME", Short: "Make a program and print its secret, or write it to a file", Args: exactly("NAME"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			d.Name, d.Scopes = args[0], asIDs[access.Permission](scopes)
			if d.Expires, err = at(expires, time.Now(), 1); err != nil {
				return err
			}
			if owner != "" {
				if d.Owner, err = s.pickPerson(c.Context(), authority(), owner); err != nil {
					return err
				}
			}
			return s.keepSecret(c, authority(), d, into)
		},
	}
	f := c.Flags()
	f.StringVar(&d.Kind, "kind", "api", "api, ldap, carddav or webdav")
	f.StringSliceVar(&scopes, "scope", nil, "what it may do at most, such as alarm.see; for a token")
	f.StringVar(&owner, "owner", "", "in whose name it works (id, e-mail address or name); required for an app password")
	f.StringVar(&expires, "expires", "", "until when: a day, a time, or a length from now such as 720h; default: a year")
	f.StringVar(&into, "token-out", "", "write the secret to this new file instead of printing it")
	return c
}

// keepSecret makes the program. Its file is opened first: a secret that cannot be written down is lost.
func (s *shell) keepSecret(c *cobra.Command, authority event.AuthorityID, d api.ProgramDraft, into string) (err error) {
	var file *os.File
	if into != "" {
		if file, err = newFile(into); err != nil {
			return err
		}
		defer func() { err = finish(file, err) }()
	}
	p, err := s.site().MakeProgram(c.Context(), authority, d)
	if err != nil {
		return err
	}
	if file != nil {
		if _, err := fmt.Fprintln(file, p.Secret); err != nil {
			return err
		}
		p.Secret = ""
	}
	return s.show(p, func() {
		if file == nil {
			s.say("%s", p.Secret)
			fmt.Fprintln(s.err, "This secret is shown only now. Whoever has it can do what the program can do.")
		}
		s.say("Program %s is made, good until %s. %s", p.Program.ID, day(p.Program.Expires), safety(p.Written))
	})
}

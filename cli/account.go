// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

func (s *shell) account() *cobra.Command {
	c := &cobra.Command{Use: "account", Short: "Say who can come in: invite people, remind them, sign them out"}
	authority := whose(c, "whose people")
	c.AddCommand(s.accounts(authority), s.inviteAccounts(authority), s.remind(authority), s.showAccount(authority),
		s.signOut(authority), s.removePasskey(authority), s.vouch(authority))
	return c
}

func (s *shell) accounts(authority func() event.AuthorityID) *cobra.Command {
	var f api.AccountFilter
	var after string
	c := &cobra.Command{
		Use: "list", Short: "List who is enrolled and who is not", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			f.After = directory.PersonID(after)
			list, err := s.site().Accounts(c.Context(), authority(), f)
			if err != nil {
				return err
			}
			n := list.Counts
			err = s.table(list, "PERSON\tNAME\tSTATE\tPASSKEYS\tCODES\tLAST SIGN-IN\tUNDER", func(w io.Writer) {
				for _, a := range list.Accounts {
					fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", a.Person.ID, nameOr(a.Person.DisplayName, a.Person.Readable), a.State, a.Passkeys, a.CodesLeft,
						day(a.LastSignIn), strings.Join(a.Names, ", "))
				}
			})
			if err == nil && !s.json {
				s.say("%s: %d enrolled, %d invited, %d not invited, %d have not signed in for a year", count(n.People, "person"), n.Enrolled, n.Invited, n.None, n.Dormant)
			}
			return err
		},
	}
	c.Flags().StringVar(&f.State, "state", "", "only: none, invited, enrolled or dormant")
	c.Flags().IntVar(&f.Limit, "limit", 100, "at most so many (500)")
	c.Flags().StringVar(&after, "after", "", "go on after this person (id)")
	return c
}

func (s *shell) remind(authority func() event.AuthorityID) *cobra.Command {
	return &cobra.Command{
		Use: "remind PERSON...", Short: "Remind people to enrol, by the channels that the directory knows", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			people, err := s.pickPeople(c.Context(), authority(), args)
			if err != nil {
				return err
			}
			n, err := s.site().RemindAccounts(c.Context(), authority(), people)
			if err != nil {
				return err
			}
			return s.show(api.Told{Told: n}, func() { s.say("Told: %d of %s.", n, count(len(people), "person")) })
		},
	}
}

func (s *shell) showAccount(authority func() event.AuthorityID) *cobra.Command {
	return &cobra.Command{
		Use: "show PERSON", Short: "Show what a person can come in with", Args: exactly("PERSON"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := s.pickPerson(c.Context(), authority(), args[0])
			if err != nil {
				return err
			}
			a, err := s.site().Account(c.Context(), authority(), id)
			if err != nil {
				return err
			}
			return s.show(a, func() { s.sayAccount(a) })
		},
	}
}

func (s *shell) sayAccount(a api.Account) {
	s.say("%s %s: %s", a.Person.ID, nameOr(a.Person.DisplayName, a.Person.Readable), a.State)
	for _, p := range a.Passkeys {
		note := ""
		if p.Void {
			note = ", void"
		}
		s.say("passkey %s %q under %s, added %s%s", p.ID, p.Label, p.Host, day(p.Added), note)
	}
	s.say("recovery codes left: %d; one-time password app: %v; invited: %s; last sign-in: %s", a.CodesLeft, a.TOTP, day(a.InvitedAt), day(a.LastSignIn))
	if len(a.Missing) > 0 {
		s.say("missing for the worst day: %s", strings.Join(a.Missing, ", "))
	}
}

func (s *shell) signOut(authority func() event.AuthorityID) *cobra.Command {
	return &cobra.Command{
		Use: "signout PERSON", Short: "Sign a person out everywhere", Args: exactly("PERSON"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := s.pickPerson(c.Context(), authority(), args[0])
			if err != nil {
				return err
			}
			return s.done(s.site().EndSessions(c.Context(), authority(), id))
		},
	}
}

// codeNoPasskey is the code of the fault that an account has no such passkey.
const codeNoPasskey = "identity.passkey_unknown"

func (s *shell) removePasskey(authority func() event.AuthorityID) *cobra.Command {
	return &cobra.Command{
		Use: "remove-passkey PERSON PASSKEY", Short: "Remove a passkey that is lost or stolen; 'account show' has its id", Args: exactly("PERSON", "PASSKEY"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := s.pickPerson(c.Context(), authority(), args[0])
			if err != nil {
				return err
			}
			w, err := s.site().RemovePasskey(c.Context(), authority(), id, args[1])
			if f := fault.Of(err); err != nil && f.Code == codeNoPasskey { // the site speaks to somebody in front of a page
				err = fault.New(f.Kind, f.Code, f.Message, "see which there are:  holdfast account show "+string(id)+" --authority "+string(authority()))
			}
			return s.done(w, err)
		},
	}
}

func (s *shell) vouch(authority func() event.AuthorityID) *cobra.Command {
	return &cobra.Command{
		Use: "vouch PERSON CHARACTERS", Short: "Say that whoever has read out the eight characters is the person", Args: exactly("PERSON", "CHARACTERS"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := s.pickPerson(c.Context(), authority(), args[0])
			if err != nil {
				return err
			}
			return s.done(s.site().Vouch(c.Context(), authority(), id, args[1]))
		},
	}
}

// signIn prints a link for whoever holds the machine, or for one person.
func (s *shell) signIn() *cobra.Command {
	var authority, person string
	var minutes int
	c := &cobra.Command{
		Use: "signin-link", Short: "Print a link with which the operator, or a person, signs in at the portal, once", Args: exactly(),
		Long: "Without --person the link is for whoever holds this machine. With --authority and --person it signs that person in: for somebody\n" +
			"who has neither passkey nor code left and stands in front of you. The audit has it.",
		RunE: func(c *cobra.Command, _ []string) error {
			if (authority == "") != (person == "") {
				return fmt.Errorf("%w: --authority and --person go together", errUsage)
			}
			if person == "" {
				link, err := s.site().SignInLink(c.Context())
				if err != nil {
					return err
				}
				return s.show(api.Link{URL: link}, func() { s.say("%s", link) })
			}
			id, err := s.pickPerson(c.Context(), event.AuthorityID(authority), person)
			if err != nil {
				return err
			}
			l, err := s.site().PersonLink(c.Context(), event.AuthorityID(authority), id, minutes)
			if err != nil {
				return err
			}
			return s.show(l, func() {
				s.say("%s", l.URL)
				fmt.Fprintf(s.err, "Good once, until %s. Whoever opens it is signed in as that person.\n", day(l.Expires))
			})
		},
	}
	c.Flags().StringVar(&authority, "authority", "", "whose person")
	c.Flags().StringVar(&person, "person", "", "sign this person in (id, e-mail address or name)")
	c.Flags().IntVar(&minutes, "minutes", 0, "how long the person's link is good; default: 15")
	return c
}

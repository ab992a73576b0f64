// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/event"
)

// errWaits ends a command whose deed waits for a second person: nothing is done, and nothing went wrong.
var errWaits = errors.New("a second person has to agree")

// codeWaits is the exit code of errWaits.
const codeWaits = 9

// show prints v as JSON, or what text says.
func (s *shell) show(v any, text func()) error {
	if s.json {
		return s.print(v)
	}
	text()
	return nil
}

// table prints v as JSON, or rows under a heading.
func (s *shell) table(v any, heading string, rows func(w io.Writer)) error {
	if s.json {
		return s.print(v)
	}
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, heading)
	rows(t)
	return t.Flush()
}

// done tells that a deed is done and how safe it is.
func (s *shell) done(w api.Written, err error) error {
	if err != nil {
		return err
	}
	return s.show(w, func() {
		if w.Receipt == "" {
			s.say("Done.")
			return
		}
		s.say("Done. %s", safety(w))
	})
}

// waits tells that nothing is done yet. It returns errWaits, so that a script does not take it for done.
func (s *shell) waits(authority event.AuthorityID, p *api.Pending) error {
	err := s.show(p, func() {
		s.say("Nothing is done yet: a second person has to agree, until %s.", day(p.Approval.Expires))
		s.say("They run:  holdfast approval approve %s --authority %s --yes", p.Approval.ID, authority)
	})
	return errors.Join(err, errWaits)
}

func (s *shell) role() *cobra.Command {
	c := &cobra.Command{Use: "role", Short: "Say who may do what"}
	authority := whose(c, "whose roles")
	c.AddCommand(s.roles(authority), s.grantRole(authority), s.withdrawRole(authority))
	return c
}

func (s *shell) roles(authority func() event.AuthorityID) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "list", Short: "List who has which role", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := s.site().Roles(c.Context(), authority(), all)
			if err != nil {
				return err
			}
			var who holders
			if !s.json {
				who = s.holdersOf(c.Context(), authority(), list)
			}
			return s.table(list, "GRANT\tROLE\tFOR\tUNIT\tFROM\tUNTIL\tBY\tSTATE", func(w io.Writer) {
				for _, g := range list {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", g.ID, g.Role, who.show(g.GrantDraft), orAll(string(g.Unit)), day(g.From), day(g.Until), g.GrantedBy, grantState(g))
				}
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also those that have ended, have not begun or were withdrawn")
	return c
}

func holder(d api.GrantDraft) string {
	if d.Function != "" {
		return "function/" + string(d.Function)
	}
	return "person/" + string(d.Person)
}

func orAll(unit string) string {
	if unit == "" {
		return "all"
	}
	return unit
}

func grantState(g api.Grant) string {
	switch {
	case g.Withdrawn:
		return "withdrawn " + day(g.WithdrawnAt)
	case g.InForce:
		return "in force"
	}
	return "not in force"
}

// grantable are the roles that can be given, for help and completion.
func grantable() []string {
	var out []string
	for _, r := range access.Roles() {
		if r.Grantable() {
			out = append(out, string(r))
		}
	}
	return out
}

func (s *shell) grantRole(authority func() event.AuthorityID) *cobra.Command {
	var person, function, unit, from, until string
	c := &cobra.Command{
		Use: "grant ROLE", Short: "Give a person, or whoever holds or deputises a function, a role", Args: exactly("ROLE"),
		Long: "Gives a role: " + strings.Join(grantable(), ", ") + ".\nA person is named by id, e-mail address or name; functions and units by id or name.",
		RunE: func(c *cobra.Command, args []string) error {
			d := api.GrantDraft{Role: access.Role(args[0])}
			if err := s.holderOf(c, authority(), &d, person, function, unit); err != nil {
				return err
			}
			var err, err2 error
			d.From, err = at(from, time.Now(), 1)
			d.Until, err2 = at(until, time.Now(), 1)
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			g, asked, err := s.site().GrantRole(c.Context(), authority(), d)
			if err != nil {
				return err
			}
			if asked != nil {
				return s.waits(authority(), asked)
			}
			return s.show(g, func() { s.say("Granted: %s. %s", g.Grant.ID, safety(g.Written)) })
		},
	}
	f := c.Flags()
	f.StringVar(&person, "person", "", "for this person")
	f.StringVar(&function, "function", "", "for the holders and deputies of this function, whoever they are")
	f.StringVar(&unit, "unit", "", "only in this unit and below; default: the whole authority")
	f.StringVar(&from, "from", "", "from when on: a day, a time, or a length from now such as 36h; default: now")
	f.StringVar(&until, "until", "", "until when; default: without an end")
	return c
}

func (s *shell) holderOf(c *cobra.Command, authority event.AuthorityID, d *api.GrantDraft, person, function, unit string) (err error) {
	if (person == "") == (function == "") {
		return fmt.Errorf("%w: say either --person or --function", errUsage)
	}
	if person != "" {
		if d.Person, err = s.pickPerson(c.Context(), authority, person); err != nil {
			return err
		}
	}
	if d.Function, err = s.pickFunction(c.Context(), authority, function); err != nil {
		return err
	}
	d.Unit, err = s.pickUnit(c.Context(), authority, unit)
	return err
}

func (s *shell) withdrawRole(authority func() event.AuthorityID) *cobra.Command {
	return &cobra.Command{
		Use: "withdraw GRANT", Short: "End a grant for good", Args: exactly("GRANT"),
		RunE: func(c *cobra.Command, args []string) error {
			w, err := s.site().WithdrawRole(c.Context(), authority(), args[0])
			if err := s.done(w, err); err != nil || s.json {
				return err
			}
			s.warnOfFew(c.Context(), authority())
			return nil
		},
	}
}

func (s *shell) policyOfAccess() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Show and set what takes two people, how long the audit keeps addresses, how long sessions last"}
	authority := whose(c, "whose policy")
	c.AddCommand(&cobra.Command{
		Use: "show", Short: "Show the policy", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := s.site().Policy(c.Context(), authority())
			if err != nil {
				return err
			}
			return s.show(p, func() { s.showPolicy(p) })
		},
	}, s.setPolicy(authority))
	return c
}

func (s *shell) showPolicy(p api.Policy) {
	from := count(p.MassAlarmFrom, "recipient") + " on"
	if p.MassAlarmFrom == 0 {
		from = "no number of recipients"
	}
	marked := make([]string, 0, len(p.TwoPersons))
	for _, x := range p.TwoPersons {
		marked = append(marked, string(x))
	}
	if len(marked) == 0 {
		marked = []string{"none"}
	}
	provider := "on"
	if p.ProviderOff {
		provider = "off"
	}
	s.say("An alarm takes two people from %s.\nAlways two people: %s.", from, strings.Join(marked, ", "))
	s.say("Sign-in by the identity provider: %s.\nA session lasts %s at most.", provider, time.Duration(p.SessionMaxMinutes)*time.Minute)
	kept := "without an end"
	if days := p.RetentionDays[event.Audit]; days > 0 {
		kept = "for " + count(days, "day")
	}
	s.say("Network addresses in the audit are kept %s; everything else until it is erased, or its log is succeeded.", kept)
}

// policyFlags are the changes that are wanted of a policy; what is not said stays.
type policyFlags struct {
	massAlarmFrom, sessionMinutes int
	two, keep                     []string
	provider                      string
}

func (s *shell) setPolicy(authority func() event.AuthorityID) *cobra.Command {
	var f policyFlags
	c := &cobra.Command{
		Use: "set", Short: "Change the policy; what is not named stays as it is", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := s.site().Policy(c.Context(), authority())
			if err != nil {
				return err
			}
			if err := f.change(&p, c.Flags().Changed); err != nil {
				return err
			}
			w, asked, err := s.site().SetPolicy(c.Context(), authority(), p)
			if err == nil && asked != nil {
				return s.waits(authority(), asked)
			}
			if err := s.done(w, err); err != nil || s.json {
				return err
			}
			if c.Flags().Changed("mass-alarm-from") && p.MassAlarmFrom == 0 {
				s.warn("from now on one person alone can alarm everybody")
			}
			if c.Flags().Changed("two-persons") && !slices.Contains(p.TwoPersons, access.ErasePerson) {
				s.warn("from now on one person alone can erase people, for good")
			}
			return nil
		},
	}
	fl := c.Flags()
	fl.IntVar(&f.massAlarmFrom, "mass-alarm-from", 0, "from how many recipients on an alarm takes two people; 0: never")
	fl.StringSliceVar(&f.two, "two-persons", nil, "what always takes two people: alarm.raise, person.erase, role.grant, policy.set; none")
	fl.StringVar(&f.provider, "provider", "", "sign-in by the identity provider: on or off")
	fl.IntVar(&f.sessionMinutes, "session-minutes", 0, "how long a session lasts at most")
	fl.StringSliceVar(&f.keep, "keep", nil, "how many days the audit's network addresses can be read: audit=365, or audit=ever; no other term is enforced yet")
	return c
}

func (f *policyFlags) change(p *api.Policy, said func(string) bool) error {
	if said("mass-alarm-from") {
		p.MassAlarmFrom = f.massAlarmFrom
	}
	if said("session-minutes") {
		p.SessionMaxMinutes = f.sessionMinutes
	}
	if said("two-persons") {
		p.TwoPersons = nil
		if !slices.Equal(f.two, []string{"none"}) {
			p.TwoPersons = asIDs[access.Permission](f.two)
		}
	}
	switch f.provider {
	case "":
	case "on", "off":
		p.ProviderOff = f.provider == "off"
	default:
		return fmt.Errorf("%w: --provider is on or off", errUsage)
	}
	for _, word := range f.keep {
		class, days, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(days)
		switch {
		case event.Class(class) != event.Audit || err != nil && days != "ever":
			return fmt.Errorf("%w: --keep wants audit=DAYS, such as audit=365, or audit=ever", errUsage)
		case days == "ever":
			delete(p.RetentionDays, event.Audit)
		default:
			p.RetentionDays[event.Audit] = n
		}
	}
	return nil
}

func (s *shell) approval() *cobra.Command {
	c := &cobra.Command{Use: "approval", Short: "Decide as the second person about what takes two"}
	authority := whose(c, "whose approvals")
	c.AddCommand(&cobra.Command{
		Use: "list", Short: "List what waits for a second person, and what did", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := s.site().Approvals(c.Context(), authority())
			if err != nil {
				return err
			}
			return s.table(list, "APPROVAL\tDEED\tPEOPLE\tASKED BY\tASKED\tUNTIL\tSTATE\tRESULT", func(w io.Writer) {
				for _, a := range list {
					fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", a.ID, a.Deed, a.Size, a.AskedBy, day(a.AskedAt), day(a.Expires), a.State, a.Result)
				}
			})
		},
	}, s.approve(authority), &cobra.Command{
		Use: "refuse APPROVAL", Short: "Refuse, or take back what you have asked for", Args: exactly("APPROVAL"),
		RunE: func(c *cobra.Command, args []string) error {
			return s.done(s.site().Refuse(c.Context(), authority(), args[0]))
		},
	})
	return c
}

func (s *shell) approve(authority func() event.AuthorityID) *cobra.Command {
	var sure bool
	c := &cobra.Command{
		Use: "approve APPROVAL", Short: "Agree; what was asked for is done at once. Without --yes it is only shown", Args: exactly("APPROVAL"),
		RunE: func(c *cobra.Command, args []string) error {
			if !sure {
				a, err := s.site().Approval(c.Context(), authority(), args[0])
				if err != nil {
					return err
				}
				return s.show(a, func() { s.showApproval(a) })
			}
			p, err := s.site().Approve(c.Context(), authority(), args[0])
			if err != nil {
				return err
			}
			return s.show(p, func() { s.say("Approved and done: %s. %s", p.Approval.Result, safety(p.Written)) })
		},
	}
	c.Flags().BoolVar(&sure, "yes", false, "agree")
	return c
}

func (s *shell) showApproval(a api.Approval) {
	s.say("%s %s: %s, %s, asked for by %s at %s, until %s", a.State, a.ID, a.Deed, count(a.Size, "person"), a.AskedBy, day(a.AskedAt), day(a.Expires))
	s.say("%s", a.Args)
	if len(a.Elsewhere) > 0 {
		s.say("The same was asked for elsewhere: %s. Look at that first.", strings.Join(a.Elsewhere, ", "))
	}
	if a.State == string(access.Pending) {
		s.say("To agree, say --yes.")
	}
}

// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/site"
)

func (s *shell) federation() []*cobra.Command {
	return []*cobra.Command{s.invite(), s.admit(), s.siteCommands(), s.status(), s.authority(), s.signIn(), s.merges(), s.troubles(), s.logs()}
}

func (s *shell) invite() *cobra.Command {
	var name, operator string
	var hours int
	c := &cobra.Command{
		Use: "invite", Short: "Print an invitation for one new site, good once", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			token, err := s.site().Invite(c.Context(), name, operator, hours)
			if err != nil {
				return err
			}
			if s.json {
				return s.print(api.Invitation{Token: token})
			}
			s.say("%s", token)
			fmt.Fprintln(s.err, "Hand this over by a way that you trust. At the new site: holdfast join TOKEN --data FOLDER")
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "", "the new site's name")
	c.Flags().StringVar(&operator, "operator", "", "who runs the new site")
	c.Flags().IntVar(&hours, "hours", 24, "how long it is good for")
	return c
}

func (s *shell) admit() *cobra.Command {
	return &cobra.Command{
		Use: "admit SITE", Short: "Endorse a site that another operator has invited", Args: exactly("SITE"),
		Long: "Once a federation has two operators, a new site needs the word of two. The first characters of the site's id do.",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := s.pickSite(c, args[0])
			if err != nil {
				return err
			}
			known, err := s.site().Status(c.Context())
			if err != nil {
				return err
			}
			a, err := s.site().Admit(c.Context(), id)
			if err != nil {
				return err
			}
			return s.show(a, func() { s.sayAdmission(known, a) })
		},
	}
}

// sayAdmission tells what the word of this site has changed since before.
func (s *shell) sayAdmission(before api.Status, a api.Admission) {
	if a.Member {
		s.say("The site is a member now.")
		return
	}
	self := operatorOf(before, before.Self)
	for _, p := range before.Pending {
		if p.Site != a.Site {
			continue
		}
		if slices.ContainsFunc(p.Endorsed, func(o string) bool { return sameOperator(o, self) }) {
			s.say("Nothing has changed: %s has endorsed the site already; whoever invites a site endorses it.", self)
			s.say("Run this at a site of another operator; needed: %s, so far: %s.", count(p.Needed, "operator"), strings.Join(p.Endorsed, ", "))
			return
		}
		if missing := p.Needed - len(p.Endorsed) - 1; missing > 0 {
			s.say("Endorsed; not a member yet: %s more needed.", count(missing, "operator"))
			return
		}
	}
	s.say("Endorsed; not a member yet.")
}

// sameOperator counts operators as a federation does: letter case and spaces aside.
func sameOperator(a, b string) bool {
	return strings.EqualFold(strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " "))
}

func operatorOf(st api.Status, id event.SiteID) string {
	for _, m := range st.Members {
		if m.Site == id {
			return m.Operator
		}
	}
	return ""
}

func (s *shell) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the sites, how far they are apart, and the authorities", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			st, err := s.site().Status(c.Context())
			if err != nil {
				return err
			}
			if s.json {
				return s.print(st)
			}
			return s.showStatus(st)
		},
	}
}

func (s *shell) showStatus(st api.Status) error {
	peers := make(map[event.SiteID]api.Lag)
	for _, l := range st.Lag {
		peers[l.Site] = l
	}
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SITE\tNAME\tOPERATOR\tKIND\tHEARD\tWE LACK\tIT LACKS")
	for _, m := range st.Members {
		heard, lack, ahead := "this site", "", ""
		if p := peers[m.Site]; !m.Self {
			heard, lack, ahead = "never", count(p.BehindPages, "page"), count(p.AheadPages, "page")
			if !p.LastHeard.IsZero() {
				heard = ago(time.Since(p.LastHeard))
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Site.Short(), m.Name, m.Operator, m.Kind, heard, lack, ahead)
	}
	for _, p := range st.Pending {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\tpending: endorsed by %d of %s\t\t\n", p.Site.Short(), p.Name, p.Operator, p.Kind, len(p.Endorsed), count(p.Needed, "operator"))
	}
	for _, r := range st.Removed {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\tremoved\t\t\n", r.Site.Short(), r.Name, r.Operator, r.Kind)
	}
	fmt.Fprintln(t, "\nAUTHORITY\tNAME\tSITES")
	for _, a := range st.Authorities {
		fmt.Fprintf(t, "%s\t%s\t%s\n", a.ID, a.NameDE, sitesOf(st, a))
	}
	for _, m := range st.Members {
		if p := peers[m.Site]; p.Trouble != "" {
			fmt.Fprintf(t, "\n%s: %s\n", m.Name, p.Trouble)
		}
		if p := peers[m.Site]; math.Abs(p.OffsetSeconds) > clockTolerance.Seconds() {
			fmt.Fprintf(t, "\n%s: its clock and ours differ by %s: compare both with a clock you trust and set the wrong one\n", m.Name,
				time.Duration(math.Abs(p.OffsetSeconds)*float64(time.Second)).Round(time.Second))
		}
	}
	for _, r := range st.Removing {
		fmt.Fprintf(t, "\n%s is to be removed: %s so far, %s needed; at a site of another operator: holdfast site remove %s --yes\n", r.Name,
			strings.Join(r.Agreed, ", "), count(r.Needed, "operator"), r.Site.Short())
	}
	if st.BehindPages > 0 {
		fmt.Fprintf(t, "\nHere and not shown yet: %s.\n", count(st.BehindPages, "page"))
	}
	if st.Forks > 0 {
		fmt.Fprintf(t, "\n%s: a site has signed two different pages of one number. Both are kept; look at the site's log.\n", count(st.Forks, "fork"))
	}
	for _, c := range st.Conditions {
		fmt.Fprintf(t, "\n%s\n", conditionText(c))
	}
	for _, warning := range st.Warnings {
		fmt.Fprintf(t, "\nWARNING: %s\n", warning)
	}
	return t.Flush()
}

// sitesOf names the sites that an authority allows.
func sitesOf(st api.Status, a site.Authority) string {
	names := make([]string, 0, len(a.Sites))
	for _, id := range a.Sites {
		name := id.Short()
		for _, m := range st.Members {
			if m.Site == id {
				name = m.Name
			}
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// clockTolerance is from which difference on a wrong clock is told of: people go by the times on the board.
const clockTolerance = 30 * time.Second

func (s *shell) authority() *cobra.Command {
	c := &cobra.Command{Use: "authority", Short: "Add authorities and say which sites may hold their data"}
	var d site.AuthorityDraft
	var sites []string
	add := &cobra.Command{
		Use: "add ID", Short: "Add an authority; its data lies only on the sites named", Args: exactly("ID"),
		RunE: func(c *cobra.Command, args []string) error {
			d.ID = event.AuthorityID(args[0])
			for _, word := range sites {
				id, err := s.pickSite(c, word)
				if err != nil {
					return err
				}
				d.Sites = append(d.Sites, id)
			}
			known, err := s.site().Status(c.Context())
			if err != nil {
				return err
			}
			if len(sites) == 0 {
				d.Sites = []event.SiteID{known.Self}
			}
			if err := s.site().AddAuthority(c.Context(), d); err != nil {
				return err
			}
			return s.show(d, func() { s.sayAdded(known, d) })
		},
	}
	add.Flags().StringVar(&d.NameDE, "name-de", "", "its German name")
	add.Flags().StringVar(&d.NameEN, "name-en", "", "its English name")
	add.Flags().StringSliceVar(&sites, "sites", nil, "allowed sites, by the first characters of their ids or their names; default: this site")
	c.AddCommand(add,
		s.policy("allow", "Let a site hold the authority's data", (*api.Client).Allow),
		s.policy("forbid", "Take the authority's data from a site; a new key is used from then on", (*api.Client).Forbid))
	return c
}

func (s *shell) sayAdded(known api.Status, d site.AuthorityDraft) {
	s.say("%s is added; sites that may hold its data: %d.", d.ID, len(d.Sites))
	for _, id := range d.Sites {
		if !sameOperator(operatorOf(known, id), operatorOf(known, known.Self)) {
			return
		}
	}
	s.warn("all its data is with one operator: nothing of it is ever secured, and if that operator is lost, so is the data")
	s.say("Let a site of a second operator hold it, too:  holdfast authority allow %s SITE", d.ID)
}

func (s *shell) policy(verb, short string, command func(*api.Client, context.Context, event.AuthorityID, event.SiteID) error) *cobra.Command {
	return &cobra.Command{
		Use: verb + " AUTHORITY SITE", Short: short, Args: exactly("AUTHORITY", "SITE"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := s.pickSite(c, args[1])
			if err != nil {
				return err
			}
			if err := command(s.site(), c.Context(), event.AuthorityID(args[0]), id); err != nil {
				return err
			}
			s.say("Done.")
			return nil
		},
	}
}

// pickSite returns the member or pending site that a word means: the beginning of its id, or its name.
func (s *shell) pickSite(c *cobra.Command, word string) (event.SiteID, error) {
	known, err := s.site().Status(c.Context())
	if err != nil {
		return "", err
	}
	var found []event.SiteID
	consider := func(p site.Profile) {
		if p.Name == word || len(word) >= 4 && strings.HasPrefix(string(p.Site), word) {
			found = append(found, p.Site)
		}
	}
	for _, m := range known.Members {
		consider(m.Profile)
	}
	for _, p := range known.Pending {
		consider(p.Profile)
	}
	if len(found) != 1 {
		return "", fault.New(fault.NotFound, "cli.site", fmt.Sprintf("%q means %s", word, count(len(found), "site")), "use a name or id from 'holdfast status'")
	}
	return found[0], nil
}

func (s *shell) merges() *cobra.Command {
	return &cobra.Command{
		Use: "merges", Short: "Show what came in late from other sites", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			merges, err := s.site().Merges(c.Context())
			if err != nil {
				return err
			}
			if s.json {
				return s.print(merges)
			}
			t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "ARRIVED\tFROM\tAUTHORITY\tWRITTEN\tEVENTS\tLATE")
			for _, m := range merges {
				late := fmt.Sprint(m.Late)
				if m.FirstCopy {
					late = "first copy"
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s to %s\t%d\t%s\n", second(m.ArrivedAt), m.From.Short(), m.Authority,
					second(m.FirstWall), m.LastWall.Local().Format(time.TimeOnly), m.Events, late)
			}
			return t.Flush()
		},
	}
}

func (s *shell) troubles() *cobra.Command {
	return &cobra.Command{
		Use: "troubles", Short: "Show what was set aside so that the rest could go on, and what is wrong with the stores", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := s.site().Troubles(c.Context())
			if err != nil {
				return err
			}
			if s.json {
				return s.print(list)
			}
			for _, t := range list {
				s.say("%s", troubleText(t))
			}
			if len(list) == 0 {
				s.say("Nothing was set aside, and nothing is wrong with the stores of this site.")
			}
			return nil
		},
	}
}

func (s *shell) logs() *cobra.Command {
	c := &cobra.Command{Use: "log", Short: "Check the logs"}
	c.AddCommand(&cobra.Command{
		Use: "check", Short: "Read all logs back and compare them with their hashes and signatures; check the other stores, too", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			before, err := s.site().Status(c.Context())
			if err != nil {
				return err
			}
			found, err := s.site().Scrub(c.Context())
			if err != nil {
				return err
			}
			after, err := s.statusOnceOpen(c.Context())
			if err != nil {
				return fmt.Errorf("after the check: %w", err)
			}
			stores := damagedStores(before.Conditions, after.Conditions)
			err = s.show(found, func() {
				for _, d := range found {
					s.say("damaged: page %d of %s (%s); fetched again: %v", d.Page, d.Log, d.Reason, d.FetchedAgain)
				}
				for _, d := range stores {
					s.say("%s", conditionText(d))
				}
				if len(found)+len(stores) == 0 {
					s.say("All logs and stores are in order.")
				}
			})
			return cmp.Or(err, damageFound(len(found), stores))
		},
	})
	return c
}

// statusOnceOpen waits up to 15 seconds for a site that opens its stores anew, which is how it repairs some of them.
func (s *shell) statusOnceOpen(ctx context.Context) (st api.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		if st, err = s.site().Status(ctx); fault.KindOf(err) != fault.Unavailable {
			return st, err
		}
		select {
		case <-ctx.Done():
			return st, err
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// damagedStores returns what a check has found of stores other than the logs: what is damaged after it, and what was told and
// mended since before it.
func damagedStores(before, after []health.Condition) (list []health.Condition) {
	known := func(c health.Condition) bool {
		return slices.ContainsFunc(before, func(b health.Condition) bool {
			return b.Store == c.Store && b.Cause == c.Cause && b.Detail == c.Detail && b.Since.Equal(c.Since)
		})
	}
	for _, c := range after {
		if c.Store != health.Log && c.Cause == health.Damaged && (c.Open() || !known(c)) {
			list = append(list, c)
		}
	}
	return list
}

// damageFound returns the error of a check that has found damage, nil if it has found none.
func damageFound(logs int, stores []health.Condition) error {
	const machine = "; check this machine's disk and memory"
	switch {
	case logs > 0:
		return fault.New(fault.Internal, "log.damaged", count(logs, "log was")+" damaged",
			"what other sites hold is fetched again"+machine)
	case len(stores) > 0:
		return fault.New(fault.Internal, "store.damaged", count(len(stores), "store was")+" damaged",
			"'holdfast status' tells what the site does about it"+machine)
	}
	return nil
}

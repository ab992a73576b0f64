// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/site"
)

// namedOnBoard is how many people the board names.
const namedOnBoard = 20

func (s *shell) board(whose func() event.AuthorityID) *cobra.Command {
	var who string
	c := &cobra.Command{
		Use: "board ALARM", Short: "Show who is called, who is coming, who is silent", Args: exactly("ALARM"),
		Long: fmt.Sprintf("Prints the counts, and the first %d of those who are silent with their addresses, by family name; as long as nobody has\n"+
			"been called, of those who wait.", namedOnBoard),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := s.site().Board(c.Context(), whose(), alarm.ID(args[0]))
			if err != nil {
				return err
			}
			if s.json {
				return s.print(b)
			}
			s.showBoard(b)
			status := alarm.Status(who)
			if who == "" {
				status = alarm.StatusSilent
				if b.Total.Called == 0 && b.Total.Pending > 0 {
					status = alarm.StatusPending
					s.warnOfGateways(c.Context(), b)
				}
			}
			return s.showPeopleOf(c.Context(), b.Alarm, status)
		},
	}
	c.Flags().StringVar(&who, "who", "", "whom to name: silent, coming, cannot, safe, pending, failed or without; default: silent")
	return c
}

func (s *shell) showBoard(b alarm.Board) {
	t, state := b.Total, "open"
	if b.Alarm.Ending != "" {
		state = string(b.Alarm.Ending) + " " + second(b.Alarm.ClosedAt)
	}
	s.say("%s, raised %s, %s: %s", b.Alarm.Raised.Mode, second(b.Alarm.RaisedAt), state, cmp.Or(b.Alarm.Raised.TextDE, b.Alarm.Raised.TextEN))
	s.say("%s; called %d, coming %d, cannot come %d, safe %d, silent %d, not called yet %d, failed %d, without any channel %d",
		count(t.Recipients, "person"), t.Called, t.Coming, t.Cannot, t.Safe, t.Silent, t.Pending, t.Failed, t.Without)
	if t.Called == 0 && t.Pending > 0 {
		s.say("Nobody has been called yet.")
	}
	s.warnOfTimes(b.Alarm)
	for _, o := range b.Takeovers {
		s.say("taken over by site %s, which had heard nothing of the calling site for %s; %s not called then", o.Site.Short(),
			(time.Duration(o.SilentMillis) * time.Millisecond).Round(100*time.Millisecond), count(o.Pending, "person"))
	}
}

// warnOfTimes tells that the alarm is held, and whose clock was wrong.
func (s *shell) warnOfTimes(a alarm.Alarm) {
	if a.Held != alarm.NotHeld {
		s.warn(fmt.Sprintf("the alarm is held. Still to be told: %s; %s. 'holdfast alarm call %s --authority %s' has the sites call now.",
			count(a.Due, "person"), a.Held.Reason(), a.ID, a.Authority))
	}
	if c := a.Clock; c != nil {
		ahead, way := time.Duration(c.AheadMillis)*time.Millisecond, "ahead"
		if ahead < 0 {
			ahead, way = -ahead, "behind"
		}
		s.warn(fmt.Sprintf("when the alarm was raised, the clock of site %s was %s %s (measured by site %s): its times are that clock's.",
			c.Site.Short(), roughly(ahead), way, c.By.Short()))
	}
}

// roughly returns a length of time in the unit that says most.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*365*day:
		return fmt.Sprintf("%.1f years", d.Hours()/24/365.25)
	case d >= 2*day:
		return fmt.Sprintf("%d days", d.Round(day)/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d.Round(time.Hour)/time.Hour)
	}
	return d.Round(time.Second).String()
}

// warnOfGateways tells by which of an alarm's channels no site of its authority can call anybody.
func (s *shell) warnOfGateways(ctx context.Context, b alarm.Board) {
	st, err := s.site().Status(ctx)
	if err != nil { // the board stands by itself
		return
	}
	i := slices.IndexFunc(st.Authorities, func(a site.Authority) bool { return a.ID == b.Alarm.Authority })
	if i < 0 {
		return
	}
	for _, c := range b.Channels {
		if !slices.ContainsFunc(st.Members, func(m site.Member) bool {
			return m.Gateway(string(c.Channel)) && slices.Contains(st.Authorities[i].Sites, m.Site)
		}) {
			s.warn("nobody will be called by " + string(c.Channel) + ": no site of this authority has a gateway for it; configure one (channels in config.yaml), or call people yourselves")
		}
	}
}

// showPeopleOf names the first people of an alarm that have a status. Who may see the board and no people gets the counts alone.
func (s *shell) showPeopleOf(ctx context.Context, a alarm.Alarm, status alarm.Status) error {
	ids, more, err := s.peopleWith(ctx, a, status)
	if fault.KindOf(err) == fault.Forbidden {
		return nil
	}
	if err != nil || len(ids) == 0 {
		return err
	}
	people, err := s.firstByName(ctx, a.Authority, ids)
	if fault.KindOf(err) == fault.Forbidden {
		return nil
	}
	if err != nil {
		return err
	}
	many := fmt.Sprint(len(ids))
	if more {
		many = "more than " + many
	}
	s.say("\n%s: %d of %s, by family name", status, len(people), many)
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, p := range people {
		fmt.Fprintf(t, "%s\t%s\t%s\n", byFamily(p), addresses(p), p.ID)
	}
	return t.Flush()
}

// maxStatusPages bounds how many pages of people are read to find those with the first names.
const maxStatusPages = 20

// peopleWith returns who has the status in an alarm, and whether there are more than it read.
func (s *shell) peopleWith(ctx context.Context, a alarm.Alarm, status alarm.Status) (ids map[directory.PersonID]bool, more bool, err error) {
	ids = make(map[directory.PersonID]bool)
	var after directory.PersonID
	for range maxStatusPages {
		page, err := s.site().AlarmPeople(ctx, a.Authority, a.ID, status, after, alarm.MaxList)
		if err != nil {
			return nil, false, err
		}
		for _, l := range page {
			ids[l.Person] = true
		}
		if len(page) < alarm.MaxList {
			return ids, false, nil
		}
		after = page[len(page)-1].Person
	}
	return ids, true, nil
}

// firstByName returns the first of the people by name. A few are looked up one by one; of many, the register is read in its own
// order until there are enough.
func (s *shell) firstByName(ctx context.Context, authority event.AuthorityID, ids map[directory.PersonID]bool) (people []api.Person, err error) {
	if len(ids) <= namedOnBoard {
		for id := range ids {
			p, err := s.site().Person(ctx, authority, id)
			if fault.KindOf(err) == fault.NotFound { // not in the register any more
				p, err = api.Person{ID: id, Readable: "removed"}, nil
			}
			if err != nil {
				return nil, err
			}
			people = append(people, p)
		}
		slices.SortFunc(people, func(a, b api.Person) int {
			return cmp.Or(strings.Compare(strings.ToLower(byFamily(a)), strings.ToLower(byFamily(b))), cmp.Compare(a.ID, b.ID))
		})
		return people, nil
	}
	search := directory.Search{Limit: directory.MaxLimit}
	for {
		page, err := s.site().People(ctx, authority, search)
		if err != nil {
			return nil, err
		}
		for _, p := range page.People {
			if ids[p.ID] && len(people) < namedOnBoard {
				people = append(people, p)
			}
		}
		if len(people) == namedOnBoard || len(page.People) < search.Limit {
			return people, nil
		}
		search.After = page.People[len(page.People)-1].ID
	}
}

// byFamily is a person's name with the family name first.
func byFamily(p api.Person) string {
	if p.FamilyName == "" {
		return nameOr(p.DisplayName, p.Readable)
	}
	return strings.TrimSuffix(p.FamilyName+", "+p.GivenName, ", ")
}

// addresses are how a person is reached, in the order of the register.
func addresses(p api.Person) string {
	var out []string
	for _, c := range p.Reachability {
		out = append(out, c.Address)
	}
	if len(out) == 0 {
		return "no channel"
	}
	return strings.Join(out, ", ")
}

// showPeople prints people with their addresses.
func showPeople(w io.Writer, list []api.Person) {
	for _, p := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.ID, nameOr(p.DisplayName, p.Readable), p.Readable, addresses(p))
	}
}

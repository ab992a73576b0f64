// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/api"
)

func (s *shell) siteCommands() *cobra.Command {
	c := &cobra.Command{Use: "site", Short: "Remove a site from the federation"}
	c.AddCommand(s.removeSite())
	return c
}

func (s *shell) removeSite() *cobra.Command {
	var sure, lose bool
	c := &cobra.Command{
		Use: "remove SITE", Short: "Say that a site is to be removed, for ever", Args: exactly("SITE"),
		Long: "A site is removed when the operators of two other sites say so; its own operator does not count. Where there is only one other\n" +
			"operator, that one suffices. Its logs end where the removing sites knew them, and all keys are renewed without it. What the site\n" +
			"has read it keeps: that cannot be undone. To take an honest site out, forbid it for every authority first and wait: it then hands\n" +
			"over everything that only it has, and deletes it. The first characters of the site's id do.",
		RunE: func(c *cobra.Command, args []string) error {
			if !sure {
				return fmt.Errorf("%w: a removed site never comes back; say --yes", errUsage)
			}
			id, err := s.pickSite(c, args[0])
			if err != nil {
				return err
			}
			r, err := s.site().RemoveSite(c.Context(), id, lose)
			if err != nil {
				return err
			}
			return s.show(r, func() { s.sayRemoval(r) })
		},
	}
	c.Flags().BoolVar(&sure, "yes", false, "remove it for ever")
	c.Flags().BoolVar(&lose, "lose-data", false, "remove it although an authority's data is at no other site")
	return c
}

func (s *shell) sayRemoval(r api.Removal) {
	if r.Removed {
		s.say("The site is removed. What it has read it keeps; what it writes from now on is kept apart, see 'holdfast troubles'.")
		return
	}
	s.say("Said for: %s. It is still a member: %s needed.", strings.Join(r.Agreed, ", "), count(r.Needed, "operator"))
	s.say("Run this at a site of another operator:  holdfast site remove %s --yes", r.Site.Short())
}

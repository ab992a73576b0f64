// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/event"
)

func (s *shell) keys() *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Look at keys that are to be erased by the hundred, and decide about them"}
	authority := whose(c, "whose keys")
	c.AddCommand(s.heldKeys(authority),
		s.decideKeys(authority, "release", "Erase what was held back because of a site, as far as the facts still say so",
			"Do this only if the site really erased so many people: what is erased is unreadable for ever. Every site holds back for itself,\n"+
				"so it is to be said at each of them.",
			"erased here", (*api.Client).ReleaseKeys),
		s.decideKeys(authority, "reject", "Keep the keys that a site wants erased, until they are released",
			"What the site wrote still says that these people are erased. Forbid the site as well ('holdfast authority forbid'): that closes its\n"+
				"logs, and takes back what it wrote behind their ends.",
			"kept here", (*api.Client).RejectKeys))
	return c
}

func (s *shell) heldKeys(authority func() event.AuthorityID) *cobra.Command {
	return &cobra.Command{
		Use: "held", Short: "Show the keys that are to be erased and are not, and what other sites sent that was refused", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			k, err := s.site().Keys(c.Context(), authority())
			if err != nil {
				return err
			}
			err = s.table(k, "SITE\tSTATE\tKEYS\tSINCE", func(w io.Writer) {
				for _, h := range k.Held {
					fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", h.Site.Short(), h.State, h.Keys, day(h.Since))
				}
			})
			if err != nil || s.json || len(k.Refused) == 0 {
				return err
			}
			s.say("")
			return s.table(k, "FROM\tREFUSED\tTIMES\tLAST", func(w io.Writer) {
				for _, r := range k.Refused {
					fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", r.Peer.Short(), r.Reason, r.Times, day(r.Last))
				}
			})
		},
	}
}

func (s *shell) decideKeys(authority func() event.AuthorityID, verb, short, long, done string,
	decide func(*api.Client, context.Context, event.AuthorityID, event.SiteID) (int, error)) *cobra.Command {
	return &cobra.Command{
		Use: verb + " SITE", Short: short, Long: long, Args: exactly("SITE"),
		RunE: func(c *cobra.Command, args []string) error {
			site, err := s.pickAsker(c, authority(), args[0])
			if err != nil {
				return err
			}
			n, err := decide(s.site(), c.Context(), authority(), site)
			if err != nil {
				return err
			}
			return s.show(api.Decided{Keys: n}, func() { s.say("%s %s.", count(n, "key"), done) })
		},
	}
}

// pickAsker returns the site that the word means among those that want keys erased; they need not be members any more.
func (s *shell) pickAsker(c *cobra.Command, authority event.AuthorityID, word string) (event.SiteID, error) {
	k, err := s.site().Keys(c.Context(), authority)
	if err != nil {
		return "", err
	}
	var found event.SiteID
	for _, h := range k.Held {
		if len(word) >= 4 && strings.HasPrefix(string(h.Site), word) && h.Site != found {
			if found != "" {
				return s.pickSite(c, word) // it tells that the word is not enough
			}
			found = h.Site
		}
	}
	if found != "" {
		return found, nil
	}
	return s.pickSite(c, word)
}

// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func (s *shell) serving() []*cobra.Command {
	return []*cobra.Command{s.initSite(), s.join(), s.serve()}
}

func siteFlags(c *cobra.Command, set *SiteSettings) {
	f := c.Flags()
	f.StringVar(&set.Name, "name", "", "the site's name, as people say it")
	f.StringVar(&set.Operator, "operator", "", "who runs the site")
	f.BoolVar(&set.Box, "box", false, "the site is the box in an authority's own building")
	f.StringVar(&set.PortalListen, "portal-listen", "127.0.0.1:8600", "where the portal listens")
	f.StringVar(&set.PortalURL, "portal-url", "", "how phones reach the portal (default: http:// and where it listens)")
	f.StringVar(&set.PeerListen, "peer-listen", "127.0.0.1:8601", "where other sites come in")
	f.StringVar(&set.PeerAdvertise, "peer-advertise", "", "how other sites reach this one (default: where it listens)")
	f.StringVar(&set.KeyFile, "key-file", "", "file with at least 32 random bytes that encrypts the data folder, best on another medium")
	f.StringVar(&set.PeerFrom, "peer-from", "", "local address to dial other sites from")
}

func (s *shell) initSite() *cobra.Command {
	var set SiteSettings
	c := &cobra.Command{
		Use: "init", Short: "Make the first site of a federation", Args: exactly(),
		Long: "Makes the data folder with a new key and a configuration, founds a federation whose first member this site is, and\nprints a link to sign in with, good once.",
		RunE: func(c *cobra.Command, _ []string) error {
			set.Data = s.data
			r, err := s.roof.Init(c.Context(), set)
			if err != nil {
				return err
			}
			if s.json {
				return s.print(r)
			}
			s.say("Site %s is made in %s.\nStart it:  holdfast serve --data %s\nSign in (once, within 24 hours):  %s", r.Site, s.data, s.data, r.SignIn)
			return nil
		},
	}
	siteFlags(c, &set)
	return c
}

func (s *shell) join() *cobra.Command {
	var set SiteSettings
	c := &cobra.Command{
		Use: "join TOKEN", Short: "Make a site and join a federation with an invitation", Args: exactly("TOKEN"),
		RunE: func(c *cobra.Command, args []string) error {
			set.Data = s.data
			r, err := s.roof.Join(c.Context(), args[0], set)
			if err != nil {
				return err
			}
			if s.json {
				return s.print(r)
			}
			s.say("Site %s is made in %s.", r.Site, s.data)
			if r.Pending {
				s.say("It waits for a second operator: there, run  holdfast admit %s", r.Site)
			}
			s.say("Start it:  holdfast serve --data %s\nSign in (once, within 24 hours):  %s", s.data, r.SignIn)
			return nil
		},
	}
	siteFlags(c, &set)
	return c
}

func (s *shell) serve() *cobra.Command {
	var attached bool
	c := &cobra.Command{
		Use: "serve", Short: "Run the site in the data folder", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			if attached {
				ctx = untilInputEnds(ctx, s.in)
			}
			return s.roof.Serve(ctx, s.data, func(r Ready) {
				if s.json {
					_ = s.print(r)
					return
				}
				s.say("Site %s is up. Portal: %s", r.Site, r.Portal)
			})
		},
	}
	c.Flags().BoolVar(&attached, "attached", false, "end when standard input ends")
	return c
}

// untilInputEnds returns a context that ends with ctx or when in does: whoever holds the other end of the pipe is gone.
func untilInputEnds(ctx context.Context, in io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	return ctx
}

func (s *shell) config() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Show and check the configuration"}
	c.AddCommand(&cobra.Command{
		Use: "sample", Short: "Print every key with its meaning", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(s.out, s.roof.SampleConfig())
			return err
		},
	}, &cobra.Command{
		Use: "check", Short: "Read config.yaml in the data folder and say what is wrong", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			if err := s.roof.CheckConfig(s.data); err != nil {
				return err
			}
			s.say("The configuration is good.")
			return nil
		},
	})
	return c
}

func (s *shell) demo() *cobra.Command {
	o := DemoOptions{}
	c := &cobra.Command{
		Use: "demo", Short: "Three sites, two authorities, everybody's phones, and a fault in the middle of a call-out", Args: exactly(),
		Long: "Starts three sites of three operators on 127.0.0.2, .3 and .4, imports two invented authorities, raises one alarm per\n" +
			"authority to everyone, and breaks something while it is being called out. Prints what was measured and stays up with\n" +
			"the portal's addresses until Ctrl-C.",
		RunE: func(c *cobra.Command, _ []string) error {
			o.JSON = s.json
			return s.roof.Demo(c.Context(), o, s.out, s.err)
		},
	}
	f := c.Flags()
	f.IntVar(&o.People, "people", 2400, "how many people, both authorities together (20 to 100000)")
	f.StringVar(&o.Scenario, "scenario", "provider-loss", "provider-loss, partition or none")
	f.Uint64Var(&o.Seed, "seed", 1, "what decides people's habits and the moment of the fault")
	f.BoolVar(&o.Exit, "exit", false, "end after the table")
	return c
}

func (s *shell) phones() *cobra.Command {
	var seed uint64
	var share float64
	c := &cobra.Command{
		Use: "phones", Short: "Play everybody's phones for the demonstration", Args: exactly(), Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error {
			return s.roof.Phones(untilInputEnds(c.Context(), s.in), seed, share, func(v any) { _ = s.print(v) })
		},
	}
	c.Flags().Uint64Var(&seed, "seed", 1, "people's habits")
	c.Flags().Float64Var(&share, "share", 0.7, "how many of those called reply")
	return c
}

func (s *shell) bench() *cobra.Command {
	var seconds int
	c := &cobra.Command{
		Use: "bench [log|append|replication|fold|signin|lines|all]", Short: "Measure on this machine; fails on no figure", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			subject := "all"
			if len(args) == 1 {
				subject = args[0]
			}
			return s.roof.Bench(c.Context(), subject, seconds, s.printMetric)
		},
	}
	c.Flags().IntVar(&seconds, "seconds", 5, "how long each measurement runs")
	return c
}

func (s *shell) printMetric(m Metric) {
	if s.json {
		_ = s.print(m)
		return
	}
	against := ""
	if m.Against != "" {
		against = fmt.Sprintf("   %.1f x %s", m.Ratio, m.Against)
	}
	s.say("%-34s %12.1f %-8s%s", m.Name, m.Value, m.Unit, against)
}

// openInput opens a file, or standard input for "-".
func (s *shell) openInput(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(s.in), nil
	}
	return os.Open(path)
}

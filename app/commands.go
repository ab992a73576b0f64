// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"crypto/rand"
	"io"
	"slices"
	"time"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/bench"
	"codeberg.org/holdfast/holdfast/cli"
	"codeberg.org/holdfast/holdfast/demo"
	"codeberg.org/holdfast/holdfast/demo/phones"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/portal"
	"codeberg.org/holdfast/holdfast/privacy"
	"codeberg.org/holdfast/holdfast/web"
)

// Commands returns the deeds that the command line needs the roof for.
func Commands() cli.Commands {
	return cli.Commands{
		Init: Init, Join: Join, Serve: Serve,
		SampleConfig: SampleConfig,
		CheckConfig:  checkConfig,
		Demo: func(ctx context.Context, o cli.DemoOptions, out, progress io.Writer) error {
			return demo.Run(ctx, demo.Options{People: o.People, Scenario: o.Scenario, Seed: o.Seed, Exit: o.Exit, JSON: o.JSON}, out, progress)
		},
		Phones: func(ctx context.Context, seed uint64, share float64, ready func(any)) error {
			return phones.Serve(ctx, phones.New(ctx, seed, share), "127.0.0.1", func(a phones.Addresses) { ready(a) })
		},
		Bench: measure,
	}
}

// checkConfig reads the configuration and builds the gateways, as serving would; it talks to none of them.
func checkConfig(data string) error {
	c, err := LoadConfig(data)
	if err != nil {
		return err
	}
	drivers, err := channels(c.Channels)
	release(drivers)
	return err
}

// measure runs one subject of the benchmarks, or all.
func measure(ctx context.Context, subject string, seconds int, report func(cli.Metric)) error {
	tell := func(m bench.Metric) {
		report(cli.Metric{Name: m.Name, Value: m.Value, Unit: m.Unit, Against: m.Against, Ratio: m.Ratio})
	}
	return bench.Run(ctx, subject, bench.Options{Duration: time.Duration(seconds) * time.Second}, tell)
}

// apiConfig is what the API speaks for.
func (s *Site) apiConfig(once *web.Once) api.Config {
	return api.Config{
		Sites: s.sites, Federation: s.federation, Directory: s.directory, Alarms: s.alarms, Model: s.model, Copies: s.replicator,
		Judge: s.access, Audit: s.audit, Once: once, Access: s.access, Deeds: s.deeds, Accounts: s.accounts, Sessions: s.tokens,
		Guests: s.guests, Programs: s.programs, Entries: s.audit, Pages: s.log, Privacy: s.privacy, Erasures: erasureList(s.erasures), Keys: s.ring,
		Scrub: s.scrubOnce, Forks: s.log.Forks, Health: s.health.List, SignInLink: s.signInLink,
		URL: func(path string) string { return s.config.Portal.URL + path },
		Now: s.now, Logger: s.logger,
	}
}

// erasureList makes a function what the API asks for erasures.
type erasureList func(context.Context, event.AuthorityID) ([]privacy.Erasure, error)

// Erasures returns how far each erasure has come.
func (f erasureList) Erasures(ctx context.Context, a event.AuthorityID) ([]privacy.Erasure, error) {
	return f(ctx, a)
}

// signInConfig is what the pages of signing in work with.
func (s *Site) signInConfig() portal.SignInConfig {
	return portal.SignInConfig{Identity: s.accounts, Sessions: s.tokens, Guests: s.guests, Programs: s.programs,
		Providers: s.providers, Names: s.namesOf, Rand: rand.Reader}
}

// namesOf returns the names of the sites that serve an authority; of "" those of all sites.
func (s *Site) namesOf(a event.AuthorityID) []string {
	if a != "" {
		return s.federation.Names(a)
	}
	var all []string
	for _, m := range s.federation.Members() {
		all = append(all, m.Names...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

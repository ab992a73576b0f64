// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

func (s *shell) alarm() *cobra.Command {
	var authority string
	c := &cobra.Command{Use: "alarm", Short: "Raise alarms, watch them and end them"}
	c.PersistentFlags().StringVar(&authority, "authority", "", "whose alarm")
	_ = c.MarkPersistentFlagRequired("authority")
	whose := func() event.AuthorityID { return event.AuthorityID(authority) }
	c.AddCommand(s.raise(whose), s.alarms(whose), s.board(whose),
		s.callNow(whose),
		s.endAlarm(whose, "cancel", "Cancel an alarm: it was raised in error", (*api.Client).Cancel),
		s.endAlarm(whose, "all-clear", "Give the all-clear: it is over", (*api.Client).AllClear))
	return c
}

// draftFlags are the flags from which an alarm is drafted.
type draftFlags struct {
	draft                            api.AlarmDraft
	mode                             string
	units, functions, persons, kinds []string
}

func (f *draftFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.draft.TextDE, "text-de", "", "the German text")
	fl.StringVar(&f.draft.TextEN, "text-en", "", "the English text")
	fl.StringVar(&f.mode, "mode", "", "actual, exercise or test; there is no default")
	fl.BoolVar(&f.draft.Audience.Everyone, "everyone", false, "call everybody")
	fl.StringSliceVar(&f.units, "unit", nil, "call a unit and everything below it (id)")
	fl.StringSliceVar(&f.functions, "function", nil, "call the holders and deputies of a function (id)")
	fl.StringSliceVar(&f.persons, "person", nil, "call a person (id)")
	fl.StringSliceVar(&f.kinds, "channel", nil, "only these channels: sms, email; default: all")
	_ = c.MarkFlagRequired("mode")
}

func (f *draftFlags) drafted() api.AlarmDraft {
	d := f.draft
	d.Mode = event.Mode(f.mode)
	d.Audience.Units = asIDs[directory.UnitID](f.units)
	d.Audience.Functions = asIDs[directory.FunctionID](f.functions)
	d.Audience.Persons = asIDs[directory.PersonID](f.persons)
	d.Channels = asIDs[directory.ChannelKind](f.kinds)
	return d
}

func asIDs[T ~string](words []string) []T {
	var out []T
	for _, w := range words {
		out = append(out, T(w))
	}
	return out
}

func (s *shell) raise(whose func() event.AuthorityID) *cobra.Command {
	var f draftFlags
	var preview bool
	c := &cobra.Command{
		Use: "raise", Short: "Raise an alarm, or with --preview only say whom it would reach", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			if preview {
				p, err := s.site().Preview(c.Context(), whose(), f.drafted())
				if err != nil {
					return err
				}
				return s.show(p, func() { s.showPreview(p) })
			}
			r, asked, err := s.site().RaiseOrAsk(c.Context(), whose(), f.drafted(), rand.Text())
			if err != nil {
				return err
			}
			if asked != nil {
				return s.waits(whose(), asked)
			}
			return s.show(r, func() {
				s.warn(r.Warning)
				s.say("Alarm %s is raised: %s, %d of them without any channel. %s", r.ID, count(r.People, "person"), r.WithoutChannel, safety(r.Written))
			})
		},
	}
	f.add(c)
	c.Flags().BoolVar(&preview, "preview", false, "raise nothing")
	return c
}

// warn prints what must not be overlooked.
func (s *shell) warn(text string) {
	if text != "" {
		s.say("WARNING: %s", text)
	}
}

func (s *shell) showPreview(p api.Preview) {
	s.say("Nothing is raised. It would be for %s, %d of them without any channel.", count(p.People, "person"), p.WithoutChannel)
	for _, kind := range slices.Sorted(maps.Keys(p.PerChannel)) {
		s.say("by %s: %s", kind, count(p.PerChannel[kind], "person"))
	}
	s.warn(p.Warning)
}

// goesTo says to whom the end of an alarm goes: to those who were called.
func (s *shell) goesTo(ctx context.Context, authority event.AuthorityID, id alarm.ID) string {
	b, err := s.site().Board(ctx, authority, id)
	switch {
	case err != nil: // it has ended all the same
		return ""
	case b.Total.Called == 0:
		return "Nobody has been called, so nobody is told."
	}
	return fmt.Sprintf("It goes to %s: to everybody who has been called.", count(b.Total.Called, "person"))
}

func (s *shell) alarms(whose func() event.AuthorityID) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List alarms, the latest first", Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := s.site().Alarms(c.Context(), whose(), time.Time{}, 50)
			if err != nil {
				return err
			}
			if s.json {
				return s.print(list)
			}
			t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
			for _, a := range list {
				state := string(a.Ending)
				if state == "" {
					state = "open"
				}
				if a.Held != alarm.NotHeld {
					state += ", held"
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.60s\n", a.ID, second(a.RaisedAt), a.Raised.Mode, state, count(a.Raised.Recipients, "person"), cmp.Or(a.Raised.TextDE, a.Raised.TextEN))
			}
			return t.Flush()
		},
	}
}

func (s *shell) endAlarm(whose func() event.AuthorityID, verb, short string,
	command func(*api.Client, context.Context, event.AuthorityID, alarm.ID, api.Words) (api.Written, error)) *cobra.Command {
	var w api.Words
	c := &cobra.Command{
		Use: verb + " ALARM", Short: short + "; whoever was called is told", Args: exactly("ALARM"),
		RunE: func(c *cobra.Command, args []string) error {
			out, err := command(s.site(), c.Context(), whose(), alarm.ID(args[0]), w)
			if err != nil {
				return err
			}
			return s.show(out, func() {
				s.say("%s", strings.TrimSpace(s.goesTo(c.Context(), whose(), alarm.ID(args[0]))+" "+safety(out)))
			})
		},
	}
	c.Flags().StringVar(&w.TextDE, "text-de", "", "what to say, in German")
	c.Flags().StringVar(&w.TextEN, "text-en", "", "what to say, in English")
	return c
}

func (s *shell) callNow(whose func() event.AuthorityID) *cobra.Command {
	return &cobra.Command{
		Use: "call ALARM", Short: "Call for an alarm that is held: it came too late, or some people could not be called within a day", Args: exactly("ALARM"),
		Long: "An alarm that was older than a day when it came to this site is not called for by itself, and no site tries for longer than a day.\n" +
			"It is then held: 'alarm board' and 'status' say so. This command has the sites call whoever has not had the message; of an alarm that\n" +
			"is over they get the closing message.",
		RunE: func(c *cobra.Command, args []string) error {
			out, err := s.site().CallNow(c.Context(), whose(), alarm.ID(args[0]))
			if err != nil {
				return err
			}
			return s.show(out, func() { s.say("The sites call now. %s", safety(out)) })
		},
	}
}

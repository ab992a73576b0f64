// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/fault"
)

// Commands are the deeds that the roof provides, because they need to know the whole house.
type Commands struct {
	// Init makes a site in a data folder and founds a federation with it. It returns the one-time sign-in link.
	Init func(ctx context.Context, s SiteSettings) (InitResult, error)
	// Join makes a site in a data folder and asks the inviting site to admit it.
	Join func(ctx context.Context, token string, s SiteSettings) (JoinResult, error)
	// Serve runs the site in a data folder until ctx ends; ready is called once, when it listens.
	Serve func(ctx context.Context, data string, ready func(Ready)) error
	// SampleConfig returns the annotated configuration; CheckConfig reads one.
	SampleConfig func() string
	CheckConfig  func(data string) error
	// Demo tells the story; Phones plays the phones for it.
	Demo   func(ctx context.Context, o DemoOptions, out, progress io.Writer) error
	Phones func(ctx context.Context, seed uint64, share float64, ready func(any)) error
	// Bench measures one subject ("append", "replication", "fold", or several: "log", "all") and calls report for each figure.
	Bench func(ctx context.Context, subject string, seconds int, report func(Metric)) error
}

// SiteSettings are what init and join need to know about a new site.
type SiteSettings struct {
	Data, Name, Operator                string
	Box                                 bool
	PortalListen, PortalURL             string
	PeerListen, PeerAdvertise, PeerFrom string
	// KeyFile holds the secret that encrypts the data folder, "" to leave it plain.
	KeyFile string
}

// InitResult is what init made.
type InitResult struct {
	Site   string `json:"site"`
	SignIn string `json:"signIn"`
}

// JoinResult tells whether the new site is a member already or waits for a second operator.
type JoinResult struct {
	Site    string `json:"site"`
	Pending bool   `json:"pending"`
	SignIn  string `json:"signIn"`
}

// Ready tells where a running site listens.
type Ready struct {
	Site   string `json:"site"`
	Portal string `json:"portal"`
	Peer   string `json:"peer"`
}

// DemoOptions are the flags of the demonstration.
type DemoOptions struct {
	People   int
	Scenario string
	Seed     uint64
	Exit     bool
	JSON     bool
}

// Metric is one measured figure. Against names what it was compared with in the same run, Ratio how many times it is that.
type Metric struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Against string  `json:"against,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"`
}

// exitCodes maps the kinds of faults to exit codes; 1 is anything else, 2 is a wrong command line (as the shell's own), 9 is
// a deed that waits for a second person.
var exitCodes = map[fault.Kind]int{
	fault.Invalid: 3, fault.Unauthenticated: 4, fault.Forbidden: 4, fault.NotFound: 5,
	fault.Conflict: 6, fault.TooLarge: 3, fault.Exhausted: 7, fault.Unavailable: 8, fault.Internal: 1,
}

// ExitCode returns the exit code of an error, 0 for nil.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, errWaits):
		return codeWaits
	}
	if code, ok := exitCodes[fault.KindOf(err)]; ok {
		return code
	}
	return 1
}

var errUsage = errors.New("wrong command line")

// shell is one run of the command line: its streams and the roof's deeds.
type shell struct {
	roof     Commands
	in       io.Reader
	out, err io.Writer
	data     string
	json     bool
	remote   remote
	client   *api.Client // for remote; nil: through the data folder
	// began is set when a command does its work: every error before that is about the command line.
	began bool
}

// noteBegin has the command and all below it set began. A group of commands by itself prints its help, and refuses a word
// that is none of its commands.
func (s *shell) noteBegin(c *cobra.Command) {
	if c.HasSubCommands() && c.HasParent() {
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%w: '%s' has no command %q (see '%s --help')", errUsage, c.CommandPath(), args[0], c.CommandPath())
			}
			return c.Help()
		}
	}
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			s.began = true
			return run(c, args)
		}
	}
	for _, sub := range c.Commands() {
		s.noteBegin(sub)
	}
}

// Run carries out one command line and returns its exit code. It blocks until the command has ended or ctx has.
func Run(ctx context.Context, args []string, roof Commands, in io.Reader, out, errOut io.Writer) int {
	s := &shell{roof: roof, in: in, out: out, err: errOut}
	root := s.root()
	s.noteBegin(root)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !s.began && !errors.Is(err, errUsage) {
		err = fmt.Errorf("%w: %w (see 'holdfast --help')", errUsage, err)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return 0 // a signal ended it, as it should
	}
	if err != nil && !errors.Is(err, errWaits) { // that it waits is said already
		s.complain(err)
	}
	return ExitCode(err)
}

// complain prints an error as "what (way out)". What is not a fault keeps its own words: the reader is the operator.
func (s *shell) complain(err error) {
	if s.json {
		f := fault.Of(err)
		message := f.Message
		if f.Kind == fault.Internal {
			message = err.Error()
		}
		_ = json.NewEncoder(s.err).Encode(map[string]any{"kind": f.Kind, "code": f.Code, "message": message, "wayOut": f.WayOut, "line": f.Line, "field": f.Field})
		return
	}
	fmt.Fprintln(s.err, "holdfast:", err)
}

func (s *shell) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "holdfast",
		Short: "The second communication infrastructure, for when the first one fails",
		Long: "Holdfast keeps authorities able to communicate when their own IT is gone.\n" +
			"Try 'holdfast demo' first: three sites, two authorities, one lost provider.",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.PersistentFlags().StringVar(&s.data, "data", "data", "the site's data folder")
	root.PersistentFlags().BoolVar(&s.json, "json", false, "print JSON")
	s.remoteFlags(root)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w (see '%s --help')", errUsage, err, c.CommandPath())
	})
	root.AddCommand(s.serving()...)
	root.AddCommand(s.federation()...)
	root.AddCommand(s.role(), s.account(), s.guest(), s.program(), s.policyOfAccess(), s.approval(), s.person(), s.erasures(), s.keys(), s.audit())
	root.AddCommand(s.directory(), s.alarm(), s.config(), s.demo(), s.phones(), s.bench())
	return root
}

// exactly refuses a wrong number of arguments and says which are wanted.
func exactly(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return fmt.Errorf("%w: '%s' wants %s (%s), not %d", errUsage, c.CommandPath(), count(len(names), "argument"), strings.Join(names, ", "), len(args))
	}
}

func (s *shell) print(v any) error {
	e := json.NewEncoder(s.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func (s *shell) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// ago says how long ago something was, for people.
func ago(d time.Duration) string {
	switch {
	case d < 2*time.Second:
		return "now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h ago", int(d.Hours()))
}

// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/jetstream"
	"codeberg.org/holdfast/holdfast/eventlog/logtest"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/session"
)

// Options say which world to run.
type Options struct {
	Seed uint64
	// Steps is how many actions happen before everything heals; 0 means a number that depends on the seed.
	Steps int
	// Dir is a temporary directory for worlds with real files. Empty means that everything stays in memory.
	Dir string
	// JetStream gives every site a real store in Dir.
	JetStream bool
	// Plant is a deliberate mistake, for the tests of the simulator itself.
	Plant Plant
	// Verbose prints each line of the trace as it comes. May be nil.
	Verbose io.Writer
}

// Plant is a deliberate mistake, wrapped around real parts.
type Plant struct {
	// Copies wraps what a replicator takes for the log.
	Copies func(rnd *rand.Rand, log *eventlog.Log) eventlog.Copies
	// Source wraps what a read model folds.
	Source func(rnd *rand.Rand, log eventlog.Counted) readmodel.Source
	// Lying disks acknowledge before they have synced.
	Lying bool
	// Rights wraps the log to which rights and approvals are written.
	Rights func(eventlog.Appender) eventlog.Appender
	// Judge replaces how rights are judged.
	Judge func(s *access.Service) judge
	// Sessions changes what sessions go by.
	Sessions func(*session.Config)
	// KeepAccounts forgets to look after the accounts of erased people.
	KeepAccounts bool
}

// World is one run.
type World struct {
	seed    uint64
	rnd     *rand.Rand
	now     time.Time
	dir     string
	onFile  bool // read models in files
	js      bool
	plant   Plant
	verbose io.Writer

	net                     *logtest.Network
	nodes                   []*node
	authorities             []*authority
	unlucky                 string // the operator that may lose disks
	ledger                  ledger
	lost                    []*eventlog.Memory // disks that are gone with what was on them
	alarms                  alarms
	people                  people
	trace                   []string
	violations              []string
	left                    int  // how often a forbidden site has deleted what it held
	healed                  bool // the gateways are well, too
	calm                    bool // they are well for the moment
	slow                    bool // lines stay as slow as they are when everything heals
	wild                    bool // clocks may be wrong by years
	wrong                   bool // clocks stay wrong when everything heals
	parallel                bool // a site asks all others at the same time
	bulk                    int  // how often much was written
	duels, doubled, changes int  // alarms through an interruption, hand-overs doubled after it, changes of caller
	founded                 time.Time
	held                    int                    // alarms that are shown as held in the end
	removing                bool                   // the rogue is voted out
	rogue                   *rogue                 // a member in the wrong hands, nil for none
	keys                    []key                  // those of acknowledged facts of honest sites
	agreed                  map[string]bool        // those of them on which all agree, whoever has made them
	shared                  map[string]event.KeyID // authority/name -> the shared key of the founding
	checking                bool                   // everything has settled
	unread                  bool                   // something on a disk could not be read
	cleanup                 []func()
}

// authority is one authority and who may hold its logs.
type authority struct {
	id event.AuthorityID
	// allowed are all that somebody has ever allowed; in the end, those that all sites agree on.
	allowed   []event.SiteID
	founding  []event.SiteID
	forbidden map[event.SiteID]bool       // by anybody, ever
	reallowed map[event.SiteID]bool       // after it had been forbidden, by somebody who decides
	forbade   map[event.SiteID][]decision // who forbade it, by the forbidden site
}

// decision is who decided something, and the disk on which it was written first; nil on a real store.
type decision struct {
	by   event.SiteID
	disk *eventlog.Memory
}

// codesEvery is how many worlds there are for one with recovery codes: their hashes are made to be slow.
const codesEvery = 5

// start is when every world begins: any instant will do.
var start = time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC)

// newWorld makes the sites and authorities that the seed says, all up and connected.
func newWorld(ctx context.Context, o Options) (*World, error) {
	w := &World{
		seed: o.Seed, rnd: rand.New(rand.NewPCG(o.Seed, 17)), now: start, dir: o.Dir, js: o.JetStream, plant: o.Plant,
		verbose: o.Verbose, net: logtest.NewNetwork(o.Seed),
		shared: make(map[string]event.KeyID), agreed: make(map[string]bool),
		people: people{apps: make(map[owner]string), erased: make(map[event.AuthorityID]int), hashing: 4},
	}
	if o.Seed%codesEvery == 0 {
		w.people.hashing = 24
	}
	w.onFile = w.rnd.IntN(8) == 0 // files are slow where others use the disk, too
	w.slow, w.wild = w.rnd.IntN(3) == 0, w.rnd.IntN(2) == 0
	w.wrong = w.wild && w.rnd.IntN(2) == 0
	w.net.Elapse(w.elapse)
	operators := []string{"north", "south", "box"}[:2+w.rnd.IntN(2)]
	w.unlucky = operators[w.rnd.IntN(len(operators))]
	for no := range 3 + w.rnd.IntN(5) {
		if err := w.addNode(no, operators[no%len(operators)]); err != nil {
			return w, err
		}
	}
	for no := range 1 + w.rnd.IntN(3) {
		w.addAuthority(fmt.Sprintf("amt-%d", no))
	}
	if err := w.assemble(ctx); err != nil {
		return w, err
	}
	if err := w.openRogue(ctx); err != nil {
		return w, err
	}
	w.net.Watch(w.observe)
	for _, n := range w.nodes { // only now: a site whose clock is wrong may not join
		if w.rnd.IntN(3) == 0 {
			n.skew = time.Duration(w.rnd.IntN(600)-300) * time.Second
			if w.wild {
				n.skew = w.far()
			}
		}
	}
	return w, nil
}

func (w *World) addNode(no int, operator string) error {
	var seed [32]byte
	copy(seed[:], fmt.Sprintf("site %d of world %d", no, w.seed))
	n := &node{w: w, no: no, operator: operator, rnd: rand.NewChaCha8(seed)}
	id, err := seal.NewIdentity(n.rnd)
	if err != nil {
		return err
	}
	n.id, n.site = id, id.Site()
	if err := n.openLocal(); err != nil {
		return err
	}
	if n.ring, err = keyring.Open(":memory:", keyring.Config{Identity: id, Rand: n.rnd, Now: n.clock, Logger: w.logger(n),
		Allowed: func(s event.SiteID, a event.AuthorityID) bool { return n.fed.Allowed(s, a) }, Grounds: n.grounds}); err != nil {
		return err
	}
	w.cleanup = append(w.cleanup, func() { _ = n.ring.Close() })
	n.news, _ = n.ring.Subscribe()
	w.nodes = append(w.nodes, n)
	return n.openDisk()
}

func (n *node) openDisk() error {
	if n.w.js {
		n.w.cleanup = append(n.w.cleanup, n.closeStreams)
		n.disk = &disk{}
		return n.openStreams()
	}
	n.memory = eventlog.NewMemory(n.clock)
	n.memory.LieAboutSync(n.w.plant.Lying)
	n.disk = &disk{Store: n.memory}
	return nil
}

// openStreams starts the real store. It works in goroutines of its own, so it gets neither the world's clock nor its
// randomness.
func (n *node) openStreams() (err error) {
	n.srv, err = jetstream.Start(jetstream.Config{
		Identity: n.id, Dir: filepath.Join(n.w.dir, fmt.Sprintf("streams-%d", n.no)), Rand: crand.Reader, Now: time.Now,
		Logger: slog.New(slog.DiscardHandler), Reserve: 1 << 20, MaxStore: 1 << 30,
	})
	if err != nil {
		return fmt.Errorf("open the streams of %v: %w", n, err)
	}
	n.disk.Store = n.srv.Store()
	return nil
}

func (n *node) closeStreams() {
	if n.srv != nil {
		_ = n.srv.Close()
		n.srv = nil
	}
}

// addAuthority makes an authority that allows at least two sites of different operators.
func (w *World) addAuthority(id string) {
	a := &authority{id: event.AuthorityID(id)}
	first := w.rnd.IntN(len(w.nodes))
	for i, n := range w.nodes {
		if i == first || i == (first+1)%len(w.nodes) || w.rnd.IntN(3) > 0 {
			a.allowed = append(a.allowed, n.site)
		}
	}
	a.founding = slices.Clone(a.allowed)
	w.authorities = append(w.authorities, a)
}

// Allowed reports whether somebody has decided that the site may hold the authority's logs, wherever that is known yet.
func (w *World) Allowed(site event.SiteID, id event.AuthorityID) bool {
	for _, a := range w.authorities {
		if a.id == id {
			return slices.Contains(a.allowed, site)
		}
	}
	return id == event.Federation && w.node(site) != nil
}

func (w *World) node(site event.SiteID) *node {
	for _, n := range w.nodes {
		if n.site == site {
			return n
		}
	}
	return nil
}

// living returns the nodes that are up.
func (w *World) living() []*node {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n *node) bool { return !n.up })
}

func (w *World) logf(format string, args ...any) {
	line := fmt.Sprintf("%s %s", w.now.Sub(start).Round(time.Millisecond), fmt.Sprintf(format, args...))
	w.trace = append(w.trace, line)
	if w.verbose != nil {
		fmt.Fprintln(w.verbose, line)
	}
}

// violate notes a broken promise. The run goes on, so that one seed tells all.
func (w *World) violate(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	w.violations = append(w.violations, line)
	w.logf("BROKEN: %s", line)
}

// logger puts what a node logs at level Warn and above into the trace.
func (w *World) logger(n *node) *slog.Logger { return slog.New(&traceHandler{w: w, n: n}) }

type traceHandler struct {
	w     *World
	n     *node
	attrs string
}

func (h *traceHandler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && !h.w.js // a real store logs from goroutines of its own
}

func (h *traceHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %s=%v", a.Key, a.Value); return true })
	line := fmt.Sprintf("%v logs: %s%s%s", h.n, r.Message, h.attrs, b.String())
	if line != h.n.lastLine {
		h.w.logf("%s", line)
	}
	h.n.lastLine = line
	return nil
}

func (h *traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		c.attrs += fmt.Sprintf(" %s=%v", a.Key, a.Value)
	}
	return &c
}

func (h *traceHandler) WithGroup(string) slog.Handler { return h }

// close releases what the world holds.
func (w *World) close() {
	for _, n := range w.nodes {
		n.stop(false)
	}
	for i := len(w.cleanup) - 1; i >= 0; i-- {
		w.cleanup[i]()
	}
}

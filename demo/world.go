// SPDX-License-Identifier: EUPL-1.2

package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/demo/phones"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/examples"
)

// place is where a site of the demonstration stands.
type place struct {
	label, name, operator, host string
	box                         bool
}

var places = []place{
	{"nordwolke", "Rechenzentrum Nordwolke", "Nordwolke eG", "127.0.0.2", false},
	{"suedrechen", "Rechenzentrum Südrechen", "Südrechen GmbH", "127.0.0.3", false},
	{"nordtal-box", "Box im Landratsamt Nordtal", "Landkreis Nordtal", "127.0.0.4", true},
}

// authority is one of the two invented authorities.
type authority struct {
	id             event.AuthorityID
	nameDE, nameEN string
	format         directory.Format
}

var authorities = []authority{
	{"lk-nordtal", "Landkreis Nordtal", "Nordtal District", directory.LDIF},
	{"sv-westmark", "Sozialversicherung Westmark", "Westmark Social Insurance", directory.CSV},
}

// station is one running (or killed) site.
type station struct {
	place
	data    string
	logPath string
	portal  string // host:port, kept over restarts: it stands in the links
	claim   net.Listener
	relay   *relay
	proc    *process
	id      event.SiteID
	signIn  string
	remote  *remote
}

// portalHost is where all portals of the demonstration listen, each on its port. Browsers know it as localhost, which is a
// name: passkeys can be bound to it, and a session of one site is good at all of them.
const portalHost = "127.0.0.1"

// url is where a browser opens the site's portal.
func (s *station) url() string {
	_, port, _ := net.SplitHostPort(s.portal)
	return "http://localhost:" + port
}

// ready is the line that a site prints when it listens.
type ready struct {
	Site   event.SiteID `json:"site"`
	Portal string       `json:"portal"`
	Peer   string       `json:"peer"`
}

// world is everything that is set up before the story.
type world struct {
	dir    string
	tell   *teller
	phones *process
	ask    phones.Addresses
	sites  []*station
	people int
	staff  []Staff
	client *http.Client
}

func newWorld(tell *teller) (*world, error) {
	dir, err := os.MkdirTemp("", "holdfast-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the demonstration: %w", err)
	}
	return &world{dir: dir, tell: tell, client: &http.Client{Timeout: 5 * time.Second}}, nil
}

// close ends every child and removes the folder.
func (w *world) close() {
	for _, s := range w.sites {
		if s.proc != nil {
			s.proc.stop()
		}
		s.relay.close()
		_ = s.claim.Close()
	}
	if w.phones != nil {
		w.phones.stop()
	}
	_ = os.RemoveAll(w.dir)
}

func (w *world) startPhones(ctx context.Context, seed uint64) (err error) {
	w.phones, err = start(ctx, filepath.Join(w.dir, "phones.log"), &w.ask, "phones", "--seed", fmt.Sprint(seed), "--json")
	return err
}

// count asks the phones what has arrived.
func (w *world) count(ctx context.Context) (phones.Count, error) {
	var c phones.Count
	return c, w.askPhones(ctx, "/count", &c)
}

func (w *world) askPhones(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.ask.Ask+path, nil)
	if err != nil {
		return err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the phones: %w", err)
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// firstPortalPort is below the range from which Linux takes ports for outgoing connections, so a killed site finds
// its port free when it returns.
const firstPortalPort = 8600

// claimPort finds a free port of host. The claim is a listener on the port a thousand above: as long as it is open, no
// other demonstration takes the port, even while its site is dead.
func claimPort(host string) (portal string, claim net.Listener, err error) {
	for port := firstPortalPort; port < firstPortalPort+400; port++ {
		claim, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(port+1000)))
		if err != nil {
			continue
		}
		portal := net.JoinHostPort(host, fmt.Sprint(port))
		if l, err := net.Listen("tcp", portal); err == nil {
			_ = l.Close()
			return portal, claim, nil
		}
		_ = claim.Close()
	}
	return "", nil, fmt.Errorf("no free port from %d on at %s (does this machine answer on 127.0.0.0/8?)", firstPortalPort, host)
}

// startSites makes the first site, then invites, joins and admits the others as an operator would.
func (w *world) startSites(ctx context.Context) error {
	for i, p := range places {
		s, err := w.prepare(p)
		if err != nil {
			return err
		}
		w.sites = append(w.sites, s)
		if i == 0 {
			err = s.make(ctx, w.ask, "init")
		} else {
			err = w.invite(ctx, s)
		}
		if err != nil {
			return err
		}
		if err := w.admit(ctx, i); err != nil {
			return err
		}
		if err := s.start(ctx); err != nil {
			return err
		}
		w.tell.say("%s runs at %s (operator: %s)", s.name, s.url(), s.operator)
	}
	return nil
}

func (w *world) prepare(p place) (*station, error) {
	portal, claim, err := claimPort(portalHost)
	if err != nil {
		return nil, err
	}
	r, err := newRelay(p.host)
	if err != nil {
		_ = claim.Close()
		return nil, err
	}
	data := filepath.Join(w.dir, p.label)
	return &station{place: p, data: data, logPath: data + ".log", portal: portal, claim: claim, relay: r, remote: newRemote(data)}, nil
}

func (w *world) invite(ctx context.Context, s *station) error {
	token, err := w.sites[0].remote.invite(ctx, s.name, s.operator)
	if err != nil {
		return fmt.Errorf("invite %s: %w", s.name, err)
	}
	return s.make(ctx, w.ask, "join", token)
}

// admit lets the second operator endorse what the first has proposed, once there are two.
func (w *world) admit(ctx context.Context, i int) error {
	if i < 2 {
		return nil
	}
	return eventually(ctx, 20*time.Second, "the second operator admits "+w.sites[i].name, func() error {
		return w.sites[1].remote.admit(ctx, w.sites[i].id)
	})
}

// make runs init or join and adds the gateways to the configuration that they wrote.
func (s *station) make(ctx context.Context, gateways phones.Addresses, args ...string) error {
	args = append(args, "--data", s.data, "--json", "--name", s.name, "--operator", s.operator,
		"--portal-listen", s.portal, "--portal-url", s.url(),
		"--peer-listen", net.JoinHostPort(s.host, "0"), "--peer-advertise", s.relay.addr(), "--peer-from", s.host)
	if s.box {
		args = append(args, "--box")
	}
	out, err := run(ctx, args...)
	if err != nil {
		return err
	}
	var made struct {
		Site   event.SiteID `json:"site"`
		SignIn string       `json:"signIn"`
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		return fmt.Errorf("read what %s printed: %w", args[0], err)
	}
	s.id, s.signIn = made.Site, made.SignIn
	return s.addGateways(gateways)
}

func (s *station) addGateways(g phones.Addresses) error {
	f, err := os.OpenFile(filepath.Join(s.data, "config.yaml"), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("add the gateways: %w", err)
	}
	defer f.Close()
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return err
	}
	text := string(b)
	if i := strings.Index(text, "channels:"); i >= 0 {
		text = text[:i]
	}
	text += fmt.Sprintf("channels:\n  sms:\n    url: %s\n    headers: {X-Sender: %s}\n  email:\n    server: %s\n    from: %s@alarm.example\n    plain: true\n",
		g.SMS, s.label, g.Mail, s.label)
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), 0)
	return err
}

// start runs the site and waits until it listens.
func (s *station) start(ctx context.Context) error {
	var r ready
	p, err := start(ctx, s.logPath, &r, "serve", "--data", s.data, "--attached", "--json")
	if err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	s.proc, s.id = p, r.Site
	s.relay.forward(r.Peer)
	return nil
}

// cut or mend the wires between s and every other site, in both directions.
func (w *world) cut(s *station, cut bool) {
	for _, o := range w.sites {
		if o != s {
			o.relay.bar(s.host, cut)
			s.relay.bar(o.host, cut)
		}
	}
}

// settle founds the authorities and imports their people at the first site, then waits until all sites have all.
func (w *world) settle(ctx context.Context, people int, seed uint64) error {
	ids := make([]event.SiteID, 0, len(w.sites))
	for _, s := range w.sites {
		ids = append(ids, s.id)
	}
	first := w.sites[0].remote
	if err := w.allMembers(ctx, len(ids)); err != nil {
		return err
	}
	for i, a := range authorities {
		if err := first.addAuthority(ctx, a, ids); err != nil {
			return fmt.Errorf("add the authority %s: %w", a.id, err)
		}
		n := people / len(authorities)
		if i == 0 {
			n = people - n*(len(authorities)-1)
		}
		added, err := first.importPeople(ctx, a, examples.Export(string(a.id), seed, n))
		if err != nil {
			return fmt.Errorf("import %s: %w", a.nameDE, err)
		}
		w.people += added
		if err := w.appoint(ctx, a); err != nil {
			return err
		}
		w.tell.say("%s: %d people imported from %s", a.nameDE, added, strings.ToUpper(string(a.format)))
	}
	return w.converge(ctx, 2*time.Minute)
}

func (w *world) allMembers(ctx context.Context, n int) error {
	return eventually(ctx, 20*time.Second, "every site knows every other", func() error {
		for _, s := range w.sites {
			got, err := s.remote.members(ctx)
			if err != nil {
				return err
			}
			if got != n {
				return fmt.Errorf("%s knows %d of %d members", s.name, got, n)
			}
		}
		return nil
	})
}

// converge waits until all sites compute the same state hash.
func (w *world) converge(ctx context.Context, patience time.Duration) error {
	return eventually(ctx, patience, "the sites reach the same state", func() error {
		hashes, err := w.hashes(ctx)
		if err != nil {
			return err
		}
		for _, h := range hashes {
			if h != hashes[w.sites[0].label] {
				return errors.New("the state hashes differ")
			}
		}
		return nil
	})
}

func (w *world) hashes(ctx context.Context) (map[string]string, error) {
	out := make(map[string]string, len(w.sites))
	for _, s := range w.sites {
		h, err := s.remote.stateHash(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask %s for its state: %w", s.name, err)
		}
		out[s.label] = h
	}
	return out, nil
}

// eventually tries until it works or patience is over; the error then names what was waited for and the last obstacle.
func eventually(ctx context.Context, patience time.Duration, what string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %v until %s: %w", patience, what, err)
		case <-tick.C:
		}
	}
}

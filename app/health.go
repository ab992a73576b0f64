// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/salvage"
)

// lookEvery is how often the conditions that nobody reports by himself are looked at.
const lookEvery = 2 * time.Second

// keysLate is how long pages may wait for keys before that is told: keys usually come within a second of their pages.
const keysLate = 5 * time.Minute

// behindMost is how many pages the read model may be behind while the site counts as ready.
const behindMost = 1000

// ailing is what the site remembers about its damaged logs and missing keys between two looks.
type ailing struct {
	mu   sync.Mutex
	logs map[eventlog.Branch]eventlog.Damage // by the last scrub, as far as they are not in order again
	keys map[event.AuthorityID]time.Time     // since when pages of an authority wait for keys
}

// look brings the board up to date with what can be seen at once.
func (s *Site) look(ctx context.Context) {
	s.tellDisk()
	s.health.Set(s.server.Store().Stuck(), health.Condition{Store: health.Log, Cause: health.Failing, Blocks: true,
		Message: "the disk has not answered a write, and nobody knows whether it was stored",
		Doing:   "the log settles it by itself when the disk has room and answers", WayOut: "look at the data disk of this machine"})
	s.tellLogs()
	s.tellKeys(ctx)
}

func (s *Site) tellDisk() {
	free, err := s.free()
	s.health.Set(err != nil, health.Condition{Store: health.Disk, Cause: health.Failing, Blocks: true,
		Message: fmt.Sprintf("the data disk does not tell how much room it has: %v", err), WayOut: "look at the data disk of this machine"})
	s.health.Set(err == nil && free < uint64(s.config.Disk.ReserveMiB)<<20, health.Condition{Store: health.Disk, Cause: health.Full, Blocks: true,
		Message: fmt.Sprintf("less than %d MiB are free on the data disk: writing is refused, reading goes on", s.config.Disk.ReserveMiB),
		Doing:   "writing resumes by itself when there is room", WayOut: "make room on the data disk; people can use another site"})
}

// tellLogs tells of the damaged logs that are not in order again.
func (s *Site) tellLogs() {
	s.ailing.mu.Lock()
	defer s.ailing.mu.Unlock()
	var list []health.Condition
	for b, why := range s.server.Store().Damaged() {
		list = append(list, damagedLog(fmt.Sprintf("%s: %s", b, why), "what is missing is fetched again from another site"))
	}
	for b, d := range s.ailing.logs {
		if head, there := s.log.Head(b); d.Deleted && there && head.Page >= d.Last {
			delete(s.ailing.logs, b)
			continue
		}
		doing := "it is kept as the only copy, until another site has this log, too"
		if d.Deleted {
			doing = "it is fetched again from another site"
		} else if head, there := s.log.Head(b); there && s.elsewhere(head) {
			s.log.Suspect(b)
		}
		list = append(list, damagedLog(fmt.Sprintf("%s: page %d", b, d.Page), doing))
	}
	s.health.Replace(health.Log, health.Damaged, list)
}

func damagedLog(detail, doing string) health.Condition {
	return health.Condition{Detail: detail, Message: "a stored page is not what was written", Doing: doing,
		WayOut: "check this machine's disk and memory; connect a site that has this log"}
}

// tellKeys tells of pages that wait for keys for long, and ends what was told of a damaged keyring when none do.
func (s *Site) tellKeys(ctx context.Context) {
	var list []health.Condition
	waiting := false
	for _, a := range s.federation.AuthorityIDs() {
		missing, err := s.log.MissingKeys(ctx, a)
		if err != nil {
			return // the keyring tells what is wrong with it
		}
		if len(missing) == 0 {
			delete(s.ailing.keys, a)
			continue
		}
		waiting = true
		if _, known := s.ailing.keys[a]; !known {
			s.ailing.keys[a] = s.now()
		}
		if s.now().Sub(s.ailing.keys[a]) >= keysLate {
			list = append(list, health.Condition{Detail: string(a),
				Message: "keys are missing for pages that are here; what they seal cannot be read",
				Doing:   "all other sites of the authority are asked for them",
				WayOut:  "connect a site that has them; if there is none, put keyring.db back from its backup"})
		}
	}
	s.health.Replace(health.Keyring, health.Incomplete, list)
	if !waiting && s.settled.Load() != nil {
		s.health.Mend(health.Keyring, health.Damaged, "")
		s.health.Mend(health.Keyring, health.Damaged, keyringLost.Detail)
	}
}

var keyringLost = health.Condition{Store: health.Keyring, Cause: health.Damaged, Detail: "missing",
	Message: "keyring.db was not there although there are logs that need it",
	Doing:   "the keys are fetched from the other sites",
	WayOut:  "if there is no other site: stop this one and put keyring.db back from its backup"}

// keyringIsMissing is asked before opening makes an empty file.
func (s *Site) keyringIsMissing() bool {
	info, err := os.Stat(s.path(keyringFile))
	return errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0
}

// noticeLostKeyring tells of a keyring that was not there although there are logs whose pages need keys.
func (s *Site) noticeLostKeyring() {
	ofAuthority := func(h eventlog.Head) bool { return h.Branch.Authority != event.Federation }
	if s.newKeyring && slices.ContainsFunc(s.log.Heads(), ofAuthority) {
		s.health.Tell(keyringLost)
	}
}

// noticeRepairedLocal tells of a local store that was damaged. Our logs go on in a new incarnation: the word in it may be an old
// one.
func (s *Site) noticeRepairedLocal(ctx context.Context) error {
	s.local.Watch(s.health)
	return s.local.TakeRepair(ctx, func(d salvage.Damage) error {
		s.health.Tell(health.Condition{Store: health.Local, Cause: health.Damaged,
			Message: fmt.Sprintf("the local store on this site's disk was damaged (%s); %d entries of it could be read", d.Reason, d.Rows),
			Doing:   "it goes on with these; some people sign in again, and our logs go on in a new incarnation",
			WayOut:  "check this machine's disk and memory"})
		s.health.Mend(health.Local, health.Damaged, "")
		return s.local.Delete(ctx, bucketMeta, keyIncarnation)
	})
}

// showReady answers 200 when the site reads and writes, else 503 with what is missing. It tries what requests do.
func (s *Site) showReady(w http.ResponseWriter, r *http.Request) {
	s.tellDisk()
	if code, message := s.unready(r.Context()); code != "" {
		http.Error(w, code+": "+message, http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

// unready returns why requests would fail, "" if they would not.
func (s *Site) unready(ctx context.Context) (code, message string) {
	if blocking := s.health.Blocking(); len(blocking) > 0 {
		c := blocking[0]
		return string(c.Store) + "." + string(c.Cause), c.Message
	}
	for store, try := range map[health.Store]func(context.Context) error{health.Model: s.tryModel, health.Local: s.tryLocal, health.Keyring: s.tryKeyring} {
		if err := try(ctx); err != nil {
			f := fault.OfDisk(err)
			if f == nil {
				f = fault.Of(err)
			}
			return string(store) + "." + string(health.Failing), f.Message
		}
	}
	if behind := s.model.Behind(); behind > behindMost {
		return "model.behind", fmt.Sprintf("the read model is %d pages behind", behind)
	}
	return "", ""
}

func (s *Site) tryModel(ctx context.Context) error {
	return s.model.View(ctx, func(q readmodel.Query) error {
		var n int
		return q.QueryRowContext(ctx, `SELECT count(*) FROM rm_meta`).Scan(&n)
	})
}

func (s *Site) tryLocal(ctx context.Context) error {
	_, err := s.local.Get(ctx, bucketMeta, keyIncarnation)
	if errors.Is(err, localstore.ErrNotFound) {
		return nil
	}
	return err
}

func (s *Site) tryKeyring(ctx context.Context) error {
	_, err := s.ring.End(ctx)
	return err
}

// showMetrics answers in the text format of Prometheus. It is on the operator's socket only: how a site is doing is nobody else's
// business.
func (s *Site) showMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprintln(w, "# HELP holdfast_condition How many things are wrong with a store of this site now.\n# TYPE holdfast_condition gauge")
	counts := s.health.Counts()
	for _, c := range counts {
		fmt.Fprintf(w, "holdfast_condition{store=%q,cause=%q} %d\n", c.Store, c.Cause, c.Open)
	}
	fmt.Fprintln(w, "# HELP holdfast_conditions_total How many there were since the start.\n# TYPE holdfast_conditions_total counter")
	for _, c := range counts {
		fmt.Fprintf(w, "holdfast_conditions_total{store=%q,cause=%q} %d\n", c.Store, c.Cause, c.Total)
	}
	fmt.Fprintf(w, "# HELP holdfast_pages_behind Pages that are not folded yet.\n# TYPE holdfast_pages_behind gauge\nholdfast_pages_behind %d\n", s.model.Behind())
	if free, err := s.free(); err == nil {
		fmt.Fprintf(w, "# HELP holdfast_disk_free_bytes Room on the data disk.\n# TYPE holdfast_disk_free_bytes gauge\nholdfast_disk_free_bytes %d\n", free)
	}
}

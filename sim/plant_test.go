// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/session"
)

// plantedWithin is how many worlds a planted mistake may stay unnoticed.
const plantedWithin = 30

// wantFound runs worlds with the mistake until one of the promises named is found broken.
func wantFound(t *testing.T, p Plant, promises ...string) {
	t.Helper()
	for s := uint64(1); s <= plantedWithin; s++ {
		r, err := Run(t.Context(), Options{Seed: s, Plant: p})
		if err != nil {
			t.Logf("seed %d: %v", s, err)
			continue
		}
		for _, v := range r.Violations {
			for _, promise := range promises {
				if strings.Contains(v, promise) {
					t.Logf("found with seed %d: %.200s", s, v)
					return
				}
			}
		}
	}
	t.Errorf("the planted mistake was not found in %d worlds", plantedWithin)
}

func TestPlantedRandomFoldOrderIsFound(t *testing.T) {
	wantFound(t, Plant{Source: func(rnd *rand.Rand, log eventlog.Counted) readmodel.Source {
		salt := rnd.Uint64()
		return &restamped{Counted: log, stamp: func(e event.Event) event.Stamp {
			sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(e.ID), salt))
			return event.Stamp(binary.BigEndian.Uint64(sum[:]) >> 1)
		}}
	}}, "is folded as")
}

func TestPlantedLateEventFoldedAsTheLastIsFound(t *testing.T) {
	wantFound(t, Plant{Source: func(_ *rand.Rand, log eventlog.Counted) readmodel.Source {
		arrived := make(map[event.ID]event.Stamp)
		return &restamped{Counted: log, stamp: func(e event.Event) event.Stamp {
			if arrived[e.ID] == 0 {
				arrived[e.ID] = event.Stamp(len(arrived) + 1)
			}
			return arrived[e.ID]
		}}
	}}, "is folded as")
}

func TestPlantedAcknowledgingBeforeTheDiskIsFound(t *testing.T) {
	wantFound(t, Plant{Lying: true}, "acknowledged by")
}

func TestPlantedReplicatorThatSkipsAnEventIsFound(t *testing.T) {
	wantFound(t, Plant{Copies: func(rnd *rand.Rand, log *eventlog.Log) eventlog.Copies {
		return &skipping{Log: log, rnd: rnd, skipped: make(map[eventlog.Hash]bool)}
	}}, "acknowledged by")
}

func TestPlantedForkThatIsAcceptedIsFound(t *testing.T) {
	wantFound(t, Plant{Copies: func(_ *rand.Rand, log *eventlog.Log) eventlog.Copies {
		return &forgiving{Log: log, ignored: make(map[eventlog.Hash]bool)}
	}}, "is forked: true; reported: false", "the heads of")
}

// restamped is a source that lies about the stamps of events, and so about their order.
type restamped struct {
	eventlog.Counted
	stamp func(event.Event) event.Stamp
}

// Read implements readmodel.Source.
func (r *restamped) Read(ctx context.Context, b eventlog.Branch, after uint64, most int) ([]*eventlog.Page, error) {
	pages, err := r.Counted.Read(ctx, b, after, most)
	for i, p := range pages {
		if p.Log.Authority == event.Federation {
			continue // who belongs must stay known, or nothing happens at all
		}
		c := *p
		c.Events = slices.Clone(p.Events)
		for j := range c.Events {
			c.Events[j].Stamp = r.stamp(c.Events[j])
		}
		pages[i] = &c
	}
	return pages, err
}

// skipping is a log that now and then does not store the last page it is given, and says it has.
type skipping struct {
	*eventlog.Log
	rnd     *rand.Rand
	skipped map[eventlog.Hash]bool
}

// Accept implements eventlog.Copies.
func (s *skipping) Accept(ctx context.Context, raw [][]byte) (int, error) {
	if s.rnd.IntN(10) == 0 {
		last := raw[len(raw)-1]
		s.skipped[sha256.Sum256(last)] = true
		raw = raw[:len(raw)-1]
	}
	return s.Log.Accept(ctx, raw)
}

// Holds implements eventlog.Copies.
func (s *skipping) Holds(ctx context.Context, id eventlog.LogID, page uint64, hash eventlog.Hash) (eventlog.Branch, bool, error) {
	if s.skipped[hash] {
		return eventlog.Branch{LogID: id}, true, nil
	}
	return s.Log.Holds(ctx, id, page, hash)
}

// forgiving is a log that takes the second of two pages of one number for the first, and stores nothing.
type forgiving struct {
	*eventlog.Log
	ignored map[eventlog.Hash]bool
}

// Accept implements eventlog.Copies.
func (f *forgiving) Accept(ctx context.Context, raw [][]byte) (int, error) {
	accepted := 0
	for _, b := range raw {
		p, err := eventlog.ParsePage(b)
		if err != nil {
			return accepted, err
		}
		have, there, err := f.HashAt(ctx, eventlog.Branch{LogID: p.Log}, p.Number)
		if err != nil {
			return accepted, err
		}
		if there && have != p.Hash || f.ignored[p.Prev] {
			f.ignored[p.Hash] = true
			continue
		}
		n, err := f.Log.Accept(ctx, [][]byte{b})
		accepted += n
		if err != nil {
			return accepted, err
		}
	}
	return accepted, nil
}

// Holds implements eventlog.Copies.
func (f *forgiving) Holds(ctx context.Context, id eventlog.LogID, page uint64, hash eventlog.Hash) (eventlog.Branch, bool, error) {
	if f.ignored[hash] {
		return eventlog.Branch{LogID: id}, true, nil
	}
	return f.Log.Holds(ctx, id, page, hash)
}

func TestPlantedFoldingBehindTheEndOfAClosedLogIsFound(t *testing.T) {
	wantFound(t, Plant{Source: func(_ *rand.Rand, log eventlog.Counted) readmodel.Source { return log.Log }}, "is folded as", "the states of")
}

// lenient makes sessions that pass over one refusal.
func lenient(what error) Plant {
	return Plant{Sessions: func(c *session.Config) {
		for i, check := range c.Checks {
			c.Checks[i] = func(ctx context.Context, p access.Principal) error {
				if err := check(ctx, p); !errors.Is(err, what) {
					return err
				}
				return nil
			}
		}
	}}
}

func TestPlantedStandingThatIgnoresWhatWasUsedTwiceIsFound(t *testing.T) {
	wantFound(t, lenient(identity.ErrVoid), "that began with a secret used twice")
}

func TestPlantedStandingThatIgnoresErasureIsFound(t *testing.T) {
	wantFound(t, lenient(identity.ErrGone), "of an erased person")
}

func TestPlantedKeysOfAnErasedPersonsAccountAreFound(t *testing.T) {
	wantFound(t, Plant{KeepAccounts: true}, "can read the credentials of")
}

func TestPlantedJudgeThatIgnoresWithdrawalsIsFound(t *testing.T) {
	wantFound(t, Plant{Judge: func(s *access.Service) judge {
		return func(ctx context.Context, p access.Principal, id event.AuthorityID, need access.Permission) (access.Verdict, error) {
			v, err := s.Judge(ctx, p, id, need)
			if err == nil {
				return v, nil
			}
			grants, _ := s.Grants(ctx, id)
			for _, g := range grants {
				if g.Withdrawn && string(g.Person) == p.ID && g.Role.Can(need) {
					return access.Verdict{Grant: g.ID}, nil
				}
			}
			return v, err
		}
	}}, "without a grant in force")
}

func TestPlantedSessionsThatNeverEndAreFound(t *testing.T) {
	wantFound(t, Plant{Sessions: func(c *session.Config) { c.Model = deaf{c.Model} }}, "that is older than a sign-out everywhere")
}

func TestPlantedTokensOfForbiddenSitesAreFound(t *testing.T) {
	wantFound(t, Plant{Sessions: func(c *session.Config) { c.Federation = open{c.Federation} }}, "which may not hold it")
}

func TestPlantedApprovalByTheAskerIsFound(t *testing.T) {
	wantFound(t, Plant{Rights: func(log eventlog.Appender) eventlog.Appender { return nameless{log} }}, "for the asker alone")
}

// deaf is a read model that has never heard of the end of a session.
type deaf struct{ session.Model }

// State implements session.Model.
func (deaf) State(context.Context, event.AuthorityID, event.Subject, any) (bool, error) {
	return false, nil
}

// open is a federation in which everybody may hold everything.
type open struct{ session.Federation }

// Allowed implements session.Federation.
func (open) Allowed(event.SiteID, event.AuthorityID) bool { return true }

// nameless is a log that forgets who has asked for an approval.
type nameless struct{ eventlog.Appender }

// Append implements eventlog.Appender.
func (l nameless) Append(ctx context.Context, id event.AuthorityID, class event.Class, drafts ...event.Draft) (eventlog.Receipt, error) {
	for i := range drafts {
		if drafts[i].Kind == access.KindApprovalAsked {
			drafts[i].Actor = "somebody"
		}
	}
	return l.Appender.Append(ctx, id, class, drafts...)
}

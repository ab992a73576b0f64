// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"context"
	"errors"
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/fault"
)

// Removing is a member that some operators want removed, and not yet enough of them.
type Removing struct {
	Profile
	// Agreed are the operators whose sites have voted for it, the first one first. The site's own operator counts only where there is no
	// other.
	Agreed []string `json:"agreed"`
	// Needed is how many distinct operators it takes now.
	Needed int `json:"needed"`
}

// The refusals of removing a site, besides ErrNotMember and ErrNoSuchMember.
var (
	ErrRemoveSelf = fault.New(fault.Conflict, "site.remove_self", "a site does not remove itself: it could not say where its own logs end",
		"run the command at a site of another operator")
	ErrRemoveOwn = fault.New(fault.Forbidden, "site.remove_own", "the operator of the site has no vote on it as long as there are other operators",
		"let the other operators run the command at their sites; to stop using the site, forbid it for every authority and switch it off")
	ErrLastOfAuthority = fault.New(fault.Conflict, "site.last_of_authority", "an authority's data is at no other member than this site",
		"allow another site for the authority first and wait until it has everything; or say that its data may be lost")
)

// counted returns the votes on a member that count: those of sites that are members, without the member's own operator where there are
// others.
func (r *roll) counted(target *Member) []*vote {
	own, others := operatorKey(target.Operator), r.otherOperators(target)
	return slices.DeleteFunc(slices.Clone(r.votes[target.Site]), func(v *vote) bool {
		return v.partial || r.members[v.by] == nil || v.operator == own && others > 0
	})
}

// otherOperators counts the operators of members besides the one that runs the target.
func (r *roll) otherOperators(target *Member) int {
	own := operatorKey(target.Operator)
	return len(slices.DeleteFunc(operatorsOf(r.members), func(o string) bool { return o == own }))
}

// removing returns who has voted for removing the target, and how many operators it takes.
func (r *roll) removing(target *Member) Removing {
	out := Removing{Profile: target.Profile, Needed: needed(r.otherOperators(target))}
	seen := make(map[string]bool)
	for _, v := range r.counted(target) {
		if !seen[v.operator] {
			seen[v.operator] = true
			out.Agreed = append(out.Agreed, r.members[v.by].Operator)
		}
	}
	return out
}

// maxClosings is how many closings one fact holds: with 350 bytes for each it stays below event.MaxEventBytes.
const maxClosings = 150

// Remove records that this site's operator wants a member removed. The site is a member until sites of two operators want it, its own
// operator not counted; if only one other operator remains, that one suffices. A removed key never comes back.
//
// The site's logs are closed at the last page that this site knows; it first asks the site for what it has. Of two closings of a log
// in the votes by which it is removed the lower one counts. Logs that none of these has named, because no voter may hold them, are
// named by the sites that hold them as soon as they hear of the removal, see NameLogs.
//
// With lose it is removed even if it is the last site of an authority: otherwise a hostile site could found an authority of its own
// and so stay for ever.
//
// It returns ErrNotMember, ErrNoSuchMember, ErrRemoveSelf, ErrRemoveOwn, ErrLastOfAuthority, and the errors of the log. It does
// nothing if this site has voted already or the site is removed. It blocks for the site that is to be removed for seconds, for the
// disk, and for this site's own read model.
func (s *Service) Remove(ctx context.Context, site event.SiteID, lose bool) error {
	if s.Fetch != nil && site != s.Identity.Site() && s.Federation.Member(site) {
		s.Fetch(ctx, site)
	}
	s.deciding.Lock()
	defer s.deciding.Unlock()
	snap := s.Federation.snap.Load()
	if snap.removed[site] != nil || snap.voted(s.Identity.Site(), site) {
		return nil
	}
	if err := s.mayRemove(snap, site); err != nil {
		return err
	}
	if err := snap.leavesAll(site); err != nil && !lose {
		return err
	}
	if err := s.vote(ctx, snap, site); err != nil {
		return err
	}
	return s.Reconcile(ctx)
}

func (s *Service) mayRemove(snap *snapshot, site event.SiteID) error {
	self, isMember := snap.members[s.Identity.Site()]
	target, known := snap.members[site]
	switch {
	case !isMember:
		return ErrNotMember
	case !known:
		return ErrNoSuchMember.Because("%s", site)
	case site == self.Site:
		return ErrRemoveSelf
	case operatorKey(self.Operator) == operatorKey(target.Operator) && snap.operatorsBesides(target.Operator) > 0:
		return ErrRemoveOwn
	}
	return nil
}

// leavesAll returns ErrLastOfAuthority if an authority is at no other member than the site.
func (s *snapshot) leavesAll(site event.SiteID) error {
	for _, a := range s.list {
		here := slices.DeleteFunc(slices.Clone(a.Sites), func(id event.SiteID) bool { _, is := s.members[id]; return !is })
		if len(here) == 1 && here[0] == site {
			return ErrLastOfAuthority.Because("%s", a.ID)
		}
	}
	return nil
}

func (s *snapshot) operatorsBesides(operator string) int {
	n := 0
	for key := range s.operators {
		if key != operatorKey(operator) {
			n++
		}
	}
	return n
}

// voted reports whether a site has voted for removing another one, and the vote still counts.
func (s *snapshot) voted(by, target event.SiteID) bool {
	return slices.Contains(s.roll.voters[target], by)
}

// knownOf returns how far this site knows the first branch of each log of another site.
func (s *Service) knownOf(site event.SiteID) []eventlog.Head {
	if s.Heads == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.Heads()), func(h eventlog.Head) bool { return h.Branch.Site != site || h.Branch.Fork != "" })
}

// vote records that this site is for removing another one: first what that had said as far as it is known here, then where its logs
// end, in as many facts as it takes.
func (s *Service) vote(ctx context.Context, snap *snapshot, site event.SiteID) error {
	heard := snap.facts.heardOf(func(by event.SiteID) bool { return by == site })
	rest := closings(site, s.knownOf(site))
	first := event.Draft{Subject: SubjectMembers, Kind: KindRemoved, Data: Removed{Site: site, Heard: heard, More: len(rest) > 0}}
	return s.record(ctx, append([]event.Draft{first}, rest...)...)
}

// closings are the facts that close logs of a site; all but the last one say that more follow.
func closings(site event.SiteID, heads []eventlog.Head) (drafts []event.Draft) {
	for len(heads) > 0 {
		n := min(len(heads), maxClosings)
		fact := Removed{Site: site, Closes: heads[:n], More: n < len(heads)}
		drafts, heads = append(drafts, event.Draft{Subject: SubjectMembers, Kind: KindRemoved, Data: fact}), heads[n:]
	}
	return drafts
}

// NameLogs closes those logs of removed sites that nobody has named, at the last page that this site knows. Without it they would
// count as closed before their first page, and what an honest site wrote for an authority that no voter holds would not be shown. What
// is said here of logs that the votes have named does not count, nor of those that this site was never allowed to hold. It
// does nothing where there is nothing to name; Run calls it after each change. It returns the log's errors.
func (s *Service) NameLogs(ctx context.Context) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	snap := s.Federation.snap.Load()
	if _, member := snap.members[s.Identity.Site()]; !member {
		return nil
	}
	var errs []error
	for _, r := range snap.roll.Removed {
		unnamed := slices.DeleteFunc(s.knownOf(r.Site), func(h eventlog.Head) bool {
			_, named := snap.removed[r.Site][h.Branch.LogID]
			return named || !s.Federation.Allowed(s.Identity.Site(), h.Branch.Authority)
		})
		if len(unnamed) > 0 {
			errs = append(errs, s.record(ctx, closings(r.Site, unnamed)...))
		}
	}
	return errors.Join(errs...)
}

// votersOf lists, for each member on which there are votes that count, the sites that have given them, in order.
func (r *roll) votersOf() map[event.SiteID][]event.SiteID {
	voters := make(map[event.SiteID][]event.SiteID)
	for site := range r.votes {
		if m := r.members[site]; m != nil {
			for _, v := range r.counted(m) {
				voters[site] = append(voters[site], v.by)
			}
			slices.SortFunc(voters[site], func(a, b event.SiteID) int { return strings.Compare(string(a), string(b)) })
		}
	}
	return voters
}

// SPDX-License-Identifier: EUPL-1.2

package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// Deed names something that may take two people. Its text is stored.
type Deed string

// The deeds that can be marked. Each takes one permission, of both people.
const (
	DeedRaiseAlarm  Deed = "alarm.raise" // by its size too, see Policy.MassAlarmFrom
	DeedErasePerson Deed = "person.erase"
	DeedGrantRole   Deed = "role.grant" // its arguments are a GrantDraft
	DeedSetPolicy   Deed = "policy.set" // its arguments are a Policy
)

var deeds = map[Deed]Permission{DeedRaiseAlarm: RaiseAlarm, DeedErasePerson: ErasePerson, DeedGrantRole: GrantRoles, DeedSetPolicy: SetPolicy}

// Permission returns what the deed takes, "" for one that is not known.
func (d Deed) Permission() Permission { return deeds[d] }

// markable reports whether there is a deed for the permission, so that a mark on it means something.
func markable(p Permission) bool {
	for _, need := range deeds {
		if need == p {
			return true
		}
	}
	return false
}

// ApprovalState says what became of a request.
type ApprovalState string

// The states of a request.
const (
	Pending      ApprovalState = "pending"
	WasApproved  ApprovalState = "approved" // and done; wins over everything else, because done is done
	WasRefused   ApprovalState = "refused"
	HasExpired   ApprovalState = "expired"
	WasWithdrawn ApprovalState = "withdrawn" // by the asker
)

// Approval is a request for a second person, and what became of it.
type Approval struct {
	ID   string
	Deed Deed
	// Args are what the deed is done with, as canonical JSON.
	Args json.RawMessage
	// Size is how many people it concerns.
	Size    int
	AskedBy string // an actor
	// Behind is the person ("person/12c0…") in whose name a program asked, else "".
	Behind string
	// Maker is the actor who made the program that asked, else "".
	Maker   string
	AskedAt time.Time
	Expires time.Time // the instant itself is not in it any more
	// AskedSite is where it was asked.
	AskedSite event.SiteID
	// Units is the asker's scope, nil for the whole authority.
	Units []directory.UnitID
	State ApprovalState
	// DecidedBy are the actors of the decisions that made State; two if it was approved on both sides of a cut, which means that
	// it was done twice.
	DecidedBy []string
	// Result is what came of the first approval ("alarm/7f3a").
	Result string
	// Decisions are all of them, in order, also those that lost.
	Decisions []Decision
	// Elsewhere are other requests for the same deed with the same arguments that could have been decided at the same time and
	// are pending or approved: after a merge, look at them before approving.
	Elsewhere []Twin
}

// Decision is what one person decided about a request.
type Decision struct {
	State  ApprovalState // WasApproved, WasRefused or WasWithdrawn
	By     string
	At     time.Time // by the clock of Site
	Site   event.SiteID
	Result string
}

// Twin is another request for the same.
type Twin struct {
	ID        string
	AskedBy   string
	AskedAt   time.Time
	AskedSite event.SiteID
	State     ApprovalState
	Result    string
}

// Bounds of requests.
const (
	DefaultLife = 24 * time.Hour
	MaxLife     = 7 * 24 * time.Hour
	MaxArgs     = 32 << 10 // bytes of JSON
	MaxPending  = 200      // pending at a time in one authority
	// MaxPendingEach is for one asker, so that nobody uses up what all have.
	MaxPendingEach = 20
	MaxListed      = 500
	maxResult      = 200
	// recordWithin is how long an approval may take to be written after its deed is done.
	recordWithin = 30 * time.Second
)

// The refusals of the two-person rule.
var (
	// ErrNeedsSecond is returned where a marked deed is tried without a second person.
	ErrNeedsSecond = fault.New(fault.Forbidden, "access.needs_second", "this takes a second person", "ask for an approval; somebody else with the same right then carries it out")
	ErrDeed        = fault.New(fault.Invalid, "access.deed", "this deed cannot take two people", "name one of: alarm.raise, person.erase, role.grant, policy.set")
	ErrArgs        = fault.New(fault.Invalid, "access.args", "the arguments of the request are not JSON of at most 32 KiB", "shorten the text and try again")
	ErrLife        = fault.New(fault.Invalid, "access.life", "a request waits for seven days at most", "give a shorter time")
	ErrAsked       = fault.New(fault.Conflict, "access.asked_already", "you have asked for just that already, and it is pending",
		"tell somebody who has the right that it waits, or withdraw it")
	ErrTooManyPending = fault.New(fault.Exhausted, "access.too_many_pending", "too many requests are waiting for a second person: 200 in all, or 20 of one asker",
		"decide about some of them first")
	ErrApprovalUnknown = fault.New(fault.NotFound, "access.approval_unknown", "there is no such request",
		"look at the list again; a request whose facts have not arrived at this site yet appears as soon as they have")
	ErrDecided = fault.New(fault.Conflict, "access.decided", "this request is decided already", "look at what was decided; ask anew if it is still needed")
	ErrExpired = fault.New(fault.Conflict, "access.expired", "this request has expired", "ask anew if it is still needed")
	// ErrSamePerson is returned to the asker, to the person behind an asking program or who made it, and to programs.
	ErrSamePerson = fault.New(fault.Forbidden, "access.same_person", "the second person must be a person, and somebody else",
		"let somebody else who has the right look at it")
	ErrAskerMayNot = fault.New(fault.Conflict, "access.asker_may_not", "who asked may not do that any more", "ask for it yourself, or refuse the request")
	ErrInHand      = fault.New(fault.Conflict, "access.in_hand", "somebody is carrying this out just now", "look at the list again in a moment")
	// ErrNotRecorded is returned when a deed was carried out and its approval could not be written: it still shows as pending.
	ErrNotRecorded = fault.New(fault.Unavailable, "access.not_recorded", "the deed is done, but the approval could not be written down",
		"do not approve it again; refuse the request once the site can write")
)

// canonical returns the JSON in the one form that equal arguments have: without spaces, keys sorted.
func canonical(args json.RawMessage) (json.RawMessage, error) {
	if len(args) > MaxArgs || !json.Valid(args) {
		return nil, ErrArgs
	}
	d := json.NewDecoder(bytes.NewReader(args))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, ErrArgs.With(err)
	}
	out, err := json.Marshal(v)
	if err != nil || len(out) > MaxArgs {
		return nil, ErrArgs
	}
	return out, nil
}

// argsOf encodes one of this package's own types, canonically.
func argsOf(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("access: encode %T: %v", v, err)) // plain fields only
	}
	out, err := canonical(raw)
	if err != nil {
		return raw // too long: whoever gets it refuses it
	}
	return out
}

// sameness is equal for requests of the same deed with the same arguments. The arguments are canonical.
func sameness(d Deed, args json.RawMessage) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s", d, args)
	return hex.EncodeToString(h.Sum(nil))
}

// stateOf is the rule of what became of a request: done is done; a refusal beats a withdrawal; only what nobody decided expires.
func (a *approvalState) stateOf(now time.Time) ApprovalState {
	for _, k := range []event.Kind{KindApproved, KindRefused, KindApprovalWithdrawn} {
		if slices.ContainsFunc(a.Decisions, func(d decided) bool { return d.Kind == k }) {
			return stateWord[k]
		}
	}
	if now.UnixMilli() >= a.Asked.Expires {
		return HasExpired
	}
	return Pending
}

// stateWord is what a decision of each kind leads to.
var stateWord = map[event.Kind]ApprovalState{KindApproved: WasApproved, KindRefused: WasRefused, KindApprovalWithdrawn: WasWithdrawn}

// approval returns what people see of a request whose asking has arrived.
func (a *approvalState) approval(id string, now time.Time) Approval {
	out := Approval{ID: id, Deed: a.Asked.Deed, Args: a.Asked.Args, Size: a.Asked.Size, AskedBy: a.At.By, Behind: a.Asked.Behind, Maker: a.Asked.Maker,
		AskedAt: timeOf(a.At.Wall), Expires: timeOf(a.Asked.Expires), AskedSite: a.At.Site, Units: a.Asked.Units, State: a.stateOf(now)}
	for _, d := range a.Decisions {
		x := Decision{State: stateWord[d.Kind], By: d.At.By, At: timeOf(d.At.Wall), Site: d.At.Site, Result: d.Result}
		out.Decisions = append(out.Decisions, x)
		if x.State != out.State {
			continue
		}
		if len(out.DecidedBy) == 0 {
			out.Result = x.Result
		}
		out.DecidedBy = append(out.DecidedBy, x.By)
	}
	return out
}

// twins fills in Elsewhere among requests of one deed and arguments.
func twins(a Approval, others []Approval) (list []Twin) {
	for _, o := range others {
		if o.ID == a.ID || o.State != Pending && o.State != WasApproved || !o.AskedAt.Before(a.Expires) || !a.AskedAt.Before(o.Expires) {
			continue
		}
		list = append(list, Twin{ID: o.ID, AskedBy: o.AskedBy, AskedAt: o.AskedAt, AskedSite: o.AskedSite, State: o.State, Result: o.Result})
	}
	slices.SortFunc(list, func(x, y Twin) int { return strings.Compare(x.ID, y.ID) })
	return list
}

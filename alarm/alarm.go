// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"cmp"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// Bounds and defaults.
const (
	// MaxTextRunes bounds an alarm's text in each language.
	MaxTextRunes = 2000
	// MaxRecipients bounds one alarm.
	MaxRecipients = 200_000
	// ChunkPeople is how many recipients one RecipientsNamed holds; some 75 bytes each stay under event.MaxEventBytes.
	ChunkPeople = 500
	// DefaultTakeover is how long a site waits, times its rank, before it calls in place of the sites before it.
	DefaultTakeover = 5 * time.Second
	// DefaultLinkValid is how long the links of an alarm take replies.
	DefaultLinkValid = 72 * time.Hour
	// OpenFor is how long a site calls by itself: for what was younger when it arrived, and so long after it arrived. What is
	// older is held, see Hold.
	OpenFor = 24 * time.Hour
	// MaxETAMinutes bounds the answer "coming, in N minutes".
	MaxETAMinutes = 1440
)

const minTakeover, maxTakeover = 100 * time.Millisecond, 10 * time.Minute

// ID names an alarm: 16 hexadecimal characters, random.
type ID string

// Valid reports whether the id has 16 lower-case hexadecimal characters.
func (id ID) Valid() bool { return hex16(string(id)) }

func hex16(s string) bool {
	if len(s) != 16 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Wave tells the messages of one alarm apart.
type Wave int

// The waves.
const (
	Call    Wave = 0 // the alarm itself
	Closing Wave = 1 // the all-clear or cancellation, to whoever was called
)

// ReplyKind is what a person answers.
type ReplyKind string

// The replies.
const (
	Coming ReplyKind = "coming" // "komme, in N Minuten"
	Cannot ReplyKind = "cannot" // "kann nicht kommen"
	Safe   ReplyKind = "safe"   // "in Sicherheit"
)

// Valid reports whether k is one of the three replies.
func (k ReplyKind) Valid() bool { return k == Coming || k == Cannot || k == Safe }

// Ending is how an alarm was closed, "" while it is open.
type Ending string

// The endings.
const (
	StillOpen    Ending = ""
	WasCleared   Ending = "all-clear" // Entwarnung
	WasCancelled Ending = "cancelled" // Abbruch
)

// Status sorts the people of an alarm; everybody is in exactly one of these.
type Status string

// The statuses, in the order in which the first that fits is taken.
const (
	StatusComing  Status = "coming"
	StatusCannot  Status = "cannot"
	StatusSafe    Status = "safe"
	StatusSilent  Status = "silent"  // called, no reply
	StatusWithout Status = "without" // has none of the alarm's channels
	StatusPending Status = "pending" // not called yet
	StatusFailed  Status = "failed"  // every channel refused for good
)

// Valid reports whether s is one of the statuses.
func (s Status) Valid() bool {
	switch s {
	case StatusComing, StatusCannot, StatusSafe, StatusSilent, StatusWithout, StatusPending, StatusFailed:
		return true
	}
	return false
}

// The refusals of this package. Each says what to do.
var (
	ErrNoText = fault.New(fault.Invalid, "alarm.no_text", "the alarm has no text",
		"write what has happened and what to do, in German, English or both")
	ErrTextTooLong = fault.New(fault.TooLarge, "alarm.text_too_long", "an alarm's text may have 2,000 characters",
		"shorten it; details belong into the room or onto the phone")
	ErrMode = fault.New(fault.Invalid, "alarm.mode", "it is not said whether this is real",
		"choose actual, exercise or test")
	ErrNobody = fault.New(fault.Invalid, "alarm.nobody", "the audience is empty",
		"choose everyone, or units, functions or persons that exist")
	ErrTooMany = fault.New(fault.TooLarge, "alarm.too_many", "one alarm may have 200,000 recipients", "raise several alarms")
	ErrChannel = fault.New(fault.Invalid, "alarm.channel", "there is no such channel",
		"use channels that a site of this authority has, such as sms and email")
	ErrRanking = fault.New(fault.Invalid, "alarm.ranking", "a site of the ranking may not hold this authority's data",
		"name only sites that the authority allows")
	ErrTakeover = fault.New(fault.Invalid, "alarm.takeover", "the takeover delay is out of bounds",
		"use 100 ms to 10 minutes; 5 s is the default")
	ErrUnknown = fault.New(fault.NotFound, "alarm.unknown", "this site knows no such alarm",
		"check the address; if the alarm was raised at another site, it arrives when the sites see each other again")
	ErrClosed = fault.New(fault.Conflict, "alarm.closed", "the alarm was closed already",
		"look at the board: who closed it, and when; raise a new alarm if one is needed")
	ErrNothingDue = fault.New(fault.Conflict, "alarm.nothing_due", "there is nobody left to be called",
		"look at the board: everybody has been called, or cannot be reached by any channel")
	ErrCalling = fault.New(fault.Conflict, "alarm.calling", "the sites call for this alarm by themselves",
		"look at the board: who is called, and by which site; nothing has to be ordered")
	ErrReply = fault.New(fault.Invalid, "alarm.reply", "this is not one of the replies",
		"answer coming (with minutes from 1 to 1440), cannot or safe")
	ErrNotHere = fault.New(fault.NotFound, "alarm.not_here", "this site may not keep data of this authority",
		"use the other link in the message")
)

// Site is what this package needs to know of a member site.
type Site struct {
	ID       event.SiteID
	Operator string
	// PortalURL is where people reach the site, "https://host"; "" if they cannot.
	PortalURL string
}

// Draft is an alarm before it is raised. Zero values take the defaults named.
type Draft struct {
	TextDE, TextEN string
	Mode           event.Mode
	Audience       directory.Audience
	// Channels are the kinds to use, all at once; empty means every kind that anybody in the audience has.
	Channels []directory.ChannelKind
	// Ranking are the sites that should call first; the other allowed ones follow. Empty: by diversity of operators.
	Ranking       []event.SiteID
	TakeoverAfter time.Duration
	LinkValid     time.Duration
	Actor, Grant  string
}

// check returns the first rule that the draft breaks.
func (d Draft) check() error {
	if err := checkTexts(d.TextDE, d.TextEN, true); err != nil {
		return err
	}
	if !d.Mode.Valid() {
		return ErrMode.At(0, "mode")
	}
	for _, k := range d.Channels {
		if !channelName(k) {
			return ErrChannel.Because("%.20q", string(k)).At(0, "channels")
		}
	}
	if t := d.TakeoverAfter; t != 0 && (t < minTakeover || t > maxTakeover) {
		return ErrTakeover.At(0, "takeoverAfter")
	}
	if d.LinkValid < 0 || d.LinkValid > MaxLinkValid {
		return fault.New(fault.Invalid, "alarm.link_valid", "the links' time is out of bounds", "use up to a year; 72 hours is the default").At(0, "linkValid")
	}
	return nil
}

func checkTexts(de, en string, needed bool) error {
	if needed && blank(de) && blank(en) {
		return ErrNoText.At(0, "text")
	}
	for field, text := range map[string]string{"textDE": de, "textEN": en} {
		if !utf8.ValidString(text) {
			return fault.New(fault.Invalid, "alarm.text_encoding", "the text is not UTF-8", "send it as UTF-8").At(0, field)
		}
		if utf8.RuneCountInString(text) > MaxTextRunes {
			return ErrTextTooLong.At(0, field)
		}
	}
	return nil
}

func blank(s string) bool {
	for _, r := range s {
		if r > ' ' {
			return false
		}
	}
	return true
}

func channelName(k directory.ChannelKind) bool {
	for _, r := range k {
		if (r < 'a' || r > 'z') && r != '-' {
			return false
		}
	}
	return len(k) > 0 && len(k) <= 20
}

// RankSites returns the order in which the sites call: the preferred ones as given, then the others so that each next
// one is run by the operator that has the fewest sites in the list so far (ties by id). The result is the same wherever
// it is computed. It returns ErrRanking if a preferred site is not among sites.
func RankSites(preferred []event.SiteID, sites []Site) ([]event.SiteID, error) {
	operator := make(map[event.SiteID]string, len(sites))
	var rest []event.SiteID
	for _, s := range sites {
		operator[s.ID] = s.Operator
		if !slices.Contains(preferred, s.ID) {
			rest = append(rest, s.ID)
		}
	}
	slices.Sort(rest)
	var ranking []event.SiteID
	used := make(map[string]int)
	add := func(id event.SiteID) { ranking = append(ranking, id); used[operator[id]]++ }
	for _, id := range preferred {
		if _, known := operator[id]; !known {
			return nil, ErrRanking.Because("%s", id.Short()).At(0, "ranking")
		}
		if !slices.Contains(ranking, id) {
			add(id)
		}
	}
	for len(rest) > 0 {
		next := slices.MinFunc(rest, func(a, b event.SiteID) int {
			return cmp.Or(cmp.Compare(used[operator[a]], used[operator[b]]), cmp.Compare(a, b))
		})
		add(next)
		rest = slices.DeleteFunc(rest, func(id event.SiteID) bool { return id == next })
	}
	return ranking, nil
}

// LinkSites returns the sites whose links a message carries: the first ranked one that people can reach, and the first
// one after it of another operator; if there is no other operator, the next one. It returns none, one or two.
func LinkSites(ranking []event.SiteID, sites []Site) []Site {
	byID := make(map[event.SiteID]Site, len(sites))
	for _, s := range sites {
		if s.PortalURL != "" {
			byID[s.ID] = s
		}
	}
	var reachable []Site
	for _, id := range ranking {
		if s, ok := byID[id]; ok {
			reachable = append(reachable, s)
		}
	}
	if len(reachable) < 2 {
		return reachable
	}
	for _, s := range reachable[1:] {
		if s.Operator != reachable[0].Operator {
			return []Site{reachable[0], s}
		}
	}
	return reachable[:2]
}

// Vigil is what one site knows of who calls for one alarm. Times are readings of the site's own clock.
type Vigil struct {
	Ranking []event.SiteID
	Self    event.SiteID
	// Delay is the alarm's takeover delay.
	Delay time.Duration
	// Since is when this site learnt of the alarm, or of its closing.
	Since time.Time
	// News is when the latest sign of calling of each other site arrived here.
	News map[event.SiteID]time.Time
	// Announced is when it arrived here that another site has decided to take over and is catching up. That ends a silence as
	// a sign of calling does, and stops nobody who calls.
	Announced map[event.SiteID]time.Time
	// Calling and Began say whether this site is calling, and since when.
	Calling bool
	Began   time.Time
}

// Rank returns the site's place in the ranking, from 0; a site that is not in it comes after all that are.
func (v Vigil) Rank(site event.SiteID) int {
	if i := slices.Index(v.Ranking, site); i >= 0 {
		return i
	}
	return len(v.Ranking)
}

// Silence returns how long this site has heard nothing of any other caller, or of one that is about to call.
func (v Vigil) Silence(now time.Time) time.Duration {
	last := v.Since
	for _, heard := range []map[event.SiteID]time.Time{v.News, v.Announced} {
		for site, at := range heard {
			if site != v.Self && at.After(last) {
				last = at
			}
		}
	}
	return now.Sub(last)
}

// MayCall says whether the site calls at the instant now. The first ranked one always does. Another one begins when it
// has heard nothing of anybody for rank x delay, and stops when a site ranked before it gives a sign after it began; so
// after a cut during which two called, the one ranked first goes on.
func MayCall(v Vigil, now time.Time) bool {
	rank := v.Rank(v.Self)
	if rank == 0 {
		return true
	}
	if !v.Calling {
		return v.Silence(now) >= time.Duration(rank)*v.Delay
	}
	for site, at := range v.News {
		if v.Rank(site) < rank && at.After(v.Began) {
			return false
		}
	}
	return true
}

// backoff returns how long to wait after the n-th failed try, n from 1: 1 s, doubling up to a minute, or longer if the
// gateway asks for it, up to five minutes.
func backoff(n int, asked time.Duration) time.Duration {
	wait := time.Minute
	if n < 7 {
		wait = time.Second << max(0, n-1)
	}
	return max(min(wait, time.Minute), min(asked, 5*time.Minute))
}

// Subjects.
func alarmSubject(id ID) event.Subject  { return event.Subject("alarm/" + id) }
func clockSubject(id ID) event.Subject  { return event.Subject("alarm/" + id + "/clock") }
func callerSubject(id ID) event.Subject { return event.Subject("alarm/" + id + "/caller") }
func chunkSubject(id ID, n int) event.Subject {
	return event.Subject(fmt.Sprintf("alarm/%s/recipients/%d", id, n))
}
func personSubject(id ID, p directory.PersonID) event.Subject {
	return event.Subject("alarm/" + string(id) + "/person/" + string(p))
}

// idempotencyKey names one hand-over, the same at every site and at every try.
func idempotencyKey(a event.AuthorityID, id ID, p directory.PersonID, k directory.ChannelKind, w Wave) string {
	return fmt.Sprintf("%s/%s/%s/%s/%d", a, id, p, k, w)
}

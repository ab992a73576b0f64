// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// The kinds of facts of this package. Their JSON is a stored format: see testdata for every one of them.
const (
	KindRaised          event.Kind = "alarm.Raised"
	KindRecipientsNamed event.Kind = "alarm.RecipientsNamed"
	KindAccepted        event.Kind = "alarm.Accepted"
	KindRefused         event.Kind = "alarm.Refused"
	KindReplied         event.Kind = "alarm.Replied"
	KindCancelled       event.Kind = "alarm.Cancelled"
	KindAllClear        event.Kind = "alarm.AllClear"
	KindCallerReported  event.Kind = "alarm.CallerReported"
	KindTakenOver       event.Kind = "alarm.TakenOver"
	KindCallingOrdered  event.Kind = "alarm.CallingOrdered"
	KindClockDiffered   event.Kind = "alarm.ClockDiffered"
)

// Kinds returns every kind of fact of this package.
func Kinds() []event.Kind {
	return []event.Kind{KindRaised, KindRecipientsNamed, KindAccepted, KindRefused, KindReplied,
		KindCancelled, KindAllClear, KindCallerReported, KindTakenOver, KindCallingOrdered, KindClockDiffered}
}

// Raised: an alarm was raised, subject alarm/<id>. Its recipients are in the chunks before it in the same log.
type Raised struct {
	TextDE   string                  `json:"textDe,omitempty"`
	TextEN   string                  `json:"textEn,omitempty"`
	Mode     event.Mode              `json:"mode"`
	Audience directory.Audience      `json:"audience"`
	Ranking  []event.SiteID          `json:"ranking"`
	Channels []directory.ChannelKind `json:"channels"`
	// TakeoverAfterMillis is the delay per rank.
	TakeoverAfterMillis int64 `json:"takeoverAfterMillis"`
	Recipients          int   `json:"recipients"`
	WithoutChannel      int   `json:"withoutChannel,omitempty"`
	Chunks              int   `json:"chunks"`
	// LinkExpires is in seconds since 1970.
	LinkExpires int64 `json:"linkExpires"`
}

// RecipientsNamed: who is to be called, as the directory was when the alarm was raised; subject
// alarm/<id>/recipients/<n>.
type RecipientsNamed struct {
	People []Named `json:"people"`
}

// Named is one recipient. No channel: the person has none of the alarm's channels, and is listed for that.
type Named struct {
	Person   directory.PersonID      `json:"p"`
	Unit     directory.UnitID        `json:"u,omitempty"`
	Channels []directory.ChannelKind `json:"c,omitempty"`
}

// Accepted: a gateway took a message for this person; subject alarm/<id>/person/<pid>.
type Accepted struct {
	Channel directory.ChannelKind `json:"channel"`
	Wave    Wave                  `json:"wave"`
	// Ref is the gateway's name for the message.
	Ref   string       `json:"ref,omitempty"`
	Site  event.SiteID `json:"site"`
	Tries int          `json:"tries,omitempty"`
	// Unsecured: written while no other site could be reached.
	Unsecured bool `json:"unsecured,omitempty"`
}

// Refused: a gateway did not take a message; subject alarm/<id>/person/<pid>. If it is not final, the site tries again.
type Refused struct {
	Channel directory.ChannelKind `json:"channel"`
	Wave    Wave                  `json:"wave"`
	// Reason is a code such as "sms.http_400", never the gateway's text, which may hold an address.
	Reason string       `json:"reason"`
	Final  bool         `json:"final,omitempty"`
	Site   event.SiteID `json:"site"`
	Tries  int          `json:"tries,omitempty"`
}

// Replied: the person answered; subject alarm/<id>/person/<pid>. The last one in the order of places counts.
type Replied struct {
	Kind ReplyKind `json:"kind"`
	// ETAMinutes is set for Coming, if the person said it.
	ETAMinutes int `json:"etaMinutes,omitempty"`
	// Via is the site that took the reply.
	Via event.SiteID `json:"via"`
}

// Cancelled: the alarm was a mistake or is called off; subject alarm/<id>. It wins over the raising it refers to,
// whatever the clocks say.
type Cancelled struct {
	Raised event.ID `json:"raised"`
	TextDE string   `json:"textDe,omitempty"`
	TextEN string   `json:"textEn,omitempty"`
}

// AllClear: the danger is over; subject alarm/<id>. It wins over the raising it refers to, whatever the clocks say.
type AllClear struct {
	Raised event.ID `json:"raised"`
	TextDE string   `json:"textDe,omitempty"`
	TextEN string   `json:"textEn,omitempty"`
}

// CallerReported: this site is calling and getting on with it, or will when it has caught up; subject alarm/<id>/caller.
type CallerReported struct {
	Site event.SiteID `json:"site"`
	Wave Wave         `json:"wave"`
	// Pending is how many people still have something due, as the site sees it.
	Pending int `json:"pending"`
	// CatchingUp: the site does not call yet. It has decided to take over and finds out what the others did before it begins.
	CatchingUp bool `json:"catchingUp,omitempty"`
}

// TakenOver: this site calls in place of those ranked before it; subject alarm/<id>/caller.
type TakenOver struct {
	Site event.SiteID `json:"site"`
	Rank int          `json:"rank"`
	Wave Wave         `json:"wave"`
	// SilentMillis is how long it had heard nothing of another caller.
	SilentMillis int64 `json:"silentMillis"`
	Pending      int   `json:"pending"`
}

// CallingOrdered: somebody wants a held alarm, or the closing message of a held closing, to be called for now; subject
// alarm/<id>. Sites call for OpenFor after it, whatever the age of what it refers to.
type CallingOrdered struct {
	// Raised is the raising that it refers to.
	Raised event.ID `json:"raised"`
	Wave   Wave     `json:"wave"`
}

// ClockDiffered: when this site learnt of a raising, a closing or an order, the clock of the site that had written it was wrong by more
// than a minute; subject alarm/<id>/clock.
type ClockDiffered struct {
	Fact event.ID     `json:"fact"`
	Site event.SiteID `json:"site"` // whose clock
	// AheadMillis is how far it was ahead of what most sites showed; negative: behind.
	AheadMillis int64        `json:"aheadMillis"`
	By          event.SiteID `json:"by"`
}

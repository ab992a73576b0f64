// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"html/template"
	"strconv"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// The views: what templates show. They hold plain data, and texts only where a template cannot put them together.

type authorityView struct {
	ID    event.AuthorityID
	Name  string
	Sites []event.SiteID
}

type linkView struct{ Name, URL string }

type badgeView struct{ Tone, Icon, Text string }

type savedView struct {
	What      string
	Asked     bool // it was only asked for: nothing is done yet
	Secured   bool
	Operators int
	Path      string // of the fragment that tells it anew
}

type pagerView struct{ First, Next string }

// part is one stretch of a bar, in percent.
type part struct {
	Class    string
	X, Width string
}

// bar divides a whole into parts, in order. Nothing is drawn for an empty whole.
func bar(whole int, parts ...barPart) []part {
	var out []part
	x := 0.0
	for _, p := range parts {
		if whole <= 0 || p.count <= 0 {
			continue
		}
		w := min(100*float64(p.count)/float64(whole), 100-x)
		out = append(out, part{Class: p.class, X: percent(x), Width: percent(w)})
		x += w
	}
	return out
}

type barPart struct {
	class string
	count int
}

func percent(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }

// nameView is a person's name, or why it cannot be read.
type nameView struct {
	ID       directory.PersonID
	Name     string
	Readable directory.Readability
}

func nameOf(p directory.Person) nameView {
	return nameView{ID: p.ID, Name: p.DisplayName, Readable: p.Readable}
}

type overviewView struct {
	At          time.Time
	Reachable   int
	Warnings    []warningView
	Alarms      []alarmRow
	Authorities []authorityCard
	Sites       []siteView
}

// warningView is a box; Link is where one can do something about it, if anywhere.
type warningView struct {
	Tone, Title, Text string
	Link              linkView
}

type authorityCard struct {
	ID        event.AuthorityID
	Name      string
	Sites     []string
	Here      bool
	People    int
	Elsewhere []linkView
	MayRaise  bool
	MaySee    bool // people
}

type siteView struct {
	Name, Operator, Kind string
	Peer                 bool // a member, and not this site
	Badge                badgeView
	Heard                time.Time
	Behind, Ahead        uint64
	ClockKnown           bool
	ClockText            string
}

type alarmRow struct {
	Authority     event.AuthorityID
	AuthorityName string
	ID            string
	Mode          event.Mode
	Text, State   string
	TextLang      string // if it is not the page's
	Closed        bool
	At            time.Time
	Known         bool // the counts are
	Called        int
	People        int
	Replies       int
	Bar           []part
}

type alarmsView struct {
	Authority event.AuthorityID
	Alarms    []alarmRow
	MayRaise  bool
	Notices   []warningView
}

type choiceView struct {
	ID     string
	Name   string
	Indent string
	Depth  int
	Chosen bool
}

type peopleView struct {
	Authority event.AuthorityID
	Text      string
	Units     []choiceView
	People    []personRow
	Total     int
	Capped    bool
	MayRaise  bool
	Pager     pagerView
}

type personRow struct {
	nameView
	Position, Unit, Channels string
}

type personView struct {
	nameView
	Authority  event.AuthorityID
	Position   string
	Phone      string
	Language   directory.Language
	Units      []string
	UnitsKnown bool
	Functions  []functionView
	Channels   []channelView
	MayRaise   bool
}

type functionView struct {
	Name   string
	Deputy bool
	Others []nameView
}

type channelView struct{ Kind, Address string }

type fieldError struct{ Field, Text string }

type raiseView struct {
	Authority     event.AuthorityID
	Key           string
	Modes         []event.Mode
	Mode          event.Mode
	TextDE        string
	TextEN        string
	MaxText       int
	Everyone      bool
	Units         []choiceView
	UnitsOpen     bool
	Functions     []choiceView
	FunctionsOpen bool
	Persons       []nameView
	Channels      []kindChoice
	Errors        []fieldError
}

// Error returns the error of a field, nil if it has none.
func (v raiseView) Error(field string) *fieldError {
	for _, e := range v.Errors {
		if e.Field == field {
			return &e
		}
	}
	return nil
}

type kindChoice struct {
	Kind   directory.ChannelKind
	Name   string
	Chosen bool
}

type previewView struct {
	Authority      event.AuthorityID
	Mode           event.Mode
	People         int
	Reachable      int
	Without        int
	Channels       []kindCount
	Audience       []string
	Callers        []string
	TextDE, TextEN string
	Fields         []hiddenField
	Go             string
	Gateways       *warningView // what is wrong with them
	Nobody         bool         // nobody would be called
}

type kindCount struct {
	Name  string
	Count int
}

type hiddenField struct{ Name, Value string }

type boardView struct {
	Authority  event.AuthorityID
	Path       string // of the board itself
	Mode       event.Mode
	Title      string // the text, cut if it is long
	Text       string
	TextLang   string // if it is not the page's
	OtherText  string
	OtherLang  string
	At, Now    time.Time
	Summary    string
	Unknown    string
	Gateways   *warningView
	Times      []warningView // the alarm is held, or its clock was wrong
	StateBadge badgeView
	Open       bool
	MayClose   bool
	People     int
	Called     int
	CallBar    []part
	Tiles      []tileView
	Channels   []channelCount
	Units      []unitRow
	MoreUnits  int
	Caller     string
	Ranking    []string
	Takeovers  []takeoverView
	Unsecured  int

	Lists     []listTab
	ListTitle string
	ListQuery template.URL
	Listed    []listedView
	Pager     pagerView
}

type tileView struct {
	Class, Title string
	Count        int
}

type channelCount struct {
	Name                       string
	Possible, Accepted, Failed int
}

type unitRow struct {
	Name                                         string
	People, Called, Coming, Cannot, Safe, Silent int
	Bar                                          []part
}

type takeoverView struct {
	Site string
	At   time.Time
}

type listTab struct {
	Name, Title string
	On          bool
}

type listedView struct {
	nameView
	Note  string
	order []byte // sorts as the name does; nil if it cannot be read
}

type closeView struct {
	Title, Text, TextLang, Consequence, Go, Path, Back string
}

type replyView struct {
	Lang          string
	Mode          event.Mode
	AuthorityName string
	At            time.Time
	Known         bool
	Text          string
	TextLang      string
	Closed        bool
	ClosedWord    string
	Done          *doneView
	Error         string
	Minutes       []int
	Chosen        int
	Elsewhere     []linkView
}

type doneView struct {
	What      string
	Receipt   bool // the page knows where the reply lies, so Secured and Operators mean something
	Secured   bool
	Operators int
	Again     string
}

type mergesView struct {
	Merges []mergeView
	Under  []linkView
}

type mergeView struct {
	From, Authority      string
	First, Last, Arrived time.Time
	Events, Late         int
}

// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func TestSitesAreRankedByPreferenceThenDiversity(t *testing.T) {
	sites := []Site{{ID: "d", Operator: "two"}, {ID: "a", Operator: "one"}, {ID: "b", Operator: "one"}, {ID: "c", Operator: "two"}, {ID: "e", Operator: "three"}}
	for name, c := range map[string]struct {
		preferred, want []event.SiteID
		err             error
	}{
		"no preference":        {nil, []event.SiteID{"a", "c", "e", "b", "d"}, nil},
		"one preferred":        {[]event.SiteID{"b"}, []event.SiteID{"b", "c", "e", "a", "d"}, nil},
		"preferred as given":   {[]event.SiteID{"d", "c"}, []event.SiteID{"d", "c", "a", "e", "b"}, nil},
		"twice counts once":    {[]event.SiteID{"b", "b"}, []event.SiteID{"b", "c", "e", "a", "d"}, nil},
		"ErrRanking, stranger": {[]event.SiteID{"x"}, nil, ErrRanking},
	} {
		got, err := RankSites(c.preferred, sites)
		if !errors.Is(err, c.err) || cmp.Diff(c.want, got) != "" {
			t.Errorf("%s: got %v, %v, want %v, %v", name, got, err, c.want, c.err)
		}
	}
}

func TestLinksLeadToSitesOfDifferentOperators(t *testing.T) {
	site := func(id event.SiteID, operator, url string) Site {
		return Site{ID: id, Operator: operator, PortalURL: url}
	}
	ranking := []event.SiteID{"a", "b", "c", "gone"}
	for name, c := range map[string]struct {
		sites []Site
		want  []event.SiteID
	}{
		"the first and the first of another operator": {[]Site{site("c", "two", "c"), site("b", "one", "b"), site("a", "one", "a")}, []event.SiteID{"a", "c"}},
		"one operator, two sites":                     {[]Site{site("a", "one", "a"), site("b", "one", "b")}, []event.SiteID{"a", "b"}},
		"a site without a portal is left out":         {[]Site{site("a", "one", ""), site("b", "one", "b"), site("c", "two", "c")}, []event.SiteID{"b", "c"}},
		"only one":                                    {[]Site{site("c", "two", "c")}, []event.SiteID{"c"}},
		"none":                                        {nil, nil},
	} {
		var got []event.SiteID
		for _, s := range LinkSites(ranking, c.sites) {
			got = append(got, s.ID)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestWhoCalls(t *testing.T) {
	ranking := []event.SiteID{"first", "second", "third"}
	type news = map[event.SiteID]time.Time
	for name, c := range map[string]struct {
		self      event.SiteID
		news      news
		announced news
		calling   bool
		began     float64
		now       float64
		want      bool
	}{
		"the first begins at once":                             {self: "first", now: 0, want: true},
		"the first goes on though another one calls":           {self: "first", news: news{"second": at(1)}, calling: true, now: 2, want: true},
		"the second waits":                                     {self: "second", now: 4.9, want: false},
		"the second begins after one delay of silence":         {self: "second", now: 5, want: true},
		"news starts the delay again":                          {self: "second", news: news{"first": at(3)}, now: 7.9, want: false},
		"silence after news":                                   {self: "second", news: news{"first": at(3)}, now: 8, want: true},
		"the third waits twice as long":                        {self: "third", now: 9.9, want: false},
		"the third begins after two delays":                    {self: "third", now: 10, want: true},
		"the third waits while the second calls":               {self: "third", news: news{"first": at(1), "second": at(9)}, now: 18.9, want: false},
		"the second does not disturb the third":                {self: "second", news: news{"third": at(9)}, now: 12, want: false},
		"own news does not count":                              {self: "second", news: news{"second": at(4)}, now: 5, want: true},
		"the second steps back when the first returns":         {self: "second", news: news{"first": at(9)}, calling: true, began: 5, now: 9, want: false},
		"news from before it began does not stop it":           {self: "second", news: news{"first": at(0)}, calling: true, began: 5, now: 9, want: true},
		"both called in a cut: the lower goes on":              {self: "second", news: news{"third": at(20)}, calling: true, began: 5, now: 20, want: true},
		"both called in a cut: the higher steps back":          {self: "third", news: news{"second": at(20)}, calling: true, began: 10, now: 20, want: false},
		"who is not ranked comes after all":                    {self: "stranger", now: 14.9, want: false},
		"who is not ranked calls when nobody else does":        {self: "stranger", now: 15, want: true},
		"a stranger's call does not stop somebody who is":      {self: "third", news: news{"stranger": at(20)}, calling: true, began: 10, now: 20, want: true},
		"the clock went back: no silence, so no call":          {self: "second", now: -3600, want: false},
		"the clock jumped ahead: silence, and a double alarm ": {self: "second", news: news{"first": at(3)}, now: 3600, want: true},
		"the third waits for the second to catch up":           {self: "third", announced: news{"second": at(5)}, now: 14.9, want: false},
		"but not longer than for a sign":                       {self: "third", announced: news{"second": at(5)}, now: 15, want: true},
		"who calls goes on while a higher one catches up":      {self: "third", announced: news{"second": at(20)}, calling: true, began: 10, now: 20, want: true},
	} {
		v := Vigil{Ranking: ranking, Self: c.self, Delay: 5 * time.Second, Since: noon, News: c.news, Announced: c.announced, Calling: c.calling, Began: at(c.began)}
		if got := MayCall(v, at(c.now)); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestRetriesWaitLongerAndLonger(t *testing.T) {
	for _, c := range []struct {
		n     int
		asked time.Duration
		want  time.Duration
	}{
		{1, 0, time.Second}, {2, 0, 2 * time.Second}, {4, 0, 8 * time.Second}, {7, 0, time.Minute}, {1000, 0, time.Minute},
		{1, 30 * time.Second, 30 * time.Second}, {1, time.Hour, 5 * time.Minute}, {5, time.Second, 16 * time.Second},
	} {
		if got := backoff(c.n, c.asked); got != c.want {
			t.Errorf("try %d, asked for %v: got %v, want %v", c.n, c.asked, got, c.want)
		}
	}
}

func TestDraftsAreChecked(t *testing.T) {
	good := Draft{TextDE: "Hochwasser", Mode: event.Exercise}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Draft)
		want   error
	}{
		"ErrNoText":             {func(d *Draft) { d.TextDE = " \n" }, ErrNoText},
		"ErrTextTooLong":        {func(d *Draft) { d.TextEN = strings.Repeat("ü", MaxTextRunes+1) }, ErrTextTooLong},
		"ErrMode":               {func(d *Draft) { d.Mode = "" }, ErrMode},
		"ErrChannel":            {func(d *Draft) { d.Channels = []directory.ChannelKind{"SMS;"} }, ErrChannel},
		"ErrTakeover, short":    {func(d *Draft) { d.TakeoverAfter = time.Millisecond }, ErrTakeover},
		"ErrTakeover, negative": {func(d *Draft) { d.TakeoverAfter = -time.Second }, ErrTakeover},
	} {
		d := good
		c.change(&d)
		if err := d.check(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	good.TextDE = strings.Repeat("ü", MaxTextRunes)
	if err := good.check(); err != nil {
		t.Errorf("the longest text: %v", err)
	}
}

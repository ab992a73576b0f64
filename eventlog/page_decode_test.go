// SPDX-License-Identifier: EUPL-1.2

package eventlog

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

var storedForms = []string{
	`{"id":"0123456789abcdef","subject":"alarm/7f3a","kind":"alarm.Raised","stamp":1,"wall":2}`,
	`{"id":"0123456789abcdef","subject":"a","kind":"b.C","stamp":18446744073709551615,"wall":9223372036854775807,"data":{"a":[1,"}"]}}`,
	`{"id":"0123456789abcdef","subject":"a","kind":"b.C","stamp":1,"wall":2,"actor":"x","grant":"y","mode":"test","keys":["k1","k2"],"data":"a\"b\\"}`,
	`{"id":"0123456789abcdef","subject":"a","kind":"b.C","stamp":1,"wall":2,"data":null}`,
	`{"id":"0123456789abcdef","subject":"a","kind":"b.C","stamp":1,"wall":2,"data":-1.5E+3}`,
	`{"id":"0123456789abcdef","subject":"a","kind":"b.C","stamp":1,"wall":2,"data":[],"newer":{"x":1}}`,
	`{"id":"0123456789abcdef","subject":"a","kind":"b.C","stamp":1,"wall":2,"data": true }`,
	`{"id":"0123456789abcdef","subject":"a","kind":"b.C","stamp":01,"wall":2}`,
	`{"id":"0123456789abcdef","subject":"a","kind":"b.C","stamp":18446744073709551616,"wall":2}`,
	`{"id":"0123456789abcdef","subject":"a","kind":"b.C","stamp":1,"wall":-2}`,
	`{"id":"\u0030123456789abcde","subject":"ä","kind":"b.C","stamp":1,"wall":2}`,
	`{"ID":"0123456789abcdef","subject":"a","kind":"b.C","stamp":1,"wall":2,"data":{}}x`,
	`{"id":"0123456789abcdef","subject":"a","kind":"b.C","stamp":1,"wall":2,"data":]}`,
	`{"id":"0123456789abcdef","subject":"a","kind":"b.C","stamp":1,"wall":2,"data":{]}}`,
	`{"id":"0123456789abcdef","subject":"a","kind":"b.C","stamp":1,"wall":2,"keys":[],"data":nul}`,
	`{"id":"0123456789abcdef","subject":"a","kind":"b.C","stamp":1,"wall":2,"data":1,"data":2}`,
}

// wantSame holds that an event is read as encoding/json reads it, whatever its bytes.
func wantSame(t *testing.T, b []byte) {
	t.Helper()
	var want, got, quick event.Event
	werr, gerr := json.Unmarshal(b, &want), decodeEvent(b, false, &got)
	if (werr == nil) != (gerr == nil) || werr == nil && !reflect.DeepEqual(want, got) {
		t.Fatalf("%s\ngot  %+v %v\nwant %+v %v", b, got, gerr, want, werr)
	}
	if werr != nil {
		return // only what was valid is ever trusted
	}
	if err := decodeEvent(b, true, &quick); err != nil || !reflect.DeepEqual(want, quick) {
		t.Fatalf("%s\ntrusted: got %+v %v\nwant %+v", b, quick, err, want)
	}
}

func TestEventsAreReadAsJSON(t *testing.T) {
	for _, s := range storedForms {
		wantSame(t, []byte(s))
	}
}

func TestUsualFormIsReadQuickly(t *testing.T) {
	var e event.Event
	for i, s := range storedForms[:5] {
		if !decodeUsual([]byte(s), false, &e) {
			t.Errorf("%d is not read by the quick way", i)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for _, s := range storedForms {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { wantSame(t, b) })
}

var headerForms = []string{
	`{"log":{"authority":"lk","class":"audit","site":"a","incarnation":"0"},"number":1,"prev":"0000000000000000000000000000000000000000000000000000000000000001","wall":3}`,
	`{"log":{"authority":"lk","class":"audit","site":"a","incarnation":"0"},"number":1,"prev":"00","wall":3}`,
	`{"log":{"authority":"lk","class":"audit","site":"a","incarnation":"0"},"number":1,"prev":"000000000000000000000000000000000000000000000000000000000000000A","wall":3,"succeeds":{"page":1}}`,
	`{"log":{},"number":0}`,
}

func FuzzDecodeHeader(f *testing.F) {
	for _, s := range headerForms {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var want, got Header
		werr, gerr := json.Unmarshal(b, &want), decodeHeader(b, &got)
		if (werr == nil) != (gerr == nil) || werr == nil && !reflect.DeepEqual(want, got) {
			t.Fatalf("%s\ngot  %+v %v\nwant %+v %v", b, got, gerr, want, werr)
		}
	})
}

func TestLogIDTakesOneSpellingOfASite(t *testing.T) {
	id, err := seal.NewIdentity(bytes.NewReader(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	log := LogID{"lk-nordtal", event.Audit, id.Site(), "0123456789abcdef"}
	if err := log.Check(); err != nil {
		t.Error(err)
	}
	for _, s := range []event.SiteID{"", id.Site()[:51], id.Site() + "a", id.Site()[:51] + "b", "1" + id.Site()[1:], "A" + id.Site()[1:]} {
		log.Site = s
		if log.Check() == nil {
			t.Errorf("%q passes for a site", s)
		}
	}
}

// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"strings"
	"testing"
	"unicode/utf8"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

func TestMessagesSayWhatTheyAre(t *testing.T) {
	links := []string{"https://a.example/r/T", "https://b.example/r/T"}
	for name, c := range map[string]struct {
		letter                 Letter
		short, subject, inLong string
	}{
		"actual, German": {Letter{Mode: event.Actual, TextDE: "Feuer", TextEN: "Fire", Links: links},
			"ALARM: Feuer\nAntwort: https://a.example/r/T oder https://b.example/r/T", "ALARM: Feuer", "Reply here:\nhttps://a.example/r/T"},
		"exercise, English": {Letter{Mode: event.Exercise, TextDE: "Feuer", TextEN: "Fire", Language: directory.English, Links: links[:1]},
			"ÜBUNG / EXERCISE: Fire\nReply: https://a.example/r/T", "ÜBUNG / EXERCISE: Fire", "ÜBUNG / EXERCISE\n\nFeuer"},
		"test, only the other language": {Letter{Mode: event.Test, TextEN: "Fire\nagain"}, "TEST: Fire\nagain", "TEST: Fire again", "Fire"},
		"all-clear": {Letter{Mode: event.Actual, Wave: Closing, Ending: WasCleared, TextDE: "Feuer", ClosingDE: "Alles gelöscht"},
			"ALARM - ENTWARNUNG: Der Alarm ist beendet. Alles gelöscht\nBetrifft: Feuer", "ALARM - ENTWARNUNG: Der Alarm ist beendet. Feuer", "ALL-CLEAR: the alarm is over."},
		"cancelled, English": {Letter{Mode: event.Exercise, Wave: Closing, Ending: WasCancelled, TextDE: "Feuer", Language: directory.English},
			"ÜBUNG / EXERCISE - CANCELLED: the alarm is called off.\nConcerns: Feuer", "ÜBUNG / EXERCISE - CANCELLED: the alarm is called off. Feuer", "ABBRUCH: Der Alarm ist aufgehoben."},
	} {
		if got := c.letter.Short(); got != c.short {
			t.Errorf("%s: got %q, want %q", name, got, c.short)
		}
		if got := c.letter.Subject(); got != c.subject {
			t.Errorf("%s: got subject %q, want %q", name, got, c.subject)
		}
		if got := c.letter.Long(); !strings.Contains(got, c.inLong) || strings.Count(got, Prefix(c.letter.Mode)) < 2 {
			t.Errorf("%s: got %q, want %q in it", name, got, c.inLong)
		}
	}
}

func TestALongTextIsCutInAShortMessageOnly(t *testing.T) {
	l := Letter{Mode: event.Actual, TextDE: strings.Repeat("ü", MaxTextRunes), Links: []string{"https://a.example/r/T"}}
	if n := utf8.RuneCountInString(l.Short()); n > smsTextRunes+60 || !strings.Contains(l.Short(), "…") || !strings.HasSuffix(l.Short(), "/r/T") {
		t.Errorf("the short message has %d characters", n)
	}
	if !strings.Contains(l.Long(), l.TextDE) {
		t.Error("the long message is cut")
	}
	if n := utf8.RuneCountInString(l.Subject()); n > 90 {
		t.Errorf("the subject has %d characters", n)
	}
}

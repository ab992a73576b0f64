// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"strings"
	"unicode/utf8"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// Bounds of what goes into a message. A phone shows the whole text behind the link.
const (
	smsTextRunes     = 500
	subjectTextRunes = 70
	aboutTextRunes   = 80
)

// Letter is everything that the message to one person is made of.
type Letter struct {
	Mode           event.Mode
	Wave           Wave
	Ending         Ending // of the wave Closing
	TextDE, TextEN string
	// ClosingDE and ClosingEN are the words of the closing, if any were given.
	ClosingDE, ClosingEN string
	Language             directory.Language
	// Links are one or two addresses, for the wave Call.
	Links []string
}

// Prefix returns what every message of the mode begins with.
func Prefix(m event.Mode) string {
	switch m {
	case event.Actual:
		return "ALARM"
	case event.Test:
		return "TEST"
	}
	return "ÜBUNG / EXERCISE"
}

// Short returns the text for channels without a subject, such as SMS: in the person's language, where there is a text in
// it, else in the other one.
func (l Letter) Short() string {
	english := l.Language == directory.English
	text := pick(english, l.TextDE, l.TextEN)
	if l.Wave == Closing {
		closing := pick(english, l.ClosingDE, l.ClosingEN)
		out := Prefix(l.Mode) + " - " + l.closingWord(english)
		if closing != "" {
			out += " " + cut(closing, smsTextRunes)
		}
		return out + "\n" + word(english, "Betrifft: ", "Concerns: ") + cut(text, aboutTextRunes)
	}
	out := Prefix(l.Mode) + ": " + cut(text, smsTextRunes)
	if len(l.Links) > 0 {
		out += "\n" + word(english, "Antwort: ", "Reply: ") + strings.Join(l.Links, word(english, " oder ", " or "))
	}
	return out
}

// Subject returns a subject line in the person's language.
func (l Letter) Subject() string {
	english := l.Language == directory.English
	text := cut(strings.Join(strings.Fields(pick(english, l.TextDE, l.TextEN)), " "), subjectTextRunes)
	if l.Wave == Closing {
		return Prefix(l.Mode) + " - " + strings.TrimSuffix(l.closingWord(english), ":") + " " + text
	}
	return Prefix(l.Mode) + ": " + text
}

// Long returns the text for channels with room, such as e-mail: the person's language first, then the other one.
func (l Letter) Long() string {
	first, second := l.part(l.Language == directory.English), l.part(l.Language != directory.English)
	return first + "\n\n----------------------------------------\n\n" + second + "\n"
}

func (l Letter) part(english bool) string {
	text := pick(english, l.TextDE, l.TextEN)
	var b strings.Builder
	b.WriteString(Prefix(l.Mode))
	if l.Wave == Closing {
		b.WriteString(" - " + l.closingWord(english) + "\n\n")
		if c := pick(english, l.ClosingDE, l.ClosingEN); c != "" {
			b.WriteString(c + "\n\n")
		}
		b.WriteString(word(english, "Betrifft:\n", "Concerns:\n") + text)
		return b.String()
	}
	b.WriteString("\n\n" + text)
	if len(l.Links) > 0 {
		b.WriteString("\n\n" + word(english, "Antworten Sie hier:", "Reply here:"))
		for i, link := range l.Links {
			if i > 0 {
				b.WriteString("\n" + word(english, "oder, falls das nicht geht, hier:", "or, if that does not work, here:"))
			}
			b.WriteString("\n" + link)
		}
	}
	return b.String()
}

// closingWord says how the alarm ended.
func (l Letter) closingWord(english bool) string {
	if l.Ending == WasCancelled {
		return word(english, "ABBRUCH: Der Alarm ist aufgehoben.", "CANCELLED: the alarm is called off.")
	}
	return word(english, "ENTWARNUNG: Der Alarm ist beendet.", "ALL-CLEAR: the alarm is over.")
}

func word(english bool, de, en string) string {
	if english {
		return en
	}
	return de
}

// pick returns the text in the language, or the other one if there is none.
func pick(english bool, de, en string) string {
	de, en = strings.TrimSpace(de), strings.TrimSpace(en)
	if english && en != "" || de == "" {
		return en
	}
	return de
}

// cut returns at most n characters, with an ellipsis where something is missing.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return strings.TrimSpace(string([]rune(s)[:n-1])) + "…"
}

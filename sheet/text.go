// SPDX-License-Identifier: EUPL-1.2

package sheet

import (
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // a box in a cellar may lack the system's time zones
)

// words are the texts of one language. A verb %s is filled in where the text is used.
type words struct {
	lang string // BCP 47

	codesTitle, codesFor, issued           string
	codesWhat, codesKeep, codesOnce, where string
	scan, codesLost                        string
	date                                   string

	letterTitle, dear, letterWhat, letterWhy string
	steps                                    [3]string
	orType, letterEnds, letterPrivate        string
	moment                                   string
}

var german = words{
	lang:       "de-DE",
	codesTitle: "Wiederherstellungscodes",
	codesFor:   "für %s, %s",
	issued:     "Ausgestellt am %s",
	codesWhat: "Mit einem dieser Codes melden Sie sich an, wenn Ihr Telefon oder Ihr Sicherheitsschlüssel fehlt. " +
		"Die Codes gelten an jedem Standort, auch wenn E-Mail, Netz und Anmeldung Ihrer Behörde ausgefallen sind.",
	codesKeep: "Bewahren Sie dieses Blatt auf wie einen Schlüssel: nicht am Arbeitsplatz, nicht als Foto, nicht beim Telefon. " +
		"Wer einen Code hat, kommt unter Ihrem Namen hinein. Niemand wird Sie je nach einem Code fragen.",
	codesOnce: "Jeder Code gilt einmal. Haken Sie ihn ab, wenn Sie ihn benutzt haben. Groß- und Kleinschreibung sind gleich; " +
		"die Buchstaben I, L, O und U kommen nicht vor.",
	where:     "Hier geben Sie einen Code ein. Eine Adresse genügt; antwortet sie nicht, nehmen Sie die nächste:",
	scan:      "Oder mit der Kamera des Telefons:",
	codesLost: "Blatt verloren oder fast aufgebraucht? Melden Sie sich an und drucken Sie ein neues. Dann gilt dieses nicht mehr.",
	date:      "02.01.2006",

	letterTitle: "Ihr Zugang für den Notfall",
	dear:        "Für %s",
	letterWhat: "Holdfast ist der zweite Weg, auf dem Ihre Behörde Sie erreicht, und Sie einander. Er funktioniert auch dann, " +
		"wenn E-Mail, Telefon, Netz und Anmeldung des Hauses ausgefallen sind. Richten Sie Ihren Zugang jetzt ein; im Notfall ist es zu spät.",
	letterWhy: "Das dauert etwa drei Minuten. Sie brauchen Ihr Telefon oder einen Sicherheitsschlüssel, und später einen Drucker.",
	steps: [3]string{
		"Öffnen Sie Ihren Einladungslink: Halten Sie die Kamera Ihres Telefons auf das Quadrat.",
		"Legen Sie einen Passkey an, so wie die Seite Sie führt: mit Fingerabdruck, Gesicht oder der PIN Ihres Geräts.",
		"Drucken Sie das Blatt mit den Wiederherstellungscodes und bewahren Sie es auf wie einen Schlüssel.",
	},
	orType:        "Oder tippen Sie den Link ab:",
	letterEnds:    "Der Link gilt einmal, und zwar bis %s.",
	letterPrivate: "Er gehört Ihnen allein: Geben Sie diesen Brief nicht weiter. Wenn der Link nicht mehr gilt, bitten Sie Ihre Administration um einen neuen.",
	moment:        "02.01.2006, 15:04 Uhr (MST)",
}

var english = words{
	lang:       "en-GB",
	codesTitle: "Recovery codes",
	codesFor:   "for %s, %s",
	issued:     "Issued on %s",
	codesWhat: "With one of these codes you sign in when your phone or your security key is missing. " +
		"The codes work at every site, also when your authority's e-mail, network and sign-in are down.",
	codesKeep: "Keep this sheet like a key: not at your desk, not as a photo, not with your phone. " +
		"Whoever has a code gets in under your name. Nobody will ever ask you for a code.",
	codesOnce: "Each code works once. Tick it off when you have used it. Capital and small letters are the same; " +
		"the letters I, L, O and U do not occur.",
	where:     "This is where you enter a code. One address is enough; if it does not answer, take the next:",
	scan:      "Or with your phone's camera:",
	codesLost: "Sheet lost or nearly used up? Sign in and print a new one. This one is void from then on.",
	date:      "2 January 2006",

	letterTitle: "Your way in for emergencies",
	dear:        "For %s",
	letterWhat: "Holdfast is the second way in which your authority reaches you, and you each other. It works even when the house's e-mail, " +
		"phones, network and sign-in are down. That is why you set up your way in now; in an emergency it is too late.",
	letterWhy: "It takes about three minutes. You need your phone or a security key, and later a printer.",
	steps: [3]string{
		"Open your invitation link: point your phone's camera at the square.",
		"Make a passkey as the page leads you: with fingerprint, face or the PIN of your device.",
		"Print the sheet of recovery codes and keep it like a key.",
	},
	orType:        "Or type the link:",
	letterEnds:    "The link works once, until %s.",
	letterPrivate: "It is yours alone: do not pass this letter on. If the link has expired, ask your administration for a new one.",
	moment:        "2 January 2006, 15:04 (MST)",
}

// germany is where the readers are: paper says what the portal says, wherever the machine that prints it believes to be.
var germany = sync.OnceValue(func() *time.Location {
	l, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		return time.UTC
	}
	return l
})

func onTheWall(t time.Time) time.Time { return t.In(germany()) }

func wordsOf(lang string) words {
	if strings.HasPrefix(lang, "en") {
		return english
	}
	return german
}

// beyond are the letters of the fonts besides U+0020 to U+007E and U+00A0 to U+017F, see font/cut.py.
const beyond = "ƒȘșȚțẞ–—‘’‚“”„†•…‹›€−"

// printable returns the text in one line, with "?" for what the fonts do not have.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r == '\u00ad': // a soft hyphen would be drawn
			return -1
		case r == '\u2010' || r == '\u2011':
			return '-'
		case r >= 0x20 && r < 0x7f, r >= 0xa0 && r < 0x180, strings.ContainsRune(beyond, r):
			return r
		}
		return '?'
	}, text)
}

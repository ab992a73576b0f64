// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/web"
)

//go:embed locale
var localeFiles embed.FS

var languages = []web.Language{web.German, web.English}

// texts speaks one language.
type texts struct {
	language web.Language
	zone     *time.Location
	words    map[string]string
	// faults are translations by a fault's code: "code" for the message, "code.wayout" for the way out. English needs
	// none, because faults are written in it.
	faults map[string]string
}

func loadTexts(zone *time.Location) (map[web.Language]*texts, error) {
	all := map[web.Language]*texts{}
	for _, l := range languages {
		t := &texts{language: l, zone: zone}
		if err := readLocale("*"+string(l)+".json", "faults", &t.words); err != nil {
			return nil, err
		}
		all[l] = t
	}
	return all, readLocale("faults*.de.json", "", &all[web.German].faults)
}

// readLocale reads all files that match the pattern, but those that begin with except, into one map: de.json, signin.de.json.
func readLocale(pattern, except string, into *map[string]string) error {
	names, err := fs.Glob(localeFiles, "locale/"+pattern)
	if err != nil {
		return fmt.Errorf("read the texts: %w", err)
	}
	for _, name := range names {
		if except != "" && strings.HasPrefix(path.Base(name), except) {
			continue
		}
		b, err := localeFiles.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read the texts: %w", err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			return fmt.Errorf("read the texts of %s: %w", name, err)
		}
	}
	return nil
}

// t returns the text of the key with its placeholders filled. An unknown key is shown as it is: better an ugly page
// than none. A test makes sure that there are no such keys.
func (t *texts) t(key string, args ...any) string {
	text, ok := t.words[key]
	if !ok {
		return key
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// n returns the form of the text for a number, with the number written as people of the language write it.
func (t *texts) n(key string, count any) string {
	c := toInt(count)
	form := ".other"
	if c == 1 {
		form = ".one"
	}
	text := t.t(key + form)
	if strings.Contains(text, "%s") {
		return fmt.Sprintf(text, t.num(c))
	}
	return text
}

// num writes a number with separators: 12.345 in German, 12,345 in English.
func (t *texts) num(count any) string {
	s := strconv.FormatInt(toInt(count), 10)
	separator := "."
	if t.language == web.English {
		separator = ","
	}
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + separator + s[i:]
	}
	return sign + s
}

func toInt(v any) int64 {
	switch n := v.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	case uint64:
		return int64(n)
	case uint32:
		return int64(n)
	}
	return 0
}

// clock writes the time of day; dateTime the whole date, always with the zone, because sites may be in several.
func (t *texts) clock(at time.Time) string {
	return at.In(t.zone).Format("15:04:05")
}

func (t *texts) dateTime(at time.Time) string {
	if t.language == web.English {
		return at.In(t.zone).Format("2 Jan 2006, 15:04:05 MST")
	}
	return at.In(t.zone).Format("02.01.2006, 15:04:05 MST")
}

// date writes the day alone, for what does not turn on the hour.
func (t *texts) date(at time.Time) string {
	if t.language == web.English {
		return at.In(t.zone).Format("2 Jan 2006")
	}
	return at.In(t.zone).Format("02.01.2006")
}

func (t *texts) shortTime(at time.Time) string { return at.In(t.zone).Format("15:04") }

// duration writes a length of time to the second, for clocks that are off.
func (t *texts) duration(d time.Duration) string {
	if d < 0 {
		d = -d
	}
	switch {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 2*time.Minute:
		return strconv.FormatInt(int64(d/time.Second), 10) + " s"
	case d < 2*time.Hour:
		return strconv.FormatInt(int64(d/time.Minute), 10) + " min"
	}
	const day = 24 * time.Hour
	switch days := int((d + day/2) / day); {
	case d < 2*day:
		return strconv.FormatInt(int64(d/time.Hour), 10) + " h"
	case d < 2*365*day:
		return t.n("duration.days", days)
	default:
		return t.n("duration.years", (days+182)/365)
	}
}

// fault returns message and way out of a fault in this language; in English where nobody has translated it.
func (t *texts) fault(f *fault.Fault) (message, wayOut string) {
	message, wayOut = sentence(f.Message), sentence(f.WayOut)
	translated, ok := t.faults[f.Code]
	if !ok {
		return message, wayOut
	}
	if w := t.faults[f.Code+".wayout"]; w != "" {
		wayOut = w
	}
	return translated, wayOut
}

// sentence writes what Go's habit has as "there is no such page" as people do.
func sentence(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	if size == 0 {
		return s
	}
	s = string(unicode.ToUpper(first)) + s[size:]
	if !strings.ContainsAny(s[len(s)-1:], ".!?:") {
		s += "."
	}
	return s
}

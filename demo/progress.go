// SPDX-License-Identifier: EUPL-1.2

package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// teller says what is going on: on a terminal with bars that move, elsewhere with one line at a time.
type teller struct {
	w        io.Writer
	terminal bool
	began    time.Time
	last     string
	open     bool
	drawn    time.Time
}

func newTeller(w io.Writer) *teller {
	t := &teller{w: w, began: time.Now()}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		t.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return t
}

// say ends an open bar and prints one line with the seconds since the beginning.
func (t *teller) say(format string, args ...any) {
	t.closeBar()
	fmt.Fprintf(t.w, "%6.1f s  %s\n", time.Since(t.began).Seconds(), fmt.Sprintf(format, args...))
}

// bar draws how far something is; note stands behind it.
func (t *teller) bar(label string, done, total int, note string) {
	if total <= 0 {
		return
	}
	const width = 30
	done = min(done, total)
	filled := done * width / total
	line := fmt.Sprintf("%s %s%s %d/%d  %s", pad(label, 22), strings.Repeat("█", filled), strings.Repeat("░", width-filled), done, total, note)
	switch {
	case line == t.last:
	case t.terminal:
		fmt.Fprintf(t.w, "\r\x1b[K%6.1f s  %s", time.Since(t.began).Seconds(), line)
		t.open = true
	case time.Since(t.drawn) > 2*time.Second:
		fmt.Fprintf(t.w, "%6.1f s  %s\n", time.Since(t.began).Seconds(), line)
		t.drawn = time.Now()
	}
	t.last = line
}

func (t *teller) closeBar() {
	if t.open {
		fmt.Fprintln(t.w)
		t.open = false
	}
}

func pad(s string, n int) string {
	if d := n - len([]rune(s)); d > 0 {
		return s + strings.Repeat(" ", d)
	}
	return s
}

// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/health"
	"codeberg.org/holdfast/holdfast/web"
)

// Every store and every cause has words in both languages.
func TestConditionsAreToldInBothLanguages(t *testing.T) {
	w := newWorld(t)
	stores := []health.Store{health.Log, health.Keyring, health.Local, health.Model, health.Key, health.Config, health.Disk}
	causes := []health.Cause{health.Damaged, health.Incomplete, health.SetAside, health.Full, health.Failing, health.Apart}
	for _, l := range []web.Language{web.German, web.English} {
		words := w.render.texts[l]
		for _, store := range stores {
			for _, cause := range causes {
				v := conditionWarning(words, health.Condition{Store: store, Cause: cause, Detail: "lk-geheim/operations"})
				if text := v.Title + v.Text; strings.Contains(text, "condition.") || strings.Contains(text, "%!") || strings.Contains(text, "lk-geheim") {
					t.Errorf("%s, %s, %s: %s", l, store, cause, text)
				}
			}
		}
	}
}

func TestTheOverviewNamesAFewConditionsAndCountsTheOthers(t *testing.T) {
	w := newWorld(t)
	w.cfg.Health = func() (list []health.Condition) {
		for i := range 9 {
			list = append(list, health.Condition{Store: health.Log, Cause: health.Damaged, Detail: fmt.Sprint(i), Blocks: i == 0})
		}
		return append(list, health.Condition{Store: health.Model, Cause: health.Damaged, Mended: now.Add(-time.Minute)})
	}
	got := w.conditionWarnings(w.render.texts[web.German])
	var tones []string
	for _, v := range got {
		tones = append(tones, v.Tone)
	}
	if want := []string{"danger", "warning", "warning", "warning", "warning", "info", "info"}; !slices.Equal(tones, want) {
		t.Errorf("got %q, want %q", tones, want)
	}
	if last := got[len(got)-1]; last.Title != "4 weitere Störungen an diesem Standort" || !strings.Contains(got[5].Text, "Wieder in Ordnung seit") {
		t.Errorf("got %+v and %+v", got[5], last)
	}
}

func TestWhatADiskDoesIsToldInGerman(t *testing.T) {
	w := newWorld(t)
	for _, f := range []*fault.Fault{fault.ErrDiskFull, fault.ErrDiskFails, fault.ErrFileDamaged} {
		if v := w.render.errorView(web.German, f, nil); v.Message == f.Message || v.Message == "" {
			t.Errorf("%s is told as %+v", f.Code, v)
		}
	}
}

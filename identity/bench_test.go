// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/identity/authenticator"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/secretcode"
)

// BenchmarkFinishSignIn is one passkey judged, with the local store on the disk and eight people at it at once.
func BenchmarkFinishSignIn(b *testing.B) {
	w := newWorld(b, 1)
	a := w.sites[0]
	store, err := localstore.Open(filepath.Join(b.TempDir(), "local.db"), w.clock)
	ok(b, err)
	b.Cleanup(func() { ok(b, store.Close()) })
	a.cfg.Local = store
	phone := authenticator.New(rand.Reader)
	a.enrol(a.begin("Anna"), phone, atNord)
	answers := make([][]byte, b.N)
	for i := range answers {
		options, err := a.BeginSignIn(b.Context(), atNord)
		ok(b, err)
		answers[i], err = phone.Get(atNord.URL, options)
		ok(b, err)
	}
	var n atomic.Int64
	b.SetParallelism(4)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := a.FinishSignIn(b.Context(), atNord, answers[n.Add(1)-1]); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkBeginSignIn(b *testing.B) {
	a := newWorld(b, 1).sites[0]
	for b.Loop() {
		_, err := a.BeginSignIn(b.Context(), atNord)
		ok(b, err)
	}
}

func BenchmarkStanding(b *testing.B) {
	a := newWorld(b, 1).sites[0]
	p := a.begin("Anna")
	a.enrol(p, authenticator.New(rand.Reader), atNord)
	a.sheet(p)
	for b.Loop() {
		ok(b, a.Standing(b.Context(), p))
	}
}

func BenchmarkWrongCode(b *testing.B) {
	a := newWorld(b, 1).sites[0]
	code := secretcode.Grouped(strings.Repeat("0", codeLen))
	for b.Loop() {
		_, err := a.SignInWithCode(b.Context(), code, "")
		refused(b, err, ErrCode)
	}
}

func BenchmarkIssueCodes(b *testing.B) {
	a := newWorld(b, 1).sites[0]
	p := a.begin("Anna")
	for b.Loop() {
		a.sheet(p)
	}
}

// BenchmarkAccounts lists a page of 5,000 people, of whom all were invited.
func BenchmarkAccounts(b *testing.B) {
	w := newWorld(b, 1)
	a := w.sites[0]
	var file strings.Builder
	file.WriteString("Personalnummer;Nachname;Vorname\n")
	for i := range 5000 {
		fmt.Fprintf(&file, "p%d;Person%d;Vor%d\n", i, i, i)
	}
	_, err := a.dir.Import(b.Context(), nordtal, directory.ImportOptions{}, strings.NewReader(file.String()))
	ok(b, err)
	var after directory.PersonID
	for {
		people, _, err := a.dir.People(b.Context(), nordtal, directory.Search{Limit: 500, After: after})
		ok(b, err)
		if len(people) == 0 {
			break
		}
		var list []directory.PersonID
		for _, p := range people {
			list, after = append(list, p.ID), p.ID
		}
		_, _, err = a.Invite(b.Context(), console, nordtal, list, 0)
		ok(b, err)
	}
	for b.Loop() {
		_, c, err := a.Accounts(b.Context(), nordtal, Filter{State: StateInvited, Limit: 50})
		ok(b, err)
		if c.Invited < 5000 {
			b.Fatalf("%+v", c)
		}
	}
}

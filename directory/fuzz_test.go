// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldif"

	"codeberg.org/holdfast/holdfast/examples"
	"codeberg.org/holdfast/holdfast/fault"
)

// sound checks what must hold of any file whatsoever.
func sound(t *testing.T, file []byte, o ImportOptions) {
	b, report, err := drain(file, o)
	if err != nil {
		if f, isFault := errors.AsType[*fault.Fault](err); !isFault || f.WayOut == "" || f.Code == "" {
			t.Fatalf("no fault with a way out: %v", err)
		}
		return
	}
	if report.RefusedTotal != len(report.Refused) && len(report.Refused) != MaxRefusals {
		t.Fatal("refusals are lost")
	}
	for _, f := range report.Refused {
		if f.Line < 1 || f.Line > bytes.Count(file, []byte("\n"))+1 || f.Message == "" || f.WayOut == "" {
			t.Fatalf("a refusal without line or way out: %+v", f)
		}
	}
	for _, p := range b.people {
		soundPerson(t, p)
	}
	if again, _, err := drain(file, o); err != nil || len(again.people) != len(b.people) {
		t.Fatal("the same file gives something else")
	}
}

func soundPerson(t *testing.T, p incoming) {
	if !p.id.Valid() || p.private.displayName() == "" || p.private.Ref == "" || p.line < 1 {
		t.Fatalf("a person without id, name or key: %+v", p)
	}
	if m := p.private.Mobile; m != "" {
		if again, err := NormalisePhone(m, GermanCode); err != nil || again != m {
			t.Fatalf("the number %q is not in normal form", m)
		}
	}
	if m := p.private.Email; m != "" {
		if again, err := CheckMail(m); err != nil || again != m {
			t.Fatalf("the address %q is not in normal form", m)
		}
	}
	for _, s := range []string{p.private.Given, p.private.Family, p.private.Display, p.private.Title, p.private.Position} {
		if clean(s) != s || len([]rune(s)) > maxFieldRunes {
			t.Fatalf("%q is not clean", s)
		}
	}
}

func FuzzLDIF(f *testing.F) {
	f.Add(examples.Export(examples.Nordtal, 2, 3))
	f.Add([]byte(goodLDIF + adPerson(guidA, "Bea", "Bruch", "mobile: 1713920012")))
	f.Add([]byte("\xef\xbb\xbfversion: 1\r\n\r\ndn:: Y249YQ==\r\nobjectClass: person\r\nsn: M\r\n fold\r\nentryUUID: 1\r\n#c\r\n d"))
	f.Add([]byte("dn: cn=a\nchangetype: modify\nadd: mail\nmail: a\n-\n\nmail:< file:///etc/hostname\n"))
	f.Add([]byte("dn: cn=S1,ou=Krisenstab\nobjectClass: groupOfNames\nmember;range=0-1: cn=a\n\n"))
	f.Fuzz(func(t *testing.T, file []byte) { sound(t, file, ImportOptions{Format: LDIF}) })
}

func FuzzCSV(f *testing.F) {
	f.Add(examples.Export(examples.Westmark, 2, 3))
	f.Add([]byte(house))
	f.Add([]byte("sep=,\nNachname,Personalnummer,Mobil\n\"M\xfcller\",1,0171 3920012\n\"offen,2\nGut,3"))
	f.Add([]byte("\xef\xbb\xbfobjectGUID\tName\tVorgesetzte\n08165069-80d1-22ed-5a13-3a579b1fff0f\t\"A \"\"B\"\"\"\tx\n"))
	f.Fuzz(func(t *testing.T, file []byte) { sound(t, file, ImportOptions{Format: CSV}) })
}

func FuzzNormalisePhone(f *testing.F) {
	for _, s := range []string{"+49 (0) 171 3920012", "0171/3920012", "0049171", "4,9E+11", "\u202a+49"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := NormalisePhone(s, GermanCode)
		if err != nil {
			return
		}
		if again, err := NormalisePhone(n, "43"); err != nil || again != n || n[0] != '+' || len(n) > 16 || strings.Trim(n[1:], "0123456789") != "" {
			t.Fatalf("%q became %q", s, n)
		}
	})
}

// What the library makes of a sound file, ours must find too: the two read the same records.
func TestTheLibraryReadsTheSameRecords(t *testing.T) {
	parsed, err := ldif.Parse(string(examples.NordtalLDIF))
	ok(t, err)
	lines, err := newLineReader(bytes.NewReader(examples.NordtalLDIF))
	ok(t, err)
	records := &ldifReader{lines: lines, first: true}
	for i, theirs := range parsed.Entries {
		ours, err := records.next()
		ok(t, err)
		if ours.refused != nil || ours.dn != theirs.Add.DN {
			t.Fatalf("record %d: %q, %q, %v", i, ours.dn, theirs.Add.DN, ours.refused)
		}
		for _, a := range theirs.Add.Attributes {
			name := strings.ToLower(a.Type)
			if !wanted[name] {
				continue
			}
			var values []string
			for _, v := range ours.attrs[name] {
				values = append(values, v.text)
			}
			if !slices.Equal(values, a.Vals) {
				t.Fatalf("record %d, %s: %q, %q", i, a.Type, values, a.Vals)
			}
		}
	}
	if _, err := records.next(); err == nil {
		t.Error("there are more records than the library reads")
	}
}

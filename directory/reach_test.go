// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"errors"
	"strings"
	"testing"

	"codeberg.org/holdfast/holdfast/fault"
)

func TestNormalisePhone(t *testing.T) {
	for written, want := range map[string]string{
		"+491713920012":               "+491713920012",
		"+49 171 3920012":             "+491713920012",
		"0171 3920012":                "+491713920012",
		"0171/39200-12":               "+491713920012",
		"(0171) 39 200 12":            "+491713920012",
		"+49 (0) 171 3920012":         "+491713920012",
		"+49(0)171-3920012":           "+491713920012",
		"0049 171 3920012":            "+491713920012",
		"0049 (0)171 3920012":         "+491713920012",
		" 0171.392.0012 ":             "+491713920012",
		"\u202a+49 171 3920012\u202c": "+491713920012", // as copied from an address book
		"+49\u00a0171\u20113920012":   "+491713920012",
		"030 23125-000":               "+493023125000",
		"+43 1 25630123":              "+43125630123",
		"0043 1 25630123":             "+43125630123",
		"＋49 171 3920012":             "+491713920012",
	} {
		if got, err := NormalisePhone(written, GermanCode); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", written, got, err, want)
		}
	}
}

func TestNormalisePhoneUsesTheCountryOnlyForNationalNumbers(t *testing.T) {
	got, err := NormalisePhone("01 25630123", "43")
	if err != nil || got != "+43125630123" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestNormalisePhoneRefuses(t *testing.T) {
	for written, reason := range map[string]string{
		"":                           "no digits",
		"---":                        "no digits",
		"1713920012":                 "begins neither",
		"491713920012":               "begins neither",
		"112":                        "begins neither",
		"App. 4711":                  "'A'",
		"0171 3920012 (privat)":      "'p'",
		"0171 3920012, 0172 9925904": "more than one",
		"0171 3920012; 0172 9925904": "more than one",
		"4,91713E+11":                "spreadsheet",
		"4.91713E+11":                "spreadsheet",
		"0171":                       "digits with the country code",
		"+49 171 3920012 345 678":    "digits with the country code",
		"+0171 3920012":              "the first not 0",
		"0900 1234567":               "premium",
		"+49 180 5 123456":           "premium",
		"+49 0171 3920012":           "0 follows the country code",
		"49+1713920012":              "'+'",
		"０１７１ ３９２００１２":               "'０'",
	} {
		got, err := NormalisePhone(written, GermanCode)
		f, isFault := errors.AsType[*fault.Fault](err)
		if !isFault || !errors.Is(err, ErrPhone) || !strings.Contains(f.Message, reason) || f.WayOut == "" {
			t.Errorf("%q: got %q, %v, want a refusal with %q", written, got, err, reason)
		}
	}
}

func TestCheckMail(t *testing.T) {
	long := strings.Repeat("a", 65)
	for written, want := range map[string]string{
		"anna.mueller@lk-nordtal.example":      "anna.mueller@lk-nordtal.example",
		" Anna.Mueller@LK-Nordtal.Example ":    "Anna.Mueller@lk-nordtal.example",
		"a+b_c'd@x.example":                    "a+b_c'd@x.example",
		"anna":                                 "",
		"anna@":                                "",
		"@x.example":                           "",
		"anna@localhost":                       "",
		"anna@@x.example":                      "",
		"anna@x.example, bert@x.example":       "",
		"Anna <anna@x.example>":                "",
		`"anna"@x.example`:                     "",
		".anna@x.example":                      "",
		"an..na@x.example":                     "",
		"änna@x.example":                       "",
		"anna@nördtal.example":                 "",
		"anna@-x.example":                      "",
		"anna@x..example":                      "",
		"anna@x.exa_mple":                      "",
		long + "@x.example":                    "",
		"a@" + strings.Repeat("b.", 130) + "c": "",
	} {
		got, err := CheckMail(written)
		if got != want || (want == "") != errors.Is(err, ErrMail) {
			t.Errorf("%q: got %q, %v, want %q", written, got, err, want)
		}
	}
}

func TestSplitDeputy(t *testing.T) {
	for name, want := range map[string]string{
		"S1 Stellvertretung": "S1", "S1 (Stellvertretung)": "S1", "S1-Stv": "S1", "S1 Stv.": "S1", "Leiter Stab - Vertretung": "Leiter Stab",
		"S2 deputy": "S2", "S1": "", "Stellvertretung": "", "Interessenvertretung": "",
	} {
		if base, deputy := splitDeputy(name); base != want || deputy != (want != "") {
			t.Errorf("%q: got %q, %v", name, base, deputy)
		}
	}
}

func TestStaffCode(t *testing.T) {
	for name, want := range map[string]string{
		"S1": "S1", "s3 Einsatz": "S3", "S7": "", "Leiter Stab": "LtrStab", "Leitung des Stabes": "LtrStab", "Fachberatung Datenschutz": "FB",
		"Verbindungsperson Polizei": "VP", "Sichter": "", "": "",
	} {
		if got := StaffCode(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// SPDX-License-Identifier: EUPL-1.2

package directory

import (
	"strings"
	"unicode"

	"codeberg.org/holdfast/holdfast/fault"
)

// The refusals of addresses. They are completed with what is wrong.
var (
	ErrPhone = fault.New(fault.Invalid, "directory.phone", "this is not a telephone number that can be called",
		"write it with country or area code, such as +49 171 3920012 or 0171 3920012")
	ErrMail = fault.New(fault.Invalid, "directory.mail", "this is not an e-mail address",
		"write exactly one address, such as vorname.nachname@behoerde.example")
)

// GermanCode is the country code that numbers beginning with a single 0 belong to unless told otherwise.
const GermanCode = "49"

// NormalisePhone returns a telephone number in E.164 form. Numbers beginning with one 0 are of the given country. It
// takes the separators people write, "(0)" behind a country code, and the marks that address books hide in numbers. It
// returns ErrPhone, completed with the reason; it never guesses a missing area code.
func NormalisePhone(written, country string) (string, error) {
	s := strings.TrimSpace(strings.Map(plainSign, written))
	if spreadsheetNumber(s) {
		f := ErrPhone.Because("a spreadsheet has turned it into a number and lost digits")
		f.WayOut = "format the column as text in the spreadsheet, enter the number again and export once more"
		return "", f
	}
	international := strings.HasPrefix(s, "+") || strings.HasPrefix(s, "00")
	if international {
		// "+49 (0) 171": the bracketed zero is for callers at home only.
		s = strings.Replace(s, "(0)", "", 1)
	}
	digits, err := phoneDigits(s)
	if err != nil {
		return "", err
	}
	return e164(digits, international, strings.HasPrefix(s, "+"), country)
}

// e164 puts the parts together once only digits are left.
func e164(digits string, international, plus bool, country string) (string, error) {
	switch {
	case plus:
	case international:
		digits = digits[2:]
	case strings.HasPrefix(digits, "0"):
		digits = country + digits[1:]
	default:
		f := ErrPhone.Because("it begins neither with + nor with 0")
		f.WayOut = "write the country or area code in front, such as +49 171 or 0171; spreadsheets drop a leading 0 unless the column is text"
		return "", f
	}
	// E.164: at most 15 digits; no number in use has fewer than 8 with its country code. No country code begins with 0.
	if len(digits) < 8 || len(digits) > 15 || digits[0] == '0' {
		return "", ErrPhone.Because("it has %d digits with the country code, and 8 to 15 are possible, the first not 0", len(digits))
	}
	for _, premium := range []string{"49900", "49190", "49137", "49180"} {
		if strings.HasPrefix(digits, premium) {
			return "", ErrPhone.Because("it is a premium-rate number (0%s)", premium[2:])
		}
	}
	if strings.HasPrefix(digits, "490") {
		return "", ErrPhone.Because("a 0 follows the country code")
	}
	return "+" + digits, nil
}

func phoneDigits(s string) (string, error) {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case r == '+' && i == 0, strings.ContainsRune(" -/.()", r):
		case r == ',' || r == ';' || r == '|':
			f := ErrPhone.Because("there is more than one number, or a separator that is none")
			f.WayOut = "keep one number in this field"
			return "", f
		default:
			return "", ErrPhone.Because("it contains %q", r)
		}
	}
	if b.Len() == 0 {
		return "", ErrPhone.Because("it has no digits")
	}
	return b.String(), nil
}

// plainSign maps the signs that word processors and telephones put into numbers to plain ones, and drops invisible ones.
func plainSign(r rune) rune {
	switch {
	case r == '＋':
		return '+'
	case r >= '\u2010' && r <= '\u2015', r == '\u2212':
		return '-'
	case unicode.In(r, unicode.Cf): // left-to-right marks around copied numbers
		return -1
	case unicode.IsSpace(r):
		return ' '
	}
	return r
}

// spreadsheetNumber recognises "4,91713E+11".
func spreadsheetNumber(s string) bool {
	return strings.Contains(strings.ToUpper(s), "E+") && strings.ContainsAny(s, ",.")
}

// CheckMail returns an e-mail address with its domain in lower case. It returns ErrMail, completed with the reason, for
// anything but one plain address of at most 254 bytes: no display name, no quoted local part, no domain without a dot.
func CheckMail(written string) (string, error) {
	s := strings.TrimSpace(written)
	if strings.ContainsAny(s, ",; \t<>\"") {
		return "", ErrMail.Because("it contains a blank, a quote, a bracket or a second address")
	}
	local, domain, ok := strings.Cut(s, "@")
	switch {
	case !ok:
		return "", ErrMail.Because("the @ is missing")
	case strings.Contains(domain, "@"):
		return "", ErrMail.Because("there is more than one @")
	case local == "" || len(local) > 64 || len(s) > 254:
		return "", ErrMail.Because("the part before the @ must have 1 to 64 characters, the whole at most 254")
	case strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, ".."):
		return "", ErrMail.Because("dots before the @ must stand single between characters")
	}
	for _, r := range local {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`()[]:\`, r) {
			return "", ErrMail.Because("the part before the @ contains %q", r)
		}
	}
	if err := checkDomain(domain); err != nil {
		return "", err
	}
	return local + "@" + strings.ToLower(domain), nil
}

func checkDomain(domain string) error {
	labels := strings.Split(domain, ".")
	if len(labels) < 2 {
		return ErrMail.Because("the domain has no dot")
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return ErrMail.Because("a part of the domain is empty, too long or begins or ends with a hyphen")
		}
		for _, r := range l {
			if r >= 0x80 {
				f := ErrMail.Because("the domain contains %q", r)
				f.WayOut = "write the domain in its xn-- form"
				return f
			}
			if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-') {
				return ErrMail.Because("the domain contains %q", r)
			}
		}
	}
	return nil
}

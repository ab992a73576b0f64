// SPDX-License-Identifier: EUPL-1.2

package audit

import "codeberg.org/holdfast/holdfast/event"

// The kinds of facts. Their JSON is a stored form; testdata keeps one of each for ever.
const (
	KindRecorded    event.Kind = "audit.Recorded"
	KindMonthOpened event.Kind = "audit.MonthOpened"
)

// Recorded is one line. Actor and grant are those of the event, the site is the origin of the log.
type Recorded struct {
	Deed    string  `json:"deed"`
	Way     string  `json:"way,omitempty"`
	Object  string  `json:"object,omitempty"`
	Outcome Outcome `json:"outcome"`
	Code    string  `json:"code,omitempty"`
	// Count is how often, 1 for a single deed; Since is when the first of them happened, in milliseconds since 1970.
	Count int   `json:"count"`
	Since int64 `json:"since,omitempty"`
	// Sealed is the remote address, sealed with Key under "audit/<id>/from".
	Key    event.KeyID `json:"key,omitempty"`
	Sealed []byte      `json:"sealed,omitempty"`
	// Source is a keyed pseudonym of the address, where there is no key to seal it with.
	Source string `json:"source,omitempty"`
}

// MonthOpened says with which key a site seals the addresses of a month ("2026-11"). Several of one month all count.
type MonthOpened struct {
	Month string      `json:"month"`
	Key   event.KeyID `json:"key"`
}

func subjectOf(id string) event.Subject     { return event.Subject("audit/" + id) }
func keySubject(month string) event.Subject { return event.Subject("auditkey/" + month) }

// sealContext binds an address to its line.
func sealContext(subject event.Subject) string { return string(subject) + "/from" }

// SPDX-License-Identifier: EUPL-1.2

package deed

import "codeberg.org/holdfast/holdfast/access"

const (
	// NoteAsk is how the audit calls that somebody asked for a second person.
	NoteAsk = "approval.ask"
	// WordAsked stands, in what the audit says a deed was about, before the actor who had asked for it.
	WordAsked = "asked"
)

// NoteOfAsking returns what the audit says when a second person is asked for, as arguments of web.Did: that it was asked, for
// which deed, what that is about, and the request. Nothing else has happened yet.
func NoteOfAsking(a access.Approval, about ...string) (deed string, what []string) {
	what = append([]string{string(a.Deed)}, about...)
	return NoteAsk, append(what, "approval/"+a.ID)
}

// NoteOfCarrying returns what the audit says when the second person has approved: the deed itself, what came of it, who had asked
// for it, and the request. The line's actor is the one who approved.
func NoteOfCarrying(a access.Approval) (deed string, what []string) {
	if a.Result != "" {
		what = append(what, a.Result)
	}
	return string(a.Deed), append(what, WordAsked, a.AskedBy, "approval/"+a.ID)
}

// SPDX-License-Identifier: EUPL-1.2

package directory

import "codeberg.org/holdfast/holdfast/event"

// The kinds of facts. Their JSON is a stored form; testdata keeps one of each for ever.
const (
	KindPersonRecorded   event.Kind = "directory.PersonRecorded"
	KindPersonRemoved    event.Kind = "directory.PersonRemoved"
	KindPersonErased     event.Kind = "directory.PersonErased"
	KindUnitRecorded     event.Kind = "directory.UnitRecorded"
	KindUnitRemoved      event.Kind = "directory.UnitRemoved"
	KindFunctionRecorded event.Kind = "directory.FunctionRecorded"
	KindFunctionRemoved  event.Kind = "directory.FunctionRemoved"
	KindErasureConfirmed event.Kind = "directory.ErasureConfirmed"
)

// PersonRecorded says who a person is from now on. It replaces what was recorded before.
type PersonRecorded struct {
	// Key is the person's own key, the same one for all versions of the person.
	Key event.KeyID `json:"key"`
	// Sealed is the JSON of the private fields, sealed with Key under "directory/person/ID".
	Sealed []byte   `json:"sealed"`
	Units  []UnitID `json:"units,omitempty"`
	// Source is the numbering that the id was made from ("objectguid", "employee"): pruning stays within one.
	Source string `json:"source"`
}

// PersonRemoved says that the person is not in the register any more. The key stays: alarms of the past still show whom
// they were for.
type PersonRemoved struct{}

// PersonErased says that the person is erased and that every site has to destroy these keys. It is final. It is told again if a
// key comes to light that it did not name. Versions before this one had destroyed the keys when they wrote it.
type PersonErased struct {
	// Keys are the keys that are to be destroyed.
	Keys []event.KeyID `json:"keys"`
}

// UnitRecorded says what a unit is called and where it hangs. Sealed is the name, sealed with the authority's register
// key under "directory/unit/ID".
type UnitRecorded struct {
	Key    event.KeyID `json:"key"`
	Sealed []byte      `json:"sealed"`
	Parent UnitID      `json:"parent,omitempty"`
}

// UnitRemoved says that the unit is not in the register any more.
type UnitRemoved struct{}

// FunctionRecorded says what a function is called and who holds and deputises it, each in the order in which they are
// asked. Sealed is the name, sealed with the authority's register key under "directory/function/ID".
type FunctionRecorded struct {
	Key      event.KeyID `json:"key"`
	Sealed   []byte      `json:"sealed"`
	Holders  []PersonID  `json:"holders,omitempty"`
	Deputies []PersonID  `json:"deputies,omitempty"`
}

// FunctionRemoved says that the function is not in the register any more.
type FunctionRemoved struct{}

// ErasureConfirmed says that a site holds the marks of all those keys and shows the person as erased. A site says it again
// when more keys of the person come to light. Only what a site says in a log of its own counts.
type ErasureConfirmed struct {
	Site event.SiteID  `json:"site"`
	Keys []event.KeyID `json:"keys,omitempty"`
}

// draftOf returns the draft of a fact about the subject, under the kind that belongs to its type.
func draftOf(subject event.Subject, kind event.Kind, actor string, fact any, keys ...event.KeyID) event.Draft {
	return event.Draft{Subject: subject, Kind: kind, Actor: actor, Keys: keys, Data: fact}
}

// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// Record is what sites exchange: a sealed key, an erasure mark (Erased > 0), or an authority key's box (Site set).
// Fields are added, never changed: neighbours of the version before send none of those from Maker on, and overlook
// them.
type Record struct {
	ID     event.KeyID `json:"i"`
	Name   string      `json:"n,omitempty"`
	By     event.KeyID `json:"b,omitempty"`
	Sealed []byte      `json:"s,omitempty"`
	// Erased is when the key was erased, in milliseconds since 1970.
	Erased int64        `json:"e,omitempty"`
	Site   event.SiteID `json:"t,omitempty"`
	// Generation says, of boxes, which key is the newest; 0 is one for reading only.
	Generation int64 `json:"g,omitempty"`

	// Maker is who made the mark or the box, with Signature. Both are empty in what was made before there were signatures.
	Maker     event.SiteID `json:"m,omitempty"`
	Signature []byte       `json:"z,omitempty"`
	// Origin is, of boxes, who drew the authority key. With Birth it vouches for the generation and for the key (Digest),
	// so that whoever seals the key on can change neither.
	Origin event.SiteID `json:"o,omitempty"`
	Digest []byte       `json:"d,omitempty"`
	Birth  []byte       `json:"c,omitempty"`
}

// Bounds of what a peer may send.
const (
	maxSealedBytes = 256
	maxNameBytes   = 40
	maxGeneration  = 1 << 40
	maxErased      = 1 << 53 // in milliseconds: beyond any clock, and still a whole number in every JSON reader
	signatureBytes = 64
	recordsAtOnce  = 4096
)

// ErrRecord is returned for an answer that no honest site sends.
var ErrRecord = fault.New(fault.Invalid, "keyring.record", "the keys that a site sent are malformed",
	"compare the versions of the two sites; a healthy site never sends this")

// check returns ErrRecord for a record that cannot be one, whoever sent it. It does not look at signatures.
func (rec Record) check() error {
	box := rec.Site != ""
	switch {
	case !hexID(rec.ID) || rec.By != "" && !hexID(rec.By):
		return ErrRecord.Because("an id")
	case len(rec.Sealed) > maxSealedBytes || len(rec.Name) > maxNameBytes:
		return ErrRecord.Because("its length")
	case rec.Erased < 0 || rec.Erased > maxErased || rec.Generation < 0 || rec.Generation > maxGeneration:
		return ErrRecord.Because("its numbers")
	case box && (rec.Erased != 0 || len(rec.Sealed) == 0):
		return ErrRecord.Because("a box")
	case !box && rec.Erased == 0 && (len(rec.Sealed) == 0 || rec.By == ""):
		return ErrRecord.Because("a key")
	case len(rec.Sealed) > 0 && len(bytes.Trim(rec.Sealed, "\x00")) == 0:
		return ErrRecord.Because("bytes that were destroyed")
	case !rec.signedInForm():
		return ErrRecord.Because("a signature")
	}
	for _, site := range []event.SiteID{rec.Site, rec.Maker, rec.Origin} {
		if site == "" {
			continue
		}
		if _, err := seal.KeyOf(site); err != nil {
			return ErrRecord.Because("a site")
		}
	}
	return nil
}

// signedInForm reports whether a signature is there exactly if somebody is named for it, and has its length. Of a key
// nothing is said: a later version may sign keys, too.
func (rec Record) signedInForm() bool {
	made := sized(rec.Signature, signatureBytes, rec.Maker != "")
	born := sized(rec.Digest, sha256.Size, rec.Origin != "") && sized(rec.Birth, signatureBytes, rec.Origin != "")
	switch {
	case rec.Site == "" && rec.Erased == 0:
		return true
	case rec.Site == "":
		return made && born && rec.Origin == ""
	}
	return made && born && (rec.Origin == "" || rec.Maker != "" && rec.Generation != readingOnly && rec.ID == idOf(rec.Digest))
}

// sized reports whether b has n bytes if it has to be there, and none otherwise.
func sized(b []byte, n int, there bool) bool { return there && len(b) == n || !there && len(b) == 0 }

// columns are where the columns of a record go that a query for records returns, in the order of those queries.
func (rec *Record) columns() []any {
	return []any{&rec.ID, &rec.Name, &rec.By, &rec.Erased, &rec.Site, &rec.Generation, &rec.Sealed,
		&rec.Maker, &rec.Signature, &rec.Origin, &rec.Digest, &rec.Birth}
}

// size is about what the record takes of an answer, in bytes.
func (rec Record) size() int {
	binary := len(rec.Sealed) + len(rec.Signature) + len(rec.Digest) + len(rec.Birth)
	return 120 + len(rec.Name) + len(rec.Site) + len(rec.Maker) + len(rec.Origin) + binary*4/3
}

// The purposes of the signatures on records.
const (
	purposeMark  = "keyring-mark"
	purposeBox   = "keyring-box"
	purposeBirth = "keyring-birth"
)

// signed reports whether the signatures on the record are those of the sites it names. Who is not named has not signed.
func (rec Record) signed(authority event.AuthorityID) bool {
	switch {
	case rec.Maker == "":
		return true
	case rec.Site == "":
		return seal.Verify(rec.Maker, purposeMark, rec.markMessage(authority), rec.Signature)
	case !seal.Verify(rec.Maker, purposeBox, rec.boxMessage(authority), rec.Signature):
		return false
	}
	return rec.Origin == "" || seal.Verify(rec.Origin, purposeBirth, rec.birthMessage(authority), rec.Birth)
}

func (rec Record) markMessage(authority event.AuthorityID) []byte {
	return message(string(authority), string(rec.ID), strconv.FormatInt(rec.Erased, 10))
}

func (rec Record) boxMessage(authority event.AuthorityID) []byte {
	return message(string(authority), string(rec.ID), string(rec.Site), strconv.FormatInt(rec.Generation, 10), string(rec.Origin),
		string(rec.Digest), string(rec.Sealed))
}

func (rec Record) birthMessage(authority event.AuthorityID) []byte {
	return message(string(authority), string(rec.ID), strconv.FormatInt(rec.Generation, 10), string(rec.Digest))
}

// message joins the parts with their lengths, so that two different lists never give the same bytes.
func message(parts ...string) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		b.WriteString(strconv.Itoa(len(p)))
		b.WriteByte(':')
		b.WriteString(p)
	}
	return b.Bytes()
}

// digestOf identifies an authority key and tells nothing of it: the key is random.
func digestOf(authority event.AuthorityID, secret seal.Key) []byte {
	sum := sha256.Sum256(message("holdfast authority key digest", string(authority), string(secret[:])))
	return sum[:]
}

// idOf returns the id of the authority key of the digest. Since it is made of the digest, nobody can give another key
// under the id of one that an origin has signed for.
func idOf(digest []byte) event.KeyID { return event.KeyID(hex.EncodeToString(digest[:8])) }

// ownID returns the id of a key that seals, or that is shared under a name. As that of an authority key it is made of the secret, so
// that no other secret can take its place, and it tells nothing of it. Keys from before that was so have random ids.
func ownID(authority event.AuthorityID, name string, secret seal.Key) event.KeyID {
	sum := sha256.Sum256(message("holdfast key id", string(authority), name, string(secret[:])))
	return idOf(sum[:])
}

func hexID(id event.KeyID) bool {
	b, err := hex.DecodeString(string(id))
	return err == nil && len(b) == 8
}

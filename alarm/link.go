// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// The stored form of a link's token, base64url without padding, 47 characters:
//
//	version (1) | sha256(authority)[:4] | alarm (8) | person (8) | expiry in minutes since 1970 (4) | tag (10)
//
// The tag is an HMAC-SHA256 over the authority's full id and the 25 bytes before it, cut to 80 bits: an attacker has to
// ask us 2^79 times on average, and every question goes through our door.
const (
	tokenVersion   = 0x01
	tokenBodyBytes = 1 + 4 + 8 + 8 + 4
	tokenTagBytes  = 10
	tokenBytes     = tokenBodyBytes + tokenTagBytes
	tokenChars     = 47
)

var (
	// ErrLink is returned for a token that is damaged, cut off, or not ours.
	ErrLink = fault.New(fault.NotFound, "alarm.link", "this link is not complete or not ours",
		"open the link from the message again, whole; some phones break it at the end of a line")
	// ErrLinkExpired is returned for a token whose time is over.
	ErrLinkExpired = fault.New(fault.Forbidden, "alarm.link_expired", "this link is no longer valid",
		"call the people who alarmed you; the reply page of a newer message works")
)

var tokenEncoding = base64.RawURLEncoding.Strict()

// Link is what a link's token says: this person may reply to this alarm until then. It is not secret from the person,
// and whoever holds it can reply for them, nothing else.
type Link struct {
	Authority event.AuthorityID
	Alarm     ID
	Person    directory.PersonID
	// Expires is by the clock of the site that raised the alarm, rounded up to a full minute.
	Expires time.Time
}

// Token returns the link's token, authenticated with the authority's key "link". It returns an error if one of the ids
// is not 16 hexadecimal characters.
func (l Link) Token(key seal.Key) (string, error) {
	b := make([]byte, 0, tokenBytes)
	b = append(b, tokenVersion)
	b = append(b, authorityMark(l.Authority)...)
	for _, id := range []string{string(l.Alarm), string(l.Person)} {
		raw, err := hex.DecodeString(id)
		if err != nil || len(raw) != 8 {
			return "", ErrLink.Because("an id is not 16 hexadecimal characters")
		}
		b = append(b, raw...)
	}
	minutes := (l.Expires.Unix() + 59) / 60
	b = binary.BigEndian.AppendUint32(b, uint32(max(0, min(minutes, 1<<32-1))))
	b = append(b, linkTag(key, l.Authority, b)...)
	return tokenEncoding.EncodeToString(b), nil
}

// unverified is a token's content before anybody has checked its tag.
type unverified struct {
	link Link // without Authority
	body []byte
	tag  []byte
	mark []byte
}

// parseToken reads a token without trusting it. It returns ErrLink for anything that is not of the stored form.
func parseToken(token string) (unverified, error) {
	if len(token) != tokenChars {
		return unverified{}, ErrLink
	}
	b, err := tokenEncoding.DecodeString(token)
	if err != nil || len(b) != tokenBytes || b[0] != tokenVersion {
		return unverified{}, ErrLink
	}
	u := unverified{body: b[:tokenBodyBytes], tag: b[tokenBodyBytes:], mark: b[1:5]}
	u.link.Alarm = ID(hex.EncodeToString(b[5:13]))
	u.link.Person = directory.PersonID(hex.EncodeToString(b[13:21]))
	u.link.Expires = time.Unix(int64(binary.BigEndian.Uint32(b[21:25]))*60, 0).UTC()
	return u, nil
}

// meant reports whether the token could be of the authority: four bytes of its hash match.
func (u unverified) meant(authority event.AuthorityID) bool {
	return string(u.mark) == string(authorityMark(authority))
}

// verify returns the link if the tag is right for the authority and key, whether or not its time is over. The comparison
// takes the same time whatever differs.
func (u unverified) verify(authority event.AuthorityID, key seal.Key) (Link, error) {
	if !hmac.Equal(u.tag, linkTag(key, authority, u.body)) {
		return Link{}, ErrLink
	}
	l := u.link
	l.Authority = authority
	return l, nil
}

// VerifyToken reads a token and checks its tag for one authority; whether its time is over is for the alarm to tell, see
// Service.OpenLink. It returns ErrLink.
func VerifyToken(token string, authority event.AuthorityID, key seal.Key) (Link, error) {
	u, err := parseToken(token)
	if err != nil {
		return Link{}, err
	}
	if !u.meant(authority) {
		return Link{}, ErrLink
	}
	return u.verify(authority, key)
}

func authorityMark(a event.AuthorityID) []byte {
	h := sha256.Sum256([]byte(a))
	return h[:4]
}

func linkTag(key seal.Key, authority event.AuthorityID, body []byte) []byte {
	m := hmac.New(sha256.New, key[:])
	m.Write([]byte("holdfast link v1\x00"))
	m.Write([]byte(authority))
	m.Write([]byte{0})
	m.Write(body)
	return m.Sum(nil)[:tokenTagBytes]
}

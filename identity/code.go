// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
	"codeberg.org/holdfast/holdfast/secretcode"
)

// A recovery code is 24 characters of Crockford's base 32, in groups of four: 4 of id, 16 of secret (80 bits), 4 of tag.
const (
	codeIDLen     = 4
	codeSecretLen = 16
	codeTagLen    = 4
	codeLen       = codeIDLen + codeSecretLen + codeTagLen
)

// tag returns the four characters behind id and secret: a wrong code that passes for right comes once in a million.
func tag(key seal.Key, body string) string {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("holdfast recovery code\x00" + body))
	return secretcode.Spell(mac.Sum(nil), codeTagLen)
}

// tagFits reports whether the code was made for the authority whose key it is.
func tagFits(key seal.Key, code string) bool {
	body := code[:codeIDLen+codeSecretLen]
	return hmac.Equal([]byte(tag(key, body)), []byte(code[len(body):]))
}

// hash computes argon2id when it is its turn. What is hashed has 80 random bits, so this is the second lock.
func (s *Service) hash(ctx context.Context, code string, salt []byte) ([]byte, error) {
	err := s.argon.Enter(ctx)
	if errors.Is(err, secretcode.ErrBusy) {
		return nil, ErrBusy
	}
	if err != nil {
		return nil, err
	}
	defer s.argon.Leave()
	return secretcode.Hash([]byte(code[:codeIDLen+codeSecretLen]), salt), nil
}

// IssueCodes makes a new sheet of ten recovery codes for the principal's own account, which replaces the sheet before. The
// codes are returned once and are nowhere else. It takes about a quarter of a second. It returns ErrNotYours for who is no
// person, ErrBusy, Standing's errors, and those of keyring and log.
func (s *Service) IssueCodes(ctx context.Context, p access.Principal) (codes []string, r eventlog.Receipt, err error) {
	person, err := s.changing(ctx, p)
	if err != nil {
		return nil, r, err
	}
	key, err := s.idKey(ctx, p.Authority)
	if err != nil {
		return nil, r, fmt.Errorf("issue codes: %w", err)
	}
	set, err := s.drawHex(16)
	if err != nil {
		return nil, r, err
	}
	issued := CodesIssued{Set: set, Session: p.Session}
	taken := make(map[string]bool)
	for range CodesPerSheet {
		code, h, err := s.makeCode(ctx, p.Authority, key, taken)
		if err != nil {
			return nil, r, err
		}
		codes, issued.Codes = append(codes, secretcode.Grouped(code)), append(issued.Codes, h)
	}
	r, err = s.appendFact(ctx, p.Authority, person, p.Actor(), KindCodesIssued, issued)
	if err != nil {
		return nil, r, err
	}
	return codes, r, nil
}

func (s *Service) makeCode(ctx context.Context, authority event.AuthorityID, key seal.Key, taken map[string]bool) (string, CodeHash, error) {
	id, err := s.freeID(ctx, authority, taken)
	if err != nil {
		return "", CodeHash{}, err
	}
	b, err := s.draw(codeSecretLen*5/8 + secretcode.SaltLen)
	if err != nil {
		return "", CodeHash{}, err
	}
	salt, body := b[:secretcode.SaltLen], id+secretcode.Spell(b[secretcode.SaltLen:], codeSecretLen)
	code := body + tag(key, body)
	h, err := s.hash(ctx, code, salt)
	return code, CodeHash{ID: id, Hash: h, Salt: salt}, err
}

// freeID draws the first four characters, so that few codes share them: each further one costs an argon2.
func (s *Service) freeID(ctx context.Context, authority event.AuthorityID, taken map[string]bool) (id string, err error) {
	for range 8 {
		b, err := s.draw(4)
		if err != nil {
			return "", err
		}
		id = secretcode.Spell(b, codeIDLen)
		used := taken[id]
		if !used {
			err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
				used, err = codeTaken(ctx, q, authority, id)
				return err
			})
		}
		if err != nil {
			return "", err
		}
		if !used {
			break
		}
	}
	taken[id] = true
	return id, nil
}

// candidate is a code that the typed one might be.
type candidate struct {
	owner // id is the set
	hash  CodeHash
	state state
	// gone says that its person is not in the register any more.
	gone bool
}

// SignInWithCode lets somebody in who has a recovery code; totp are the six digits where the account wants them, else "".
// It returns ErrCode for everything that is wrong with the code, known or not, at the same price; ErrTOTP if the code is
// right and the digits are not, the code stays good then until wrongDigits were tried with it; ErrThrottled and ErrBusy.
func (s *Service) SignInWithCode(ctx context.Context, code, totp string) (access.Principal, error) {
	code, ok := secretcode.Normal(code, codeLen)
	if !ok {
		return access.Principal{}, ErrCode
	}
	authority, ok := s.authorityOf(ctx, code)
	if !ok {
		return access.Principal{}, ErrCode
	}
	if !s.codes.Allow(string(authority)+"/"+code[:codeIDLen], s.cfg.Now()) {
		return access.Principal{}, ErrThrottled
	}
	list, err := s.candidates(ctx, authority, code[:codeIDLen])
	if err != nil {
		return access.Principal{}, fmt.Errorf("sign in with a code: %w", err)
	}
	c, ok, err := s.match(ctx, code, list)
	if err != nil {
		return access.Principal{}, err
	}
	if !ok || c.gone || !c.state.codeGood(c.id, c.hash.ID) {
		return access.Principal{}, ErrCode
	}
	return s.useCode(ctx, c, totp)
}

// authorityOf finds whose code it is by its tag.
func (s *Service) authorityOf(ctx context.Context, code string) (found event.AuthorityID, ok bool) {
	for _, a := range s.cfg.Federation.Held() {
		key, err := s.idKey(ctx, a)
		if err == nil && tagFits(key, code) && !ok {
			found, ok = a, true
		}
	}
	return found, ok
}

// candidates reads all that is needed to judge a code before its hash is computed, so that nothing of it shows in the time
// that comes after.
func (s *Service) candidates(ctx context.Context, authority event.AuthorityID, id string) (list []candidate, err error) {
	err = s.cfg.Model.View(ctx, func(q readmodel.Query) error {
		list = nil
		owners, err := findCodes(ctx, q, authority, id)
		if err != nil {
			return err
		}
		for _, o := range owners {
			st, err := readState(ctx, q, authority, o.person)
			if err != nil {
				return err
			}
			for _, set := range st.Sets {
				for _, h := range set.Codes {
					if set.Set == o.id && h.ID == id {
						list = append(list, candidate{owner: o, hash: h, state: st})
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range list {
		_, err := s.person(ctx, authority, list[i].person)
		list[i].gone = err != nil
	}
	return list, nil
}

// match computes the hash for each candidate, and once if there is none.
func (s *Service) match(ctx context.Context, code string, list []candidate) (found candidate, ok bool, err error) {
	if len(list) == 0 {
		list = []candidate{{hash: CodeHash{Hash: make([]byte, secretcode.HashLen), Salt: make([]byte, secretcode.SaltLen)}}}
	}
	for _, c := range list {
		h, err := s.hash(ctx, code, c.hash.Salt)
		if err != nil {
			return found, false, err
		}
		if subtle.ConstantTimeCompare(h, c.hash.Hash) == 1 && c.person != "" {
			found, ok = c, true
		}
	}
	return found, ok, nil
}

func (s *Service) useCode(ctx context.Context, c candidate, totp string) (access.Principal, error) {
	if app := c.state.app(); app != nil {
		if err := s.checkDigits(ctx, c, *app, totp); err != nil {
			return access.Principal{}, err
		}
	}
	session, err := s.drawHex(32)
	if err != nil {
		return access.Principal{}, err
	}
	what := codeName(c.id, c.hash.ID)
	if err := s.use(ctx, c.owner, what, KindCodeUsed, CodeUsed{Set: c.id, Code: c.hash.ID, Session: session}, ErrCode); err != nil {
		return access.Principal{}, err
	}
	return principal(c.authority, c.person, access.ByCode, session), nil
}

// burn uses a code up with which nobody came in: whoever has a stolen sheet must not try digits for as long as they like.
func (s *Service) burn(ctx context.Context, c candidate) {
	session, err := s.drawHex(32)
	if err == nil {
		err = s.use(ctx, c.owner, codeName(c.id, c.hash.ID), KindCodeUsed, CodeUsed{Set: c.id, Code: c.hash.ID, Session: session}, ErrCode)
	}
	if err != nil {
		s.cfg.Logger.Warn("a code with which wrong digits were tried could not be used up", "authority", c.authority, "err", err)
	}
}

// use records that something that is good once was used, once at this site.
func (s *Service) use(ctx context.Context, o owner, what string, kind event.Kind, fact any, taken error) error {
	release, err := s.claim(ctx, o, what, taken)
	if err != nil {
		return err
	}
	// Between reading the state and claiming, somebody else may have used it and the claim may have passed.
	if st, err := s.state(ctx, o.authority, o.person); err != nil || st.isUsed(what) {
		release()
		if err == nil {
			err = taken
		}
		return err
	}
	r, err := s.appendFact(ctx, o.authority, o.person, actorOf(o.person), kind, fact)
	if err != nil && len(r.Events) == 0 {
		release() // nothing was written, so it is still good
	}
	return err
}

// spokenHash returns under which name facts keep spoken characters.
func spokenHash(key seal.Key, spoken string) string {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("holdfast spoken\x00" + spoken))
	return fmt.Sprintf("%x", mac.Sum(nil)[:16])
}

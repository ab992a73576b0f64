// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"math"

	"codeberg.org/holdfast/holdfast/event"
)

// checkErased is checkKey for a row that says that its key is erased. An erasure takes the slot with it: a row that names one all the
// same is damaged. It is a living key's if the bytes open, and a mark if it is signed, because keys are not. Else nobody can tell, and
// the key is missing: the facts say whether it may come again.
func (r *Ring) checkErased(ctx context.Context, p place, row secretRow) (damaged bool, err error) {
	if row.slot == 0 && row.erased < 0 {
		return true, r.checkTime(ctx, p)
	}
	if row.slot == 0 {
		return false, nil
	}
	whole, opens, unsure := r.wholeKey(ctx, p, row)
	due, err := r.isDue(ctx, p)
	if err != nil {
		return false, err
	}
	signed, err := exists(ctx, r.db, `SELECT 1 FROM secret WHERE authority = ? AND id = ? AND signature <> x''`, p.authority, p.id)
	if err != nil || unsure != nil && !signed {
		return false, err // without the authority's key nobody can tell
	}
	err = r.settleDamage(ctx, keyDetail(p), opens || signed, func(w *writer) (bool, error) {
		switch {
		case signed:
			return w.restoreMark(p, row.slot)
		case opens:
			return w.revive(p, row.slot, whole, due)
		}
		return w.giveUp(p, row.slot)
	})
	if err == nil && due {
		_, err = r.judge(ctx, p.authority, []event.KeyID{p.id})
	}
	return true, err
}

// checkTime gives a mark its time again. One bit makes a negative number of it, which is a mark here all the same, and
// which no other site takes.
func (r *Ring) checkTime(ctx context.Context, p place) error {
	mark := Record{ID: p.id}
	err := r.db.QueryRowContext(ctx, `SELECT erased, maker, signature FROM secret WHERE authority = ? AND id = ?`,
		p.authority, p.id).Scan(&mark.Erased, &mark.Maker, &mark.Signature)
	if err != nil {
		return err
	}
	erased := mark.Erased
	mark.Erased = trueTime(p.authority, mark)
	return r.settleDamage(ctx, keyDetail(p), true, func(w *writer) (bool, error) {
		return w.changes(`UPDATE secret SET erased = ?, change = ? WHERE authority = ? AND id = ? AND erased = ?`,
			mark.Erased, w.next(), p.authority, p.id, erased)
	})
}

// trueTime returns the time of a mark whose number has lost its sign: that for which it is signed, else the one that
// SQLite keeps in as many bytes.
func trueTime(authority event.AuthorityID, mark Record) int64 {
	erased, first := mark.Erased, int64(1) // in 1970, if nothing is nearer
	for _, size := range []int{1, 2, 3, 4, 6, 8} {
		least := int64(math.MinInt64) >> (64 - 8*size)
		mark.Erased = erased - least
		if erased < least || mark.Erased <= 0 || mark.Erased > maxErased {
			continue
		}
		if mark.Maker != "" && mark.signed(authority) {
			return mark.Erased
		}
		if first == 1 {
			first = mark.Erased
		}
	}
	return first
}

// isDue reports whether this site's facts say that the key is to be erased.
func (r *Ring) isDue(ctx context.Context, p place) (bool, error) {
	if r.cfg.Grounds == nil {
		return false, nil
	}
	grounds, err := r.cfg.Grounds(ctx, p.authority, []event.KeyID{p.id})
	return grounds[p.id].Due && !grounds[p.id].Needed, err
}

// restoreMark takes the slot from a mark. Whose bytes they are, if anybody's, is not this row's business.
func (w *writer) restoreMark(p place, slot int64) (still bool, err error) {
	return w.changes(`UPDATE secret SET slot = 0 WHERE authority = ? AND id = ? AND slot = ? AND erased <> 0`, p.authority, p.id, slot)
}

// revive makes a living key of one that seemed to be erased. It is news to the other sites, who were given a mark in its place. If it is
// due, it is demanded at once: who wanted it erased meanwhile was told that it is.
func (w *writer) revive(p place, slot int64, sealed []byte, due bool) (still bool, err error) {
	if still, err = w.restore(p, slot, sealed); err != nil || !still {
		return still, err
	}
	_, err = w.ExecContext(w.ctx, `UPDATE secret SET erased = 0, change = ? WHERE authority = ? AND id = ?`, w.next(), p.authority, p.id)
	if err != nil {
		return false, err
	}
	w.renamed = true
	w.news = append(w.news, Changed{Authority: p.authority, KeyID: p.id})
	if due {
		w.peer = w.ring.self
		_, _, err = w.demandAll(p.authority, []event.KeyID{p.id})
	}
	return true, err
}

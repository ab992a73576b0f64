// SPDX-License-Identifier: EUPL-1.2

package keyring

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// Ground is what a site's facts say about erasing a key.
type Ground struct {
	// Due says that something which is sealed with the key is to be forgotten: its person was erased, its time is over.
	Due bool
	// Needed says that something else is sealed with it which is not. Then the key stays, whatever else is due.
	Needed bool
	// By is the site whose fact made it due; "" where only time did, which every site sees on its own clock.
	By event.SiteID
}

// The answers for keys that are not erased although that was asked for.
var (
	ErrHeld = fault.New(fault.Conflict, "keyring.held",
		"keys that were to be erased are still here: the facts do not say so (yet), or too many are due at once",
		"see 'holdfast keys held'; what is held back is erased after 'holdfast keys release'")
	ErrShared = fault.New(fault.Conflict, "keyring.shared",
		"a shared key of the authority is not erased, whoever asks for it",
		"find out which fact names the key; every site would lose its reply links or its ids with it")
)

// Bounds of erasing.
const (
	// An hour's keys of tollFloor are about a hundred people with an account and an app password. A site whose facts make
	// more keys due within tollWindow, and more than one in tollShare of all the authority's keys, waits for a person's
	// look.
	tollFloor  = 300
	tollShare  = 20
	tollWindow = 24 * time.Hour
	// maxDemands bounds the marks that may wait here of one authority because of one peer.
	maxDemands = 20_000
	judgeBatch = 5_000
)

// State says what becomes of a demand.
//
// A site that joins hears in one day of all erasures there ever were. What is absent has nothing to destroy, so nobody
// needs to look.
type State string

// The states of a demand.
const (
	Waiting  State = "waiting"  // for facts that bear the marks out
	Held     State = "held"     // because they are so many
	Absent   State = "absent"   // they are so many, and the keys are not here: they are marked a day later, unless they come
	Released State = "released" // by a person, and about to be erased
	Rejected State = "rejected" // by a person, as far as this site's facts make it due, see Reject
)

// Demand is what one site wants erased here and is not, or not yet. Its keys are alive.
type Demand struct {
	Authority event.AuthorityID
	// Site is whose fact makes the keys due, if that is known; else who signed the marks, else who handed them over.
	Site  event.SiteID
	State State
	Keys  int
	// Since is when the first of them came here.
	Since time.Time
}

// Erase destroys keys for ever, as far as this site's facts say that they are due: every other site that exchanges keys
// with this one does the same when its own facts say so. When it returns nil, this site's copies are gone from its
// files. A key that is not here (yet) is marked all the same. It returns ErrHeld if a key is not due, is needed for
// something else, or waits for a person because too many are due; the ring keeps the demand and meets it as soon as
// that changes. Shared keys stay: it returns ErrShared, after erasing the others.
func (r *Ring) Erase(ctx context.Context, authority event.AuthorityID, ids ...event.KeyID) error {
	var living []event.KeyID
	shared := false
	err := r.write(ctx, func(w *writer) (err error) {
		w.peer = r.self
		living, shared, err = w.demandAll(authority, ids)
		return errors.Join(err, w.writeRefusals(authority))
	})
	if err == nil {
		_, err = r.judge(ctx, authority, living)
	}
	if err == nil {
		err = r.payOff(ctx) // for keys that were marked before
	}
	if err == nil {
		living, err = r.living(ctx, authority, living)
	}
	switch {
	case err != nil:
	case shared:
		err = ErrShared
	case len(living) > 0:
		err = ErrHeld.Because("%d keys", len(living))
	}
	if err != nil {
		return fmt.Errorf("erase keys of %s: %w", authority, err)
	}
	return nil
}

// demandAll notes that this site wants the keys erased, and returns those that are not, and whether shared ones were
// among them.
func (w *writer) demandAll(authority event.AuthorityID, ids []event.KeyID) (living []event.KeyID, shared bool, err error) {
	at := max(1, w.ring.cfg.Now().UnixMilli())
	for _, id := range ids {
		row, err := findSecret(w.ctx, w.Tx, authority, id)
		switch {
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return nil, false, err
		case row.erased != 0:
			w.shreds = true // a damaged file may be left that could not be destroyed before the site stopped
			continue
		case row.name != "":
			shared = true
			w.refuse(refusedShared)
			continue
		}
		rec := Record{ID: id, Erased: at, Maker: w.ring.self}
		rec.Signature = w.ring.cfg.Identity.Sign(purposeMark, rec.markMessage(authority))
		if err := w.demand(authority, rec); err != nil {
			return nil, false, err
		}
		living = append(living, id)
	}
	return living, shared, nil
}

// demand keeps a mark that does not count yet. A signed one takes the place of one that waits; what a person has
// decided stays. Who has signed the one whose place is taken has signed still.
func (w *writer) demand(authority event.AuthorityID, rec Record) error {
	_, err := w.ExecContext(w.ctx, `INSERT OR IGNORE INTO cosigner (authority, id, maker, peer) SELECT authority, id, maker, peer
		FROM demand WHERE authority = ? AND id = ? AND state = 'waiting' AND maker NOT IN ('', ?)`, authority, rec.ID, rec.Maker)
	if err != nil {
		return err
	}
	_, err = w.ExecContext(w.ctx, `INSERT INTO demand (authority, id, erased, maker, signature, peer, since, state, ordered)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, '')
		ON CONFLICT DO UPDATE SET erased = excluded.erased, maker = excluded.maker, signature = excluded.signature,
			peer = excluded.peer WHERE state = 'waiting'`,
		authority, rec.ID, rec.Erased, rec.Maker, bytesOf(rec.Signature), w.peer, w.ring.cfg.Now().UnixMilli(), Waiting)
	return err
}

// mergeMark takes another site's mark over as a demand.
func (w *writer) mergeMark(authority event.AuthorityID, rec Record) error {
	row, err := findSecret(w.ctx, w.Tx, authority, rec.ID)
	switch {
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return err
	case row.erased != 0:
		return nil
	case row.name != "" || rec.Name != "":
		w.refuse(refusedShared)
		return nil
	}
	known, err := exists(w.ctx, w, `SELECT 1 FROM demand WHERE authority = ? AND id = ?`, authority, rec.ID)
	if err != nil {
		return err
	}
	if known {
		w.demanded = append(w.demanded, rec.ID) // another site may be right where the first one was not
		return w.cosign(authority, rec)
	}
	if ok, err := w.takesMark(authority, rec); err != nil || !ok {
		return err
	}
	w.demanded = append(w.demanded, rec.ID)
	return w.demand(authority, rec)
}

// cosign notes who else has signed a mark of a key that is demanded: whose facts do not come any more is believed by its own
// mark (Unmarked), whoever else has made one before.
func (w *writer) cosign(authority event.AuthorityID, rec Record) error {
	if rec.Maker == "" {
		return nil
	}
	noted, err := exists(w.ctx, w, `SELECT 1 FROM demand WHERE authority = ?1 AND id = ?2 AND maker = ?3
		UNION ALL SELECT 1 FROM cosigner WHERE authority = ?1 AND id = ?2 AND maker = ?3`, authority, rec.ID, rec.Maker)
	if err != nil || noted {
		return err
	}
	if ok, err := w.takesMark(authority, rec); err != nil || !ok {
		return err
	}
	_, err = w.ExecContext(w.ctx, `INSERT INTO cosigner (authority, id, maker, peer) VALUES (?, ?, ?, ?)`, authority, rec.ID, rec.Maker, w.peer)
	return err
}

// takesMark reports whether a mark is signed and the peer has room for one more, which it counts; else it is refused.
func (w *writer) takesMark(authority event.AuthorityID, rec Record) (bool, error) {
	if !rec.signed(authority) {
		w.refuse(refusedSignature)
		return false, nil
	}
	full, err := w.demandsFull(authority)
	if err == nil && full {
		// Nothing is lost: when this site's facts say that the key is due, the site erases it on its own.
		w.refuse(refusedDemands)
	}
	return !full, err
}

func (w *writer) demandsFull(authority event.AuthorityID) (bool, error) {
	if w.waits < 0 {
		err := w.QueryRowContext(w.ctx, `SELECT (SELECT count(*) FROM demand WHERE authority = ?1 AND peer = ?2)
			+ (SELECT count(*) FROM cosigner WHERE authority = ?1 AND peer = ?2)`, authority, w.peer).Scan(&w.waits)
		if err != nil {
			return false, err
		}
	}
	w.waits++
	return w.waits > maxDemands, nil
}

// Demands returns what is to be erased of the authority and is not, gathered by site and state, the oldest first.
func (r *Ring) Demands(ctx context.Context, authority event.AuthorityID) (list []Demand, err error) {
	rows, err := r.db.QueryContext(ctx, `SELECT `+askedBy+` AS site, state, count(*), min(since) FROM demand
		WHERE authority = ? GROUP BY site, state ORDER BY min(since), site, state`, authority)
	if err != nil {
		return nil, fmt.Errorf("list what is to be erased of %s: %w", authority, err)
	}
	defer closeRows(rows, &err)
	for rows.Next() {
		d := Demand{Authority: authority}
		var since int64
		if err := rows.Scan(&d.Site, &d.State, &d.Keys, &since); err != nil {
			return nil, fmt.Errorf("list what is to be erased of %s: %w", authority, err)
		}
		d.Since = time.UnixMilli(since).UTC()
		list = append(list, d)
	}
	return list, nil
}

// askedBy is Demand.Site in SQL.
const askedBy = `CASE WHEN ordered <> '' THEN ordered WHEN maker <> '' THEN maker ELSE peer END`

// Release erases what a site's facts make due and what was held back because it is so much, as far as it is due still.
// What was rejected is looked at as if it had just come. It returns how many keys it has erased. The caller has judged
// who may do that.
func (r *Ring) Release(ctx context.Context, authority event.AuthorityID, site event.SiteID) (int, error) {
	var ids []event.KeyID
	err := r.write(ctx, func(w *writer) error {
		for from, to := range map[State]State{Held: Released, Rejected: Waiting} {
			list, err := w.turn(authority, site, from, to)
			if err != nil {
				return err
			}
			ids = append(ids, list...)
		}
		_, err := w.ExecContext(ctx, `DELETE FROM rejected WHERE authority = ? AND site = ?`, authority, site)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("release what is to be erased of %s: %w", authority, err)
	}
	return r.judge(ctx, authority, ids)
}

// Reject keeps the keys that a site wants erased, and returns how many those are. They stay until Release, whatever
// that site's facts say. What makes one of them due besides (another site's fact, this one's own, or time) is looked
// at as if nothing had been rejected: else a site could keep keys for ever by demanding them without a fact, and
// being rejected. The caller has judged who may do that.
func (r *Ring) Reject(ctx context.Context, authority event.AuthorityID, site event.SiteID) (n int, err error) {
	err = r.write(ctx, func(w *writer) error {
		n = 0
		_, err := w.ExecContext(ctx, `INSERT OR IGNORE INTO rejected (authority, id, site)
			SELECT authority, id, ?2 FROM demand
			WHERE authority = ?1 AND state IN ('waiting', 'held', 'absent') AND `+askedBy+` = ?2`, authority, site)
		if err != nil {
			return err
		}
		for _, from := range []State{Waiting, Held, Absent} {
			list, err := w.turn(authority, site, from, Rejected)
			if err != nil {
				return err
			}
			n += len(list)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("reject what is to be erased of %s: %w", authority, err)
	}
	return n, nil
}

// Unmarked returns those of ids that are not demanded here, or of which the site itself has signed no mark, whoever else has. It reads the disk; it is safe
// for concurrent use.
func (r *Ring) Unmarked(ctx context.Context, authority event.AuthorityID, by event.SiteID, ids []event.KeyID) ([]event.KeyID, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, fmt.Errorf("look for marks of %s: %w", authority, err)
	}
	unmarked, err := column[event.KeyID](ctx, r.db, `SELECT j.value FROM json_each(?1) j
		WHERE NOT EXISTS (SELECT 1 FROM demand d WHERE d.authority = ?2 AND d.id = j.value AND d.maker = ?3)
		AND NOT EXISTS (SELECT 1 FROM cosigner c WHERE c.authority = ?2 AND c.id = j.value AND c.maker = ?3)`, string(list), authority, by)
	if err != nil {
		return nil, fmt.Errorf("look for marks of %s: %w", authority, err)
	}
	return unmarked, nil
}

// turn gives a site's demands of one state another one, and returns their keys.
func (w *writer) turn(authority event.AuthorityID, site event.SiteID, from, to State) ([]event.KeyID, error) {
	return column[event.KeyID](w.ctx, w, `UPDATE demand SET state = ?
		WHERE authority = ? AND state = ? AND `+askedBy+` = ? RETURNING id`, to, authority, from, site)
}

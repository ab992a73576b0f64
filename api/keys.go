// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/keyring"
)

// Keys is what the API needs of a keyring.Ring.
type Keys interface {
	Demands(ctx context.Context, authority event.AuthorityID) ([]keyring.Demand, error)
	Refusals(ctx context.Context, authority event.AuthorityID) ([]keyring.Refusal, error)
	Release(ctx context.Context, authority event.AuthorityID, site event.SiteID) (int, error)
	Reject(ctx context.Context, authority event.AuthorityID, site event.SiteID) (int, error)
}

// HeldKeys are keys that a site's facts or marks say are to be erased and that live at this site.
type HeldKeys struct {
	Site event.SiteID `json:"site"`
	// State is "waiting" for facts that bear the marks out, "held" because they are so many, "released" or "rejected".
	State string    `json:"state"`
	Keys  int       `json:"keys"`
	Since time.Time `json:"since"`
}

// RefusedRecords is what a site sent of an authority's keys and this one did not take.
type RefusedRecords struct {
	Peer   event.SiteID `json:"peer"`
	Reason string       `json:"reason"`
	Times  int          `json:"times"`
	Last   time.Time    `json:"last"`
}

// KeyState is what a person should look at in an authority's keys.
type KeyState struct {
	Held    []HeldKeys       `json:"held"`
	Refused []RefusedRecords `json:"refused"`
}

// Decided says for how many keys a decision was.
type Decided struct {
	Keys int `json:"keys"`
}

func (a *API) keys(w http.ResponseWriter, r *http.Request) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	demands, err := a.cfg.Keys.Demands(r.Context(), id)
	if err != nil {
		return err
	}
	refusals, err := a.cfg.Keys.Refusals(r.Context(), id)
	if err != nil {
		return err
	}
	out := KeyState{Held: []HeldKeys{}, Refused: []RefusedRecords{}}
	for _, d := range demands {
		out.Held = append(out.Held, HeldKeys{Site: d.Site, State: string(d.State), Keys: d.Keys, Since: d.Since})
	}
	for _, f := range refusals {
		out.Refused = append(out.Refused, RefusedRecords{Peer: f.Peer, Reason: string(f.Reason), Times: f.Times, Last: f.Last})
	}
	return ok(w, out)
}

func (a *API) releaseKeys(w http.ResponseWriter, r *http.Request) error {
	return a.decideKeys(w, r, a.cfg.Keys.Release)
}

func (a *API) rejectKeys(w http.ResponseWriter, r *http.Request) error {
	return a.decideKeys(w, r, a.cfg.Keys.Reject)
}

// decideKeys carries a person's decision about the keys that a site wants erased out.
func (a *API) decideKeys(w http.ResponseWriter, r *http.Request,
	decide func(context.Context, event.AuthorityID, event.SiteID) (int, error)) error {
	id, err := a.authority(r)
	if err != nil {
		return err
	}
	n, err := decide(r.Context(), id, event.SiteID(r.PathValue("site")))
	if err != nil {
		return err
	}
	return ok(w, Decided{Keys: n})
}

// heldBack returns, as troubles, what the keyring holds back until a person looks.
func (a *API) heldBack(r *http.Request) (list []Trouble, err error) {
	for _, id := range a.cfg.Federation.AuthorityIDs() {
		if !sees(r, id) {
			continue
		}
		demands, err := a.cfg.Keys.Demands(r.Context(), id)
		if err != nil {
			return nil, err
		}
		for _, d := range demands {
			if d.State == keyring.Held {
				reason := fmt.Sprintf("the facts of site %s say that %d keys are to be erased; they are held back until "+
					"'holdfast keys release' or 'holdfast keys reject'", d.Site.Short(), d.Keys)
				list = append(list, Trouble{Authority: id, Kind: "keyring.held", Reason: reason})
			}
		}
	}
	return list, nil
}

// Keys returns what a person should look at in an authority's keys.
func (c *Client) Keys(ctx context.Context, authority event.AuthorityID) (k KeyState, err error) {
	return k, c.Get(ctx, below(authority, "keys"), nil, &k)
}

// ReleaseKeys has the keys erased that a site's facts make due and that were held back, and returns how many were.
func (c *Client) ReleaseKeys(ctx context.Context, authority event.AuthorityID, site event.SiteID) (int, error) {
	return c.decideKeys(ctx, authority, site, "release")
}

// RejectKeys keeps the keys that a site wants erased, and returns how many those are.
func (c *Client) RejectKeys(ctx context.Context, authority event.AuthorityID, site event.SiteID) (int, error) {
	return c.decideKeys(ctx, authority, site, "reject")
}

func (c *Client) decideKeys(ctx context.Context, authority event.AuthorityID, site event.SiteID, what string) (int, error) {
	var d Decided
	err := c.Send(ctx, http.MethodPost, below(authority, "keys", string(site), what), nil, &d, "")
	return d.Keys, err
}

// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/site"
)

// openFederation makes the node's own view of who belongs and who may hold what, from its pins and its read model.
func (n *node) openFederation(ctx context.Context, logger *slog.Logger) (err error) {
	n.sites, err = site.New(ctx, site.Config{
		Identity: n.id, Log: recorder{n}, Model: n.model, Ring: n.ring, Local: n.local, Federation: n.fed, Now: n.clock, Rand: n.rnd,
		Logger: logger, Heads: n.log.Heads, Fetch: func(ctx context.Context, peer event.SiteID) { n.w.step(ctx, n, n.w.node(peer)) },
	})
	if err != nil {
		return err
	}
	_, err = n.fold(ctx)
	return err
}

// fold brings the read model and what follows from it up to date, as the loops of a real site do.
func (n *node) fold(ctx context.Context) (folded int, err error) {
	if folded, err = n.model.CatchUp(ctx); err != nil {
		return folded, fmt.Errorf("fold at %v: %w", n, err)
	}
	changed, err := n.sites.Refresh(ctx)
	if err != nil {
		return folded, fmt.Errorf("refresh the view of %v: %w", n, err)
	}
	n.settled = true
	if changed {
		n.reconcile(ctx)
	}
	if err := n.showKeys(ctx); err != nil {
		return folded, fmt.Errorf("show the keys of %v: %w", n, err)
	}
	if err := n.sites.NameLogs(ctx); unexpected(err) != nil {
		return folded, fmt.Errorf("name the logs of removed sites at %v: %w", n, err)
	}
	left, err := n.leave(ctx)
	if err != nil {
		return folded, err
	}
	if left {
		folded++
	}
	return folded, nil
}

// reconcile brings the keyring in line with the policies.
func (n *node) reconcile(ctx context.Context) {
	if err := n.sites.Reconcile(ctx); err != nil {
		n.w.logf("%v cannot bring its keys in line: %v", n, err)
	}
}

func (n *node) describe() site.Description {
	return site.Description{
		Name: n.String(), Kind: site.Provider, Addresses: []string{n.String() + ".example:7443"},
		PortalURL: "https://" + n.String() + ".example",
	}
}

// assemble founds the federation at the first site, lets the others join it with invitations, and adds the authorities.
func (w *World) assemble(ctx context.Context) error {
	founder := w.nodes[0]
	if err := founder.start(ctx, false); err != nil {
		return err
	}
	if err := founder.sites.Found(ctx, founder.operator, founder.describe()); err != nil {
		return fmt.Errorf("found the federation: %w", err)
	}
	w.founded = w.now
	w.now = w.now.Add(time.Second)
	for _, n := range w.nodes[1:] {
		if err := w.admit(ctx, founder, n); err != nil {
			return fmt.Errorf("admit %v: %w", n, err)
		}
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	for _, a := range w.authorities {
		draft := site.AuthorityDraft{ID: a.id, NameDE: "Amt", NameEN: "Office", Sites: a.allowed}
		if err := w.node(a.allowed[0]).sites.AddAuthority(ctx, draft); err != nil {
			return fmt.Errorf("add %s: %w", a.id, err)
		}
		if err := w.settleIn(ctx, w.node(a.allowed[0]), a.id); err != nil {
			return fmt.Errorf("settle %s in: %w", a.id, err)
		}
	}
	return w.settle(ctx)
}

// admit lets a site join with an invitation of the founder, endorsed by a second operator where there is one.
func (w *World) admit(ctx context.Context, founder, n *node) error {
	token, err := founder.sites.Invite(ctx, n.String(), n.operator, 0)
	if err != nil {
		return err
	}
	d := n.describe()
	join := site.JoinConfig{
		Token: token, Identity: n.id, Now: n.clock, Kind: d.Kind, Addresses: d.Addresses, PortalURL: d.PortalURL,
		Request: func(ctx context.Context, _ event.SiteID, _ []string, body []byte) ([]byte, error) {
			return founder.sites.ServeJoin(ctx, n.site, body)
		},
	}
	answer, err := site.Join(ctx, join)
	if err == nil && answer.Pending {
		if err := w.endorse(ctx, founder, n); err != nil {
			return err
		}
		answer, err = site.Join(ctx, join)
	}
	if err != nil {
		return err
	}
	if err := site.Pin(ctx, n.local, answer); err != nil {
		return err
	}
	return n.start(ctx, false)
}

func (w *World) endorse(ctx context.Context, founder, n *node) error {
	if err := w.settle(ctx); err != nil {
		return err
	}
	for _, by := range w.living() {
		if by.operator == founder.operator {
			continue
		}
		if err := by.sites.Endorse(ctx, n.site); err != nil {
			return fmt.Errorf("endorse at %v: %w", by, err)
		}
		break
	}
	return w.settle(ctx)
}

// settle lets everybody who is up exchange everything, while nothing bad happens yet.
func (w *World) settle(ctx context.Context) error {
	for range 2 {
		if _, err := w.round(ctx); err != nil {
			return err
		}
	}
	return nil
}

// openLocal opens what stays on the node's machine.
func (n *node) openLocal() (err error) {
	n.local, err = localstore.Open(":memory:", n.clock)
	if err == nil {
		n.w.cleanup = append(n.w.cleanup, func() { _ = n.local.Close() })
	}
	return err
}

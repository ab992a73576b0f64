// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"context"

	"codeberg.org/holdfast/holdfast/event"
)

// announce tells the sites ranked after this one that it takes over when it has caught up, so that they do not take over
// meanwhile. It is said once: if nothing follows, they begin after their usual silence.
func (c *Caller) announce(ctx context.Context, v *vigil) {
	o := v.ongoing
	c.sign(ctx, v, KindCallerReported, CallerReported{Site: v.Self, Wave: o.Wave, Pending: o.Pending, CatchingUp: true})
}

// sign writes a sign of calling and reports whether the log has taken it.
func (c *Caller) sign(ctx context.Context, v *vigil, kind event.Kind, data any) bool {
	o := v.ongoing
	_, err := c.cfg.Log.Append(ctx, o.Authority, event.Operations, event.Draft{
		Subject: callerSubject(o.ID), Kind: kind, Actor: siteActor(v.Self), Mode: o.Raised.Mode, Data: data, Urgent: true,
	})
	if err != nil {
		c.cfg.Logger.Error("a sign of calling could not be written", "authority", o.Authority, "alarm", o.ID, "err", err)
	}
	return err == nil
}

// SPDX-License-Identifier: EUPL-1.2

package sim

import (
	"context"
	"log/slog"

	"codeberg.org/holdfast/holdfast/readmodel"
)

// domains are the real services at one site.
type domains struct{}

// alarms is what the simulator knows of the alarms that were raised.
type alarms struct{}

func (a *alarms) count() (raised, called int) { return 0, 0 }

func (w *World) folds() []readmodel.Fold { return []readmodel.Fold{noteFold()} }

func (n *node) openDomains(context.Context, *slog.Logger) error { return nil }

func (w *World) domainAction(ctx context.Context) error { return w.write(ctx) }

func (n *node) domainStep(context.Context) (bool, error) { return false, nil }

func (w *World) checkDomains(context.Context) error { return nil }

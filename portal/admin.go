// SPDX-License-Identifier: EUPL-1.2

package portal

import "codeberg.org/holdfast/holdfast/web"

// AdminConfig is what the pages of administration work with.
type AdminConfig struct{}

// adminRoutes are the pages of administration: accounts, roles, approvals, guests, programs, audit, policy, personal data.
func (p *Portal) adminRoutes() []web.Route { return nil }

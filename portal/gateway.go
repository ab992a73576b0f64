// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"slices"
	"strings"

	"codeberg.org/holdfast/holdfast/directory"
)

// gateway reports whether a site has a gateway for a channel. One that does not say is not counted as having none.
func (m Member) gateway(kind directory.ChannelKind) bool {
	return !m.Pending && (m.Channels == nil || slices.Contains(m.Channels, string(kind)))
}

// callsNobody reports whether none of the authority's sites has a gateway for any of the channels.
func (p *Portal) callsNobody(a authorityView, channels []directory.ChannelKind) bool {
	return !slices.ContainsFunc(channels, func(k directory.ChannelKind) bool { return len(p.gateways(a, k)) > 0 })
}

// gateways returns the names of the authority's sites that can hand over messages by a channel.
func (p *Portal) gateways(a authorityView, kind directory.ChannelKind) (names []string) {
	for _, m := range p.cfg.Federation.Members() {
		if slices.Contains(a.Sites, m.ID) && m.gateway(kind) {
			names = append(names, p.siteName(m.ID))
		}
	}
	return names
}

// gatewayWarning says by which of the channels nobody is called at all, or which sites call because this one cannot; nil if this
// site has a gateway for each.
func (p *Portal) gatewayWarning(t *texts, a authorityView, channels []directory.ChannelKind) *warningView {
	var nowhere, away, callers []string
	for _, k := range channels {
		sites := p.gateways(a, k)
		switch {
		case len(sites) == 0:
			nowhere = append(nowhere, t.t("channel."+string(k)))
		case !p.self().gateway(k):
			away, callers = append(away, t.t("channel."+string(k))), append(callers, sites...)
		}
	}
	slices.Sort(callers)
	and := " " + t.t("and") + " "
	rest := ""
	if len(away) > 0 {
		rest = t.t("gateway.away", strings.Join(away, and), strings.Join(slices.Compact(callers), ", "))
	}
	switch {
	case len(nowhere) > 0 && len(nowhere) == len(channels):
		return &warningView{Tone: "danger", Title: t.t("gateway.nobody"), Text: t.t("gateway.nobodytext", strings.Join(nowhere, " "+t.t("or")+" "))}
	case len(nowhere) > 0:
		return &warningView{Tone: "warning", Title: t.t("gateway.nowhere", strings.Join(nowhere, and)), Text: strings.TrimSpace(t.t("gateway.nowheretext") + " " + rest)}
	case rest != "":
		return &warningView{Tone: "info", Title: t.t("gateway.awaytitle"), Text: rest}
	}
	return nil
}

// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/site"
)

// Calls tells which of an authority's sites can hand over an alarm's messages, one entry for each channel that is wanted.
type Calls struct {
	Gateways []site.Gateway `json:"gateways"`
	// Warning is a sentence for people if a channel has no gateway here or at no site of the authority, "" otherwise.
	Warning string `json:"warning,omitempty"`
}

// calls returns who can hand over messages by these channels; empty channels mean all.
func (a *API) calls(authority event.AuthorityID, channels []directory.ChannelKind) Calls {
	if len(channels) == 0 {
		channels = []directory.ChannelKind{directory.SMS, directory.Email}
	}
	kinds := make([]string, 0, len(channels))
	for _, k := range channels {
		kinds = append(kinds, string(k))
	}
	c := Calls{Gateways: a.cfg.Federation.Gateways(authority, kinds...)}
	c.Warning = c.warning()
	return c
}

// warning says what is worst first.
func (c Calls) warning() string {
	var nowhere, away []string
	for _, g := range c.Gateways {
		switch {
		case len(g.Sites) == 0:
			nowhere = append(nowhere, g.Channel)
		case !g.Here:
			away = append(away, fmt.Sprintf("%s (%s)", g.Channel, sitesText(g.Sites)))
		}
	}
	switch {
	case len(nowhere) == len(c.Gateways):
		return fmt.Sprintf("NOBODY WILL BE CALLED: no site of this authority has a gateway for %s; configure one (channels in config.yaml)", strings.Join(nowhere, " or "))
	case len(nowhere) > 0:
		return fmt.Sprintf("no site of this authority has a gateway for %s: nobody is called by it", strings.Join(nowhere, " or "))
	case len(away) > 0:
		return "this site has no gateway for what these sites will call by: " + strings.Join(away, ", ")
	}
	return ""
}

// heldWarnings tells of the alarms that this site does not call for by itself: nothing that a person has raised is silently not called.
func (a *API) heldWarnings(ctx context.Context, authority event.AuthorityID) (out []string, err error) {
	list, err := a.cfg.Alarms.List(ctx, authority, time.Time{}, alarm.MaxList)
	for _, x := range list {
		if x.Held != alarm.NotHeld && len(out) < maxHeld {
			out = append(out, fmt.Sprintf("%s: alarm %s is held, %d of its people have not had their message: %s; 'holdfast alarm call %s --authority %s' calls them now",
				authority, x.ID, x.Due, x.Held.Reason(), x.ID, authority))
		}
	}
	return out, err
}

// maxHeld bounds how many held alarms of an authority are told one by one.
const maxHeld = 20

func sitesText(sites []event.SiteID) string {
	var names []string
	for _, s := range sites {
		names = append(names, s.Short())
	}
	return strings.Join(names, ", ")
}

// warnings returns what is wrong with the gateways of each authority that this site holds and the sender sees, and which of its
// alarms are held.
func (a *API) warnings(ctx context.Context, seen []site.Authority) (out []string, err error) {
	held := make(map[event.AuthorityID]bool)
	for _, id := range a.cfg.Federation.AuthorityIDs() {
		held[id] = true
	}
	for _, au := range seen {
		if !held[au.ID] {
			continue
		}
		if text := a.calls(au.ID, nil).Warning; text != "" {
			out = append(out, cmp.Or(au.NameDE, au.NameEN, string(au.ID))+": "+text)
		}
		alarms, err := a.heldWarnings(ctx, au.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, alarms...)
	}
	return out, nil
}

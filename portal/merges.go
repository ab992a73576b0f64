// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
	"slices"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/web"
)

// maxMerges bounds the page; the newest are shown.
const maxMerges = 200

func (p *Portal) showMerges(w http.ResponseWriter, r *http.Request) error {
	v, err := p.merges(r)
	if err != nil {
		return err
	}
	f := p.frame(r, "merges", p.texts(r).t("merges.title"))
	f.Live = "/events?of=merges"
	return p.render.page(w, http.StatusOK, f, "merges", v)
}

func (p *Portal) showMergesFragment(w http.ResponseWriter, r *http.Request) error {
	v, err := p.merges(r)
	if err != nil {
		return err
	}
	return p.render.bare(w, http.StatusOK, p.texts(r).language, "merges-live", v)
}

// underLinks leads to what was done under rights that had been withdrawn elsewhere, for those who may see it.
func (p *Portal) underLinks(r *http.Request, t *texts) (links []linkView) {
	who, _ := web.ActorOf(r.Context())
	for _, a := range p.ownAuthorities(t, who.Principal) {
		if p.may(r, a.ID, access.SeeRoles) {
			links = append(links, linkView{Name: t.t("under.title") + " – " + a.Name, URL: "/a/" + string(a.ID) + "/roles/withdrawn"})
		}
	}
	return links
}

func (p *Portal) merges(r *http.Request) (mergesView, error) {
	list, err := p.cfg.Model.Merges(r.Context())
	if err != nil {
		return mergesView{}, err
	}
	t := p.texts(r)
	names := map[event.AuthorityID]string{event.Federation: t.t("merges.federation")}
	for _, a := range p.cfg.Federation.Authorities() {
		names[a.ID] = authorityName(a, t.language)
	}
	slices.SortStableFunc(list, func(a, b readmodel.Merge) int { return b.ArrivedAt.Compare(a.ArrivedAt) })
	v := mergesView{Under: p.underLinks(r, t)}
	for _, m := range list {
		if m.Authority != event.Federation && !sees(r, m.Authority) {
			continue
		}
		if m.FirstCopy || len(v.Merges) == maxMerges {
			continue // the history given to a site that joins is no news to anybody
		}
		name := names[m.Authority]
		if name == "" {
			name = string(m.Authority)
		}
		v.Merges = append(v.Merges, mergeView{From: p.siteName(m.From), Authority: name, First: m.FirstWall, Last: m.LastWall,
			Arrived: m.ArrivedAt, Events: m.Events, Late: m.Late})
	}
	return v, nil
}

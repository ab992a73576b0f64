// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
	"regexp"
	"time"

	"codeberg.org/holdfast/holdfast/access"
)

// Whoever opens an alarm's page with a session that has ended signs in and comes to that page, not to the overview: at three in
// the morning nobody looks for the link again. The page is kept in a short-lived cookie of this browser.
const (
	cookieWanted = "wanted"
	wantedLife   = 10 * time.Minute
)

// wantedPath is what may be kept: a page of an authority, with plain ids and no query, so that nothing leads elsewhere.
var wantedPath = regexp.MustCompile(`^/(a/[a-z0-9-]+(/[a-z0-9-]+){0,4}|merges|account)$`)

// keepWanted remembers which page a stranger asked for.
func (p *Portal) keepWanted(w http.ResponseWriter, r *http.Request) {
	if len(r.URL.Path) <= 200 && wantedPath.MatchString(r.URL.Path) {
		p.setCookie(w, r, cookieWanted, r.URL.Path, wantedLife)
	}
}

// wanted returns where somebody goes who has just come in, and forgets it.
func (p *Portal) wanted(w http.ResponseWriter, r *http.Request, who access.Principal) string {
	path := p.readCookie(r, cookieWanted)
	if path != "" {
		p.setCookie(w, r, cookieWanted, "", 0)
	}
	if home := homeOf(who); home != "/" || !wantedPath.MatchString(path) {
		return home
	}
	return path
}

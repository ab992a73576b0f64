// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/web"
)

// cameParam marks the first page after a way in about which there is something to say. It says nothing by itself: what is shown is
// taken from the session.
const cameParam = "came"

// firstPage is where somebody goes who has come in; behind the ways that are meant for a bad day something is said there.
func firstPage(path string, who access.Principal) string {
	if who.Limited || who.Kind != access.Person || who.Way != access.ByCode && who.Way != access.ByVouching {
		return path
	}
	return path + "?" + url.Values{cameParam: {string(who.Way)}}.Encode()
}

// addCame adds to a frame what follows from the way in: how many codes are left, or how long this session lasts. A frame never
// fails.
func (p *Portal) addCame(r *http.Request, t *texts, f *frame) {
	a, ok := web.ActorOf(r.Context())
	if !ok || a.Limited || a.Kind != access.Person || r.URL.Query().Get(cameParam) != string(a.Way) {
		return
	}
	switch a.Way {
	case access.ByVouching:
		f.News = &warningView{Tone: "warning", Title: t.t("came.vouching", t.shortTime(a.Begun.Add(identity.VouchedSession))),
			Text: t.t("came.vouchingtext"), Link: linkView{t.t("came.vouchinggo"), "/account#passkeys"}}
	case access.ByCode:
		account, err := p.cfg.SignIn.Identity.Account(r.Context(), a.Authority, directory.PersonID(a.Principal.ID))
		if err != nil {
			return
		}
		f.News = &warningView{Tone: "info", Title: t.n("came.code", account.CodesLeft), Text: t.t("came.codetext"),
			Link: linkView{t.t("came.codego"), "/account#codes"}}
		if account.CodesLeft < identity.FewCodes {
			f.News.Tone = "warning"
		}
	}
}

// codeChars is how many characters a recovery code has, see package identity.
const codeChars = 24

// countedWrong says how many characters of a recovery code are missing or too many, nil if there are as many as there should be or
// none at all. It knows nothing of any code.
func countedWrong(t *texts, typed string) *wrongView {
	n := 0
	for _, r := range typed {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			n++
		}
	}
	switch {
	case n == 0 || n == codeChars || strings.TrimSpace(typed) == "":
		return nil
	case n < codeChars:
		return &wrongView{Message: t.n("signin.codeshort", codeChars-n), WayOut: t.t("signin.codecount", t.num(codeChars))}
	}
	return &wrongView{Message: t.n("signin.codelong", n-codeChars), WayOut: t.t("signin.codecount", t.num(codeChars))}
}

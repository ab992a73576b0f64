// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"net/http"
	"strings"

	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/web"
)

// errMadeAlready is returned for a form whose secret was made and shown before: it is kept nowhere, so it cannot be shown again.
var errMadeAlready = fault.New(fault.Conflict, "portal.made_already", "this was made already, and its secret was shown then and only then",
	"nothing was made a second time; open the list, and if nobody has noted the secret, make a new one there and end the other")

// makeOnce does what a form asks for that is answered with a secret, once: a browser that sends the form again must not make a
// second one unseen. It returns errMadeAlready for the same form sent again, and what web.Once and do return. The form has the
// page's key; another name in it is another wish.
func (p *Portal) makeOnce(r *http.Request, do func() error) error {
	who, _ := web.ActorOf(r.Context())
	scope := strings.Join([]string{"secret", r.URL.Path, who.ID, r.PostForm.Get("name"), r.PostForm.Get("incident"), r.PostForm.Get("kind")}, "\x00")
	first := false
	_, err := p.cfg.Once.Do(r.Context(), scope, r.PostForm.Get("key"), func() (string, error) {
		first = true
		return "made", do()
	})
	if err == nil && !first {
		return errMadeAlready
	}
	return err
}

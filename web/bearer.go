// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"context"
	"net/http"
	"strings"

	"codeberg.org/holdfast/holdfast/access"
)

// Programs knows the tokens of programs: a program.Service.
type Programs interface {
	Authenticate(ctx context.Context, token string) (access.Principal, error)
}

// Bearer is an Authenticator for programs, which send a token in the Authorization header (RFC 6750), and for everybody else
// by Otherwise.
type Bearer struct {
	Programs  Programs
	Otherwise Authenticator
	// Attempts bounds wrong tokens by sender. May be nil.
	Attempts *Attempts
}

// Authenticate returns the program whose token the request carries, or asks Otherwise if it carries none.
func (b Bearer) Authenticate(r *http.Request) (Actor, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return b.Otherwise.Authenticate(r)
	}
	token, ok := strings.CutPrefix(header, "Bearer ")
	if !ok || len(token) > maxToken {
		return Actor{}, ErrSignIn
	}
	p, err := b.Programs.Authenticate(r.Context(), token)
	if err != nil {
		if b.Attempts != nil {
			if often := b.Attempts.Allow(r); often != nil {
				return Actor{}, often
			}
		}
		return Actor{}, err
	}
	return ActorFor(p), nil
}

// Renew renews a browser's session through Otherwise; tokens of programs are not renewed.
func (b Bearer) Renew(w http.ResponseWriter, r *http.Request, a Actor) {
	if renewer, ok := b.Otherwise.(interface {
		Renew(http.ResponseWriter, *http.Request, Actor)
	}); ok {
		renewer.Renew(w, r, a)
	}
}

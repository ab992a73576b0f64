// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"context"
	"net/http"

	"golang.org/x/text/language"
)

// Language is one of the languages that pages are written in.
type Language string

// The languages. German comes first: it is given when a browser asks for neither.
const (
	German  Language = "de"
	English Language = "en"
)

// Valid reports whether there are pages in l.
func (l Language) Valid() bool { return l == German || l == English }

var matcher = language.NewMatcher([]language.Tag{language.German, language.English})

type languageKey struct{}

// LanguageOf returns the language chosen for the request; German if none was.
func LanguageOf(ctx context.Context) Language {
	if l, ok := ctx.Value(languageKey{}).(Language); ok {
		return l
	}
	return German
}

// withLanguage chooses by ?lang, then by the cookie that an earlier ?lang has left, then by Accept-Language.
func withLanguage(behindTLS bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := Language(r.URL.Query().Get("lang"))
		if l.Valid() {
			secure := behindTLS || r.TLS != nil
			name := languageCookies[1]
			if secure {
				name = languageCookies[0]
			}
			http.SetCookie(w, &http.Cookie{Name: name, Value: string(l), Path: "/", MaxAge: 365 * 24 * 3600,
				HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode})
		} else {
			l = remembered(r)
		}
		w.Header().Add("Vary", "Accept-Language, Cookie")
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), languageKey{}, l)))
	})
}

// languageCookies are the names of the cookie that remembers the language: with the prefix that browsers take through TLS only,
// and without it.
var languageCookies = [2]string{"__Host-lang", "lang"}

// ChosenBefore returns the language that somebody chose by hand some time ago, "" if nobody did.
func ChosenBefore(r *http.Request) Language {
	for _, name := range languageCookies {
		if c, err := r.Cookie(name); err == nil && Language(c.Value).Valid() {
			return Language(c.Value)
		}
	}
	return ""
}

func remembered(r *http.Request) Language {
	if l := ChosenBefore(r); l.Valid() {
		return l
	}
	accept := r.Header.Get("Accept-Language")
	if accept == "" || len(accept) > 500 {
		return German
	}
	tags, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		return German
	}
	if _, i, confidence := matcher.Match(tags...); confidence > language.No && i == 1 {
		return English
	}
	return German
}

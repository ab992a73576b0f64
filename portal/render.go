// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/web"
)

//go:embed templates
var templateFiles embed.FS

//go:embed assets/admin.css assets/kern.css assets/holdfast.css assets/reply.css assets/live.js assets/passkey.js assets/holdfast.svg
var assetFiles embed.FS

// renderer turns views into pages, in every language.
type renderer struct {
	texts  map[web.Language]*texts
	pages  map[web.Language]*template.Template
	assets *web.Assets
}

func newRenderer(zone *time.Location) (*renderer, error) {
	all, err := loadTexts(zone)
	if err != nil {
		return nil, err
	}
	assets, err := loadAssets()
	if err != nil {
		return nil, err
	}
	r := &renderer{texts: all, pages: map[web.Language]*template.Template{}, assets: assets}
	for l, t := range all {
		p, err := template.New("").Funcs(r.funcs(t)).ParseFS(templateFiles, "templates/*.html")
		if err != nil {
			return nil, fmt.Errorf("read the templates: %w", err)
		}
		r.pages[l] = p
	}
	return r, nil
}

// funcs are the words that templates are written in.
func (r *renderer) funcs(t *texts) template.FuncMap {
	return template.FuncMap{
		"T":            t.t,
		"N":            t.n,
		"Num":          t.num,
		"Clock":        t.clock,
		"DateTime":     t.dateTime,
		"Date":         t.date,
		"ISO":          func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
		"Asset":        r.assets.Path,
		"Languages":    func() []web.Language { return languages },
		"LanguageName": func(l any) string { return t.t("language." + fmt.Sprint(l)) },
		"ModeWord":     func(m event.Mode) string { return t.t("mode." + string(m)) },
		"ModeMeaning":  func(m event.Mode) string { return t.t("mode." + string(m) + ".meaning") },
		"ModeIcon":     modeIcon,
		"spelled":      func(s string) []string { return strings.Split(s, "-") },
		"nothing":      func() codeView { return codeView{} },
		"kind":         func(kind string) string { return "program.kind." + kind },
	}
}

// modeIcon gives every mode a shape of its own.
func modeIcon(m event.Mode) string {
	switch m {
	case event.Actual:
		return "danger"
	case event.Exercise:
		return "info"
	}
	return "help"
}

// frame is what stands around every page.
type frame struct {
	Lang        web.Language
	Title       string
	Path        string // of this page, with its query, for changing the language
	Nav         string
	SignedIn    bool
	Limited     bool     // a session that serves to enrol
	Person      bool     // somebody of an authority, with an account
	Console     bool     // whoever holds the machine
	Home        string   // where whoever is signed in begins
	Who         *whoView // nil for a stranger
	Apart       []apartView
	Script      bool   // the page uses passkey.js
	Site        string // this site's name
	Authority   *authorityView
	Authorities []authorityView
	Mode        event.Mode
	Saved       *savedView
	News        *warningView // what follows from the way in
	Live        string       // path of the event stream, "" for a page that stands still
	Content     template.HTML

	may map[access.Permission]access.Verdict
}

// May reports whether whoever is signed in may do something, in their own authority; at the console in all.
func (f frame) May(need access.Permission) bool {
	_, may := f.may[need]
	return may
}

// Near returns the authority whose pages the navigation leads to: the page's own, or the only one there is.
func (f frame) Near() *authorityView {
	if f.Authority == nil && len(f.Authorities) == 1 {
		return &f.Authorities[0]
	}
	return f.Authority
}

// LanguagePath returns this page's path in another language.
func (f frame) LanguagePath(l web.Language) string {
	u, err := url.Parse(f.Path)
	if err != nil {
		return "/?lang=" + string(l)
	}
	q := u.Query()
	q.Set("lang", string(l))
	u.RawQuery = q.Encode()
	return u.String()
}

// page renders the named template into the frame and answers with it.
func (r *renderer) page(w http.ResponseWriter, status int, f frame, name string, view any) error {
	content, err := r.render(f.Lang, name, view)
	if err != nil {
		return err
	}
	f.Content = template.HTML(content) // made by html/template one line above
	whole, err := r.render(f.Lang, "layout", f)
	if err != nil {
		return err
	}
	write(w, status, whole)
	return nil
}

// bare answers with a template that has its own frame, or that is a fragment.
func (r *renderer) bare(w http.ResponseWriter, status int, l web.Language, name string, view any) error {
	b, err := r.render(l, name, view)
	if err != nil {
		return err
	}
	write(w, status, b)
	return nil
}

// render renders completely before a byte is sent, so that an error becomes an error page and not half a page.
func (r *renderer) render(l web.Language, name string, view any) ([]byte, error) {
	var b bytes.Buffer
	if err := r.pages[l].ExecuteTemplate(&b, name, view); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return b.Bytes(), nil
}

func write(w http.ResponseWriter, status int, b []byte) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b) // fails only if the client is gone
}

// errorView is what the error page shows.
type errorView struct {
	Title, Message, WayOut, Code, Tone, Back string
	Elsewhere                                []linkView
}

func (r *renderer) errorView(l web.Language, f *fault.Fault, elsewhere []linkView) errorView {
	t := r.texts[l]
	message, wayOut := t.fault(f)
	v := errorView{Title: t.t("error.title." + string(f.Kind)), Message: message, WayOut: wayOut, Code: f.Code, Tone: "warning",
		Back: "/", Elsewhere: elsewhere}
	if f.Kind == fault.Internal || f.Kind == fault.Exhausted {
		v.Tone = "danger"
	}
	if f.Kind == fault.Unauthenticated {
		v.Back = "/signin"
	}
	return v
}

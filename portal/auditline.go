// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/deed"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// otherDeeds are those of the audit's deeds that are no permission.
var otherDeeds = []string{"signin", "signout", "signin.link", "site.remove", deed.NoteAsk, "approval.give", "approval.refuse", "audit.export", "policy.provider",
	"account.invite", "account.remind", "account.signout", "account.warn", "passkey.remove", "role.withdraw", "guest.renew", "guest.away",
	"program.withdraw", "alarm.preview", "alarm.call", "guest.see", "program.see", "erasure.see", "account.invite.see", "role.grant.see", "person.erase.see",
	"keys.release", "keys.reject", audit.DeedOthers, audit.DeedExpire}

// deedText says what was done. A deed that this program does not know is shown as it is called there.
func deedText(t *texts, d string) string { return wordOr(t, "audit.deed."+d, wordOr(t, "may."+d, d)) }

// lineText says what a line is about. What was seen is not said in the words of what was done.
func lineText(t *texts, l audit.Line) string {
	if l.Outcome == audit.Seen {
		return wordOr(t, "audit.seen."+l.Deed, t.t("audit.seen")+": "+deedText(t, l.Deed))
	}
	return deedText(t, l.Deed)
}

func wordOr(t *texts, key, otherwise string) string {
	if _, ok := t.words[key]; !ok {
		return otherwise
	}
	return t.t(key)
}

type auditRow struct {
	At, Since     time.Time
	Deed          string
	Who           actorView
	AskedBy       *actorView // who had asked for what Who approved
	Way           string
	Objects       []objectView
	From          string
	Site          string
	Refused       bool
	Code          string
	Count         int
	Grant         string
	FromErased    bool
	FromPseudonym bool
}

// objectView is something that a deed was about: a person by name, or a word.
type objectView struct {
	nameView
	Text string // "" for a person
	Path string // "" if there is no page of it
}

// lineBook makes the views of lines. It knows the names that they need.
type lineBook struct {
	grantsSeen
	p      *Portal
	o      office
	grants map[string]access.Grant
}

// linesOf reads what lines may name, as far as whoever looks may see it.
func (p *Portal) linesOf(ctx context.Context, o office) (lineBook, error) {
	seen, err := p.grantsSeen(ctx, o)
	a := lineBook{grantsSeen: seen, p: p, o: o, grants: map[string]access.Grant{}}
	if _, may := o.may[access.SeeRoles]; err != nil || !may {
		return a, err
	}
	list, err := p.cfg.Admin.Rights.Grants(ctx, o.ID)
	for _, g := range list {
		a.grants[g.ID] = g
	}
	return a, err
}

func (a lineBook) row(ctx context.Context, l audit.Line) (row auditRow, err error) {
	row = auditRow{At: l.At, Since: l.Since, Deed: lineText(a.o.t, l), From: l.From, Site: a.p.siteName(l.Site),
		Refused: l.Outcome == audit.Refused, Code: l.Code, Count: l.Count, Grant: a.grantText(l.Grant), FromErased: l.Readable == audit.Erased,
		FromPseudonym: l.Readable == audit.Pseudonym}
	if l.Way != "" && l.Way != string(access.ByConsole) { // the actor says that already
		row.Way = wordOr(a.o.t, "way."+l.Way, l.Way)
	}
	if row.Who, err = a.names.actor(ctx, l.Actor); err != nil {
		return row, err
	}
	subjects, path := objectsIn(l.Object)
	if i := slices.Index(subjects, deed.WordAsked); i >= 0 && i+1 < len(subjects) {
		asker, err := a.names.actor(ctx, subjects[i+1])
		if err != nil {
			return row, err
		}
		row.AskedBy, subjects = &asker, slices.Delete(subjects, i, i+2)
	}
	row.Objects, err = a.objects(ctx, l, subjects, path)
	return row, err
}

// grantText names the right that a deed rested on by its role, or shortens its id where the role is not known here.
func (a lineBook) grantText(id string) string {
	g, known := a.grants[id]
	if !known {
		return id[:min(8, len(id))]
	}
	return a.o.t.t("role." + string(g.Role))
}

// objects says in words what a line is about. Whatever it cannot say in words it leaves as it is.
func (a lineBook) objects(ctx context.Context, l audit.Line, tokens []string, path string) ([]objectView, error) {
	var out []objectView
	for _, token := range tokens {
		if token == l.Actor && len(tokens) == 1 {
			continue // somebody's own account
		}
		v, err := a.object(ctx, token)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	if path != "" {
		out = []objectView{{Text: path}}
	}
	return out, nil
}

var (
	authorityPath = regexp.MustCompile(`^(?:/a|/api/v1/authorities)/[^/]+/?`)
	objectID      = regexp.MustCompile(`^[0-9a-f]{8,64}$`)
)

// ofPath are the kinds of things by the word before their id in a path.
var ofPath = map[string]string{"people": "person", "accounts": "person", "alarms": "alarm", "roles": "grant", "approvals": "approval",
	"guests": "guest", "programs": "program"}

// objectsIn returns the subjects that an object names: those that a handler has told, or those that a path of an authority leads
// to; the deed says which page it was. rest is any other path.
func objectsIn(object string) (tokens []string, rest string) {
	if !strings.HasPrefix(object, "/") {
		if n, ok := strings.CutSuffix(object, " persons"); ok {
			return []string{"persons/" + n}, ""
		}
		return strings.Fields(object), ""
	}
	prefix := authorityPath.FindString(object)
	if prefix == "" {
		return nil, object
	}
	parts := strings.Split(object[len(prefix):], "/")
	for i, id := range parts {
		if i > 0 && ofPath[parts[i-1]] != "" && objectID.MatchString(id) {
			tokens = append(tokens, ofPath[parts[i-1]]+"/"+id)
		}
	}
	return tokens, ""
}

// object says one subject in words.
func (a lineBook) object(ctx context.Context, token string) (objectView, error) {
	t := a.o.t
	kind, id, _ := strings.Cut(token, "/")
	short := id[:min(8, len(id))]
	switch kind {
	case "person", "account":
		return a.personObject(ctx, directory.PersonID(id))
	case "persons":
		n, _ := strconv.Atoi(id)
		return objectView{Text: t.n("audit.persons", n)}, nil
	case "unit":
		return objectView{Text: known(t, a.units, directory.UnitID(id))}, nil
	case "function":
		return objectView{Text: known(t, a.functions, directory.FunctionID(id))}, nil
	case "alarm":
		return objectView{Text: t.t("audit.about.alarm") + " " + short, Path: a.o.path("alarms", id)}, nil
	case "approval":
		return objectView{Text: t.t("approval.title") + " " + short, Path: a.o.path("approvals", id)}, nil
	case "grant":
		return a.grantObject(id), nil
	case "guest", "program":
		return objectView{Text: t.t("actor."+kind) + " " + short}, nil
	case "policy":
		return objectView{Text: t.t("policy.title"), Path: a.o.path("policy")}, nil
	case "site":
		return objectView{Text: t.t("audit.about.site", a.p.siteNamed(id))}, nil
	case "auditkey":
		if n, err := strconv.Atoi(id); err == nil {
			return objectView{Text: t.n("policy.days", n)}, nil
		}
	}
	return objectView{Text: wordOr(t, "role."+token, deedText(t, token))}, nil
}

// personObject names a person, to whoever may see people.
func (a lineBook) personObject(ctx context.Context, id directory.PersonID) (v objectView, err error) {
	if _, may := a.o.may[access.SeePeople]; !may {
		return objectView{Text: a.o.t.t("audit.about.person") + " " + string(id)[:min(8, len(id))]}, nil
	}
	v.Path = a.o.path("people", string(id))
	v.nameView, err = a.names.person(ctx, id)
	return v, err
}

func (a lineBook) grantObject(id string) objectView {
	v := objectView{Text: a.o.t.t("roles.role") + " " + id[:min(8, len(id))]}
	if g, known := a.grants[id]; known {
		v.Text = a.o.t.t("role." + string(g.Role))
	}
	return v
}

// siteNamed returns the name of a site by its id or the beginning of it with which the audit names it.
func (p *Portal) siteNamed(short string) string {
	for _, m := range p.cfg.Federation.Members() {
		if string(m.ID) == short || m.ID.Short() == short {
			return p.siteName(m.ID)
		}
	}
	return event.SiteID(short).Short()
}

// maxAbout bounds the people whom a line of the audit names; the facts name all.
const maxAbout = 6

// aboutPersons is how the audit names those whom a deed is about.
func aboutPersons(ids ...directory.PersonID) []string {
	if len(ids) > maxAbout {
		return []string{strconv.Itoa(len(ids)) + " persons"}
	}
	about := make([]string, len(ids))
	for i, id := range ids {
		about[i] = actorOf(id)
	}
	return about
}

// aboutGrant is how the audit names who is to get, or to lose, which role.
func aboutGrant(role access.Role, person directory.PersonID, function directory.FunctionID, unit directory.UnitID) []string {
	about := []string{string(role), "person/" + string(person), "function/" + string(function), "unit/" + string(unit)}
	return slices.DeleteFunc(about, func(s string) bool { return strings.HasSuffix(s, "/") })
}

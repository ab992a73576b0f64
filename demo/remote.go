// SPDX-License-Identifier: EUPL-1.2

package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/site"
)

// remote asks one site over its operator's socket, as 'holdfast' commands do.
type remote struct{ client *api.Client }

func newRemote(data string) *remote {
	return &remote{client: api.NewClient(data)}
}

func (r *remote) invite(ctx context.Context, name, operator string) (string, error) {
	return r.client.Invite(ctx, name, operator, 0)
}

func (r *remote) admit(ctx context.Context, id event.SiteID) error {
	a, err := r.client.Admit(ctx, id)
	if err == nil && !a.Member {
		err = errors.New("one more operator is needed")
	}
	return err
}

func (r *remote) members(ctx context.Context) (int, error) {
	s, err := r.client.Status(ctx)
	return len(s.Members), err
}

func (r *remote) addAuthority(ctx context.Context, a authority, sites []event.SiteID) error {
	return r.client.AddAuthority(ctx, site.AuthorityDraft{ID: a.id, NameDE: a.nameDE, NameEN: a.nameEN, Sites: sites})
}

func (r *remote) importPeople(ctx context.Context, a authority, file []byte) (int, error) {
	report, err := r.client.Import(ctx, a.id, directory.ImportOptions{Format: a.format}, bytes.NewReader(file))
	return report.Added, err
}

func (r *remote) raise(ctx context.Context, a authority, ranking []*station) (api.RaisedAlarm, error) {
	draft := api.AlarmDraft{
		TextDE: "Übung: Die IT des Hauses ist ausgefallen. Bitte melden Sie sich mit einem Tipp auf den Link.",
		TextEN: "Exercise: the IT of the house is down. Please reply with one tap on the link.",
		Mode:   event.Exercise, Audience: directory.Audience{Everyone: true},
	}
	for _, s := range ranking {
		draft.Ranking = append(draft.Ranking, s.id)
	}
	return r.client.Raise(ctx, a.id, draft, rand.Text())
}

// pending returns how many hand-overs of the alarm are still due, as this site knows it.
func (r *remote) pending(ctx context.Context, al raised) (int, error) {
	b, err := r.client.Board(ctx, al.authority.id, al.id)
	due := b.Total.DueCall
	for _, c := range b.Channels {
		due += c.DueCall
	}
	return due, err
}

// replies adds the replies that the site has to have, by alarm and person.
func (r *remote) replies(ctx context.Context, al raised, have map[string]string) error {
	for _, status := range []alarm.Status{alarm.StatusComing, alarm.StatusCannot, alarm.StatusSafe} {
		var after directory.PersonID
		for {
			lines, err := r.client.AlarmPeople(ctx, al.authority.id, al.id, status, after, alarm.MaxList)
			if err != nil {
				return err
			}
			if len(lines) == 0 {
				break
			}
			for _, l := range lines {
				have[string(al.id)+"/"+string(l.Person)] = string(l.Reply.Kind)
			}
			after = lines[len(lines)-1].Person
		}
	}
	return nil
}

// stateHash returns the site's hash over its stored rows; an error while it knows of pages that it lacks or has not
// folded.
func (r *remote) stateHash(ctx context.Context) (string, error) {
	s, err := r.client.State(ctx)
	if err == nil && s.BehindPages > 0 {
		err = errors.New("the site is still folding")
	}
	return s.Hash, err
}

// merged counts the events that came in late at this site.
func (r *remote) merged(ctx context.Context) (int, error) {
	merges, err := r.client.Merges(ctx)
	n := 0
	for _, m := range merges {
		if !m.FirstCopy {
			n += m.Events
		}
	}
	return n, err
}

func (r *remote) signIn(ctx context.Context) (string, error) { return r.client.SignInLink(ctx) }

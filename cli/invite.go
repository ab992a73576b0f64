// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/sheet"
	"codeberg.org/holdfast/holdfast/site"
)

// maxAtOnce is how many people one request may name, and how many letters one file may hold.
const maxAtOnce = sheet.MaxLetters

// inviteFlags say whom to invite, and what becomes of the addresses.
type inviteFlags struct {
	unit, letters string
	all, send     bool
	hours         int
}

func (s *shell) inviteAccounts(authority func() event.AuthorityID) *cobra.Command {
	var f inviteFlags
	c := &cobra.Command{
		Use: "invite [PERSON...]", Short: "Invite people to enrol: named ones, or all of a unit or authority who have no account", Args: cobra.ArbitraryArgs,
		Long: "Whoever has an invitation's address may enrol as the person. --letters writes a PDF with one page per person to hand out;\n" +
			"without it the addresses are printed. More than 500 people make several files: out.pdf, out-2.pdf, ...",
		RunE: func(c *cobra.Command, args []string) error {
			people, err := s.invited(c.Context(), authority(), f, args)
			if err != nil {
				return err
			}
			return s.inviteAll(c.Context(), authority(), f, people)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.unit, "unit", "", "everybody of this unit and below who has no account and no invitation (id or name)")
	fl.BoolVar(&f.all, "all", false, "everybody of the authority who has no account and no invitation")
	fl.StringVar(&f.letters, "letters", "", "write letters to this PDF")
	fl.BoolVar(&f.send, "send", false, "send the addresses to the people, by the channels that the directory knows")
	fl.IntVar(&f.hours, "hours", 0, "how long the invitations are good; default: two weeks")
	return c
}

// invited returns who is to be invited, each once.
func (s *shell) invited(ctx context.Context, authority event.AuthorityID, f inviteFlags, words []string) ([]directory.PersonID, error) {
	if len(words) == 0 && !f.all && f.unit == "" {
		return nil, fmt.Errorf("%w: name people, a --unit, or --all", errUsage)
	}
	people, err := s.pickPeople(ctx, authority, words)
	if err != nil || !f.all && f.unit == "" {
		return slices.Compact(slices.Sorted(slices.Values(people))), err
	}
	without, err := s.withoutAccount(ctx, authority)
	if err != nil {
		return nil, err
	}
	if !f.all {
		of, err := s.peopleOf(ctx, authority, f.unit)
		if err != nil {
			return nil, err
		}
		without = slices.DeleteFunc(without, func(id directory.PersonID) bool { return !of[id] })
	}
	people = append(people, without...)
	slices.Sort(people)
	return slices.Compact(people), nil
}

func (s *shell) withoutAccount(ctx context.Context, authority event.AuthorityID) (ids []directory.PersonID, err error) {
	f := api.AccountFilter{State: "none", Limit: maxAtOnce}
	for {
		page, err := s.site().Accounts(ctx, authority, f)
		if err != nil {
			return nil, err
		}
		for _, a := range page.Accounts {
			ids = append(ids, a.Person.ID)
		}
		if len(page.Accounts) < f.Limit {
			return ids, nil
		}
		f.After = page.Accounts[len(page.Accounts)-1].Person.ID
	}
}

func (s *shell) peopleOf(ctx context.Context, authority event.AuthorityID, unit string) (map[directory.PersonID]bool, error) {
	id, err := s.pickUnit(ctx, authority, unit)
	if err != nil {
		return nil, err
	}
	of := make(map[directory.PersonID]bool)
	search := directory.Search{Unit: id, Limit: maxAtOnce}
	for {
		page, err := s.site().People(ctx, authority, search)
		if err != nil {
			return nil, err
		}
		for _, p := range page.People {
			of[p.ID] = true
		}
		if len(page.People) < search.Limit {
			return of, nil
		}
		search.After = page.People[len(page.People)-1].ID
	}
}

// inviteAll invites in parts. Files are opened before anybody is invited: an address that cannot be written down is lost.
func (s *shell) inviteAll(ctx context.Context, authority event.AuthorityID, f inviteFlags, people []directory.PersonID) (err error) {
	if len(people) == 0 {
		return fault.New(fault.NotFound, "cli.nobody", "everybody there has an account or an invitation already", "name people to invite them again")
	}
	var named site.Authority
	if f.letters != "" {
		if named, err = s.authorityNamed(ctx, authority); err != nil {
			return err
		}
	}
	parts := slices.Collect(slices.Chunk(people, maxAtOnce))
	if err := f.free(len(parts)); err != nil {
		return err
	}
	out := invitations{AccountInvitations: api.AccountInvitations{Invitations: []api.AccountInvitation{}}}
	for part, ids := range parts {
		done, err := s.invitePart(ctx, named, authority, f, part, ids)
		if err != nil {
			for _, l := range out.Files {
				fmt.Fprintf(s.err, "Invited before that: %s in %s\n", count(l.Letters, "letter"), l.File)
			}
			return err
		}
		if f.letters != "" {
			out.Files = append(out.Files, letterFile{partOf(f.letters, part), len(done.Invitations)})
		}
		out.Invitations, out.Sent, out.Written = append(out.Invitations, done.Invitations...), out.Sent+done.Sent, done.Written
	}
	return s.showInvitations(f, out)
}

// invitations are what is told of inviting: with letters, where they are, and no addresses.
type invitations struct {
	api.AccountInvitations
	Files []letterFile `json:"files,omitempty"`
}

type letterFile struct {
	File    string `json:"file"`
	Letters int    `json:"letters"`
}

// free refuses before anybody is invited if one of the files is there already.
func (f inviteFlags) free(parts int) error {
	for part := range parts {
		path := partOf(f.letters, part)
		if _, err := os.Lstat(path); f.letters != "" && err == nil {
			return errExists(path)
		}
	}
	return nil
}

func (s *shell) invitePart(ctx context.Context, named site.Authority, authority event.AuthorityID, f inviteFlags, part int, ids []directory.PersonID) (done api.AccountInvitations, err error) {
	d := api.AccountInvitationDraft{Persons: ids, Hours: f.hours, Send: f.send}
	if f.letters == "" {
		return s.site().InviteAccounts(ctx, authority, d)
	}
	file, err := newFile(partOf(f.letters, part))
	if err != nil {
		return done, err
	}
	defer func() { err = finish(file, err) }()
	if done, err = s.site().InviteAccounts(ctx, authority, d); err != nil {
		return done, err
	}
	pdf, err := sheet.Invitations(letters(named, done.Invitations))
	if err != nil {
		return done, err
	}
	_, err = file.Write(pdf)
	return done, err
}

// partOf returns the name of the n-th file, counted from 0.
func partOf(path string, n int) string {
	if n == 0 {
		return path
	}
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ext), n+1, ext)
}

func letters(named site.Authority, list []api.AccountInvitation) []sheet.InvitationLetter {
	out := make([]sheet.InvitationLetter, 0, len(list))
	for _, i := range list {
		name := named.NameDE
		if i.Language == directory.English && named.NameEN != "" {
			name = named.NameEN
		}
		out = append(out, sheet.InvitationLetter{Lang: string(i.Language), Person: i.Name, Authority: name, URL: i.URL, Expires: i.Expires})
	}
	return out
}

func (s *shell) authorityNamed(ctx context.Context, id event.AuthorityID) (site.Authority, error) {
	list, err := s.site().Authorities(ctx)
	for _, a := range list {
		if a.ID == id {
			return a, nil
		}
	}
	return site.Authority{ID: id, NameDE: string(id)}, err
}

func (s *shell) showInvitations(f inviteFlags, out invitations) error {
	if f.letters != "" {
		for i := range out.Invitations {
			out.Invitations[i].URL = "" // it is in the letters
		}
	}
	return s.show(out, func() {
		if f.letters == "" {
			for _, i := range out.Invitations {
				s.say("%s  %s  %s", i.Person, i.URL, i.Name)
			}
			fmt.Fprintln(s.err, "Whoever has one of these addresses can enrol as that person. Hand them over by a way that you trust, and keep no copy.")
		} else {
			for _, l := range out.Files {
				s.say("%s: %s", l.File, count(l.Letters, "letter"))
			}
			s.say("Print every letter, hand them over, and delete %s.", map[bool]string{true: "the file", false: "all of these files"}[len(out.Files) == 1])
		}
		s.say("Invited: %d. %s", len(out.Invitations), safety(out.Written))
		if f.send {
			s.say("Sent to %d of them.", out.Sent)
		}
	})
}

// SPDX-License-Identifier: EUPL-1.2

package site

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/seal"
)

const nordtal event.AuthorityID = "lk-nordtal"

func TestASiteFoundsOnceAndIsItsOnlyMember(t *testing.T) {
	w := newWorld(t)
	a := w.site("a")
	if _, err := a.Invite(w.ctx, "b", "Südwerk", 0); !errors.Is(err, ErrNotMember) {
		t.Errorf("a site without a federation invites: %v", err)
	}
	must(t, a.Found(w.ctx, "Nordwerk", a.describe()))
	if err := a.Found(w.ctx, "Nordwerk", a.describe()); !errors.Is(err, ErrFounded) {
		t.Errorf("got %v, want ErrFounded", err)
	}
	w.wantMembers(a)
	m, _ := a.Federation.MemberOf(a.id.Site())
	if !m.Self || m.Operator != "Nordwerk" || a.Federation.Founder() != a.id.Site() {
		t.Errorf("got %+v", m)
	}
}

func TestAdmittingTakesTwoOperatorsOnceTwoExist(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	w.wantMembers(a, b, c)

	// The operator that invites does not become two by running two sites or by another spelling.
	a2 := w.site("a2")
	token := a.invite("NORDWERK")
	answer, err := a2.join(token)
	must(t, err)
	if !answer.Pending || answer.Needed != 2 || !slices.Equal(answer.Endorsed, []string{"Nordwerk"}) {
		t.Errorf("got %+v", answer)
	}
	w.exchange()
	if a2.Federation.Member(a2.id.Site()) || a.Federation.Member(a2.id.Site()) || len(answer.Members) != 0 {
		t.Error("a pending site is a member of something")
	}
	if err := a2.Endorse(w.ctx, a2.id.Site()); !errors.Is(err, ErrNotMember) {
		t.Errorf("a pending site endorses itself: %v", err)
	}
	if err := b.Endorse(w.ctx, "nobody"); !errors.Is(err, ErrNotPending) {
		t.Errorf("got %v, want ErrNotPending", err)
	}
	must(t, c.Endorse(w.ctx, a2.id.Site()), c.Endorse(w.ctx, a2.id.Site()))
	w.exchange()
	a2.enter(token)
	w.exchange()
	w.wantMembers(a, b, c, a2)
	if a.Federation.Operator(a.id.Site()) != a.Federation.Operator(a2.id.Site()) {
		t.Error("two sites of one operator count as two operators")
	}
}

func TestAnInvitationIsForOneSite(t *testing.T) {
	w := newWorld(t)
	a, b, thief := w.site("a"), w.site("b"), w.site("thief")
	must(t, a.Found(w.ctx, "Nordwerk", a.describe()))
	token := a.invite("Südwerk")
	b.enter(token)
	if _, err := thief.join(token); !errors.Is(err, ErrTokenUsed) {
		t.Errorf("got %v, want ErrTokenUsed", err)
	}
	w.now = w.now.Add(48 * time.Hour)
	if answer, err := b.join(token); err != nil || answer.Pending {
		t.Errorf("a site that asks again after a lost answer is refused: %+v, %v", answer, err)
	}
	if _, err := thief.join(token); !errors.Is(err, ErrTokenUsed) {
		t.Errorf("got %v, want ErrTokenUsed", err)
	}
}

func TestRefusedInvitationsSayWhatToDo(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a"), w.site("b")
	must(t, a.Found(w.ctx, "Nordwerk", a.describe()))
	token := a.invite("Südwerk")
	payload, signature, _ := strings.Cut(token, ".")
	other := a.invite("Südwerk")
	otherPayload, _, _ := strings.Cut(other, ".")
	foreign := foreignToken(t, w, a, token)

	tests := []struct {
		name  string
		token string
		set   func()
		want  error
		says  string
	}{
		{"malformed", "hello", nil, ErrTokenMalformed, "copy the whole text"},
		{"cut off", token[:len(token)/2], nil, ErrTokenMalformed, "copy the whole text"},
		{"another's signature", otherPayload + "." + signature, nil, ErrTokenSignature, "ask the inviting operator"},
		{"not from the site that it names", foreign, nil, ErrTokenExpired, "no longer knows it"},
		{"clock ahead", token, func() { b.skew = 10 * time.Minute }, ErrClock, "10m0s ahead of the other"},
		{"clock behind", token, func() { b.skew = -240 * time.Hour }, ErrClock, "240h0m0s behind the other"},
		{"expired", token, func() { w.now = w.now.Add(DefaultTTL) }, ErrTokenExpired, "by the inviting site's clock"},
		{"expired and clock wrong", token, func() { w.now = w.now.Add(DefaultTTL); b.skew = -DefaultTTL }, ErrTokenExpired, "by the inviting site's clock"},
	}
	start := w.now
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.now, b.skew = start, 0
			if tt.set != nil {
				tt.set()
			}
			_, err := b.join(tt.token)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %v saying %q", err, tt.want, tt.says)
			}
		})
	}
	w.now, b.skew = start, 0
	b.enter("  " + payload[:20] + "\n" + payload[20:] + "." + signature + "\n") // refusals have not used it up
}

// foreignToken returns a well-signed token of the inviter that the inviter's site never kept.
func foreignToken(t *testing.T, w *world, a *node, like string) string {
	t.Helper()
	tok, err := ParseToken(like)
	must(t, err)
	tok.Invitation = "00000000000000aa"
	text, err := tok.Sign(a.id)
	must(t, err)
	return text
}

func TestAJoiningSiteMustBeWhoItSays(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.site("a"), w.site("b"), w.site("c")
	must(t, a.Found(w.ctx, "Nordwerk", a.describe()))
	tok, err := ParseToken(a.invite("Südwerk"))
	must(t, err)
	good := func() JoinRequest {
		pub, cert := b.id.SealingKey()
		p := Profile{Site: b.id.Site(), Operator: tok.Operator, Description: b.describe(), SealKey: pub, SealCert: cert}
		return JoinRequest{Inviter: tok.Inviter, Invitation: tok.Invitation, Secret: tok.Secret, Profile: p,
			Consent: b.id.Sign("join", consent(tok.Federation, tok.Invitation, p)), Now: w.now.UnixMilli()}
	}
	foreignKey, _ := c.id.SealingKey()
	tests := map[string]struct {
		spoil func(*JoinRequest)
		peer  *node
		want  error
	}{
		"wrong secret":                 {func(r *JoinRequest) { r.Secret = make([]byte, 32) }, b, ErrTokenSignature},
		"another inviter's":            {func(r *JoinRequest) { r.Inviter = c.id.Site() }, b, ErrElsewhere},
		"sent by another site":         {func(*JoinRequest) {}, c, ErrConsent},
		"without consent":              {func(r *JoinRequest) { r.Consent = nil }, b, ErrConsent},
		"consent to something else":    {func(r *JoinRequest) { r.Consent = b.id.Sign("join", []byte("x")) }, b, ErrConsent},
		"somebody else's sealing key":  {func(r *JoinRequest) { r.Profile.SealKey = foreignKey }, b, ErrSealKey},
		"a name that breaks the lines": {func(r *JoinRequest) { r.Profile.Name = "a\nb" }, b, ErrProfile},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := good()
			tt.spoil(&r)
			if _, err := a.AcceptJoin(w.ctx, tt.peer.id.Site(), r); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := a.AcceptJoin(w.ctx, b.id.Site(), good()); err != nil {
		t.Error(err)
	}
}

func TestAnAuthorityAllowsSitesAndTheyGetItsKeys(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	fourth := w.site("fourth")
	token := a.invite("Viertwerk")
	_, err := fourth.join(token)
	must(t, err)
	w.exchange()
	must(t, b.Endorse(w.ctx, fourth.id.Site()))
	w.exchange()
	fourth.enter(token)
	w.exchange()

	must(t, a.AddAuthority(w.ctx, AuthorityDraft{ID: nordtal, NameDE: "Landkreis Nordtal", NameEN: "Nordtal District",
		Sites: []event.SiteID{a.id.Site(), b.id.Site()}}))
	keys, err := a.Ring.NewKeys(w.ctx, nordtal, 3)
	must(t, err)
	_, err = a.log.Append(w.ctx, nordtal, event.Register, event.Draft{Subject: "person/1", Kind: "test.Happened", Keys: []event.KeyID{keys[0].ID}})
	must(t, err)
	w.exchange()
	for _, n := range []*node{a, b} {
		if _, err := n.Ring.Key(w.ctx, nordtal, keys[0].ID); err != nil {
			t.Errorf("%s, which is allowed, cannot read: %v", n.name, err)
		}
	}
	for _, n := range []*node{c, fourth} {
		wantNothing(t, w, n)
	}
	if got, _ := fourth.Federation.Authority(nordtal); got.NameDE != "Landkreis Nordtal" || len(got.Sites) != 2 {
		t.Errorf("names and allowed sites are known to every member; got %+v", got)
	}
	if _, err := fourth.Request(w.ctx, a.id.Site(), keyring.Verb, []byte(`{"want":[{"authority":"lk-nordtal"}]}`)); !errors.Is(err, keyring.ErrForbidden) {
		t.Errorf("the fourth site asks for keys: %v", err)
	}

	// Allowed by B, the third site reads what was made before. It need not be granted by the founding site.
	a.alone = true
	must(t, b.Allow(w.ctx, nordtal, c.id.Site()))
	w.exchange()
	if _, err := c.Ring.Key(w.ctx, nordtal, keys[1].ID); err != nil {
		t.Errorf("a newly allowed site cannot read: %v", err)
	}
	a.alone = false
	w.exchange()
	wantNothing(t, w, fourth)
}

func wantNothing(t *testing.T, w *world, n *node) {
	t.Helper()
	if list, err := n.Ring.Authorities(w.ctx); err != nil || len(list) != 0 {
		t.Errorf("%s holds keys of %v, %v", n.name, list, err)
	}
	for _, h := range n.log.Heads() {
		if h.Branch.Authority != event.Federation {
			t.Errorf("%s holds pages of %s", n.name, h.Branch.Authority)
		}
	}
}

func TestAForbiddenSiteDropsItsKeysAndANewKeyIsUsed(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	all := []event.SiteID{a.id.Site(), b.id.Site(), c.id.Site()}
	must(t, a.AddAuthority(w.ctx, AuthorityDraft{ID: nordtal, NameDE: "Landkreis Nordtal", NameEN: "Nordtal District", Sites: all}))
	before, err := a.Ring.NewKeys(w.ctx, nordtal, 1)
	must(t, err)
	w.exchange()
	receipt, err := c.log.Append(w.ctx, nordtal, event.Register, event.Draft{Subject: "person/1", Kind: "test.Happened"})
	must(t, err)
	w.exchange()
	c.alone = true
	_, err = c.log.Append(w.ctx, nordtal, event.Register, event.Draft{Subject: "person/2", Kind: "test.Happened"})
	must(t, err)

	must(t, b.Forbid(w.ctx, nordtal, c.id.Site()), b.Forbid(w.ctx, nordtal, c.id.Site()))
	granted, err := b.Ring.Granted(w.ctx, nordtal)
	must(t, err)
	if want := slices.Sorted(slices.Values(all[:2])); !slices.Equal(granted, want) {
		t.Errorf("the newest key is sealed to %v, want %v", granted, want)
	}
	if head, closed := b.Federation.Closing(receipt.Log); !closed || head.Page != receipt.Last.Page {
		t.Errorf("the site's log is closed at %d, %v; want %d", head.Page, closed, receipt.Last.Page)
	}
	c.alone = false
	w.exchange()
	if _, err := c.Ring.Key(w.ctx, nordtal, before[0].ID); err != nil {
		t.Errorf("the keys are gone before the logs were handed over: %v", err)
	}
	must(t, c.log.Drop(w.ctx, nordtal))
	w.exchange()
	if _, err := c.Ring.Key(w.ctx, nordtal, before[0].ID); !errors.Is(err, keyring.ErrMissing) {
		t.Errorf("the forbidden site still reads: %v", err)
	}
	if _, err := c.log.Append(w.ctx, nordtal, event.Register, event.Draft{Subject: "person/3", Kind: "test.Happened"}); !errors.Is(err, eventlog.ErrSiteNotAllowed) {
		t.Errorf("the forbidden site still writes: %v", err)
	}
	if head, _ := a.log.Head(eventlog.Branch{LogID: receipt.Log}); head.Page != receipt.Last.Page+1 {
		t.Errorf("a holds the closed log up to page %d, want one more than its end", head.Page)
	}
	apart := eventlog.Counted{Log: a.log}.Apart()
	if len(apart) != 1 || apart[0].Branch.LogID != receipt.Log {
		t.Errorf("kept apart is %v, want the end of the closed log", apart)
	}
	must(t, a.Forbid(w.ctx, nordtal, b.id.Site()))
	if err := a.Forbid(w.ctx, nordtal, a.id.Site()); !errors.Is(err, ErrLastSite) {
		t.Errorf("got %v, want ErrLastSite", err)
	}
	must(t, a.Allow(w.ctx, nordtal, c.id.Site()))
	w.exchange()
	if apart := (eventlog.Counted{Log: a.log}).Apart(); len(apart) > 0 {
		t.Errorf("allowed again, the site's log is still cut: %v", apart)
	}
	if _, err := c.Ring.Key(w.ctx, nordtal, before[0].ID); err != nil {
		t.Errorf("allowed again, the site cannot read: %v", err)
	}
	if _, closed := a.Federation.Closing(receipt.Log); closed {
		t.Error("the log of a site that is allowed again is still closed")
	}
}

func TestAuthoritiesAreChecked(t *testing.T) {
	w := newWorld(t)
	a := w.site("a")
	d := AuthorityDraft{ID: nordtal, NameDE: "Landkreis Nordtal", NameEN: "Nordtal District", Sites: []event.SiteID{a.id.Site()}}
	if err := a.AddAuthority(w.ctx, d); !errors.Is(err, ErrNotMember) {
		t.Errorf("got %v", err)
	}
	must(t, a.Found(w.ctx, "Nordwerk", a.describe()))
	stranger, err := seal.NewIdentity(seeded(99))
	must(t, err)
	for want, spoil := range map[error]func(*AuthorityDraft){
		ErrAuthorityID:        func(d *AuthorityDraft) { d.ID = "Nordtal!" },
		ErrAuthorityName:      func(d *AuthorityDraft) { d.NameEN = "" },
		ErrAuthorityElsewhere: func(d *AuthorityDraft) { d.Sites = nil },
		ErrNoSuchMember:       func(d *AuthorityDraft) { d.Sites = append(slices.Clone(d.Sites), stranger.Site()) },
	} {
		bad := d
		spoil(&bad)
		if err := a.AddAuthority(w.ctx, bad); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	must(t, a.AddAuthority(w.ctx, d))
	if err := a.AddAuthority(w.ctx, d); !errors.Is(err, ErrAuthorityExists) {
		t.Errorf("got %v, want ErrAuthorityExists", err)
	}
	if err := a.Allow(w.ctx, "lk-nowhere", a.id.Site()); !errors.Is(err, ErrNoAuthority) {
		t.Errorf("got %v, want ErrNoAuthority", err)
	}
	status, err := a.Status(w.ctx)
	must(t, err)
	if len(status.Members) != 1 || len(status.Authorities) != 1 || status.Self != a.id.Site() {
		t.Errorf("got %+v", status)
	}
}

func TestASiteSaysWhereItIsReached(t *testing.T) {
	w := newWorld(t)
	a, b, _ := w.three()
	woken, cancel := a.Federation.Subscribe()
	defer cancel()
	d := b.describe()
	d.Addresses = []string{"192.0.2.7:7443"}
	must(t, b.Describe(w.ctx, d), b.Describe(w.ctx, d))
	w.exchange()
	if m, _ := a.Federation.MemberOf(b.id.Site()); !slices.Equal(m.Addresses, d.Addresses) {
		t.Errorf("got %v", m.Addresses)
	}
	select {
	case <-woken:
	default:
		t.Error("nobody was told that a member has moved")
	}
}

func TestASiteThatLosesItsLogsStillKnowsWhomToAsk(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.three()
	must(t, b.Describe(w.ctx, Description{Name: "moved", Kind: Provider, Addresses: []string{"elsewhere.example.org:7443"}}))
	w.exchange()
	forgotten := func() *Federation {
		t.Helper()
		empty, err := readmodel.Open(w.ctx, readmodel.Config{Path: ":memory:", Folds: []readmodel.Fold{Fold()},
			Source: eventlog.Counted{Log: w.site("empty").log}, Self: a.id.Site(), Now: a.Now})
		must(t, err)
		t.Cleanup(func() { must(t, empty.Close()) })
		cfg := a.Config
		cfg.Model, cfg.Federation = empty, NewFederation(a.id.Site())
		_, err = New(w.ctx, cfg)
		must(t, err)
		return cfg.Federation
	}
	fed := forgotten()
	m, known := fed.MemberOf(b.id.Site())
	if !known || !slices.Equal(m.Addresses, []string{"elsewhere.example.org:7443"}) || len(fed.Peers()) != 2 {
		t.Errorf("the founder without its logs knows %+v", fed.Members())
	}
	removal := event.Draft{Subject: SubjectMembers, Kind: KindRemoved, Data: Removed{Site: c.id.Site()}}
	must(t, a.record(w.ctx, removal))
	w.exchange()
	must(t, b.record(w.ctx, removal))
	c.alone = true
	w.exchange()
	if fed := forgotten(); fed.Member(c.id.Site()) || !fed.Member(b.id.Site()) {
		t.Errorf("the founder without its logs knows %+v, want nobody who was removed", fed.Members())
	}
}

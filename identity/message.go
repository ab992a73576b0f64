// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

var errNoMessenger = fault.New(fault.Unavailable, "identity.no_messenger", "this site has no way to send messages",
	"print the invitations, or do it at a site with a gateway")

// addresses returns where the authority's people find the portal: "https://a und https://b".
func addresses(names []string, and string) string {
	urls := make([]string, len(names))
	for i, n := range names {
		urls[i] = "https://" + n
	}
	return strings.Join(urls, " "+and+" ")
}

// Remind tells people who are not enrolled, or who lack something, where and how to do it. It carries no secret: who has
// neither a passkey nor a code needs an invitation besides, see SendInvitations. It returns how many a gateway took the
// message for, ErrTooMany, ErrPersonUnknown for another authority, and a fault of kind Unavailable if this site cannot send.
// The caller has checked that by may.
func (s *Service) Remind(ctx context.Context, by access.Principal, authority event.AuthorityID, persons []directory.PersonID) (told int, err error) {
	if err := s.maySend(ctx, by, authority, len(persons)); err != nil {
		return 0, err
	}
	for _, person := range persons {
		a, err := s.Account(ctx, authority, person)
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return told, err
		}
		if len(a.Missing) == 0 && a.State != StateDormant {
			continue
		}
		if s.cfg.Messenger.Tell(ctx, authority, person, reminder(a, s.cfg.Names(authority))) == nil {
			told++
		}
	}
	return told, nil
}

func (s *Service) maySend(ctx context.Context, by access.Principal, authority event.AuthorityID, n int) error {
	if s.cfg.Messenger == nil {
		return errNoMessenger
	}
	if n > MaxInvited {
		return ErrTooMany
	}
	return s.mayManage(ctx, by, authority)
}

// SendInvitations sends invitations that Invite has made, each to its person: baseURL is "https://name" of the portal, and
// "/enrol/" and the secret follow. It returns how many a gateway took, Remind's errors, and a fault of kind Conflict if what is
// sent to that address could be read on the way; an empty list only finds out whether anything could be sent.
func (s *Service) SendInvitations(ctx context.Context, by access.Principal, authority event.AuthorityID, list []Invitation, baseURL string) (sent int, err error) {
	if err := s.maySend(ctx, by, authority, len(list)); err != nil {
		return 0, err
	}
	if !confidential(baseURL) {
		return 0, errPlainURL
	}
	for _, i := range list {
		link := strings.TrimSuffix(baseURL, "/") + "/enrol/" + i.Secret
		if s.cfg.Messenger.Tell(ctx, authority, i.Person, invitationMessage(link, i)) == nil {
			sent++
		}
	}
	return sent, nil
}

var errPlainURL = fault.New(fault.Conflict, "identity.plain_url", "this site's portal has no https address: whoever reads along on the way would have the account",
	"give the portal an https address (portal.url or names in the configuration), or print the invitations and hand them over")

// confidential reports whether what is sent to the address can be read by its two ends only: https, or this very machine.
func confidential(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return false
	}
	host := u.Hostname()
	here := host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host).IsLoopback()
	return u.Scheme == "https" || u.Scheme == "http" && here
}

func invitationMessage(link string, i Invitation) Message {
	const day = "02.01.2006"
	return Message{
		SubjectDE: "Ihr Zugang für den Notfall",
		TextDE: fmt.Sprintf("Richten Sie jetzt Ihren Zugang zum Notfall-Portal Ihrer Behörde ein. Es dauert drei Minuten: %s\n"+
			"Der Link gilt einmal und bis zum %s. Geben Sie ihn nicht weiter.", link, i.Expires.UTC().Format(day)),
		SubjectEN: "Your access for an emergency",
		TextEN: fmt.Sprintf("Set up your access to your authority's emergency portal now. It takes three minutes: %s\n"+
			"The link works once and until %s. Do not pass it on.", link, i.Expires.UTC().Format("2 January 2006")),
	}
}

func reminder(a Account, names []string) Message {
	if a.State == StateNone || a.State == StateInvited {
		return Message{
			SubjectDE: "Ihr Zugang für den Notfall fehlt noch",
			TextDE: "Sie haben noch keinen Zugang zum Notfall-Portal Ihrer Behörde. Nehmen Sie die Einladung zur Hand, die Sie erhalten haben; " +
				"wenn Sie keine mehr haben, bitten Sie Ihre Administration um eine neue. Portal: " + addresses(names, "und"),
			SubjectEN: "Your access for an emergency is still missing",
			TextEN: "You have no access to your authority's emergency portal yet. Use the invitation that you were given; " +
				"if you do not have it any more, ask your administrators for a new one. Portal: " + addresses(names, "and"),
		}
	}
	return Message{
		SubjectDE: "Bitte prüfen Sie Ihren Zugang für den Notfall",
		TextDE: "Melden Sie sich unter jeder dieser Adressen einmal an und ergänzen Sie unter „Mein Zugang“, was dort als fehlend steht: " +
			addresses(names, "und"),
		SubjectEN: "Please check your access for an emergency",
		TextEN: "Sign in once under each of these addresses, and add what is shown as missing under “My access”: " +
			addresses(names, "and"),
	}
}

// whatHappened names a warning in both languages.
var whatHappened = map[string][2]string{
	whatCode + "_twice":       {"ein Wiederherstellungscode", "a recovery code"},
	whatInvitation + "_twice": {"eine Einladung", "an invitation"},
	whatLink + "_twice":       {"ein Anmeldelink", "a sign-in link"},
	whatVouching + "_twice":   {"eine Bürgschaft", "a vouching"},
}

func warningToPerson(w Warning) Message {
	m := Message{SubjectDE: "Warnung zu Ihrem Zugang", SubjectEN: "A warning about your access"}
	if w.What == "counter" {
		m.TextDE = "Einer Ihrer Passkeys zählt anders als erwartet. Vielleicht gibt es eine Kopie. Waren Sie es nicht selbst, entfernen Sie ihn unter „Mein Zugang“ und sagen Sie Ihrer Administration Bescheid."
		m.TextEN = "One of your passkeys counts in an unexpected way. There may be a copy. If it was not you, remove it under “My access” and tell your administrators."
		return m
	}
	if w.What == InvitedAgain {
		m.TextDE = "Sie wurden neu zum Notfall-Portal eingeladen, obwohl Sie schon einen Zugang haben. Wer die Einladung hat, kann damit in Ihrem Namen hinein. Haben Sie nicht darum gebeten, sagen Sie sofort Ihrer Administration Bescheid, am besten persönlich."
		m.TextEN = "You were invited to the emergency portal again, although you have access already. Whoever has the invitation can come in with it in your name. If you did not ask for it, tell your administrators at once, best in person."
		return m
	}
	if w.What == CameByVouching {
		m.TextDE = "Zwei Personen Ihrer Behörde haben gebürgt, und jemand hat sich damit unter Ihrem Namen im Notfall-Portal angemeldet. Waren Sie es nicht, sagen Sie sofort Ihrer Administration Bescheid, am besten persönlich."
		m.TextEN = "Two people of your authority have vouched, and somebody has signed in to the emergency portal under your name. If it was not you, tell your administrators at once, best in person."
		return m
	}
	what := whatHappened[w.What]
	m.TextDE = "Für Ihren Zugang wurde " + what[0] + " an zwei Standorten verwendet, die einander nicht sahen. Beide Sitzungen sind beendet, und was darin eingerichtet wurde, gilt nicht mehr. Melden Sie sich neu an. Waren Sie es nicht beide Male, sagen Sie Ihrer Administration Bescheid."
	m.TextEN = "For your access, " + what[1] + " was used at two sites that did not see each other. Both sessions have ended, and what was set up in them does not count. Sign in again. If it was not you both times, tell your administrators."
	return m
}

func warningToAdministrators(w Warning) Message {
	m := Message{SubjectDE: "Warnung zu einem Zugang Ihrer Behörde", SubjectEN: "A warning about an access of your authority"}
	if w.What == "counter" {
		m.TextDE = "Ein Passkey zählt anders als erwartet; vielleicht gibt es eine Kopie. Näheres steht im Portal unter „Konten“."
		m.TextEN = "A passkey counts in an unexpected way; there may be a copy. See the portal, “Accounts”."
		return m
	}
	if w.What == CameByVouching {
		m.TextDE = "Zwei Personen haben gebürgt, und jemand hat sich damit angemeldet. Für wen, steht im Portal unter „Konten“."
		m.TextEN = "Two people have vouched, and somebody has signed in with it. For whom: see the portal, “Accounts”."
		return m
	}
	what := whatHappened[w.What]
	m.TextDE = "Für einen Zugang wurde " + what[0] + " an zwei Standorten verwendet. Beide Sitzungen sind beendet. Näheres steht im Portal unter „Konten“."
	m.TextEN = "For an access, " + what[1] + " was used at two sites. Both sessions have ended. See the portal, “Accounts”."
	return m
}

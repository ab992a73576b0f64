// SPDX-License-Identifier: EUPL-1.2

// Package portal is Holdfast for people with a browser: on a phone, on a bad line, in the worst night of their working
// life. It translates requests into calls of the domain packages and their answers into pages; it decides nothing.
//
// # Terms
//
//   - A page is rendered at the server and is complete. Forms work without JavaScript and with the keyboard alone.
//   - A fragment is the part of a page that changes while one looks at it. One small script (live.js) hears by
//     server-sent events *what* has changed and fetches the fragment again; without it the page shows what was true
//     when it was loaded.
//   - A view is the plain data that one template shows; the functions that make views are the only place where domain
//     types meet texts.
//   - A receipt says where a write lies: "stored" at this site, "secured" at so many operators. Every write leads to a page
//     that shows its receipt.
//   - A way in (signin*.go) ends in web.Sessions.Begin or in a refusal that says the same for everything that is wrong. Links and
//     invitations are shown by GET and used by POST, because mail scanners open links. Passkeys take a script (passkey.js), all
//     other ways work without.
//   - To enrol (enrol.go) is to go through steps, each with an address of its own: a passkey under each name of the federation, a
//     second one, a sheet of codes. The session of an invitation can do that and nothing else.
//   - One's own account (account*.go) is what a person has to come in with. What is shown once (codes, an app password) is in one
//     answer to a POST and is kept nowhere.
//   - A guest sees one incident (incident.go), without the name of anybody.
//   - The reply page ("/r/token") is for phones of people who cannot sign in. It is tiny, GET only shows, POST records.
//
// # Invariants
//
//   - Exercise and reality cannot be confused: wherever an alarm is shown its mode is a word, an icon, a pattern and a
//     colour. The form for a new alarm preselects none.
//   - Nothing is alarmed before a page has told how many people would be reached; the same form sent twice raises one
//     alarm.
//   - No page shows data without a session, except the reply page to the holder of its token.
//   - Whoever belongs to one authority sees nothing of another: no card, no count, no merge, no event of a stream.
//   - Menus show what access.Service.Permitted tells; what they hide is refused all the same, by web.Guard.
//   - Wrong attempts are counted by their sender's address and slowed; right ones never are.
//   - Every page says which sites this one has not heard of for a minute: what was changed there is not known here.
//   - Every text is in locale/*de.json and locale/*en.json; a test compares the two and the use of every key.
//
// Assets are embedded; assets/kern.css is the KERN design system cut down to what the templates use (assets/build.mjs).
package portal

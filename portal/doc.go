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
//   - The reply page ("/r/token") is for phones of people who cannot sign in. It is tiny, GET only shows, POST records.
//
// # Invariants
//
//   - Exercise and reality cannot be confused: wherever an alarm is shown its mode is a word, an icon, a pattern and a
//     colour. The form for a new alarm preselects none.
//   - Nothing is alarmed before a page has told how many people would be reached; the same form sent twice raises one
//     alarm.
//   - No page shows data without a session, except the reply page to the holder of its token.
//   - Every text is in locale/de.json and locale/en.json; a test compares the two and the use of every key.
//
// Assets are embedded; assets/kern.css is the KERN design system cut down to what the templates use (assets/build.mjs).
package portal

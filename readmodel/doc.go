// SPDX-License-Identifier: EUPL-1.2

// Package readmodel folds all logs that a site holds into one SQLite database: what people are shown, and what commands
// look at before they write. Nobody writes to it but the logs, so it can be thrown away at any time and made again.
//
// # Terms
//
//   - A Fold is a domain's part: it owns some roots of subjects, turns a subject's events into a state (Apply), and keeps
//     the domain's own tables in step with the states (Save). Typed is the usual way to write one.
//   - A state is the bytes that a subject's events come to. It is the same at every site that has the same events.
//   - A view is the domain's own tables: made for reading, of this site only, and read through View.
//   - A cursor is how far a branch has been folded: (page, hash).
//   - A Name tells a watcher which subject has changed.
//
// # The way of an event
//
//	Source.Read ─► page ─► event row under its subject ─┬─ sorts last ──► Apply on the stored state ──┬─► Save ─► commit ─► Name
//	              (cursor)  (same id: counts once)      └─ sorts before ─► Apply on all, from nothing ─┘  (views)  (cursor)
//
// A transaction takes whole pages up to about 2,000 events, a tenth of a second, from all branches that are behind, our
// own first. The other sites have equal shares of it, whatever the number of their branches: a site that floods its logs waits
// for itself. A subject is read, saved and written once in a transaction, however many of its events it has.
//
// # Order
//
// The events of a subject are folded in the order of their places, which is the same everywhere. An event that sorts
// behind everything seen is applied to the stored state. A late one, from a site that was cut off, makes its subject be
// folded again from nothing: subjects are small. Save then gets the state it has saved last and the new one, and moves
// totals by the difference. So it does not matter in which order pages arrive or how they are cut into batches; a
// property test holds the package to that.
//
// A fold whose subjects one hostile site can make long says that its Apply takes events in any order (Typed.AnyOrder). Then a
// late one is applied like any other: otherwise each of n late events would have up to n others folded again. Such a fold is told
// every event, also those whose id has come before, and bounds by itself what one site may say; what it leaves out it tells with
// Tx.KeepApart.
//
// An event that comes twice under one id in logs of one site (carried over by a succeeding log, or in both branches of a
// fork) counts once, at its lowest place. The same id in a log of another site is another event: nobody displaces what
// somebody else has stated. A carried place counts only in a log of the site that it names: nobody can put his event in another
// site's place. In the federation's logs none counts: there it matters where in its own log a site has said something.
//
// # What cannot be folded
//
//   - A kind that the fold does not know is kept with its subject and counts for LastStamp. When the program knows more
//     kinds its version differs, and the model is made anew.
//   - An event that Apply refuses, by an error or a panic, sets its subject aside: the state is the one before that event,
//     whatever comes behind it is kept, and all other subjects go on. An earlier event that makes sense of it brings the
//     subject back. The views of a subject that is set aside show what was saved last.
//   - A Save that fails is undone, its subject set aside, and Save is tried again with the subject's next event, with what
//     it had saved last as old. The state goes on. (A full or broken disk is not the fold's failure: it ends CatchUp.)
//   - A branch that cannot be read stops, the others go on.
//
// SetAside lists all three, and what folds keep apart. Subjects are tried again at every start, because the program may have
// been mended.
//
// # Personal fields
//
// States hold them sealed, as the logs do, and views hold them in the clear. That way a state, and StateHash over all of
// them, is the same at every site and stays the same when a person is erased, while search and display work on plain
// rows. Save opens them with Tx.Open, which remembers that the subject needs that key. When a key arrives or is erased,
// KeysChanged calls Save again with old equal to new; hence Save must be idempotent, must rewrite all rows of its subject
// and must write the row also where a key is missing (not yet readable) or erased. The file is for this user only, and
// what is deleted is overwritten. When an authority leaves this site, its logs go and Rebuild forgets it.
//
// # Where it lies
//
// One connection writes; up to eight read in WAL mode, each View at one consistent moment. The cursors are written in the
// transaction of the states, so a crash or power cut makes the model a little old and never wrong; synchronous=NORMAL
// costs a sync per checkpoint and keeps the file whole. Beside the database lies a sum of every page (Path-sum, see sums.go):
// Open, and Check now and then, read the whole file back and compare, because SQLite shows a flipped digit as somebody's
// number. That costs the start about a second for 500 MiB. At Open a version, the hash of this package's and of all folds'
// names, roots, kinds and schemas, is compared; if it differs, or the file is damaged, the model starts empty and is
// folded again. The same happens if a cursor names a page that the logs do not have (any more): they were put back from a
// backup, and this file was not. There are no migrations. Rebuild does the same beside the running model, which goes on being read and
// written, and swaps at the end; it replaces the file as a whole, so nothing that was erased is left in it.
//
// Only three things are this site's own observations and no part of states: when something arrived (Arrived), the merges,
// and since when this site holds an authority's pages. The latter two are carried over into a database made anew.
//
// # Telling
//
// Names are announced after the commit, never before: who reads upon a Name finds at least what it tells. Only names are
// told, so rights are checked where the data is read. Nobody waits for a watcher: one that does not keep up is told to
// look at everything.
//
// # Steps and Run
//
// CatchUp is the step: one goroutine, branches by name, pages in order. Run is the loop around it. Wait returns when a
// position has been folded; without a Run it catches up itself, so a single-threaded simulation needs no other call.
package readmodel

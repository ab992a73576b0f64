// SPDX-License-Identifier: EUPL-1.2

// Package jetstream keeps the logs of a site on NATS JetStream, and carries requests between sites over NATS with TLS. It
// is the only package of the house that imports NATS, but for bench, which measures against it.
//
// # Terms
//
//   - The Server is one stand-alone nats-server in this process: never clustered, no leaf nodes, nothing on standard output.
//     It has two accounts that share nothing: in "store" are the streams, which only this process reaches, over a pipe; in
//     "peers" are the verbs, which other sites reach over TLS.
//   - The Store puts each branch of a log into one stream. A page's number is its sequence number in the stream, so
//     JetStream's expected-last-sequence is the compare-and-set, and a branch that begins at page 7 is a stream that begins
//     at 7.
//   - A Link is a connection to another site; there are two, so that short answers are not behind long ones. Both sides check one thing only: that the public key in the other's
//     certificate is the SiteID. Dates and names in certificates mean nothing; there is no certificate authority to lose.
//   - A verb is a question that sites ask each other: "heads", "pages", "hash", "keys", "join".
//
// # What a peer may do
//
// Site P may publish on hf.P.> and subscribe to _INBOX_P.>, and nothing else; a stranger may publish on hf.P.join only. A
// handler therefore knows from the subject who asks, and an answer goes only to an inbox of the one who asked. When
// somebody is admitted or removed, Refresh cuts the connections whose rights have changed; they come back by themselves.
//
// # On the disk
//
//	DIR/lock            held by the process that uses the directory; two never do
//	DIR/tails.json      how far each branch went when last written down; finds pages cut off the end
//	DIR/cipher.check    proves the key, if the streams are encrypted; there before the first stream
//	DIR/jetstream/...   the streams; "authority_class_site_incarnation", "_fork" behind it for a second branch
//
// With Config.CipherKey the engine encrypts what it writes (AES; a key of its own for each stream, sealed with one derived from
// ours). That protects a disk that is lost, sold or seized. Names of streams, sizes and times stay visible, and it is no
// protection from somebody who copies the disk again and again while the site runs, nor does it detect changes: pages are
// signed, that does.
//
// # Invariants
//
//   - Append returns after the page is synced (sync_interval always). A page that was acknowledged stays through kill -9.
//   - No page is returned whose bytes differ from those stored: JetStream's checksum, the page's hash kept beside it and the
//     gapless numbers are all checked; what fails is ErrDamaged, and names the branch and the page. A damaged branch takes
//     no more pages until it is deleted: JetStream cuts a damaged file short, and going on from there would fork the log.
//   - Writing is refused while the disk has less than the reserve, and resumes by itself. If the disk runs full all the
//     same (somebody else filled it), JetStream leaves a publish unanswered and stays stuck; then the embedded server is
//     started again as soon as there is room, and what the disk really holds is read afresh.
package jetstream

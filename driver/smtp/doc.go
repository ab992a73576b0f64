// SPDX-License-Identifier: EUPL-1.2

// Package smtp hands messages to a mail relay (RFC 5321, submission by RFC 6409), over a small pool of connections that
// are kept open.
//
// Connections are encrypted with STARTTLS where the relay offers it; once it has offered it, a connection without it is
// refused for as long as the process lives. Security StartTLS insists on it, TLS means encrypted from the first byte, and
// Plain never encrypts: for a relay on the same machine. A password is sent over an unencrypted connection only with Plain.
//
// Answers: 5xx to the recipient or the message means refused for good. Temporary are 4xx, everything that went wrong
// before a recipient was named, and what speaks about us rather than the recipient: authentication (530, 534, 535, 538) and
// policy (enhanced status 5.7.x, such as "relaying denied"); another site may have a relay that takes it.
//
// A mail is text/plain in UTF-8, quoted-printable. Its Message-ID is a hash of the idempotency key, so a mailbox can tell a
// message that was handed over twice.
package smtp

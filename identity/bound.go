// SPDX-License-Identifier: EUPL-1.2

package identity

// The bounds of attempts. Of ways in only attempts that somebody without the secret cannot make by guessing are counted: those with a
// right tag, and those with a right code. So nobody can lock somebody else out.
const (
	codeTries = 5
	totpTries = 5
	// wrongDigits is after how many wrong one-time passwords a code is used up.
	wrongDigits = 5
	// maxVouchings bounds how often one person may vouch at a site within VouchingLife.
	maxVouchings = 30
)

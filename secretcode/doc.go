// SPDX-License-Identifier: EUPL-1.2

// Package secretcode is what codes have in common that people print, read out and type: recovery codes, guest codes, the
// characters of a vouching.
//
//   - They are spelled in Crockford's base 32, which has no I, L, O and U; reading them forgives what people mix up (Normal).
//   - What is stored of them is argon2id (Hash), because they are short. A Gate bounds how many hashes are computed at once and
//     how many wait, a Throttle how often one code may be tried, so that no flood of codes is an outage.
//
// What a code is made of, and the keyed tag by which a wrong one is told before a hash is computed, is its own package's.
package secretcode

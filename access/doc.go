// SPDX-License-Identifier: EUPL-1.2

// Package access decides who may do what.
package access

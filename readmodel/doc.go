// SPDX-License-Identifier: EUPL-1.2

// Package readmodel folds all logs into one SQLite database that is read by everybody and written by the logs alone.
package readmodel

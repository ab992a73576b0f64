// SPDX-License-Identifier: EUPL-1.2

package eventlog

// Records returns of how many logs something is kept in memory.
func (l *Log) Records() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.records)
}

// SPDX-License-Identifier: EUPL-1.2

package keyring

import "sync"

// newsBound is how many changes wait for one subscriber before they are replaced by "much has changed".
const newsBound = 1_000_000

// subscribers hands out news without ever waiting for a reader.
type subscribers struct {
	mu   sync.Mutex
	news map[chan []Changed]struct{}
	wake map[chan struct{}]struct{}
}

func (s *subscribers) add() (<-chan []Changed, func()) {
	ch := make(chan []Changed, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.news == nil {
		s.news = make(map[chan []Changed]struct{})
	}
	s.news[ch] = struct{}{}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.news, ch)
	}
}

// addWake is add for those who only need to know that there is something to fetch.
func (s *subscribers) addWake() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake == nil {
		s.wake = make(map[chan struct{}]struct{})
	}
	s.wake[ch] = struct{}{}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.wake, ch)
	}
}

func (s *subscribers) tell(news []Changed, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if changed {
		for ch := range s.wake {
			select {
			case ch <- struct{}{}:
			default: // it is awake already
			}
		}
	}
	if len(news) == 0 {
		return
	}
	for ch := range s.news {
		batch := news
		select {
		case waiting := <-ch:
			batch = append(waiting[:len(waiting):len(waiting)], news...)
		default:
		}
		if len(batch) > newsBound {
			batch = []Changed{{}}
		}
		ch <- batch // there is room: only tell sends, and it holds the lock
	}
}

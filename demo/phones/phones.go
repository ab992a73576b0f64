// SPDX-License-Identifier: EUPL-1.2

package phones

import (
	"cmp"
	"context"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Handover is one message that a gateway accepted.
type Handover struct {
	Key     string    `json:"key"`     // authority/alarm/person/channel/wave
	Channel string    `json:"channel"` // sms or email
	From    string    `json:"from"`    // the site that handed it over
	At      time.Time `json:"at"`
}

// Message is what stood on somebody's screen.
type Message struct {
	Key  string `json:"key"`
	Text string `json:"text"`
}

// Reply is one reply that a site took with a 2xx.
type Reply struct {
	Alarm  string `json:"alarm"`
	Person string `json:"person"`
	Kind   string `json:"kind"`
	Site   string `json:"site"` // host and port of the site that took it
	Tries  int    `json:"tries"`
}

// Count is what has arrived so far.
type Count struct {
	Handovers  int            `json:"handovers"`
	Distinct   int            `json:"distinct"`
	Duplicates int            `json:"duplicates"`
	People     int            `json:"people"`    // persons (per alarm) with at least one hand-over of wave 0
	ByAlarm    map[string]int `json:"byAlarm"`   // persons called, by alarm
	BySender   map[string]int `json:"bySender"`  // hand-overs, by site
	ByChannel  map[string]int `json:"byChannel"` // hand-overs, by channel
	Replies    int            `json:"replies"`   // replies taken with a 2xx
	Replying   int            `json:"replying"`  // phones that are about to reply
	Unanswered int            `json:"unanswered"`
	First      time.Time      `json:"first"`
	Last       time.Time      `json:"last"`
}

// maxMessages bounds how many messages are kept to be read: the latest.
const maxMessages = 1000

// maxWaiting bounds how many phones think about their reply at the same time.
const maxWaiting = 200_000

// Phones counts and replies. Use New; it is safe for concurrent use.
type Phones struct {
	seed   uint64
	share  float64
	client *http.Client
	ctx    context.Context
	wait   sync.WaitGroup
	slots  chan struct{}

	mu         sync.Mutex
	handovers  []Handover
	messages   []Message // the latest, in a ring
	seen       map[string]int
	called     map[string]bool // alarm/person
	byAlarm    map[string]int
	bySender   map[string]int
	byChannel  map[string]int
	replies    []Reply
	replying   int
	unanswered int
}

// New returns phones of which the given share replies; seed makes people's habits repeatable. Replies stop when ctx ends.
func New(ctx context.Context, seed uint64, share float64) *Phones {
	return &Phones{
		seed: seed, share: share, ctx: ctx,
		client:   &http.Client{Timeout: 4 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32, MaxConnsPerHost: 64}},
		slots:    make(chan struct{}, 24),
		seen:     make(map[string]int),
		called:   make(map[string]bool),
		byAlarm:  make(map[string]int),
		bySender: make(map[string]int), byChannel: make(map[string]int),
	}
}

// Receive counts one accepted message and lets its owner reply. It does not block.
func (p *Phones) Receive(h Handover, text string) {
	alarm, person, wave := splitKey(h.Key)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handovers = append(p.handovers, h)
	p.keep(Message{Key: h.Key, Text: text})
	p.seen[h.Key]++
	p.bySender[h.From]++
	p.byChannel[h.Channel]++
	if wave != "0" || p.called[alarm+"/"+person] {
		return
	}
	p.called[alarm+"/"+person] = true
	p.byAlarm[alarm]++
	links := findLinks(text)
	rng := p.habits(alarm, person)
	if len(links) == 0 || rng.Float64() > p.share || p.replying >= maxWaiting {
		return
	}
	p.replying++
	p.wait.Go(func() { p.reply(rng, alarm, person, links) })
}

// keep remembers a message in the place of the oldest. The lock is held.
func (p *Phones) keep(m Message) {
	if len(p.messages) < maxMessages {
		p.messages = append(p.messages, m)
		return
	}
	p.messages[(len(p.handovers)-1)%maxMessages] = m
}

// habits returns a person's own dice: the same seed and person always behave the same.
func (p *Phones) habits(alarm, person string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(alarm + "/" + person))
	return rand.New(rand.NewPCG(p.seed, h.Sum64()))
}

func (p *Phones) reply(rng *rand.Rand, alarm, person string, links []string) {
	delay := time.Duration(500+rng.IntN(4000)) * time.Millisecond
	form := url.Values{"reply": {"coming"}, "minutes": {strconv.Itoa(5 * (1 + rng.IntN(12)))}}
	switch d := rng.Float64(); {
	case d > 0.9:
		form = url.Values{"reply": {"cannot"}}
	case d > 0.75:
		form = url.Values{"reply": {"safe"}}
	}
	var r Reply
	taken := false
	for round := 0; round < 5 && !taken; round++ {
		select {
		case <-p.ctx.Done():
			return
		case <-time.After(delay):
		}
		r, taken = p.try(form, links)
		delay = time.Duration(1+round) * time.Second
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replying--
	if !taken {
		p.unanswered++
		return
	}
	r.Alarm, r.Person, r.Kind = alarm, person, form.Get("reply")
	p.replies = append(p.replies, r)
}

// try opens the links in turn, as a person would tap the second when the first does not load.
func (p *Phones) try(form url.Values, links []string) (Reply, bool) {
	p.slots <- struct{}{}
	defer func() { <-p.slots }()
	for i, link := range links {
		u, err := url.Parse(link)
		if err != nil || !p.get(link) {
			continue
		}
		if p.post(link, form) {
			return Reply{Site: u.Host, Tries: i + 1}, true
		}
	}
	return Reply{}, false
}

func (p *Phones) get(link string) bool {
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, link, nil)
	return err == nil && p.ok(req)
}

func (p *Phones) post(link string, form url.Values) bool {
	req, err := http.NewRequestWithContext(p.ctx, http.MethodPost, link, strings.NewReader(form.Encode()))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.ok(req)
}

func (p *Phones) ok(req *http.Request) bool {
	resp, err := p.client.Do(req)
	if err != nil {
		return false
	}
	drain(resp)
	return resp.StatusCode >= 200 && resp.StatusCode < 300
}

// Count returns what has arrived so far.
func (p *Phones) Count() Count {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := Count{
		Handovers: len(p.handovers), Distinct: len(p.seen), People: len(p.called),
		ByAlarm: clone(p.byAlarm), BySender: clone(p.bySender), ByChannel: clone(p.byChannel),
		Replies: len(p.replies), Replying: p.replying, Unanswered: p.unanswered,
	}
	c.Duplicates = c.Handovers - c.Distinct
	if len(p.handovers) > 0 {
		c.First, c.Last = p.handovers[0].At, p.handovers[len(p.handovers)-1].At
	}
	return c
}

// Replies returns the replies that sites have taken, ordered by alarm and person.
func (p *Phones) Replies() []Reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Clone(p.replies)
	slices.SortFunc(out, func(a, b Reply) int {
		return cmp.Or(cmp.Compare(a.Alarm, b.Alarm), cmp.Compare(a.Person, b.Person))
	})
	return out
}

// Handovers returns every accepted message in order of arrival.
func (p *Phones) Handovers() []Handover {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.handovers)
}

// Messages returns the latest messages in no particular order, at most maxMessages.
func (p *Phones) Messages() []Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.messages)
}

// Close waits until no phone is replying any more; end the context first.
func (p *Phones) Close() { p.wait.Wait() }

func clone(m map[string]int) map[string]int {
	c := make(map[string]int, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// splitKey takes an idempotency key apart: authority/alarm/person/channel/wave.
func splitKey(key string) (alarm, person, wave string) {
	parts := strings.Split(key, "/")
	if len(parts) != 5 {
		return "", key, "?"
	}
	return parts[1], parts[2], parts[4]
}

var linkPattern = regexp.MustCompile(`https?://[^\s<>"]+/r/[A-Za-z0-9_-]+`)

// findLinks returns the reply links in a message, in their order, at most four.
func findLinks(text string) []string { return linkPattern.FindAllString(text, 4) }

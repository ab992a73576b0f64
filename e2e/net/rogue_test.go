// SPDX-License-Identifier: EUPL-1.2

//go:build e2e

package net_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	crand "crypto/rand"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/eventlog/jetstream"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/site"
)

// addRogue makes D a member that the authority allows, as honest as the others, and then has somebody else run it who
// holds its key: whatever is asked of it is answered with garbage, and it asks garbage.
func (w *world) addRogue() error {
	d := w.add(siteD)
	if err := w.found(len(w.sites)-1, d); err != nil {
		return err
	}
	if err := eventually(patience, "every site knows every other", w.allKnown); err != nil {
		return err
	}
	if err := w.sites[0].client.Allow(w.t.Context(), authority, d.id); err != nil {
		return err
	}
	if err := eventually(patience, "D has what the others have", w.sameState); err != nil {
		return err
	}
	d.stop()
	d.rogue = true
	others := make(map[event.SiteID]string)
	for _, s := range w.sites[:3] {
		others[s.id] = s.addr.String() + ":8601"
	}
	orders, err := json.Marshal(orders{
		Data: d.data, Listen: d.addr.String() + ":8601", Others: others, Authority: authority,
	})
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), playRogue+"="+string(orders))
	return d.run(cmd, &struct{}{})
}

// orders tell the rogue who it is and whom it is to trouble.
type orders struct {
	Data      string                  `json:"data"`
	Listen    string                  `json:"listen"`
	Others    map[event.SiteID]string `json:"others"`
	Authority event.AuthorityID       `json:"authority"`
}

// rogue answers and asks garbage. What it says is drawn from a fixed seed.
type rogue struct {
	orders
	self event.SiteID

	noise []byte // at random

	mu    sync.Mutex
	rng   *rand.Rand
	heads []map[string]any // of honest sites, to be forged
}

// beRogue plays the rogue until standard input ends.
func beRogue(text string) error {
	r := &rogue{rng: rand.New(rand.NewPCG(4, 4)), noise: make([]byte, 2<<20)}
	for i := range r.noise {
		r.noise[i] = byte(r.rng.Uint32())
	}
	if err := json.Unmarshal([]byte(text), &r.orders); err != nil {
		return err
	}
	identity, err := localstore.LoadIdentity(r.Data)
	if err != nil {
		return err
	}
	r.self = identity.Site()
	ctx, cancel := untilInputEnds()
	defer cancel()
	logger := slog.New(slog.DiscardHandler)
	server, err := jetstream.Start(jetstream.Config{
		Identity: identity, Dir: filepath.Join(r.Data, "rogue"), Listen: r.Listen,
		Rand: crand.Reader, Now: time.Now, Logger: logger,
		Admit: func(event.SiteID) jetstream.Role { return jetstream.Member },
	})
	if err != nil {
		return err
	}
	for _, verb := range r.verbs() {
		handle := func(ctx context.Context, _ event.SiteID, body []byte) ([]byte, error) {
			return r.answer(ctx, verb, body)
		}
		if err := server.Handle(verb, handle); err != nil {
			return errors.Join(err, server.Close())
		}
	}
	links := jetstream.NewLinks(jetstream.LinksConfig{Identity: identity, Now: time.Now, Logger: logger,
		Addresses: func(s event.SiteID) []string { return []string{r.Others[s]} }})
	fmt.Println("{}")
	r.ask(ctx, links)
	return errors.Join(links.Close(), server.Close())
}

func (r *rogue) verbs() []string { return append(eventlog.Verbs(), keyring.Verb, site.VerbJoin) }

// ask puts five questions a second to each of the others, and waits for no answer: garbage, and not a flood.
func (r *rogue) ask(ctx context.Context, links *jetstream.Links) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var under sync.WaitGroup
	defer under.Wait()
	for ctx.Err() == nil {
		for other := range r.Others {
			verb := r.verbs()[r.draw(len(r.verbs()))]
			body := r.garbage(verb)
			under.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				_, _ = links.Request(ctx, other, verb, body)
			})
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// answer is garbage, a refusal, or none at all until the asker has lost patience.
func (r *rogue) answer(ctx context.Context, verb string, body []byte) ([]byte, error) {
	if verb == eventlog.VerbHeads {
		r.learn(body)
	}
	switch r.draw(8) {
	case 0:
		<-ctx.Done()
		return nil, ctx.Err()
	case 1:
		return nil, errors.New("no")
	}
	return r.garbage(verb), nil
}

// draw returns a number below n.
func (r *rogue) draw(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.IntN(n)
}

// some returns n bytes at random.
func (r *rogue) some(n int) []byte {
	at := r.draw(len(r.noise) - n)
	return r.noise[at : at+n]
}

// learn keeps the heads that an honest site tells, so that forged ones name logs that exist.
func (r *rogue) learn(body []byte) {
	var m struct {
		Heads []map[string]any `json:"heads"`
	}
	if json.Unmarshal(body, &m) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.heads = append(r.heads, m.Heads...); len(r.heads) > 100 {
		r.heads = r.heads[len(r.heads)-100:]
	}
}

// garbage returns something of the verb's own form with wrong content, or of no form at all.
func (r *rogue) garbage(verb string) []byte {
	switch r.draw(12) {
	case 0, 1, 2:
		return r.some(r.draw(2000))
	case 3:
		return r.some(700 << 10)
	case 4, 5:
		return []byte(`{"heads":{"session":-1},"given":7,"held":"x","hashes":[[[[[[]]]]]],"count":-1}`)
	}
	switch verb {
	case eventlog.VerbHeads:
		return r.forgedHeads()
	case eventlog.VerbPages:
		return r.forgedPages()
	case eventlog.VerbHash:
		return encoded(map[string]any{"hashes": []string{r.hash(), r.hash(), r.hash()}})
	case eventlog.VerbHeld:
		return encoded(map[string]any{"held": []bool{true, true, true, true}})
	case keyring.Verb:
		return r.forgedKeys()
	}
	return r.some(100)
}

func encoded(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}

func (r *rogue) hash() string { return fmt.Sprintf("%x", r.some(32)) }

// forgedHeads tell of pages that nobody has, of logs of the others and of its own, and that there is more.
func (r *rogue) forgedHeads() []byte {
	own := map[string]any{
		"authority": r.Authority, "class": event.Operations, "site": r.self,
		"incarnation": fmt.Sprintf("%016x", r.draw(16)),
	}
	heads := []map[string]any{{"branch": own, "page": 1 + r.draw(1000), "hash": r.hash()}}
	r.mu.Lock()
	for _, h := range r.heads {
		forged := make(map[string]any, len(h))
		for k, v := range h {
			forged[k] = v
		}
		heads = append(heads, forged)
	}
	r.mu.Unlock()
	for i, h := range heads {
		h["version"], h["durable"] = i+1, h["page"]
		if i > 0 && r.draw(2) == 0 {
			h["page"], h["hash"] = 1+r.draw(1<<30), r.hash()
			h["durable"] = h["page"]
		}
	}
	return encoded(map[string]any{
		"session": fmt.Sprintf("%x", r.some(8)), "wall": r.draw(1 << 30), "since": 0, "upTo": len(heads),
		"heads": heads, "more": r.draw(2) == 0, "seen": map[string]any{"session": "x", "version": 1 << 40},
	})
}

// forgedPages are an answer with pages that are none, that end early, or that it does not have after all.
func (r *rogue) forgedPages() []byte {
	head := encoded(map[string]any{
		"count": 3, "gone": r.draw(4) == 0, "diverged": r.draw(4) == 0, "total": 1 << 40, "offset": 1 << 30,
	})
	out := binary.BigEndian.AppendUint32(nil, uint32(len(head)))
	out = append(out, head...)
	for range 3 {
		page := append([]byte("HFP1\x00\x00\x00\x10"), r.some(r.draw(5000))...)
		out = binary.BigEndian.AppendUint32(out, uint32(len(page)))
		out = append(out, page...)
	}
	return out[:len(out)-r.draw(2)*r.draw(1000)]
}

// forgedKeys are records that open nothing. Marks of erasure are left out: whom they are believed from is tested
// elsewhere.
func (r *rogue) forgedKeys() []byte {
	records := make([]map[string]any, 20)
	for i := range records {
		records[i] = map[string]any{
			"i": fmt.Sprintf("%x", r.some(16)), "s": r.some(80), "n": "x", "b": fmt.Sprintf("%x", r.some(16)),
		}
	}
	given := map[string]any{
		"authority": r.Authority, "records": records, "more": r.draw(2) == 0,
		"next": map[string]any{"epoch": fmt.Sprintf("%x", r.some(8)), "after": r.draw(1 << 40)},
	}
	return encoded(map[string]any{"given": []any{given}})
}

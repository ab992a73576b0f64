// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/cli"
	"codeberg.org/holdfast/holdfast/directory"
)

// serveForTest makes this process the site in a folder, until it is killed or its standard input ends.
func serveForTest(data string) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	err := Serve(ctx, data, func(r cli.Ready) { _ = json.NewEncoder(os.Stdout).Encode(r) })
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process runs the station's site as a process of its own, so that it can be killed.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	end   sync.Once
}

func (s *station) startProcess() *process {
	t := s.w.t
	t.Helper()
	self, err := os.Executable()
	s.w.must(err)
	p := &process{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), serveEnv+"="+s.data)
	p.cmd.Stderr = t.Output()
	p.stdin, err = p.cmd.StdinPipe() // it ends with this process, however that ends
	s.w.must(err)
	out, err := p.cmd.StdoutPipe()
	s.w.must(err)
	s.w.must(p.cmd.Start())
	t.Cleanup(func() { _ = p.stdin.Close(); p.kill() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	s.w.must(err)
	var r cli.Ready
	s.w.must(json.Unmarshal(line, &r))
	s.relay.forward(r.Peer)
	return p
}

// kill ends the process as a power cut would, and waits until it is gone.
func (p *process) kill() {
	p.end.Do(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
}

// crowd makes a table of n people who are in no other table.
func crowd(first, n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "%d;Strandläufer%d;Kim;;0171 39%05d;Amt %d\n", first+i, first+i, first+i, i%20)
	}
	return table(strings.TrimSuffix(b.String(), "\n"))
}

func TestWhatWasAcknowledgedBeforeAKillIsThereOnce(t *testing.T) {
	w := newWorld(t, 2)
	w.authority(nordtal, 2)
	a, b := w.sites[0], w.sites[1]
	a.importAt(nordtal, crowd(100, 60))
	w.same(a, b)
	tokens := w.alarmPeople("Alle.")
	w.same(a, b)
	b.end()
	p := b.startProcess()
	replied, imported := make(map[string]bool), 0
	for round := range rounds {
		ended := make(chan error, 1)
		go func() {
			_, err := b.Import(context.Background(), nordtal, directory.ImportOptions{}, bytes.NewReader(crowd(crowdSize*(round+1), crowdSize)))
			ended <- err
		}()
		before := len(replied)
		for token := range b.replies(tokens[20*round : 20*round+20]) {
			if replied[token] = true; len(replied) == before+4*(round+1) {
				p.kill() // while the others are under way
			}
		}
		p.kill()
		if err := <-ended; err == nil {
			imported++ // it was faster than the kill: it must be there whole
		}
		p = b.startProcess()
		b.isThereOnce(replied, round+1, imported)
	}
	t.Logf("%d of %d replies and %d of %d imports were acknowledged before the kills", len(replied), 20*rounds, imported, rounds)
	if len(replied) < 4*rounds || imported == rounds {
		t.Error("too little was acknowledged, or nothing cut off: the test proves nothing")
	}
	for round := range rounds {
		r := b.importAt(nordtal, crowd(crowdSize*(round+1), crowdSize)) // what was cut off is finished by importing again
		if r.RefusedTotal != 0 {
			t.Errorf("refused: %v", r.Refused)
		}
	}
	w.same(a, b)
	for _, s := range w.sites {
		if n := len(s.everybody(nordtal)); n != 60+rounds*crowdSize {
			t.Errorf("%s shows %d people", s.name, n)
		}
	}
	boardA, boardB := a.onlyBoard(), b.onlyBoard()
	if boardA.Total != boardB.Total || boardA.Total.Safe < len(replied) {
		t.Errorf("%d replies were acknowledged; the boards show\n%+v\n%+v", len(replied), boardA.Total, boardB.Total)
	}
}

// crowdSize is how many people an import has that is to be cut off.
const crowdSize = 1500

// rounds is how often the site is killed.
const rounds = 2

// replies answers with all of the tokens at once, as many phones do, and yields those that the site has acknowledged.
func (s *station) replies(tokens []string) <-chan string {
	acknowledged := make(chan string)
	var phones sync.WaitGroup
	for _, token := range tokens {
		phones.Go(func() {
			if s.reply(token) {
				acknowledged <- token
			}
		})
	}
	go func() { phones.Wait(); close(acknowledged) }()
	return acknowledged
}

// reply answers an alarm as a phone does, and reports whether the site has acknowledged it.
func (s *station) reply(token string) bool {
	s.w.t.Helper()
	answer, err := browser().PostForm("http://"+s.portal+"/r/"+token, url.Values{"reply": {string(alarm.Safe)}})
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusSeeOther
}

func (s *station) onlyBoard() alarm.Board {
	s.w.t.Helper()
	list, err := s.Alarms(s.w.t.Context(), nordtal, time.Time{}, 10)
	s.w.must(err)
	if len(list) != 1 {
		s.w.t.Fatalf("there are %d alarms", len(list))
	}
	b, err := s.Board(s.w.t.Context(), nordtal, list[0].ID)
	s.w.must(err)
	return b
}

// isThereOnce checks the restarted site: every acknowledged reply counts once, every acknowledged import is whole.
func (s *station) isThereOnce(replied map[string]bool, sent, imported int) {
	t := s.w.t
	t.Helper()
	s.w.eventually("the site shows what it has", func() error {
		st, err := s.State(t.Context())
		if err == nil && st.BehindPages > 0 {
			err = fmt.Errorf("it is %d pages behind", st.BehindPages)
		}
		return err
	})
	if b := s.onlyBoard(); b.Total.Safe < len(replied) || b.Total.Safe > 20*sent || b.Total.Safe+b.Total.Silent != b.Total.Called {
		t.Errorf("%d replies were acknowledged, %d sent; the board shows %+v", len(replied), 20*sent, b.Total)
	}
	n := len(s.everybody(nordtal)) - 60
	if n < crowdSize*imported || n > crowdSize*sent {
		t.Errorf("%d imports of %d people were acknowledged, %d sent; %d people are shown", imported, crowdSize, sent, n)
	}
}

func TestASiteThatIsEndedInOrderAnswersWhatIsUnderWay(t *testing.T) {
	w := newWorld(t, 1)
	w.authority(nordtal, 1)
	a := w.sites[0]
	ended := make(chan error, 1)
	go func() {
		_, err := a.Import(context.Background(), nordtal, directory.ImportOptions{}, bytes.NewReader(crowd(100, 500)))
		ended <- err
	}()
	w.eventually("the import has begun", func() error {
		if len(a.site.log.Heads()) < 2 {
			return errors.New("it has not")
		}
		return nil
	})
	a.end()
	err := <-ended
	a.start()
	if n := len(a.everybody(nordtal)); err == nil && n != 500 {
		t.Errorf("the import was acknowledged, and %d of 500 people are shown", n)
	}
	if list, err := a.Troubles(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("troubles: %v, %v", list, err)
	}
}

func TestASiteWithoutGatewaysIsRepresentedByOneThatHasThem(t *testing.T) {
	w := newWorld(t, 2)
	w.authority(nordtal, 2)
	a := w.sites[0]
	a.importAt(nordtal, crowd(100, 12))
	w.same(w.sites...)
	a.end()
	a.changeConfig(func(c *Config) { c.Channels.SMS = nil })
	a.start()
	w.alarmPeople("Alle.") // raised at a site that can hand over nothing; it waits until everybody is called
	if b := a.onlyBoard(); b.Total.Called != 12 {
		t.Errorf("the board shows %+v", b.Total)
	}
}

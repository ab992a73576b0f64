// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

// MaxBodyBytes bounds a question and an answer between sites; with NATS's headers it stays below max_payload.
const MaxBodyBytes = 768 << 10

const (
	faultHeader = "Holdfast-Fault" // set on an answer whose body is a fault
	waitHeader  = "Holdfast-Wait"  // how many milliseconds the asker will wait
	maxHandling = 30 * time.Second // how long a handler may take at most
	maxFault    = 4 << 10          // bytes of an encoded fault
	subjectRoot = "hf"             // hf.<who asks>.<verb>
	inboxRoot   = "_INBOX_"        // _INBOX_<who asks>.<random>
)

var verbPattern = regexp.MustCompile(`^[a-z]{1,20}$`)

func subjectOf(peer event.SiteID, verb string) string {
	return subjectRoot + "." + string(peer) + "." + verb
}

func inboxOf(peer event.SiteID) string { return inboxRoot + string(peer) }

// faultOnWire is how errors travel between sites. Fields are added, never renamed: neighbouring versions work together.
type faultOnWire struct {
	Kind    fault.Kind `json:"kind"`
	Code    string     `json:"code"`
	Message string     `json:"message"`
	WayOut  string     `json:"wayOut,omitempty"`
}

// encodeFault keeps what a person may read; the wrapped cause stays at home.
func encodeFault(err error) []byte {
	f := fault.Of(err)
	w := faultOnWire{f.Kind, f.Code, cut(f.Message, 1000), cut(f.WayOut, 1000)}
	b, err := json.Marshal(w)
	if err != nil {
		return []byte(`{"kind":"internal","code":"internal","message":"the other site failed"}`)
	}
	return b
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

var knownKinds = map[fault.Kind]bool{
	fault.Invalid: true, fault.Unauthenticated: true, fault.Forbidden: true, fault.NotFound: true, fault.Conflict: true,
	fault.TooLarge: true, fault.Exhausted: true, fault.Unavailable: true, fault.Internal: true,
}

// decodeFault reads another site's fault. Whatever the bytes are, the result is a fault with a kind, a code and a message.
func decodeFault(b []byte) *fault.Fault {
	var w faultOnWire
	if len(b) > maxFault || json.Unmarshal(b, &w) != nil || w.Code == "" || w.Message == "" {
		return fault.New(fault.Internal, "peer.failed", "the other site failed and its reason cannot be read",
			"look at the other site's log")
	}
	if !knownKinds[w.Kind] {
		w.Kind = fault.Internal // a newer version's kind
	}
	return fault.New(w.Kind, cut(w.Code, 100), cut(w.Message, 1000), cut(w.WayOut, 1000))
}

// answerOf returns the body of an answer, or the fault it carries.
func answerOf(m *nats.Msg) ([]byte, error) {
	if m.Header.Get(faultHeader) != "" {
		return nil, decodeFault(m.Data)
	}
	return m.Data, nil
}

// waitOf returns how long the asker waits, within bounds.
func waitOf(m *nats.Msg) time.Duration {
	ms, err := strconv.ParseInt(m.Header.Get(waitHeader), 10, 64)
	if err != nil || ms <= 0 || ms > maxHandling.Milliseconds() {
		return maxHandling
	}
	return time.Duration(ms) * time.Millisecond
}

func checkBody(body []byte) error {
	if len(body) > MaxBodyBytes {
		return fault.New(fault.TooLarge, "peer.too_large",
			fmt.Sprintf("a message between sites of %d bytes is over the bound of %d", len(body), MaxBodyBytes),
			"ask for less at once")
	}
	return nil
}

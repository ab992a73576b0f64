// SPDX-License-Identifier: EUPL-1.2

package alarm

import (
	"context"
	"errors"
	"strings"
	"time"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
)

// ErrFinal is what errors.Is finds in a SendError that must not be tried again: the number does not exist, the gateway
// refuses the content. Every other error of a Channel is temporary.
var ErrFinal = errors.New("the gateway refuses this message for good")

// Channel hands messages to one gateway, such as an SMS provider. It is implemented by drivers; every driver passes the
// suite in alarm/channeltest. Implementations are safe for concurrent use.
type Channel interface {
	// Kind says which of a person's addresses the channel needs.
	Kind() directory.ChannelKind
	// Send hands one message to the gateway and returns when the gateway has taken responsibility for it, or with an
	// error, or when ctx ends. The same IdempotencyKey is used again after a temporary error, so that a gateway that can
	// recognise it delivers once. The error is best a *SendError; it never holds an address or text of the message.
	Send(ctx context.Context, m Message) (SendResult, error)
}

// Message is what a Channel hands over: to one address, once.
type Message struct {
	// IdempotencyKey is the same for every try of the same hand-over: authority/alarm/person/channel/wave.
	IdempotencyKey string
	To             string
	// Subject is for channels that have one; Text is complete without it.
	Subject string
	Text    string
	Mode    event.Mode
}

// SendResult is what the gateway answered.
type SendResult struct {
	// Ref is the gateway's own name for the message, "" if it gives none. It is stored in the log for years, so a driver
	// must not put an address into it.
	Ref string
}

// SendError is a Channel's error. Code is a stable reason such as "sms.http_503": it is written into the log, so it
// holds nothing about the person.
type SendError struct {
	Code  string
	Final bool
	// RetryAfter is how long the gateway asks us to wait, zero if it does not say.
	RetryAfter time.Duration
	Err        error
}

// Error returns the code and the cause.
func (e *SendError) Error() string {
	if e.Err == nil {
		return e.Code
	}
	return e.Code + ": " + e.Err.Error()
}

// Unwrap returns the cause, or nil.
func (e *SendError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrFinal) tell final from temporary.
func (e *SendError) Is(target error) bool { return target == ErrFinal && e.Final }

// reasonOf returns the code of a channel's error in a form that may be stored: short, plain, without any address.
func reasonOf(err error) string {
	var e *SendError
	if !errors.As(err, &e) || e.Code == "" {
		return "channel.failed"
	}
	return plain(e.Code, 60)
}

// plain keeps what belongs into a code or a gateway's reference and drops the rest.
func plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._-:", r):
			return r
		}
		return -1
	}, s)
	return s[:min(len(s), most)]
}

// SPDX-License-Identifier: EUPL-1.2

// Package sms hands text messages to an SMS provider over HTTP. There is no standard for that, so the request is
// configured: address, method, headers, and a body template.
//
// In the templates of URL and Body, {{.To}} is the number in E.164 form, {{.Text}} the message and {{.Key}} the
// idempotency key. Values are escaped for where they stand: for JSON inside a JSON string, for a form or a URL as a query
// value. An example:
//
//	url: https://sms.example/v1/messages
//	body: {"to": "{{.To}}", "text": "{{.Text}}", "reference": "{{.Key}}"}
//	idempotencyHeader: Idempotency-Key
//	auth: bearer
//	secret: /etc/holdfast/sms.token
//	ref: messages.0.id
//
// Answers: the success statuses mean taken. A 4xx means refused for good, except for those that do not speak about this
// message but about the moment (408, 425, 429) or about us (401, 402, 403, 404, 405, 407): with a wrong password nobody's
// number is wrong, and another site may have the right one. Everything else is temporary. Retry-After is honoured up to
// MaxRetryAfter. Redirects are not followed: a secret must not go elsewhere.
package sms

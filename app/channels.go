// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"codeberg.org/holdfast/holdfast/alarm"
	"codeberg.org/holdfast/holdfast/driver/sms"
	"codeberg.org/holdfast/holdfast/driver/smtp"
)

// channels is the table of drivers: which configuration makes which channel.
func channels(c Channels) ([]alarm.Channel, error) {
	var out []alarm.Channel
	for _, open := range []func(Channels) (alarm.Channel, error){openSMS, openEmail} {
		ch, err := open(c)
		if err != nil {
			return nil, err
		}
		if ch != nil {
			out = append(out, ch)
		}
	}
	return out, nil
}

// release ends the connections of those channels that keep some open.
func release(drivers []alarm.Channel) {
	for _, d := range drivers {
		if c, ok := d.(interface{ Close() }); ok {
			c.Close()
		}
	}
}

func openSMS(c Channels) (alarm.Channel, error) {
	if c.SMS == nil {
		return nil, nil
	}
	return sms.New(sms.Config{
		URL: c.SMS.URL, Method: c.SMS.Method, Headers: c.SMS.Headers, Body: c.SMS.Body, Encoding: sms.Encoding(c.SMS.Encoding),
		Success: c.SMS.Success, IdempotencyHeader: c.SMS.IdempotencyHeader, Auth: sms.Auth(c.SMS.Auth), User: c.SMS.User,
		Secret: c.SMS.SecretFile, Ref: c.SMS.Ref,
	}, readSecret)
}

func openEmail(c Channels) (alarm.Channel, error) {
	if c.Email == nil {
		return nil, nil
	}
	security := smtp.Security(c.Email.Security)
	if c.Email.Plain {
		security = smtp.Plain
	}
	return smtp.New(smtp.Config{
		Address: c.Email.Server, Security: security, From: c.Email.From, User: c.Email.Username, Secret: c.Email.PasswordFile,
		Connections: 16,
	}, readSecret)
}

// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"testing"

	"codeberg.org/holdfast/holdfast/directory"
)

func TestAnAlarmThatNobodyCanSendIsSaidSo(t *testing.T) {
	a := &API{cfg: Config{Federation: &house{}}}
	for want, channels := range map[string][]directory.ChannelKind{
		"NOBODY WILL BE CALLED: no site of this authority has a gateway for email; configure one (channels in config.yaml)": {directory.Email},
		"no site of this authority has a gateway for email: nobody is called by it":                                         nil,
		"this site has no gateway for what these sites will call by: sms (eqnnuxrc)":                                        {directory.SMS},
	} {
		if got := a.calls(nordtal, channels).Warning; got != want {
			t.Errorf("%v: %q", channels, got)
		}
	}
}

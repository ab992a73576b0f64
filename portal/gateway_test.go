// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/web"
)

type gatewayFederation []Member

func (f gatewayFederation) Members() []Member      { return f }
func (gatewayFederation) Authorities() []Authority { return nil }

func TestAPreviewShoutsWhenNobodyWillBeCalled(t *testing.T) {
	texts, err := loadTexts(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	sms, both := []directory.ChannelKind{directory.SMS}, channelKinds
	a := authorityView{ID: nordtal, Sites: []event.SiteID{siteNord, siteSued}}
	for name, tc := range map[string]struct {
		here, there, foreign []string
		wanted               []directory.ChannelKind
		tone, text           string
		nobody               bool
	}{
		"all is here":               {here: []string{"sms", "email"}, there: []string{}, wanted: both},
		"a site does not say":       {here: nil, there: []string{}, wanted: both},
		"another one calls":         {[]string{}, []string{"sms", "email"}, nil, both, "info", "Dieser Standort hat keinen Anschluss für SMS und E-Mail; es rufen: Sued.", false},
		"nobody has any":            {[]string{}, []string{}, nil, both, "danger", "Kein Standort dieser Behörde hat einen Anschluss für SMS oder E-Mail. Ein Alarm steht hier, erreicht aber kein Telefon. Rufen Sie selbst an, und sagen Sie dem Betreiber Bescheid.", true},
		"nobody has what is wanted": {[]string{"email"}, []string{}, []string{"sms"}, sms, "danger", "Kein Standort dieser Behörde hat einen Anschluss für SMS. Ein Alarm steht hier, erreicht aber kein Telefon. Rufen Sie selbst an, und sagen Sie dem Betreiber Bescheid.", true},
		"one way is nowhere":        {[]string{}, []string{"sms"}, nil, both, "warning", "Kein Standort dieser Behörde hat dafür einen Anschluss. Dieser Standort hat keinen Anschluss für SMS; es rufen: Sued.", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &Portal{cfg: Config{Federation: gatewayFederation{{ID: siteNord, Name: "Nord", Self: true, Channels: tc.here},
				{ID: siteSued, Name: "Sued", Channels: tc.there}, {ID: siteBox, Name: "Kreishaus", Channels: tc.foreign}}}}
			got := warningView{}
			if w := p.gatewayWarning(texts[web.German], a, tc.wanted); w != nil {
				got = *w
			}
			if got.Tone != tc.tone || got.Text != tc.text {
				t.Errorf("%q %q", got.Tone, got.Text)
			}
			if p.callsNobody(a, tc.wanted) != tc.nobody {
				t.Errorf("nobody is called: %v", !tc.nobody)
			}
		})
	}
}

func TestTheBannerTellsWhoMayApproveAndNobodyElse(t *testing.T) {
	for want, who := range map[string]access.Principal{"Anfragen warten auf Ihre Freigabe": administrator, "": auditor} {
		body := newOfficeWorld(t, who).get(t, desk+"admin").Body.String()
		if got := strings.Contains(body, "auf Ihre Freigabe"); got != (want != "") {
			t.Errorf("%s sees the banner: %v", who.ID, got)
		}
	}
}

// SPDX-License-Identifier: EUPL-1.2

package oidc

import "testing"

func TestAProviderElsewhereDoesNotLeadToThisMachine(t *testing.T) {
	for issuer, follows := range map[string]map[string]bool{
		"https://login.nordtal.example": {"https://login.nordtal.example/token": true, "http://127.0.0.1:8222/": false, "http://localhost/": false,
			"http://[::1]/": false, "http://login.nordtal.example/token": false, "HTTP://127.0.0.1/": false, "": false},
		"http://127.0.0.1:9000": {"http://127.0.0.1:9000/token": true, "https://login.nordtal.example/keys": true, "http://192.0.2.7/": false},
	} {
		p := &Provider{cfg: Config{Issuer: issuer}}
		for address, want := range follows {
			if got := p.follows(address); got != want {
				t.Errorf("a provider at %s names %q: %v, want %v", issuer, address, got, want)
			}
		}
	}
}

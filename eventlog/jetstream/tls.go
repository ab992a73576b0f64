// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/seal"
)

// certificate wraps the site's key in the least that TLS takes. Nobody looks at its dates or names; "99991231235959Z" is
// RFC 5280's way (4.1.2.5) of saying that there is no end.
func certificate(id *seal.Identity) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "holdfast site " + id.Site().Short()},
		NotBefore:    time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	key := id.Signer()
	// Ed25519 signs without randomness, and the serial number is given, so no source is needed.
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("wrap the site's key in a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// serverTLS asks every caller for a certificate and takes any: who it is decides what it may do, see admission.
func serverTLS(id *seal.Identity, now func() time.Time) (*tls.Config, error) {
	cert, err := certificate(id)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert,
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, Time: now,
	}, nil
}

// clientTLS connects to the one site and to nobody else.
func clientTLS(id *seal.Identity, to event.SiteID, now func() time.Time) (*tls.Config, error) {
	cert, err := certificate(id)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, Time: now,
		// Chains, names and dates are not looked at: VerifyConnection pins the key instead, and it always runs.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			got, err := siteOfPeer(cs)
			if err != nil {
				return err
			}
			if got != to {
				return fmt.Errorf("%w: expected %s, found %s", errOtherSite, to.Short(), got.Short())
			}
			return nil
		},
	}, nil
}

var errOtherSite = errors.New("another site answers at this address")

// siteOfPeer returns the site whose key the other side of the connection has proved to hold.
func siteOfPeer(cs tls.ConnectionState) (event.SiteID, error) {
	if len(cs.PeerCertificates) == 0 {
		return "", errors.New("the other side shows no certificate")
	}
	pub, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return "", errors.New("the other side's certificate has no Ed25519 key")
	}
	return seal.SiteOf(pub), nil
}

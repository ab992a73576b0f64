// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestOldEncryptionIsRefused(t *testing.T) {
	cert, key := certificate(t)
	ln, secure, err := Listen(t.Context(), ListenConfig{Address: "127.0.0.1:0", CertFile: cert, KeyFile: key})
	if err != nil || !secure {
		t.Fatal(secure, err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _ = c.(*tls.Conn).Handshake(); _ = c.Close() }()
		}
	}()
	for name, c := range map[string]struct {
		offer *tls.Config
		taken bool
	}{
		"TLS 1.3":                   {&tls.Config{}, true},
		"TLS 1.2":                   {&tls.Config{MaxVersion: tls.VersionTLS12}, true},
		"TLS 1.1":                   {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		"TLS 1.2 with CBC and SHA1": {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, false},
	} {
		c.offer.InsecureSkipVerify = true // what is looked at is the encryption
		conn, err := (&tls.Dialer{NetDialer: new(net.Dialer), Config: c.offer}).DialContext(t.Context(), "tcp", ln.Addr().String())
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != c.taken {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// certificate writes a fresh certificate that nobody trusts, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	sec, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: sec}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

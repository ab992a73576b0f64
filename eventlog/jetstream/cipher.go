// SPDX-License-Identifier: EUPL-1.2

package jetstream

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"

	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/seal"
)

// The refusals around the encryption of the streams. They come before the engine looks at a stream: it passes over those that
// it cannot open without a word, and rewrites plain ones.
var (
	ErrCipherMissing = fault.New(fault.Forbidden, "log.encrypted", "the logs on this disk are encrypted, and no secret was given to open them",
		"name the file with the secret under which this site was made")
	ErrCipherKey = fault.New(fault.Forbidden, "log.wrong_key", "the logs on this disk do not open with this secret",
		"name the file with the secret under which this site was made; if it is lost: make a new site, it fetches the logs from the others")
	ErrCipherPlain = fault.New(fault.Conflict, "log.plain", "the logs on this disk are not encrypted, although a secret was given",
		"start without the secret; or, when other sites hold everything that this one has, move the folder of the logs away: "+
			"they are fetched again and encrypted")
)

// cipherFile proves which key the streams are encrypted with. It is there before the first stream.
const (
	cipherFile    = "cipher.check"
	cipherContext = "eventlog/jetstream/cipher"
	cipherProof   = "holdfast streams v1"
)

// checkCipher compares the configured key with what lies in the directory, and marks an empty directory as encrypted.
func (s *Server) checkCipher() error {
	path, key := filepath.Join(s.cfg.Dir, cipherFile), s.cfg.CipherKey
	proof, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && key == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return s.beginCipher(path)
	case err != nil:
		return fmt.Errorf("look whether the logs are encrypted: %w", err)
	case key == nil:
		return ErrCipherMissing.Because("%s", s.cfg.Dir)
	}
	if plain, err := key.Open(cipherContext, proof); err != nil || string(plain) != cipherProof {
		return ErrCipherKey.Because("%s", s.cfg.Dir)
	}
	return nil
}

// beginCipher marks a directory without streams as encrypted.
func (s *Server) beginCipher(path string) error {
	streams, err := os.ReadDir(filepath.Dir(s.streamDir("x")))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look whether the logs are encrypted: %w", err)
	}
	if len(streams) > 0 {
		return ErrCipherPlain.Because("%s", s.cfg.Dir)
	}
	proof, err := s.cfg.CipherKey.Seal(s.cfg.Rand, cipherContext, []byte(cipherProof))
	if err != nil {
		return err
	}
	if err := s.cfg.disk.Replace(path, proof); err != nil {
		return fmt.Errorf("mark the logs as encrypted: %w", err)
	}
	return nil
}

// encrypt sets the engine's options. AES is as fast as ChaCha where the processor helps, and what authorities ask for.
func encrypt(opts *server.Options, key *seal.Key) {
	if key == nil {
		return
	}
	opts.JetStreamCipher = server.AES
	opts.JetStreamKey = hex.EncodeToString(key[:])
}

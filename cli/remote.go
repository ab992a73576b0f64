// SPDX-License-Identifier: EUPL-1.2

package cli

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/fault"
)

// remote is how a program reaches a site whose data folder is not on this machine.
type remote struct{ url, tokenFile, caFile string }

func (s *shell) remoteFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&s.remote.url, "url", "", "a site's portal, to come in there with an API token instead of through the data folder")
	f.StringVar(&s.remote.tokenFile, "token-file", "", "file with the API token; for --url")
	f.StringVar(&s.remote.caFile, "ca", "", "file with the certificates (PEM) trusted for the portal; for --url; default: the system's")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return s.connect() }
}

// maxSecretFile bounds what is read as a token or as certificates.
const maxSecretFile = 1 << 20

// connect makes the client for --url. Nothing is sent yet.
func (s *shell) connect() error {
	if s.remote.url == "" {
		if s.remote.tokenFile != "" || s.remote.caFile != "" {
			return fmt.Errorf("%w: --token-file and --ca go with --url", errUsage)
		}
		return nil
	}
	if s.remote.tokenFile == "" {
		return fmt.Errorf("%w: --url wants --token-file: make a token with 'holdfast program make'", errUsage)
	}
	s.began = true // from here on an error is not about the command line
	token, err := readSmall(s.remote.tokenFile)
	if err != nil {
		return err
	}
	var roots *x509.CertPool
	if s.remote.caFile != "" {
		pem, err := readSmall(s.remote.caFile)
		if err != nil {
			return err
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return errCA
		}
	}
	s.client, err = api.NewRemoteClient(s.remote.url, strings.TrimSpace(string(token)), roots)
	return err
}

var (
	errCA   = fault.New(fault.Invalid, "cli.ca", "there is no certificate in the file", "name a file with certificates in PEM form")
	errFile = fault.New(fault.Invalid, "cli.file", "a file cannot be used", "check its name, its rights and its size")
)

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errFile.With(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err == nil && len(b) > maxSecretFile {
		err = errors.New("it is larger than 1 MiB")
	}
	if err != nil {
		return nil, errFile.With(err)
	}
	return b, nil
}

// site returns the client of the running site: in the data folder, or at --url.
func (s *shell) site() *api.Client {
	if s.client != nil {
		return s.client
	}
	return api.NewClient(s.data)
}

func errExists(path string) error {
	return fault.New(fault.Conflict, "cli.file_exists", "the file "+path+" is there already", "name another one, or move it away")
}

// newFile makes a file that only its owner can read, for what holds secrets or personal data. It never writes over another.
func newFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, errExists(path)
	}
	if err != nil {
		return nil, errFile.With(err)
	}
	return f, nil
}

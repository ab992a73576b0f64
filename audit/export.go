// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"context"
	"errors"
	"io"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
)

// PageSource is where an export takes its pages from: an eventlog.Log.
type PageSource interface {
	Heads() []eventlog.Head
	Read(ctx context.Context, branch eventlog.Branch, after uint64, maxBytes int) ([]*eventlog.Page, error)
}

// Export writes the pages of all audit logs of the authority that this site has.
func (s *Service) Export(ctx context.Context, authority event.AuthorityID, pages PageSource, w io.Writer) error {
	return errors.ErrUnsupported
}

// SPDX-License-Identifier: EUPL-1.2

package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// Assets serves files under names that hold the hash of their content, so that they may be kept for ever.
type Assets struct {
	prefix string
	names  map[string]string // plain name -> path with hash
	files  map[string]asset  // path with hash -> content
}

type asset struct {
	contentType string
	plain       []byte
	gzip        []byte // nil if it would not be smaller
}

var assetTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".svg": "image/svg+xml", ".woff2": "font/woff2", ".png": "image/png", ".ico": "image/x-icon"}

// NewAssets reads all files of known types in fsys and will serve them under prefix ("/assets/").
func NewAssets(fsys fs.FS, prefix string) (*Assets, error) {
	a := &Assets{prefix: prefix, names: map[string]string{}, files: map[string]asset{}}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		contentType := assetTypes[path.Ext(name)]
		if err != nil || d.IsDir() || contentType == "" {
			return err
		}
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		ext := path.Ext(name)
		hashed := prefix + strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext
		a.names[name] = hashed
		a.files[hashed] = asset{contentType: contentType, plain: b, gzip: squeeze(b)}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the assets: %w", err)
	}
	return a, nil
}

// squeeze returns b compressed as well as gzip can, or nil if that is not smaller.
func squeeze(b []byte) []byte {
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil
	}
	if _, err := z.Write(b); err != nil || z.Close() != nil || buf.Len() >= len(b) {
		return nil
	}
	return buf.Bytes()
}

// Path returns the path under which the file of that name is served, "" if there is no such file.
func (a *Assets) Path(name string) string { return a.names[name] }

// TransferBytes returns how many bytes of body a browser that takes gzip loads for the named file.
func (a *Assets) TransferBytes(name string) int {
	f := a.files[a.names[name]]
	if f.gzip != nil {
		return len(f.gzip)
	}
	return len(f.plain)
}

// ServeHTTP serves a file, or 404 for any other path, as one whose hash is of yesterday.
func (a *Assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := a.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	body := f.plain
	if f.gzip != nil && acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body = f.gzip
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // fails only if the client is gone
	}
}

// Names returns the plain names of all files.
func (a *Assets) Names() iter.Seq[string] { return maps.Keys(a.names) }

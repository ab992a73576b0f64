// SPDX-License-Identifier: EUPL-1.2

package portal

import (
	"fmt"
	"io/fs"

	"codeberg.org/holdfast/holdfast/web"
)

func loadAssets() (*web.Assets, error) {
	files, err := fs.Sub(assetFiles, "assets")
	if err != nil {
		return nil, fmt.Errorf("find the assets: %w", err)
	}
	return web.NewAssets(files, "/assets/")
}

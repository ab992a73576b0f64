#!/usr/bin/env bash
# SPDX-License-Identifier: EUPL-1.2
# Installs what the slower ring needs on Debian: a browser, strace, readers of PDF and QR codes, what gives a browser certificates
# and another clock, and the npm packages that drive and judge pages and play an identity provider.
set -euo pipefail
cd "$(dirname "$0")"
need=()
command -v chromium >/dev/null || need+=(chromium)
command -v strace   >/dev/null || need+=(strace)
command -v node     >/dev/null || need+=(nodejs npm)
command -v ip       >/dev/null || need+=(iproute2)
command -v pdftoppm >/dev/null || need+=(poppler-utils)
command -v zbarimg  >/dev/null || need+=(zbar-tools)
command -v certutil >/dev/null || need+=(libnss3-tools)
command -v cc       >/dev/null || need+=(gcc libc6-dev)
command -v unshare  >/dev/null || need+=(util-linux)
if [ ${#need[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || { echo "e2e needs root to install: ${need[*]}" >&2; exit 1; }
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi
npm ci --silent --no-audit --no-fund

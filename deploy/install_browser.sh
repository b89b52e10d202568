#!/usr/bin/env bash
# Makes sure that a real Chromium is there for the browser tests: the one that $CHROMIUM names, one on PATH, or,
# as root on Debian and Ubuntu, the one of the distribution. Prints nothing when one was there already.
set -euo pipefail

if [[ -n "${CHROMIUM:-}" ]]; then
  [[ -x "$CHROMIUM" ]] && exit 0
  echo "install_browser: CHROMIUM=$CHROMIUM is no program; unset it, or give the path of a Chromium or Chrome" >&2
  exit 1
fi

for name in chromium chromium-browser google-chrome google-chrome-stable; do
  # On Ubuntu, chromium-browser may be a stub that only says to install a snap.
  if command -v "$name" > /dev/null && "$name" --version > /dev/null 2>&1; then
    exit 0
  fi
done

if [[ "$(id -u)" == 0 ]] && command -v apt-get > /dev/null; then
  echo "install_browser: installing chromium with apt-get" >&2
  export DEBIAN_FRONTEND=noninteractive
  if { apt-get update && apt-get install --yes --no-install-recommends chromium; } > /dev/null 2>&1 \
    && chromium --version > /dev/null 2>&1; then
    exit 0
  fi
fi

echo "install_browser: the browser tests need Chromium: install it (Debian: apt install chromium), or set CHROMIUM to its path" >&2
exit 1

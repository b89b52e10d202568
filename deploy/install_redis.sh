#!/usr/bin/env bash
# Makes sure that a Redis server is there for the tests, beside the Valkey that they bring: one on PATH, or, as root on
# Debian and Ubuntu, the distribution's. No service is installed, enabled or started: the package redis-tools holds the
# program under the name of its checker, and the name by which it is called decides what it is. A link beside
# .venv/bin/python gives it the other name. Prints nothing when one was there already.
set -euo pipefail

link="${1:-.venv/bin}/redis-server"

for name in redis-server "$link"; do
  if command -v "$name" > /dev/null && "$name" --version > /dev/null 2>&1; then
    exit 0
  fi
done

if [[ "$(id -u)" == 0 ]] && command -v apt-get > /dev/null; then
  echo "install_redis: installing redis-tools with apt-get" >&2
  export DEBIAN_FRONTEND=noninteractive
  if { apt-get update && apt-get install --yes --no-install-recommends redis-tools; } > /dev/null 2>&1 \
    && ln -sf "$(command -v redis-check-rdb)" "$link" && "$link" --version > /dev/null 2>&1; then
    exit 0
  fi
fi

echo "install_redis: the tests need Redis 7 beside Valkey: install a redis-server and have it on PATH; it need not run" \
  "(Debian: apt install redis-server, then systemctl disable --now redis-server)" >&2
exit 1

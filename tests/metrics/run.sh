#!/usr/bin/env bash
# tests/metrics/run.sh  asks a real Prometheus what every panel of `replica dashboard` asks, before a proxy and
# two simulated servers that share requests, while they are measured. SKIPPED where Debian's package of it
# cannot be had. It is only unpacked: nothing is installed, and no service started.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/target/prometheus

if ! [ -x "$here/usr/bin/prometheus" ]; then
  mkdir -p "$here"
  if ! (cd "$here" && apt-get download -qq prometheus >/dev/null 2>&1 ||
    { [ "$(id -u)" = 0 ] && apt-get update -qq && apt-get download -qq prometheus >/dev/null; }); then
    echo "SKIPPED: Debian's package of Prometheus cannot be had here"
    exit 0
  fi
  (cd "$here" && dpkg -x prometheus_*.deb .)
fi
exec python3 -B tests/metrics/ask.py "$here/usr/bin/prometheus" "${REPLICA:-target/debug/replica}"

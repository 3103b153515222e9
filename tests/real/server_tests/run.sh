#!/usr/bin/env bash
# vLLM's own tests of its server, from the source distribution of the version that install.sh brings:
# each direct, and through `replica proxy`. Where they cannot be had, says SKIPPED and why.
set -euo pipefail
program=$(realpath "${CARGO_TARGET_DIR:-target}/debug/replica")
cd "$(dirname "$0")"
here=$PWD

root=${REPLICA_REAL_VLLM:-/srv/replica-vllm}
folder=$root/server-tests
version=0.13.0
wanted=$(cat requirements.txt make_adapter.py run.sh | sha256sum | cut -c1-16)

skip() {
  echo "SKIPPED: vLLM's server tests: $*"
  exit 0
}

# An environment beside the one of the server, which is in it too, and stays as it was.
make_venv() {
  /usr/bin/python3 -m venv "$folder/venv"
  echo "$root/venv/lib/python3.11/site-packages" >"$folder/venv/lib/python3.11/site-packages/vllm.pth"
  UV_SYSTEM_CERTS=1 UV_HTTP_TIMEOUT=180 "$root/venv/bin/uv" pip install --quiet \
    --python "$folder/venv/bin/python" --requirements requirements.txt ||
    skip "what runs them could not be fetched; the reason stands above"
}

# pip keeps a source distribution only after it told its version, and vLLM computes one from the
# device that it would be built for.
fetch_tests() {
  VLLM_VERSION_OVERRIDE=$version VLLM_TARGET_DEVICE=empty "$folder/venv/bin/pip" download \
    --quiet --disable-pip-version-check --no-binary vllm --no-deps --no-build-isolation \
    --dest "$folder" "vllm==$version" ||
    skip "the source distribution could not be fetched; the reason stands above"
  # The tests alone: beside them would be a vLLM that was never built.
  tar -xzf "$folder/vllm-$version.tar.gz" -C "$folder" --strip-components 1 "vllm-$version/tests"
  rm "$folder/vllm-$version.tar.gz"
}

# There is one model here, whatever they name.
name_the_tiny_model() {
  local organizations='HuggingFaceH4|HuggingFaceTB|Qwen|TinyLlama|facebook|internlm|intfloat|jason9693|BAAI'
  grep -rlE "\"($organizations)/" "$folder/tests/entrypoints" "$folder/tests/v1/entrypoints" |
    xargs sed -i -E "s#\"($organizations)/[A-Za-z0-9._-]+\"#\"replica-test/tiny-llama\"#"
}

[ -e "$root/installed" ] || skip "real vLLM is not below $root: run tests/real/install.sh"
if [ "$(cat "$folder/installed" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$folder"
  mkdir -p "$folder"
  make_venv
  fetch_tests
  name_the_tiny_model
  "$folder/venv/bin/python" make_adapter.py "$folder/adapter"
  echo "$wanted" >"$folder/installed"
fi

cd "$folder"
# shellcheck disable=SC2046 # they are words
env PYTHONDONTWRITEBYTECODE=1 \
  REPLICA_REAL_VLLM="$root" REPLICA_PROGRAM="$program" REPLICA_ADAPTER="$folder/adapter" \
  HF_HUB_OFFLINE=1 HF_HUB_CACHE="$root/hub" VLLM_NO_USAGE_STATS=1 VLLM_HOST_IP=127.0.0.1 \
  VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1 \
  PYTHONPATH="$here:$here/..:$folder" \
  "$folder/venv/bin/python" -m pytest --rootdir "$folder" -p both_ways -p no:cacheprovider --quiet \
  --timeout 120 -o timeout_func_only=true --tb=no --disable-warnings \
  $(sed 's#^#tests/#' "$here/modules.txt")

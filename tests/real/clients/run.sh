#!/usr/bin/env bash
# run.sh          clients as people use them, before real vLLM: each direct, and through the proxy
# run.sh faults   what one of them sees when real servers behind the proxy fail
#
# What cannot be had is SKIPPED, and it is said why.
set -euo pipefail
task=${1:-compare}
program=$(realpath "${CARGO_TARGET_DIR:-target}/debug/replica")
cd "$(dirname "$0")"

root=${REPLICA_REAL_VLLM:-/srv/replica-vllm}
folder=$root/clients
wanted=$(cat requirements*.txt package-lock.json run.sh | sha256sum | cut -c1-16)

# install NAME REQUIREMENTS: an environment of its own for each; what they want excludes one another.
install() {
  /usr/bin/python3 -m venv "$folder/$1"
  UV_SYSTEM_CERTS=1 UV_HTTP_TIMEOUT=180 "$root/venv/bin/uv" pip install --quiet \
    --python "$folder/$1/bin/python" --override no_torch.txt --requirements "$2" && return
  echo "SKIPPED: $1 could not be fetched; the reason stands above"
  rm -rf "${folder:?}/$1"
}

install_node() {
  mkdir -p "$folder/node"
  cp package.json package-lock.json openai_node.mjs "$folder/node"
  if ! command -v npm >/dev/null; then
    echo "SKIPPED: openai-node: there is no npm"
  elif (cd "$folder/node" && npm ci --silent --no-audit --no-fund); then
    return 0
  else
    echo "SKIPPED: openai-node could not be fetched; the reason stands above"
  fi
  rm -rf "$folder/node"
}

if [ ! -e "$root/installed" ]; then
  echo "SKIPPED: real clients: real vLLM is not below $root: run tests/real/install.sh"
  exit 0
fi
if [ "$(cat "$folder/installed" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$folder"
  mkdir -p "$folder"
  install python requirements.txt
  install aiperf requirements-aiperf.txt
  install guidellm requirements-guidellm.txt
  # GuideLLM loads its data by torch. The server's will do; it is looked at last.
  [ ! -e "$folder/guidellm" ] ||
    echo "$root/venv/lib/python3.11/site-packages" >"$folder/guidellm/lib/python3.11/site-packages/zz_torch.pth"
  install_node
  [ -e "$folder/python" ] || exit 0
  echo "$wanted" >"$folder/installed"
fi
[ ! -e "$folder/node" ] || cp openai_node.mjs "$folder/node"

hub=$root/hub/models--replica-test--tiny-llama
env PYTHONDONTWRITEBYTECODE=1 \
  REPLICA_REAL_VLLM="$root" REPLICA_PROGRAM="$program" \
  REPLICA_SNAPSHOT="$hub/snapshots/$(cat "$hub/refs/main")" \
  HF_HUB_OFFLINE=1 HF_HUB_CACHE="$root/hub" VLLM_NO_USAGE_STATS=1 VLLM_HOST_IP=127.0.0.1 \
  VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1 \
  PYTHONUNBUFFERED=1 PYTHONPATH="$PWD:$PWD/.." \
  "$folder/python/bin/python" "$task.py" "$folder"

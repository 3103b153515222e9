#!/usr/bin/env bash
# tests/fuzz/run.sh [SECONDS] [TARGET]: runs every target, or one, for so long each (default 20), on what
# is built by `cargo test`. FUZZ_SEED=N runs the inputs of another run again. Found: see mod.rs beside this.
set -euo pipefail
cd "$(dirname "$0")/../.."
export FUZZ_SECONDS=${1:-20}
cargo test --locked --lib -- --nocapture "fuzz_${2-}"

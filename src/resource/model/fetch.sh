# In: r_cache, r_repo (its folder there), r_name, r_revision, r_venv, r_endpoint; r_damaged, the files
# of the snapshot that are wrong, a line each; HF_TOKEN where one is declared. What is there stays.
r_hf=$r_venv/bin/hf
[ -x "$r_hf" ] || r_hf=$r_venv/bin/huggingface-cli
[ -x "$r_hf" ] || { echo "cause: there is neither hf nor huggingface-cli in $r_venv/bin"; exit 1; }
r_snapshot=
cd "$r_cache/$r_repo" 2>/dev/null && {
  r_found=$r_revision
  [ -n "$r_found" ] || r_found=$(cat refs/main 2>/dev/null)
  r_snapshot=$r_cache/$r_repo/snapshots/$r_found
  # The hub's tool takes a file that is there for whole: one that is not must go, with its link.
  printf '%s\n' "$r_damaged" | while IFS= read -r r_file; do
    r_link=$r_snapshot/$r_file
    [ -n "$r_file" ] && [ -L "$r_link" ] && rm -f -- "$(readlink -f -- "$r_link")"
    [ -z "$r_file" ] || rm -f -- "$r_link"
  done
  # Where it cannot reach the hub it calls a snapshot whole that is there at all. The links are made
  # anew in a moment; the files that they lead to stay.
  if [ -n "$r_found" ] && [ -d "$r_snapshot" ]; then
    rm -rf -- "$r_snapshot.replica" && mv -- "$r_snapshot" "$r_snapshot.replica" || exit
  fi
}
r_size() { du -sk "$r_cache/$r_repo" 2>/dev/null | awk '{ print int($1 * 1.024 / 1000) }'; }
# It is silent while it fetches: what has come is seen on the disk.
(
  r_told=0
  while sleep 1; do
    r_come=$(r_size)
    [ "${r_come:-0}" -gt "$r_told" ] || continue
    r_told=$r_come
    echo "fetched $r_come MB"
  done
) &
r_watch=$!
trap 'kill "$r_watch" 2>/dev/null' EXIT
trap 'exit 1' HUP INT TERM
unset HF_HUB_OFFLINE TRANSFORMERS_OFFLINE
export HF_HUB_CACHE="$r_cache" HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_UPDATE_CHECK=1 \
  HF_HUB_DISABLE_SHARED_BLOBS=1 HF_HUB_DISABLE_PROGRESS_BARS=1 NO_COLOR=1 PYTHONUNBUFFERED=1
# Its newer way has been seen to hang: after a stall the older one is taken.
[ "$r_attempt" -eq 1 ] || export HF_HUB_DISABLE_XET=1
[ -z "$r_endpoint" ] || export HF_ENDPOINT="$r_endpoint"
[ -z "${HF_TOKEN:-}" ] || export HF_TOKEN
"$r_hf" download "$r_name" ${r_revision:+--revision "$r_revision"} --exclude 'original/*' --quiet
r_status=$?
if [ -n "$r_snapshot" ] && [ -d "$r_snapshot.replica" ]; then
  [ "$r_status" = 0 ] || rm -rf -- "$r_snapshot"
  # It may have fetched another commit: the old one stays as it was.
  if [ -d "$r_snapshot" ]; then rm -rf -- "$r_snapshot.replica"; else mv -- "$r_snapshot.replica" "$r_snapshot"; fi
fi
if [ "$r_status" = 0 ]; then
  [ -n "$r_revision" ] || r_revision=$(cat "$r_cache/$r_repo/refs/main" 2>/dev/null)
  r_note "$r_revision"
  echo "outcome: $(r_size) MB in the cache"
fi
exit "$r_status"

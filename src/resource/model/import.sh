# In: r_cache, r_repo (its folder there), r_revision, r_from (a folder with the files of the model).
cd "$r_from" 2>/dev/null || { echo "cause: $r_from is not there any more"; exit 1; }
r_to=$r_cache/$r_repo
r_stage=$r_to/snapshots/$r_revision.replica
rm -rf -- "$r_stage"
mkdir -p -- "$r_to/blobs" "$r_stage" || exit
# What tools keep for themselves is no part of a model, and vLLM loads nothing from `original`.
find -L . -name '.*' ! -name . -prune -o -path ./original -prune -o -type f -print | sed 's|^\./||' |
  sort >"$r_stage.files" || exit
trap 'rm -f -- "$r_stage.files"' EXIT
r_all=$(wc -l <"$r_stage.files") r_count=0
while IFS= read -r r_file; do
  r_count=$((r_count + 1))
  echo "taking $r_count/$r_all, $r_file"
  r_sum=$(sha256sum <"$r_file") || exit
  r_sum=${r_sum%% *}
  r_blob=$r_to/blobs/$r_sum
  if ! [ -f "$r_blob" ] || [ "$(sha256sum <"$r_blob")" != "$r_sum  -" ]; then
    cp -- "$r_file" "$r_blob.replica.incomplete" || exit
    # Read again: what was copied is what was there.
    if [ "$(sha256sum <"$r_blob.replica.incomplete")" != "$r_sum  -" ]; then
      rm -f -- "$r_blob.replica.incomplete"
      echo "cause: what was copied of $r_file has another digest"
      exit 1
    fi
    mv -f -- "$r_blob.replica.incomplete" "$r_blob" || exit
  fi
  r_up=$(printf '%s' "$r_file" | sed 's|[^/]||g; s|/|../|g')
  case $r_file in */*) mkdir -p -- "$r_stage/${r_file%/*}" || exit ;; esac
  ln -s "../../${r_up}blobs/$r_sum" "$r_stage/$r_file" || exit
done <"$r_stage.files"
rm -rf -- "$r_to/snapshots/$r_revision" && mv -- "$r_stage" "$r_to/snapshots/$r_revision" || exit
r_note "$r_revision"
echo "outcome: $r_count files"

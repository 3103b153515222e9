# In: the file on the standard input; r_target, r_sha256, r_nonce.
# The target is replaced in one step, by a whole file, or not at all.
r_new=$r_target.$r_nonce.new
trap 'rm -f -- "$r_new"' EXIT
trap 'exit 1' HUP INT TERM PIPE
mkdir -p -- "$(dirname -- "$r_target")" || exit
cat >"$r_new" || exit
r_sum=$(sha256sum <"$r_new") || exit
r_sum=${r_sum%% *}
if [ "$r_sum" != "$r_sha256" ]; then
  echo "what arrived has another digest: $r_sum" >&2
  exit 1
fi
chmod 755 "$r_new" || exit
mv -f -- "$r_new" "$r_target"

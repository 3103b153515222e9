# In: the file on the standard input; r_target, r_sha256, r_nonce; r_note, where the digest is noted, or
# nothing.
# The target is replaced in one step, by a whole file that is on the disk, or not at all.
r_new=$r_target.$r_nonce.new
trap 'rm -f -- "$r_new"' EXIT
trap 'exit 1' HUP INT TERM PIPE
umask 077
mkdir -p -- "${r_target%/*}" || exit
cat >"$r_new" || exit
r_sum=$(sha256sum <"$r_new") || exit
r_sum=${r_sum%% *}
if [ "$r_sum" != "$r_sha256" ]; then
  echo "what arrived has another digest: $r_sum" >&2
  exit 1
fi
chmod 755 "$r_new" && sync "$r_new" && mv -f -- "$r_new" "$r_target" || exit
# Whoever looks later need not read it whole, for as long as nobody has touched it since.
[ -z "$r_note" ] || echo "$r_sum $(stat -c '%i %s %Y %Z' -- "$r_target")" >"$r_note" ||
  rm -f -- "$r_note"

# In: r_key, the file; r_log, the log of what is about to be started with it, or nothing. Out: what is
# in the file, which is made where it is missing.
umask 077
if [ ! -s "$r_key" ]; then
  # The log comes first: whatever ends here, by its log the thing is found, and removed.
  [ -z "$r_log" ] || { mkdir -p -- "${r_log%/*}" && : >>"$r_log"; } || exit 1
  mkdir -p -- "${r_key%/*}" || exit 1
  r_new=$r_key.$$
  od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n' >"$r_new" || exit 1
  # Of two that make it at one moment, one does: the file is there whole, or not at all.
  ln -- "$r_new" "$r_key" 2>/dev/null
  rm -f -- "$r_new"
fi
cat -- "$r_key"

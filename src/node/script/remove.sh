# In: the paths to remove, as arguments; r_root, r_last and r_beside as `perform::Emptied` has them.
rm -rf -- "$@" || exit 1
for r_path; do
  case $r_path in "$r_root"/*) ;; *) continue ;; esac
  r_folder=${r_path%/*}
  while rmdir -- "$r_folder" 2>/dev/null && [ "$r_folder" != "$r_root" ]; do
    [ "${r_folder##*/}" != "$r_last" ] || rm -rf -- "${r_folder%/*}/$r_beside"
    r_folder=${r_folder%/*}
  done
done
exit 0

# In: the paths to remove, as arguments.
rm -rf -- "$@" || exit 1
for r_path; do
  case $r_path in */replica/*) ;; *) continue ;; esac
  r_folder=${r_path%/*}
  while rmdir -- "$r_folder" 2>/dev/null && [ "${r_folder##*/}" != replica ]; do
    r_folder=${r_folder%/*}
  done
done
exit 0

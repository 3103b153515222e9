# In: the paths to remove, as arguments.
rm -rf -- "$@" || exit 1
for r_path; do
  case $r_path in */replica/*) ;; *) continue ;; esac
  r_folder=${r_path%/*}
  while rmdir -- "$r_folder" 2>/dev/null && [ "${r_folder##*/}" != replica ]; do
    # Whatever runs has a log: without any, nobody is in the folder that all run in.
    [ "${r_folder##*/}" != log ] || rm -rf -- "${r_folder%/*}/run"
    r_folder=${r_folder%/*}
  done
done
exit 0

# In: r_venv. Where the packages of an environment are: below the name of its interpreter, where
# there is more than one such folder.
r_site() {
  r_python=$(readlink -f "$r_venv/bin/python" 2>/dev/null)
  cd "$r_venv/lib/${r_python##*/}/site-packages" 2>/dev/null && return
  for r_folder in "$r_venv"/lib/python3*/site-packages; do
    cd "$r_folder" 2>/dev/null && return
  done
  return 1
}
# A number that changes when a package comes, goes, or becomes another.
r_records() {
  (r_site && for r_record in *.dist-info '~'*; do
    if [ -s "$r_record/RECORD" ]; then echo "$r_record whole"; elif [ -e "$r_record" ]; then echo "$r_record"; fi
  done) | cksum
}

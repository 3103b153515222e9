# The files of the folder that is the current one, links followed: `file SIZE NAME`. What tools keep
# for themselves is no part of a model, and vLLM loads nothing from `original`.
r_listing() { r_files 'file %s %n'; }
r_files() {
  find -L . -path ./original -prune -o -type d -name '.?*' -prune -o -type f \
    -exec stat -L -c "$1" {} + | sed 's| \./| |'
}
# A number that changes with any of these files, also with one that keeps its size.
r_state() { r_files '%Y %s %n' | LC_ALL=C sort | cksum; }

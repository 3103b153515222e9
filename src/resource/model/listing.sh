# The files of the folder that is the current one, links followed: `file SIZE NAME`. What tools keep
# for themselves is no part of a model, and vLLM loads nothing from `original`.
r_listing() {
  find -L . -path ./original -prune -o -type d -name '.?*' -prune -o -type f \
    -exec stat -L -c 'file %s %n' {} + | sed 's| \./| |'
}

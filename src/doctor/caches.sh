# In: as arguments, folders in which compiled kernels are kept. Prints of each `cache KIB FREE TYPE SOURCE PATH`: what is
# in it, what its disk has left, and on which file system it is or would be. Reads only.
# A folder of many files on a slow disk must not hold this up.
size() {
  [ -d "$1" ] || { echo 0; return; }
  if command -v timeout > /dev/null; then timeout 5 du -sk -- "$1"; else du -sk -- "$1"; fi 2> /dev/null |
    awk '{ size = $1 } END { print size == "" ? "-" : size }'
}
for folder in "$@"; do
  near=$folder
  while ! [ -e "$near" ] && [ "$near" != / ]; do near=$(dirname -- "$near"); done
  df -PTk -- "$near" 2> /dev/null | {
    read -r heading
    read -r source type blocks used free rest && echo "cache $(size "$folder") $free $type $source $folder"
  }
done
true

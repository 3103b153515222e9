# Prints what everything of ours needs on a node: tools, and a folder to write in. In: root, the
# folder of all topologies; lock, the file that is locked; as arguments, the folders that this topology
# has. One fact a line, a word first; reads only.
for tool in flock timeout setsid; do command -v "$tool" > /dev/null || echo "lacks $tool"; done
[ -d "$HOME" ] || echo "homeless $HOME"
echo "root $root"
# What is not there is made in the nearest folder that is.
near=$root
while ! [ -e "$near" ] && ! [ -L "$near" ] && [ "$near" != / ]; do
  near=${near%/*} near=${near:-/}
done
for path in "$near" "$@"; do
  if [ -d "$path" ]; then
    [ -w "$path" ] && [ -x "$path" ] || echo "unwritable $path"
  elif [ -e "$path" ] || [ -L "$path" ]; then
    echo "blocked $path"
  fi
done
[ ! -e "$lock" ] || [ -w "$lock" ] || echo "unwritable $lock"
cd "$near" 2> /dev/null || exit 0
# Which folder it is, for who may reach it by another name.
read -r boot < /proc/sys/kernel/random/boot_id
echo "folder $boot $(stat -c '%d %i' .) ${root#"$near"}"
stat -f -c 'free %a %S %d %c' .
# Where it is mounted: of those above it the deepest, and the last of several there.
awk -v here="$(pwd -P)" '
  { at = $5; gsub(/\\040/, " ", at)
    if (at != "/" && at != here && index(here, at "/") != 1) next
    if (length(at) < length(best)) next
    best = at; options = $6
    for (i = 7; $i != "-"; i++);
    kind = $(i + 1); source = $(i + 2); options = options "," $(i + 3) }
  END { print "mount", options, kind, source }' /proc/self/mountinfo 2> /dev/null
true

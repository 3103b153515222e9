# In: r_cache, the folder of all models; r_repo, this one's folder in it; r_revision, or nothing for
# what refs/main says; r_from, a folder that may hold its files, or nothing. Prints one fact a line, a
# word first; reads only.
r_near=$r_cache
while ! [ -e "$r_near" ] && [ "$r_near" != / ]; do r_near=$(dirname -- "$r_near"); done
echo "cache $r_cache"
df -Pk "$r_near" | awk 'NR == 2 { print "free", $4 }'
[ -w "$r_near" ] && echo writable
[ -n "$r_from" ] && [ -f "$r_from/config.json" ] && echo directory
cd "$r_cache/$r_repo" 2>/dev/null || exit 0
echo repo
find blobs -name '*.incomplete' 2>/dev/null | sed 's|^|incomplete |'
[ -n "$r_revision" ] || r_revision=$(cat refs/main 2>/dev/null)
echo "revision $r_revision"
# What the hub's own tools noted of the commit.
[ -n "$r_revision" ] && [ -f "trees/$r_revision.json" ] &&
  printf 'tree %s\n' "$(tr '\n' ' ' <"trees/$r_revision.json")"
[ -n "$r_revision" ] && cd "snapshots/$r_revision" 2>/dev/null || exit 0
echo "path $(pwd -P)"
find . -path ./original -prune -o -type l ! -exec test -e {} \; -print | sed 's|^./|dangling |'
find -L . -path ./original -prune -o -type f -exec stat -L -c 'file %s %n' {} + | sed 's| \./| |'
[ -f model.safetensors.index.json ] && tr ',{' '\n\n' <model.safetensors.index.json |
  sed -n 's/.*: *"\([^"]*\.safetensors\)".*/shard \1/p' | sort -u
# The length of the header, and where the last tensor ends behind it: together, with eight bytes
# before them, the size of a whole file.
for r_file in *.safetensors; do
  [ -f "$r_file" ] || continue
  r_length=$(od -An -tu8 -N8 "$r_file" | tr -d ' \n')
  case $r_length in
    '' | ?????????*) echo "header 0 0 $r_file" ;;
    *)
      r_end=$(tail -c +9 -- "$r_file" | head -c "$r_length" | awk 'BEGIN { RS = "]" }
        { at = index($0, "\"data_offsets\"") }
        at { n = split(substr($0, at), f, /[,[]/); if (f[n] + 0 > end) end = f[n] + 0 }
        END { printf "%.0f", end }')
      echo "header $r_length $r_end $r_file"
      ;;
  esac
done
true

# In: r_cache, the folder of all models; r_repo, this one's folder in it; r_revision, or nothing for
# what refs/main says; r_from, a folder that may hold its files, or nothing. Prints one fact a line, a
# word first; reads only.
r_near=$r_cache
while ! [ -e "$r_near" ] && [ "$r_near" != / ]; do r_near=$(dirname -- "$r_near"); done
printf 'cache %s\n' "$r_cache"
df -Pk "$r_near" | awk 'NR == 2 { print "free", $4 }'
[ -w "$r_near" ] && echo writable
for r_config in config.json params.json adapter_config.json; do
  [ -n "$r_from" ] && [ -f "$r_from/$r_config" ] && echo directory && break
done
cd "$r_cache/$r_repo" 2>/dev/null || exit 0
echo repo
find blobs -name '*.incomplete' 2>/dev/null | sed 's|^|incomplete |'
[ -n "$r_revision" ] || r_revision=$(cat refs/main 2>/dev/null)
echo "revision $r_revision"
# What the hub's own tools noted of the commit.
[ -n "$r_revision" ] && [ -f "trees/$r_revision.json" ] &&
  printf 'tree %s\n' "$(tr '\n' ' ' <"trees/$r_revision.json")"
[ -n "$r_revision" ] && cd "snapshots/$r_revision" 2>/dev/null || exit 0
printf 'path %s\n' "$(pwd -P)"
# Whether it is what came of the last time that all of it was fetched, and from where.
r_note=$r_cache/.locks/$r_repo/replica.$r_revision.fetched
if [ -f "$r_note" ]; then
  read -r r_sum r_bytes r_origin <"$r_note"
  [ "$(r_state)" = "$r_sum $r_bytes" ] && printf 'fetched %s\n' "$r_origin"
fi

# In: r_cache, r_repo (its folder there); r_origin, where it came from; and the commit.
r_note() (
  cd "$r_cache/$r_repo/snapshots/$1" 2>/dev/null && mkdir -p "$r_cache/.locks/$r_repo" &&
    printf '%s %s\n' "$(r_state)" "$r_origin" \
      >"$r_cache/.locks/$r_repo/replica.$1.fetched"
)

# In: the folder of a model is the current one. Prints one fact a line, a word first; reads only.
find . -path ./original -prune -o -type d -name '.?*' -prune -o -type l ! -exec test -e {} \; -print |
  sed 's|^./|dangling |'
r_listing
find -L . -path ./original -prune -o -type d -name '.?*' -prune -o -type f -size -1024c \
  -exec grep -l '^version https://git-lfs' {} + 2>/dev/null | sed 's|^\./|pointer |'
for r_index in model.safetensors consolidated.safetensors pytorch_model.bin; do
  [ -f "$r_index.index.json" ] || continue
  echo "index $r_index.index.json"
  tr ',{' '\n\n' <"$r_index.index.json" |
    sed -n "s/.*: *\"\\([^\"]*\\.${r_index##*.}\\)\".*/shard \\1/p" | sort -u
done
# JSON that was cut short has another end.
for r_file in config.json params.json tokenizer.json tokenizer_config.json special_tokens_map.json \
  added_tokens.json vocab.json tekken.json adapter_config.json *.index.json; do
  [ -s "$r_file" ] || continue
  case $(tail -c 64 -- "$r_file" | tr '\000' x | tr -d ' \t\r\n') in
    *[]}]) ;;
    *) echo "broken $r_file" ;;
  esac
done
r_text() {
  [ -s "$1" ] && [ "$(wc -c <"$1")" -le 262144 ] && printf 'text %s %s\n' "$1" "$(tr '\r\n' '  ' <"$1")"
}
r_text config.json
r_text params.json
grep -q added_tokens_decoder tokenizer_config.json 2>/dev/null && echo added_tokens
# The tokens that were added to the vocabulary, as rows of ids: they stand before all else.
[ -s tokenizer.json ] && awk 'BEGIN { RS = "{"; last = -2 }
  function row() { if (last >= 0) print "added", first, last }
  match($0, /^[ \t\r\n]*"id"[ \t]*:[ \t]*[0-9]+/) {
    id = substr($0, RSTART, RLENGTH); gsub(/[^0-9]/, "", id); id += 0
    if (id != last + 1) { row(); first = id }
    last = id
  }
  /"normalizer"|"pre_tokenizer"|"model"/ { exit }
  END { row() }' tokenizer.json
grep -q auto_map tokenizer_config.json 2>/dev/null && r_text tokenizer_config.json
# What torch writes is an archive, whose end says what is in it, or else a pickle.
for r_file in *.bin *.pt; do
  [ -s "$r_file" ] || continue
  case $(od -An -tx1 -N2 "$r_file" | tr -d ' \n') in
    504b) [ "$(tail -c 22 -- "$r_file" | head -c 2)" = PK ] || echo "cut $r_file" ;;
    80*) ;;
    *) echo "odd $r_file" ;;
  esac
done
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

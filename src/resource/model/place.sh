# In: r_path, the folder of a model, or a file of GGUF. Prints one fact a line, a word first; reads
# only. What it is known by is the content of its small files and the size and the time of the others.
if [ -f "$r_path" ]; then
  printf 'path %s/%s\n' "$(cd -P "$(dirname -- "$r_path")" && pwd)" "$(basename -- "$r_path")"
  if [ "$(wc -c <"$r_path")" -le 1048576 ]; then
    r_known=$(sha256sum <"$r_path")
  else
    r_known=$(stat -L -c '%s %Y' "$r_path" | sha256sum)
  fi
  echo "revision $(echo "$r_known" | cut -c -40)"
  [ "$(head -c 4 "$r_path")" = GGUF ] && echo gguf
  exit 0
fi
[ -e "$r_path" ] || exit 0
cd "$r_path" 2>/dev/null || { echo closed; exit 0; }
printf 'path %s\n' "$(pwd -P)"
# Whatever else is declared by mistake, such as a whole home, is not read through.
r_is_model=
for r_file in config.json params.json adapter_config.json tokenizer* tekken.json *vocab* *.safetensors; do
  if [ -f "$r_file" ]; then r_is_model=yes; fi
done
[ -n "$r_is_model" ] || exit 0
r_sorts() {
  find -L . -path ./original -prune -o -type d -name '.?*' -prune -o -type d -name __pycache__ -prune -o \
    -name '.?*' -prune -o -name '*.md' -prune -o \
    -type f "$@" {} + 2>/dev/null
}
r_known=$({ r_sorts -size -1048577c -exec sha256sum; r_sorts -size +1048576c -exec stat -L -c '%s %Y %n'; } |
  LC_ALL=C sort | sha256sum)
echo "revision $(echo "$r_known" | cut -c -40)"

# In: venv; cuda, the folder of a CUDA toolkit.
# Prints what a server started from the venv finds there: the toolkit's assembler, the headers of
# its Python, the version of its vLLM and the arguments that this one knows. Reads only.
[ -x "$cuda/bin/ptxas" ] && echo "ptxas $cuda/bin/ptxas"
cd "$venv" 2> /dev/null || exit 0
# NIXL for CUDA 13 brings its transports; as its 1.0.0 was built, it does not look where they are.
for nixl in lib/python3*/site-packages/nixl_cu13-1.0.0.dist-info; do
  modules=${nixl%/*}/nixl_cu13.libs/ucx
  [ -d "$nixl" ] && [ -d "$modules" ] && echo "transports $PWD/$modules"
done
base=
[ -r pyvenv.cfg ] && while IFS=' =' read -r key value; do
  [ "$key" = home ] && base=$value
done < pyvenv.cfg
for lib in lib/python3*; do
  [ -d "$lib" ] || continue
  python=${lib#lib/}
  # Where its Python is not where it says, nothing is known of its headers.
  if [ -x "$base/$python" ]; then
    [ -e "$base/../include/$python/Python.h" ] && echo "headers $python" || echo "headerless $python"
  fi
  cd "$lib/site-packages/vllm" 2> /dev/null || exit 0
  set --
  for file in _version.py engine/arg_utils.py entrypoints/cli/serve.py entrypoints/openai/cli_args.py; do
    [ -r "$file" ] && set -- "$@" "$file"
  done
  [ $# -eq 0 ] && exit 0
  # Most flags are written out; those of the front end are the fields of a class.
  awk -F "'" '
    FILENAME == "_version.py" { if (/^__version__ =/) print "vllm", $2; next }
    { rest = $0
      while (match(rest, /"--[a-z][a-z0-9-]*"/)) {
        flags = flags " " substr(rest, RSTART + 3, RLENGTH - 4)
        rest = substr(rest, RSTART + RLENGTH) } }
    FILENAME ~ /cli_args/ && /^    [a-z][a-z0-9_]*: / {
      field = substr($0, 5); sub(/:.*/, "", field); gsub(/_/, "-", field)
      flags = flags " " field }
    END { print "flags" flags }' "$@"
  # The types of models that are known; a plugin of vLLM may know more.
  grep -l vllm.general_plugins ../*.dist-info/entry_points.txt 2> /dev/null |
    grep -qv '^\.\./vllm[^/]*/entry' && break
  types=$({
    sed -n 's/^ *("\([A-Za-z0-9_.-]*\)", "[A-Za-z0-9_]*Config"),$/\1/p' \
      ../transformers/models/auto/configuration_auto.py
    sed -n 's/^    \([A-Za-z0-9_]*\)="[A-Za-z0-9_]*Config",.*/\1/p' transformers_utils/config.py
  } 2> /dev/null)
  echo "types" $types
  break
done
true

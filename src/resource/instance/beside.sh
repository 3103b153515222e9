# In: r_cache, the folder of all models; r_venv. Then a line each: what is named, by its number, and
# where it may be. Prints `there NUMBER PATH` for what is there, and `looked`; reads only.
# A folder is what it is by one of the files that are named last; a file of GGUF is a model itself.
r_file() {
  r_number=$1 r_path=$2
  shift 2
  if [ -d "$r_path" ] && [ $# -gt 0 ]; then
    for r_each in "$@"; do
      if [ -e "$r_path/$r_each" ]; then echo "there $r_number $r_path"; fi
    done
  elif [ -e "$r_path" ]; then
    echo "there $r_number $r_path"
  fi
}
# One of those that come with vLLM has a name alone.
r_template() {
  for r_each in "$2" "$r_venv"/lib/python3*/site-packages/vllm/transformers_utils/chat_templates/"$3"; do
    if [ -f "$r_each" ]; then echo "there $1 $r_each"; fi
  done
}
# Offline, a repository is found by what its refs/main says.
r_repository() {
  r_commit=$(cat "$r_cache/$2/refs/main" 2>/dev/null)
  if [ -n "$r_commit" ] && [ -d "$r_cache/$2/snapshots/$r_commit" ]; then echo "there $1 $2"; fi
}

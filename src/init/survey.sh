# Prints what a first manifest wants to know of a machine beside its memory, its GPUs and who listens:
# one fact a line, a word first; reads only. What cannot be told is left out.
PATH=$PATH:/usr/sbin:/sbin
echo "called $(uname -n)"
echo "kind $(uname -m)"
echo "kernel $(uname -r)"
sed -n 's/^PRETTY_NAME="\{0,1\}\([^"]*\)"\{0,1\}$/system \1/p' /etc/os-release 2> /dev/null
echo "home $HOME"
# The address that we came by.
set -- ${SSH_CONNECTION:-}
[ $# -ge 3 ] && echo "reached $3"
# Of each address: its interface, the speed in Mb/s and the MTU of that, and its RDMA device.
command -v ip > /dev/null && ip -o -4 addr show 2> /dev/null | while read -r number name family address rest; do
  name=${name%%@*} speed= mtu= rdma=
  { read -r speed < "/sys/class/net/$name/speed"; } 2> /dev/null
  { read -r mtu < "/sys/class/net/$name/mtu"; } 2> /dev/null
  for device in /sys/class/infiniband/*; do
    [ -e "$device/device/net/$name" ] && rdma=${device##*/}
  done
  echo "link $name $address ${speed:--} ${mtu:--} ${rdma:--}"
done
# A home on a disk of others must not hold this up.
patiently() { if command -v timeout > /dev/null; then timeout 5 "$@"; else "$@"; fi; }
patiently find "$HOME" /opt /srv -maxdepth 7 \
  \( -name .cache -o -name .git -o -name node_modules -o -name site-packages -o -name snapshots \) -prune \
  -o -path '*/bin/vllm' -print 2> /dev/null | while IFS= read -r file; do
  folder=${file%/bin/vllm}
  for info in "$folder"/lib/python3*/site-packages/vllm*.dist-info; do
    [ -f "$info/METADATA" ] || continue
    sed -n 's/^Name: *//p;s/^Version: *//p;/^\r\{0,1\}$/q' "$info/METADATA" | tr -d '\r' | {
      read -r name && read -r version && echo "venv $name $version $folder"
    }
  done
done
# What the Hugging Face cache holds: of each repository the commit, the KiB of its files, what it is
# by its configuration, and the longest context.
cache=${HF_HUB_CACHE:-${HF_HOME:-$HOME/.cache/huggingface}/hub}
for folder in "$cache"/models--*; do
  [ -d "$folder/snapshots" ] || continue
  commit=
  { read -r commit < "$folder/refs/main"; } 2> /dev/null
  snapshot=$folder/snapshots/$commit
  [ -n "$commit" ] && [ -f "$snapshot/config.json" ] || continue
  set -- "$snapshot"/*.safetensors "$snapshot"/*.bin "$snapshot"/*.gguf
  whole=lacking
  for file do [ -s "$file" ] && whole=whole && break; done
  for file in "$folder"/blobs/*.incomplete; do [ -e "$file" ] && whole=lacking; done
  size=$(du -skL "$snapshot" 2> /dev/null | { read -r size rest && echo "$size"; })
  config=$(tr -d '\n' < "$snapshot/config.json")
  kind=$(printf '%s\n' "$config" | sed -n 's/.*"architectures"[ :]*\[[ ]*"\([^"]*\)".*/\1/p')
  longest=$(printf '%s\n' "$config" | grep -o '"max_position_embeddings"[ :]*[0-9]*' | head -n 1 | grep -o '[0-9]*$')
  echo "cached ${folder##*/models--} $commit $whole ${size:-0} ${longest:-0} ${kind:--}"
done
true

# In: r_venv. Prints what an installation there would find: uv, python3, and the KiB that are free.
for r_uv in "$(command -v uv)" "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv"; do
  [ -x "$r_uv" ] && echo uv && break
done
command -v python3 >/dev/null && echo python3
# The disk is that of the first folder above it that is there.
while [ ! -d "$r_venv" ] && [ "${r_venv%/*}" != "$r_venv" ]; do r_venv=${r_venv%/*}; done
df -Pk "${r_venv:-/}" | awk 'NR == 2 { print "free", $4 }'
true

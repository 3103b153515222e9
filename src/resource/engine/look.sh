# Prints what an environment holds, from its files alone: one fact a line, a word first.
# Without one of these it would tell less, and less would look like nothing.
for tool in awk cksum grep head od readlink sed tail tr; do command -v "$tool" >/dev/null || exit 1; done
cd "$r_venv" 2>/dev/null || exit 0
r_venv=$(pwd)
# What a started installation leaves of itself is nobody else's.
if [ -e pyvenv.cfg ] || [ -e conda-meta ]; then
  echo venv
else
  for entry in * .[!.]*; do
    case $entry in '*' | '.[!.]*' | .replica | .replica.*) ;; *) echo folder && break ;; esac
  done
fi
[ -f .replica ] && echo ours
[ -x bin/python ] && [ -f bin/python ] || echo no-python
[ -x bin/vllm ] && [ -f bin/vllm ] && echo command
# The Python that the command is run by: its first line names it, or the next where the path is long or
# has a blank. Of an environment that was moved it is not there, and of a copy it is the other's.
r_runs=$(head -n 2 bin/vllm 2>/dev/null | tr -d '\0' | sed -n "
  1s|^#! *\(/[^ ]*/python[^ /]*\).*|\1|p
  2s|^'''exec' [\"']*\(/[^\"'\$]*/python[^\"'/ ]*\)[\"']* \"\$0\".*|\1|p" | head -n 1)
if [ -n "$r_runs" ]; then
  if ! [ -x "$r_runs" ]; then
    echo "gone $r_runs"
  elif ! [ -L bin/vllm ] && ! [ "${r_runs%/*}" -ef bin ]; then
    echo "elsewhere $r_runs"
  fi
fi
echo "records $(r_records)"
# Where the base of the environment has its packages, which are found after the environment's own where
# it takes them in: in the order in which its Python looks.
r_outer() {
  r_lib=$(pwd) r_lib=${r_lib%/site-packages} r_lib=${r_lib##*/}
  r_base=$(tr -d '\r' <"$r_venv/pyvenv.cfg" | sed -n 's/^home *= *//p') r_base=${r_base%/bin}
  [ -n "$r_base" ] && grep -qi '^include-system-site-packages *= *true' "$r_venv/pyvenv.cfg" || return
  printf '%s\n' "$HOME/.local/lib/$r_lib/site-packages"
  # Debian has its own names, and one folder for what is installed beside its packages.
  [ "$r_base" != /usr ] || printf '%s\n' "/usr/local/lib/$r_lib/dist-packages" /usr/lib/python3/dist-packages
  printf '%s\n' "$r_base/lib/$r_lib/site-packages" "$r_base/lib64/$r_lib/site-packages"
}
# Prints the packages of this folder.
packages() {
  set --
  for info in *.dist-info; do
    [ -d "$info" ] || continue
    [ -s "$info/RECORD" ] && [ -s "$info/METADATA" ] || echo "partial $info"
    [ -f "$info/METADATA" ] && [ -r "$info/METADATA" ] && set -- "$@" "$info/METADATA"
  done
  # Only the heads: what follows the first empty line is the description.
  [ "$#" = 0 ] || awk '
    FNR == 1 { inside = 1; name = "" }
    !inside { nextfile; next }
    /^\r?$/ { inside = 0 }
    /^Name:/ { name = $2 }
    /^Version:/ { folder = FILENAME; sub(/\/METADATA$/, "", folder); print "dist", folder, name, $2; inside = 0 }
  ' "$@" | tr -d '\r'
  for left in '~'*; do [ -e "$left" ] && echo "left $left"; done
  for name in torch torchvision torchaudio; do
    [ -f "$name/version.py" ] && sed -n "
      s/^__version__[^=]*= *[\"']\([^\"']*\).*/build $name \1/p
      s/^cuda[^=]*= *[\"']\([^\"']*\).*/cuda $name \1/p
      s/^cuda[^=]*= *None.*/cuda $name none/p" "$name/version.py"
  done
}
r_site || exit 0
packages
[ ! -f "$r_venv/pyvenv.cfg" ] || r_outer | while IFS= read -r folder; do
  (cd "$folder" 2>/dev/null && echo "outer $folder" && packages)
done
# Prints a field of an ELF file after another: `load OFFSET ADDRESS SIZE`, `dynamic OFFSET SIZE`.
segments() {
  od -A n -v -t u1 -N 4096 "$1" | awk '
    function number(at, size,   sum, i) { for (i = size - 1; i >= 0; i--) sum = sum * 256 + byte[at + i]; return sum }
    { for (i = 1; i <= NF; i++) byte[count++] = $i }
    END {
      if (byte[0] != 127 || byte[4] != 2 || byte[5] != 1) exit
      for (i = 0; i < number(56, 2); i++) {
        at = number(32, 8) + i * number(54, 2)
        if (number(at, 4) == 1) printf "load %.0f %.0f %.0f\n", number(at + 8, 8), number(at + 16, 8), number(at + 32, 8)
        if (number(at, 4) == 2) printf "dynamic %.0f %.0f\n", number(at + 8, 8), number(at + 32, 8)
      }
    }'
}
# Prints the names that an ELF file links to, which stand in the one table of its dynamic section:
# to read that takes milliseconds, and to search a library of vLLM's size takes a second.
links() {
  segments=$(segments "$1")
  set -- "$1" $(printf '%s\n' "$segments" | sed -n 's/^dynamic //p')
  [ "$#" = 3 ] || return
  set -- "$1" $(od -A n -v -t u8 -j "$2" -N "$3" "$1" | awk -v segments="$segments" '
    $1 == 5 { address = $2 }
    $1 == 10 { size = $2 }
    END {
      count = split(segments, line, "\n")
      for (i = 1; i <= count; i++) {
        split(line[i], load, " ")
        if (load[1] == "load" && address >= load[3] && address < load[3] + load[4])
          printf "%.0f %.0f\n", address - load[3] + load[2] + 1, size
      }
    }')
  [ "$#" = 3 ] && tail -c "+$2" "$1" | head -c "$3" | tr '\0' '\n'
}
for library in vllm/_C.*so; do
  [ -f "$library" ] && links "$library" | sed -n 's/^libcudart\.so\.\([0-9]*\).*/linked \1/p'
done
true

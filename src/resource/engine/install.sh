# In: r_venv, r_installer (auto, uv, pip); r_first and r_then, the packages, r_indexes, r_again (what
# is to be installed anew though its version is there), r_broken (patterns of records to forget),
# r_overrides, r_modules (what must be imported).

# Tells how much was written to the disk since the beginning, whenever that has changed.
r_used() { df -Pk "$r_venv" | awk 'NR == 2 { print $3 }'; }
r_amounts() {
  r_before=$(r_used) r_last=0
  while sleep 2; do
    r_written=$((($(r_used) - r_before) / 1000))
    [ "$r_written" -gt "$r_last" ] && echo "written $r_written MB" && r_last=$r_written
  done
}

# Imports what was installed: what does not load was not installed.
r_proof() {
  for r_module in $r_modules; do
    "$r_venv/bin/python" -c "import $r_module" || return
  done
}

r_find_uv() {
  for r_uv in uv "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv"; do
    command -v "$r_uv" >/dev/null && return
  done
  return 1
}

# Installs the packages given, with everything that they need.
r_install() {
  set -- "$@" $r_indexes
  if [ "$r_with" = uv ]; then
    for r_name in $r_again; do set -- "$@" --reinstall-package "$r_name"; done
    [ -z "$r_overrides" ] || set -- "$@" --override "$TMPDIR/overrides.txt"
    "$r_uv" pip install --python "$r_venv/bin/python" --index-strategy unsafe-best-match "$@"
  else
    "$r_venv/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off "$@" &&
      { [ -z "$r_again" ] || "$r_venv/bin/python" -m pip install --disable-pip-version-check --no-input \
        --progress-bar off --force-reinstall --no-deps "$@"; }
  fi
}

r_with=$r_installer
case $r_with in
  auto) if r_find_uv; then r_with=uv; else r_with=pip; fi ;;
  uv) r_find_uv || { echo "cause: there is no uv on the node"; exit 1; } ;;
esac
if [ -n "$r_overrides" ] && [ "$r_with" != uv ]; then
  echo "cause: overrides need uv, which is not on the node"
  exit 1
fi
# The large files of pip go through here: /tmp may be small.
TMPDIR=$r_venv/.replica.tmp
export TMPDIR
rm -rf -- "$TMPDIR"
mkdir -p -- "$TMPDIR" || exit
unset PYTHONPATH PYTHONHOME
r_amounts &
r_watch=$!
trap 'kill "$r_watch" 2>/dev/null; rm -rf -- "$TMPDIR"' EXIT
trap 'exit 1' HUP INT TERM

if ! [ -x "$r_venv/bin/python" ]; then
  echo "making the environment"
  # Who made it may remove it.
  [ -e "$r_venv/pyvenv.cfg" ] || : >"$r_venv/.replica"
  if [ "$r_with" = uv ]; then
    "$r_uv" venv --allow-existing "$r_venv" || exit
  else
    python3 -m venv "$r_venv" || exit
  fi
fi
if [ "$r_with" = pip ] && ! "$r_venv/bin/python" -m pip --version >/dev/null 2>&1; then
  "$r_venv/bin/python" -m ensurepip || exit
fi
# What an interrupted installation left, and records that are not whole.
(
  cd "$r_venv"/lib/python3*/site-packages || exit
  rm -rf -- ./~* $r_broken
) || exit
[ -z "$r_overrides" ] || printf '%s\n' $r_overrides >"$TMPDIR/overrides.txt"
if { [ -z "$r_first" ] || r_install $r_first; } && { [ -z "$r_then" ] || r_install $r_then; } &&
  echo "importing what was installed" && r_proof; then
  exit 0
fi
if r_proof 2>/dev/null; then
  echo "the environment can still be imported"
else
  echo "the environment cannot be imported as it is now"
fi
exit 1

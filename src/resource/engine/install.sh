# In: r_venv; r_installer: auto, uv or pip; r_seen: the records of packages that this was decided on;
# r_indexes; r_before: when the newest package may have come, or nothing; requirements: r_needed,
# r_forced, r_after, and those that bind: r_fixed, r_declared; r_main: the distribution that provides
# vLLM; r_cuda: what torch must be built for; r_mend, r_env.
r_tmp=$r_venv/.replica.tmp
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0 PYTHONUNBUFFERED=1 NO_COLOR=1
# What is compiled while it is imported need not be compiled at the first start.
unset PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME VIRTUAL_ENV

r_step() { echo "step $1"; }
r_fail() {
  echo "cause: $1"
  return 1
}
# Runs an installer, and says what it says.
r_run() {
  rm -f -- "$r_tmp/talk" "$r_tmp/now" && mkfifo "$r_tmp/talk" || return
  "$@" >"$r_tmp/talk" 2>&1 &
  r_pid=$!
  r_watch "$r_pid" &
  while IFS= read -r r_line; do
    printf '%s\n' "$r_line"
    case $r_line in
      *.metadata*) ;;
      *Collecting\ * | *Downloading\ * | *'Using cached '* | *Installing\ *)
        printf '%s' "$r_line" >"$r_tmp/now" ;;
    esac
  done <"$r_tmp/talk"
  wait "$r_pid"
}
# It may be silent for long while it writes to the disk, and that is a sign of life.
r_watch() {
  r_told=0
  while sleep 0.5 && kill -0 "$1"; do
    r_written=$(sed -n 's/^wchar: //p' "/proc/$1/io")
    r_written=$((${r_written:-0} / 1000000))
    [ "$r_written" -gt "$r_told" ] || continue
    r_told=$r_written
    echo "written $r_written MB, $(cat "$r_tmp/now")"
  done 2>/dev/null
}
r_find_uv() {
  r_uv=
  [ "$r_installer" != pip ] || return 0
  for r_uv in "$(command -v uv)" "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv"; do
    [ -x "$r_uv" ] && return
  done
  r_uv=
  [ "$r_installer" != uv ] || r_fail 'there is no uv on this node, neither on its PATH nor in ~/.local/bin'
}
r_make() {
  [ -x "$r_venv/bin/python" ] && return
  : >"$r_venv/.replica" || return
  for r_link in "$r_venv"/bin/python*; do
    [ -e "$r_link" ] || rm -f -- "$r_link"
  done
  if [ -n "$r_uv" ]; then
    r_step "making $r_venv with uv"
    r_run "$r_uv" venv --allow-existing "$r_venv"
  else
    r_step "making $r_venv with $(command -v python3)"
    command -v python3 >/dev/null || r_fail 'there is no python3 on this node' || return
    r_run python3 -m venv "$r_venv"
  fi
}
# pip goes on without a page that it cannot fetch, and says so in its log alone. That an index has no
# page of a package is nothing wrong.
r_unfetched() {
  sed -n 's/.*Could not fetch URL \(.*\) - skipping$/unfetched \1/p' "$PIP_LOG" | grep -v ': 404 ' |
    sort -u | head -n 3
}
# Takes out of an index list what pip must be told to trust: what a manifest names without TLS.
r_trusted() {
  for r_url in $r_indexes; do
    case $r_url in http://*) r_url=${r_url#*://} && echo "--trusted-host ${r_url%%/*}" ;; esac
  done
}
r_beside() { for r_url in $r_indexes; do echo "$1 $r_url"; done; }
# The indexes of the manifest alone, where they have all of this; else they beside the node's own.
r_from() {
  r_only="--index-url $(echo "$r_indexes" | sed 's/ \(.\)/ --extra-index-url \1/g') $(r_trusted)"
  [ -n "$r_indexes" ] || r_only=
  for r_pin do
    [ -z "$r_only" ] || "$r_venv/bin/python" -m pip index versions "${r_pin%%=*}" $r_only 2>/dev/null |
      tr ', ' '\n\n' | sed 'p; s/+.*//' | grep -qxF -e "${r_pin#*==}" || r_only=
  done
  echo "${r_only:-$(r_beside --extra-index-url) $(r_trusted)}"
}
r_python() { r_run "$r_venv/bin/python" -m "$@"; }
# Fetches before anything is changed: what cannot be fetched leaves the environment as it is.
r_fetch() {
  r_into=$1
  shift
  [ "$#" -gt 0 ] || return 0
  r_step "fetching $*"
  r_python pip download --progress-bar off --no-deps -d "$r_tmp/$r_into" $(r_from "$@") "$@"
}
r_put() {
  [ -d "$r_tmp/$1" ] || return 0
  r_step "installing $2"
  (
    r_into=$1
    shift 2
    set -- "$@" ${r_fixed:+-c} ${r_fixed:+"$r_tmp/fixed"} $(r_beside --extra-index-url) $(r_trusted)
    set +f
    r_python pip install --progress-bar off "$@" "$r_tmp/$r_into"/*
  )
}
# Names what a new environment of ours begins with and was not unpacked to its end: the list of a
# package's files is written last.
r_half_made() {
  [ -e "$r_venv/.replica" ] || return 0
  (set +f && r_site && for r_name in pip setuptools; do
    for r_record in "$r_name"-*.dist-info; do
      [ ! -s "$r_record/RECORD" ] || continue 2
    done
    for r_folder in "$r_name" "$r_name"-*.dist-info; do
      [ ! -e "$r_folder" ] || echo "$r_folder"
    done
  done)
}
# As the notebook does: vLLM with what it asks for, then the declared torch from the declared indexes.
r_with_pip() {
  r_unpacked=$(r_half_made)
  if [ -n "$r_unpacked" ] || ! "$r_venv/bin/python" -m pip --version >/dev/null 2>&1; then
    r_step 'putting pip into it'
    (set +f && r_site && rm -rf -- $r_unpacked) && r_python ensurepip --upgrade || return
  fi
  r_fetch needed $r_needed && r_fetch forced $r_forced && r_fetch after $r_after || return
  r_put needed "$r_needed" && r_put forced "$r_forced" --force-reinstall --no-deps &&
    r_put after "$r_after"
  r_status=$?
  (set +f && r_site && r_forget)
  return "$r_status"
}
# They came from an index: that they lay in a folder of ours is nothing to remember.
r_forget() {
  for r_origin in *.dist-info/direct_url.json; do
    grep -qsF /.replica.tmp/ "$r_origin" || continue
    r_record=${r_origin%/*}/RECORD
    sed '/\/direct_url\.json,/d' "$r_record" >"$r_tmp/record" && cat "$r_tmp/record" >"$r_record" &&
      rm -f -- "$r_origin"
  done
}
# Runs uv in the place of the shell that calls this.
r_uv_pip() {
  r_verb=$1
  shift
  exec "$r_uv" pip "$r_verb" --python "$r_venv/bin/python" --index-strategy unsafe-best-match \
    ${r_before:+--exclude-newer} ${r_before:+"$r_before"} $(r_beside --index) "$@"
}
# In one: what is declared stands over what vLLM asks for.
r_with_uv() {
  r_step "installing $(echo $r_needed $r_forced $r_after)"
  set -- $(for r_pin in $r_forced; do echo "--reinstall-package ${r_pin%%=*}"; done)
  r_run r_uv_pip install ${r_declared:+--override} ${r_declared:+"$r_tmp/declared"} \
    ${r_fixed:+-c} ${r_fixed:+"$r_tmp/fixed"} "$@" $r_needed $r_forced $r_after && return
  r_status=$?
  for r_pin in $r_needed $r_forced $r_after; do r_versions "$r_pin"; done
  return "$r_status"
}
# uv does not say which versions there are: they are asked for one by one, the newest first.
r_versions() {
  r_name=${1%%=*}
  echo "$1" | (r_uv_pip compile -q --no-deps -) >/dev/null 2>&1 && return
  r_others= r_bound=$r_name
  for r_count in 1 2 3 4 5 6 7 8; do
    r_other=$(echo "$r_bound" | (r_uv_pip compile -q --no-deps --no-header --no-annotate -) 2>/dev/null |
      sed -n 's/^[^#=]*==\([^ ;]*\).*/\1/p')
    [ -n "$r_other" ] || break
    r_others="$r_other $r_others"
    if [ "$r_bound" = "$r_name" ]; then r_bound="$r_name!=$r_other"; else r_bound="$r_bound,!=$r_other"; fi
  done
  [ -z "$r_others" ] || echo "versions $1 $r_others"
}
# What no file tells: that the libraries which these builds link to are there.
r_prove() {
  r_step "importing torch and $r_main, to see that they can be"
  (r_env && cd / && "$r_venv/bin/python" - "$r_main" "$r_cuda" <<'PYTHON'
import importlib.metadata
import importlib.util
import sys

import torch
import vllm

if importlib.util.find_spec("vllm._C"):
    import vllm._C
name, wanted = sys.argv[1:]
cuda = str(getattr(torch.version, "cuda", None))
if wanted and cuda.split(".")[0] != wanted:
    sys.exit(f"cause: torch {torch.__version__} is built for CUDA {cuda}, and vLLM needs CUDA {wanted}")
print(f"outcome: {name} {importlib.metadata.version(name)}, torch {torch.__version__}")
PYTHON
  )
}
r_install() {
  # Requirements and URLs are words, and none of them is a pattern.
  set -f
  export TMPDIR="$r_tmp"
  if ! { printf '%s\n' $r_fixed >"$r_tmp/fixed" && printf '%s\n' $r_declared >"$r_tmp/declared"; }; then
    r_fail "there is no room left on the disk of $r_venv"
    return
  fi
  if [ -n "$r_uv" ]; then
    r_with_uv
  else
    export PIP_LOG="$r_tmp/pip.log"
    r_with_pip && return
    r_status=$?
    r_unfetched
    return "$r_status"
  fi
}
: "${r_seen:=$(printf '' | cksum)}"
if [ "$(r_records)" != "$r_seen" ]; then
  r_step 'another run has changed it meanwhile: it is looked at anew'
  return 0
fi
rm -rf -- "$r_tmp" && mkdir -- "$r_tmp" || return
r_find_uv && r_make && (r_site && r_mend) || return
r_status=0
[ -z "$r_needed$r_forced$r_after" ] || (r_install) || r_status=$?
rm -rf -- "$r_tmp"
if [ "$r_status" = 0 ]; then
  r_prove
elif [ "$(r_records)" = "$r_seen" ]; then
  echo 'the environment is as it was before: nothing of it was changed'
  return "$r_status"
else
  echo 'the environment is not whole and not to be used: apply again, which goes on from there'
  return "$r_status"
fi

# In: as launch.sh; r_prefix, the beginning of the marks of the thing; r_unit, the name of the unit, r_text
# and r_start, what is in its files, and r_secrets, or nothing; r_memory, `yes` where those are to be on no
# disk; r_beside, `yes` where the units of former starts that run stay; r_keep, the text of bare.sh.
# Out: as launch.sh. A start that systemd may not do says why on the standard error.
command -v systemctl >/dev/null || {
  echo 'there is no systemctl on this node' >&2
  exit 1
}
r_user=$(id -un)
if [ ! -e "/var/lib/systemd/linger/$r_user" ]; then
  r_said=$(loginctl enable-linger "$r_user" 2>&1) || {
    printf '%s\n' "$r_said" "the systemd of $r_user ends with the last login, and this user may not change" \
      "that: \`loginctl enable-linger $r_user\` there, as root, does" >&2
    exit 1
  }
  # It may only be about to run.
  r_looks=0
  until [ -S "${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/systemd/private" ] || [ "$r_looks" -ge 50 ]; do
    r_looks=$((r_looks + 1))
    sleep 0.2
  done
fi
r_file=$r_units/$r_unit
if [ -e "$r_file.service" ] && ! grep -q "^Mark=$r_prefix" "$r_file.service"; then
  echo "$r_file.service is of something else: move it away" >&2
  exit 1
fi

# Prints assignments that make a variable of this session the same wherever it is started.
r_tell_environment() {
  for r_name in HOME USER LOGNAME PATH LANG SHELL TMPDIR XDG_CACHE_HOME; do
    eval "r_value=\${$r_name-} r_is_set=\${$r_name+yes}"
    if [ -n "$r_is_set" ]; then
      printf "export %s='" "$r_name"
      printf '%s' "$r_value" | sed "s/'/'\\\\''/g"
      printf "'\n"
    else
      echo "unset $r_name"
    fi
  done
}

r_kept=$r_file.secrets
if [ -n "$r_memory" ]; then
  r_kept=$r_runtime/$r_unit.secrets
  (umask 077 && mkdir -p -- "$r_runtime") || exit 1
  [ "$(stat -f -c %T -- "$r_runtime")" = tmpfs ] || {
    echo "${r_runtime%/*} is not in memory there: say \`secrets: disk\`" >&2
    exit 1
  }
fi
# What it writes there is nobody else's.
(
  umask 077
  mkdir -p -- "$r_units" || exit
  printf '%s\n\n[Unit]\nConditionHost=%s\n' "$r_text" "$r_machine" >"$r_file.service" || exit
  {
    printf '%s\n' "$r_keep"
    r_tell_environment
    printf '%s\n' "$r_start"
  } >"$r_file.start" || exit
  [ -z "$r_secrets" ] || printf '%s\n' "$r_secrets" >"$r_kept" || exit
  : >"$r_file.first"
) || exit 1

# Takes everything of it back.
r_undo() {
  r_systemctl stop "$r_unit.service"
  r_drop_units "$r_unit"
  r_systemctl reset-failed "$r_unit.service"
} 2>/dev/null

r_refused=
r_begin_unit() {
  r_systemctl daemon-reload && r_systemctl enable --quiet "$r_unit.service" &&
    r_systemctl start "$r_unit.service"
}
if r_said=$(r_begin_unit 2>&1); then
  r_looks=0
  # First it is a shell, then itself: only then does it carry its mark.
  while [ "$r_looks" -lt 500 ]; do
    r_pid=$(r_unit_has "$r_unit" MainPID)
    [ "${r_pid:-0}" != 0 ] || break
    if r_stat "$r_pid" && r_is_marked "$r_pid" "$r_mark" ''; then
      r_stat "$r_pid" && [ "$r_state" != Z ] || break
      echo "started $r_pid $r_started"
      r_forget
      r_retire_units "$r_unit" "$r_beside"
      exit 0
    fi
    r_looks=$((r_looks + 1))
    sleep 0.02
  done
else
  r_refused=yes
  printf '%s\n' "$r_said" >&2
fi
r_result=$(r_unit_has "$r_unit" Result)
r_status=$(r_unit_has "$r_unit" ExecMainStatus)
r_undo
case $r_result in
  exec-condition)
    tail -n 1 -- "$r_log" >&2
    exit 1
    ;;
esac
[ -z "$r_refused" ] || exit 1
echo "failed $r_status"
tail -n 20 -- "$r_log"

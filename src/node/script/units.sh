# The units of ours in the systemd of this user. In: r_prefix, the beginning of marks. A unit is known by
# the mark that stands in it, and everything of it is called by its name: NAME.service; NAME.start, which
# it runs; NAME.secrets, here or in r_runtime; NAME.first, there until it was started once; NAME.starts, when it was started.
r_units=$HOME/.config/systemd/user
# Where secrets lie that are to be on no disk: systemd has it in memory.
r_runtime=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/replica-secrets
# Machines that share a home have these files in common, and each starts its own.
r_machine=$(cat /etc/machine-id 2>/dev/null)

r_systemctl() {
  XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)} systemctl --user "$@"
}

# Prints what systemd knows as $2 of the unit $1.
r_unit_has() { r_systemctl show -p "$2" --value "$1.service"; }

# Prints the names of the units of these marks.
r_list_units() {
  for r_file in "$r_units"/replica-*.service; do
    grep -qs "^ConditionHost=$r_machine\$" "$r_file" || continue
    case $(sed -n 's/^Mark=//p' "$r_file") in
      "$r_prefix"*)
        r_file=${r_file##*/}
        echo "${r_file%.service}"
        ;;
    esac
  done
}

# Removes what there is of the units $*. What runs of them runs on, and is not started again.
r_drop_units() {
  [ $# -gt 0 ] || return 0
  for r_name; do
    set -- "$r_units/$r_name"
    rm -f -- "$1.service" "$1.start" "$1.secrets" "$1.first" "$1.starts" "$r_units/default.target.wants/$r_name.service" \
      "$r_runtime/$r_name.secrets"
  done
  for r_dir in "$r_units/default.target.wants" "$r_units" "${r_units%/*}" "$r_runtime"; do
    rmdir -- "$r_dir"
  done
  r_systemctl daemon-reload
} 2>/dev/null

# Has systemd forget how units of this thing ended that have no files any more: until then it lists them as failed.
r_forget_failed() {
  [ -S "${r_runtime%/*}/systemd/private" ] || return 0
  # `v1:demo:instance/a:` is that of replica-demo-instance.a.1 and all that follow.
  r_of_thing=$(printf '%s\n' "$r_prefix" | sed 's|^v1:\([^:]*\):\([^:]*\):.*|replica-\1-\2.*.service|; s|/|.|')
  r_systemctl list-units --all --plain --no-legend --state=not-found "$r_of_thing" |
    while read -r r_name r_rest; do r_systemctl reset-failed "$r_name"; done
} 2>/dev/null

# Drops the units of former starts: all but $1; where $2 is not empty, all that do not run.
r_retire_units() {
  for r_old in $(r_list_units); do
    [ "$r_old" != "$1" ] || continue
    # What still runs may be asked to finish what is in flight there. What waits to be started must not be.
    if [ "$(r_unit_has "$r_old" SubState)" = running ]; then
      [ -z "$2" ] || continue
    else
      r_systemctl stop "$r_old.service"
    fi
    r_drop_units "$r_old"
    # What ended before systemd had read that its unit is gone waits to be started again.
    [ "$(r_unit_has "$r_old" SubState)" = running ] || r_systemctl stop "$r_old.service"
  done
  r_forget_failed
} 2>/dev/null

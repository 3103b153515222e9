# Unsets every inherited variable that a process of ours is not to depend on.
for r_name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
  case $r_name in
    HOME | USER | LOGNAME | PATH | LANG | SHELL | TMPDIR | XDG_RUNTIME_DIR | XDG_CACHE_HOME) ;;
    # A shell refuses to forget these.
    SHELLOPTS | BASHOPTS | PPID | UID | EUID) ;;
    *) unset "$r_name" ;;
  esac
done

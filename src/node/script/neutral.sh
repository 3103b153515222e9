# Makes shell and tools the same on every node: what a start file exports changes what they print and
# do. Variables that say how to get somewhere (PATH, proxies, indexes) stay as they are.
unalias -a
# A shell that is bash takes functions out of the environment.
unset -f [ awk basename cat cd chmod cksum command cp cut date dd df dirname du echo env false find \
  flock grep head hf id kill ln ls mkdir mkfifo mktemp mv nice nohup nvidia-smi od pip printf ps pwd \
  python3 read readlink rm rmdir sed setsid sh sha256sum shopt sleep sort stat sync systemctl tail test timeout \
  touch tr true tty type umask uname uniq uv wait wc
unset IFS CDPATH ENV BASH_ENV TMOUT POSIXLY_CORRECT _POSIX2_VERSION BLOCKSIZE BLOCK_SIZE DF_BLOCK_SIZE \
  DU_BLOCK_SIZE LS_BLOCK_SIZE LS_COLORS LS_OPTIONS QUOTING_STYLE TIME_STYLE TABSIZE COLUMNS LINES \
  GREP_OPTIONS GREP_COLOR GREP_COLORS TAR_OPTIONS GZIP CLICOLOR CLICOLOR_FORCE FORCE_COLOR PY_COLORS
set +aCefuvx
case ${BASH_VERSION-} in
  ?*)
    # With that variable went the mode that has it set; it is not exported again.
    set -o posix +o pipefail
    shopt -u dotglob failglob nocaseglob nocasematch nullglob xpg_echo
    ;;
esac
LC_ALL=C
export LC_ALL

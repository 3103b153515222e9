# In: name, an address or a name that something here is to listen on. Prints what it stands for here, and
# which addresses this machine has; reads only. What cannot be told is left out.
case $name in
  *[!0-9.]*)
    # A resolver that hangs must not hold up a plan.
    if command -v getent > /dev/null && command -v timeout > /dev/null; then
      found=$(timeout 3 getent ahostsv4 "$name")
      status=$?
      # A name of IPv6 alone is one all the same.
      [ "$status" != 2 ] || ! timeout 3 getent ahosts "$name" > /dev/null || status=
      case $status in
        0 | 2)
          echo asked
          printf '%s\n' "$found" | awk '$2 == "STREAM" && !said[$1]++ { print "is", $1 }'
          ;;
      esac
    fi
    ;;
esac
[ "$(cat /proc/sys/net/ipv4/ip_nonlocal_bind 2> /dev/null)" = 0 ] && awk '
  $1 == "|--" || $2 == "|--" { address = $NF }
  /host LOCAL/ { if (!said[address]++) print "has", address $1 }' /proc/net/fib_trie 2> /dev/null
true

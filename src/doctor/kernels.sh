# In: log_text.sh; r_folder, the folder of logs; r_kind, what servers are called there. Prints of the newest
# start of each server what its log says of what computes: `kernel THING TEXT`, each once. Reads only.
LC_ALL=C
export LC_ALL
for r_file in "$r_folder/$r_kind".*.log; do
  [ -f "$r_file" ] || continue
  r_name=${r_file##*/} r_name=${r_name%.log}
  case ${r_name##*.} in '' | *[!0-9]*) continue ;; esac
  echo "${r_name%.*} ${r_name##*.}"
done | sort -k 1,1 -k 2,2n | awk '{ newest[$1] = $2 } END { for (it in newest) print it, newest[it] }' |
  while read -r r_thing r_start; do
    r_path=$r_folder/$r_thing.$r_start.log
    r_size=$(stat -c %s -- "$r_path" 2> /dev/null) || continue
    # What says how it was started names everything, and much that is nobody's business.
    r_log_text "$r_path" 0 "$r_size" |
      grep -aE ' Using |[Ff]all(s|ing)? ?back|eager mode|native support for FP|Unknown vLLM environment variable|default MoE config' |
      grep -avE 'non-default args|Initializing a V1 ' | sed 's/^[^]]*\] //' | awk '!seen[$0]++' | head -n 40 | cut -c 1-400 |
      sed "s/^/kernel $r_thing /"
  done
true

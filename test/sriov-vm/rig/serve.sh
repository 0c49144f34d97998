#!/rig/busybox sh
# One command of the control link. In comes a line `<name> <bytes>` and a script of so many bytes; out go its exit code and the sizes of
# its two outputs in a line, and both. A name that came before is not run again, only answered, so that a cut connection can be made anew.
export PATH=/node/bin:/usr/sbin:/usr/bin:/rig HOME=/root TZ=UTC NODE_COMPILE_CACHE=/compiled
read -r name bytes || exit
work="/tmp/command-$name"
script=$(mktemp)
head -c "$bytes" >"$script"
[ "$(stat -c %s "$script")" = "$bytes" ] || exit
if mkdir "$work"; then
  cd /root
  bash "$script" </dev/null >"$work/out" 2>"$work/err"
  echo $? >"$work/code.new"
  mv "$work/code.new" "$work/code"
fi 2>/dev/null
rm "$script"
until [ -e "$work/code" ]; do sleep 0.1; done
echo "$(cat "$work/code") $(stat -c %s "$work/out") $(stat -c %s "$work/err")"
cat "$work/out" "$work/err"

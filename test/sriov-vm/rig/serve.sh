#!/rig/busybox sh
# One command of the control link: the script is all of the input; answered are its exit code, the sizes of its two outputs, and both.
export PATH=/node/bin:/usr/sbin:/usr/bin:/rig HOME=/root TZ=UTC NODE_COMPILE_CACHE=/compiled
work=$(mktemp -d)
cat >"$work/script"
cd /root
bash "$work/script" </dev/null >"$work/out" 2>"$work/err"
code=$?
echo "$code $(stat -c %s "$work/out") $(stat -c %s "$work/err")"
cat "$work/out" "$work/err"
rm -rf "$work"

# tail -f follows a log that another process of the tree appends to; no line is lost or told twice.
set -u
fail() { echo "FAIL $*" >&2; exit 1; }
: >log
exec 3>>log
coproc tail -n +1 -f log
child=$COPROC_PID # bash forgets it when tail ends
echo ready
n=0
while [ ! -e "$1" ]; do
	n=$((n + 1))
	echo "entry $n" >&3
	read -r line <&"${COPROC[0]}" || fail "tail has ended"
	[ "$line" = "entry $n" ] || fail "tail says $line, want entry $n"
	echo "step $n"
done
kill "$child"
wait "$child"
[ $? = 143 ] || fail "tail ended with $?"
echo PASS

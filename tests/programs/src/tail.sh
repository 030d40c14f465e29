# tail -f follows a log that another process of the tree appends to; no line is lost or told twice.
set -u
fail() { echo "FAIL $*" >&2; exit 1; }
: >log
exec 3>>log
coproc tail -n +1 -f log
echo ready
n=0
while [ ! -e "$1" ]; do
	n=$((n + 1))
	echo "entry $n" >&3
	read -r line <&"${COPROC[0]}" || fail "tail has ended"
	[ "$line" = "entry $n" ] || fail "tail says $line, want entry $n"
	echo "step $n"
done
kill "$COPROC_PID"
wait "$COPROC_PID"
[ $? = 143 ] || fail "tail ended with $?"
echo PASS

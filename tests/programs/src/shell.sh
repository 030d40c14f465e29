# Shell pipelines and loops: a coprocess of three programs that lives on, short pipelines,
# process substitution and background jobs, checked at every step.
set -u
fail() { echo "FAIL $*" >&2; kill "$child"; exit 1; }

coproc { sed -u 's/^/</' | grep --line-buffered '<' | while read -r line; do echo "$line>"; done; }
child=$COPROC_PID # bash forgets it when the coprocess ends
exec {to}>&"${COPROC[1]}" {from}<&"${COPROC[0]}" {COPROC[1]}>&-
echo ready
n=0
while [ ! -e "$1" ]; do
	n=$((n + 1))
	echo "$n" >&"$to"
	read -r answer <&"$from" || fail "the coprocess has ended"
	[ "$answer" = "<$n>" ] || fail "the coprocess says $answer, want <$n>"
	sum=$(seq "$n" | awk '{ s += $1 } END { print s }')
	[ "$sum" = $((n * (n + 1) / 2)) ] || fail "sum of 1 to $n: $sum"
	lines=0
	while read -r line; do lines=$((lines + 1)); done < <(seq 100 | sort -r | head -n $((n % 100)))
	[ $lines = $((n % 100)) ] || fail "$lines lines, want $((n % 100))"
	(sleep 0.02; exit $((n % 100))) &
	wait $! || status=$?
	[ "${status:-0}" = $((n % 100)) ] || fail "a background job ended with $status"
	status=0
	echo "step $n"
done
exec {to}>&-
wait "$child" || fail "the coprocess ended with $?"
echo PASS

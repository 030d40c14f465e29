# xargs -P4: each number is worked on once, four at a time, in whatever order.
set -u
fail() { echo "FAIL $*" >&2; exit 1; }
numbers() {
	n=0
	while [ ! -e "$1" ]; do
		n=$((n + 1))
		echo "$n"
		sleep 0.02
	done
}
work='echo "$1 $(($1 * $1))"; sleep 0.0$(($1 % 9))'

echo ready
numbers "$1" | xargs -n1 -P4 sh -c "$work" sh | {
	n=0 last=0
	while read -r number square; do
		[ -z "${seen[number]:-}" ] || fail "$number comes twice"
		[ "$square" = $((number * number)) ] || fail "the square of $number is $square"
		seen[number]=1
		last=$((number > last ? number : last))
		n=$((n + 1))
		echo "step $n"
	done
	[ $n = $last ] || fail "$n numbers came, the last is $last"
	echo PASS
}

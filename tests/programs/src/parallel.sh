# GNU parallel with four jobs and -k: each number is worked on once, results come in order.
set -u
fail() { echo "FAIL $*" >&2; exit 1; }
numbers() {
	n=0
	while [ ! -e "$1" ]; do
		n=$((n + 1))
		echo "$n"
		sleep 0.05
	done
}
export PARALLEL_HOME=$PWD/parallel

echo ready
numbers "$1" | parallel -k -j4 --will-cite 'sleep 0.0$(({} % 9)); echo {} $(({} * {}))' | {
	n=0
	while read -r number square; do
		n=$((n + 1))
		[ "$number $square" = "$n $((n * n))" ] || fail "$number has $square, want $n"
		echo "step $n"
	done
	echo PASS
}

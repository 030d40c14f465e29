# script(1) records what a program says on a pseudo terminal; the recording is complete.
set -u
script -qefc "sh $2 $1" typescript </dev/null || { echo "FAIL status $?" >&2; exit 1; }
# The recording has a line of its own at the start and one at the end.
tr -d '\r' <typescript | sed '1d;$d' | awk '
	NR == 1 { first = $0; next }
	$0 != "step " NR - 1 { bad = 1 }
	END { exit bad || NR < 2 || first != "ready" }' || { echo "FAIL typescript" >&2; exit 1; }
echo PASS

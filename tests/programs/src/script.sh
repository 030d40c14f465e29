# script(1) records what a program says on a pseudo terminal; the recording is complete.
set -u
script -qefc "sh $2 $1" typescript </dev/null | tr -d '\r'
# The recording has a line of its own at the start and one at the end.
tr -d '\r' <typescript | sed '1d;$d' | awk '
	NR == 1 { first = $0; next }
	$1 == "step" && $2 != NR - 1 { exit bad = 1 }
	{ last = $0 }
	END { exit bad || first != "ready" || last !~ /^step/ }' || { echo "FAIL typescript" >&2; exit 1; }
echo PASS

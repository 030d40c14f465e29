# script(1) records what a program says on a pseudo terminal; the recording is complete.
set -u
script -qefc "sh $2 $1" typescript </dev/null || { echo "FAIL status $?" >&2; exit 1; }
# The recording has a line of its own at the start and one, after a blank line, at the end.
tr -d '\r' <typescript | sed '1d; /^$/d; /^Script done/d' | awk '
	NR == 1 ? $0 != "ready" : $0 != "step " NR - 1 { print "FAIL line " NR " of the typescript: " $0; bad = 1; exit }
	END { exit bad || NR < 2 }' >&2 || exit 1
echo PASS

#!/bin/sh
# The demonstration of the README: a program that knows nothing of crtrace is
# checkpointed, killed, and brought back. CRTRACE names the binary to show.
set -eu
crtrace=$(command -v "${CRTRACE:-crtrace}")
case $crtrace in /*) ;; *) crtrace=$PWD/$crtrace ;; esac
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

until_file_has() { # until_file_has TEXT, for at most a minute
	n=0
	until grep -q "^$1\$" out; do
		n=$((n + 1))
		[ "$n" -lt 600 ] || { echo "no \"$1\" after a minute" >&2; exit 1; }
		sleep 0.1
	done
}

echo '$ crtrace launch perl -e '"'"'... count to 12 ...'"'"' >out &'
: >out
# It first closes what a terminal or a job runner has left open beyond stderr: a
# pipe to a stranger can't be checkpointed.
"$crtrace" launch perl -MPOSIX -e 'POSIX::close($_) for 3 .. 1023; $| = 1; for (1 .. 12) { print "$_\n"; select undef, undef, undef, 0.3 } print "done\n"' >>out &
until_file_has 3
pid=$(cat /proc/$!/task/*/children | tr -d ' ')

echo "\$ crtrace checkpoint --pid $pid -o image"
"$crtrace" checkpoint --pid "$pid" -o image
until_file_has 7
echo "\$ kill -KILL $pid"
kill -KILL "$pid"
wait "$!" || echo "(the program ended with status $?)"
echo '$ cat out'
tr '\n' ' ' <out; echo

echo '$ crtrace restore image'
"$crtrace" restore image
echo '$ cat out'
tr '\n' ' ' <out; echo
[ "$(tr '\n' ' ' <out)" = "1 2 3 4 5 6 7 8 9 10 11 12 done " ] || { echo 'the output has a gap or a repeat' >&2; exit 1; }

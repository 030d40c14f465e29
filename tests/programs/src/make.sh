# make -j with its jobserver, over two levels: 24 targets, never more than four jobs at a time. make
# itself complains at the end about a token that was lost or made. A step is a whole build.
set -u
fail() { echo "FAIL $*" >&2; exit 1; }

echo ready
n=0
while [ ! -e "$1" ]; do
	n=$((n + 1))
	log=log$n # not the one before: crtrace rolls back what was appended, not what was written over
	make -s -j4 -f "$2" LEVEL=1 >$log 2>&1 || fail "make: $(tail -n 3 $log)"
	[ "$(tail -n 1 $log)" = "all built" ] || fail "make ends with $(tail -n 1 $log)"
	# Every target is begun once, then done once; the jobs that run are counted.
	awk '/^begin / { if (begun[$2]++ || ++jobs > 4) exit bad = 1 }
		/^done / { if (done[$2]++ || !begun[$2]) exit bad = 1; jobs--; all++ }
		END { exit bad || jobs != 0 || all != 24 }' $log || fail "order of jobs: $(tr '\n' ';' <$log)"
	echo "step $n"
done
echo PASS

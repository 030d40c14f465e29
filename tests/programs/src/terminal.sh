# Runs on a terminal below script.sh: its settings stay what it made them.
stty -echo erase x
settings=$(stty -g)
terminal=$(stty size)
echo ready
n=0
while [ ! -e "$1" ]; do
	n=$((n + 1))
	now=$(stty -g) size=$(stty size)
	[ "$now,$size" = "$settings,$terminal" ] || { echo "FAIL settings $now,$size, want $settings,$terminal"; exit 1; }
	sleep 0.02
	echo "step $n"
done

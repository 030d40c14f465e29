package tests

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/crtrace/crtrace/tests/internal/victims"
)

// forking is a shell that forks and makes pipes all the time. No moment of it is as
// a look at one process after the other shows it.
const forking = `echo "ready $$"
n=0
while [ ! -e "$0" ]; do
	n=$((n + 1))
	sum=$(seq $n | awk '{ s += $1 } END { print s }')
	[ "$sum" = $((n * (n + 1) / 2)) ] || { echo "FAIL $sum"; exit 1; }
	(exit 3) | cat
	echo "step $n"
done
echo PASS`

// TestWaitingConnections: what somebody has sent who is gone is not lost when the
// connection is still to be accepted: the checkpoint waits for that.
func TestWaitingConnections(t *testing.T) {
	p := start(t, victims.Waiting, startOptions{append: true})
	for g := range 2 * generations() {
		image := p.checkpoint(fmt.Sprintf("image-%d", g), "--kill")
		p.awaitKilled()
		p.restore(image)
		p.awaitSteps(3)
	}
	p.finish()
}

// TestForking: checkpoints of a tree that never stands still are neither refused nor
// seen by it.
func TestForking(t *testing.T) {
	p := start(t, victims.Victim{Name: "forking"}, startOptions{append: true, binary: "/bin/sh", before: []string{"-c", forking}})
	for range 60 {
		image := p.imagePath("live")
		status, _, stderr := run(t, "checkpoint", "--quiet", "--pid", strconv.Itoa(p.pid), "-o", image)
		if status != 0 {
			t.Fatalf("checkpoint: status %d: %s", status, stderr)
		}
		if err := os.RemoveAll(image); err != nil {
			t.Fatal(err)
		}
	}
	p.awaitSteps(5)
	image := p.imagePath("image")
	status, _, stderr := run(t, "checkpoint", "--quiet", "--kill", "--pid", strconv.Itoa(p.pid), "-o", image)
	if status != 0 {
		t.Fatalf("checkpoint: status %d: %s", status, stderr)
	}
	p.awaitKilled()
	p.restore(image)
	p.awaitSteps(5)
	p.finish()
}

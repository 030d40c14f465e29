package tracer

import "testing"

// TestMoveAdjustment carries operations out as the kernel does: the value stays possible
// all the time and is the same at the end, and the adjustment has moved.
func TestMoveAdjustment(t *testing.T) {
	const most = 32767
	for _, value := range []int{0, 1, 16383, 16384, 20000, most - 1, most} {
		for _, by := range []int{-2*most - 1, -most - 1, -most, -16385, -1, 0, 1, 16384, most, 2*most + 1} {
			now, adjust := value, 0
			for _, o := range MoveAdjustment(nil, 3, value, by) {
				now += o.Add
				if o.Undo {
					adjust -= o.Add
				}
				if o.Semaphore != 3 || now < 0 || now > most {
					t.Fatalf("value %d by %d: %+v leads to %d", value, by, o, now)
				}
			}
			if now != value || adjust != by {
				t.Errorf("value %d by %d: value %d, adjustment %d", value, by, now, adjust)
			}
		}
	}
}

package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtrace/crtrace/snapshot"
)

// manifestOf reads an image.
func manifestOf(t *testing.T, image string) *snapshot.Manifest {
	t.Helper()
	status, stdout, stderr := run(t, "inspect", "--json", image)
	m := new(snapshot.Manifest)
	if status != 0 || json.Unmarshal([]byte(stdout), m) != nil {
		t.Fatalf("inspect: status %d: %s", status, stderr)
	}
	return m
}

// TestIPCGone: System V objects that nobody has any more, as after a reboot, are made
// again with their keys and ids.
func TestIPCGone(t *testing.T) {
	p := start(t, victim(t, "sysv"), startOptions{append: true})
	image := p.checkpoint("image")
	p.awaitSteps(1)
	p.kill()
	m := manifestOf(t, image)
	remove := func(call uintptr, args ...uintptr) {
		if _, _, errno := unix.Syscall(call, args[0], args[1], args[2]); errno != 0 {
			t.Errorf("remove object %d: %v", args[0], errno)
		}
	}
	for _, s := range m.Shared {
		if s.SysV != nil && !s.SysV.Removed {
			remove(unix.SYS_SHMCTL, uintptr(s.SysV.ID), unix.IPC_RMID, 0)
		}
	}
	for _, s := range m.Semaphores {
		remove(unix.SYS_SEMCTL, uintptr(s.ID), 0, unix.IPC_RMID)
	}
	for _, q := range m.Queues {
		remove(unix.SYS_MSGCTL, uintptr(q.ID), unix.IPC_RMID, 0)
	}
	if len(m.Semaphores) < 2 || len(m.Queues) < 4 {
		t.Errorf("%d semaphore sets and %d message queues are in the image", len(m.Semaphores), len(m.Queues))
	}
	p.restore(image, "--pids=host")
	p.awaitSteps(5)
	p.finish()
}

// TestQueues: POSIX queues that are gone are made again; messages that were sent after the
// checkpoint are kept.
func TestQueues(t *testing.T) {
	p := start(t, victim(t, "mqueue"), startOptions{append: true})
	image := p.checkpoint("image")
	names := map[string]bool{}
	for _, d := range manifestOf(t, image).Descriptions {
		if q, ok := d.Detail.(*snapshot.MQueue); ok && !q.Removed {
			names[q.Name] = true
		}
	}
	if len(names) != 3 {
		t.Fatalf("queues %v", names)
	}
	t.Run("gone", func(t *testing.T) {
		p.kill()
		for name := range names {
			if err := unlinkQueue(name); err != nil {
				t.Errorf("mq_unlink %s: %v", name, err)
			}
		}
		p.restore(image, "--pids=host")
		p.awaitSteps(5)
	})
	t.Run("filled", func(t *testing.T) {
		p.kill()
		for name := range names {
			if err := sendToQueue(name); err != nil && !strings.HasSuffix(name, "-told") && !strings.HasSuffix(name, "-other") {
				t.Errorf("send to %s: %v", name, err)
			}
		}
		p.restore(image, "--pids=host")
		p.awaitSteps(5)
		kept, err := filepath.Glob(filepath.Join(image+".tails", "*-mqueue-*"))
		if err != nil || len(kept) == 0 {
			t.Fatalf("messages kept: %v (%v)", kept, err)
		}
		text, err := os.ReadFile(kept[0])
		if err != nil || !strings.Contains(string(text), `"eA=="`) {
			t.Errorf("%s holds %q (%v)", kept[0], text, err)
		}
	})
	p.finish()
}

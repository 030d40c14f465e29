package restore

import (
	"os"
	"path"
	"strconv"
	"strings"
)

// room is how much memory there is for restored processes, in bytes.
type room struct {
	whole     int64  // what can never be exceeded
	limit     string // what sets that bound
	available int64  // free now, or quickly had
}

// checkMemory compares the size of the image's pages with the memory of the
// machine and of the control group (a batch job's, a container's).
func (p *Plan) checkMemory() {
	var need int64
	for _, s := range p.manifest.Stores {
		need += s.Data.Size
	}
	p.judgeMemory(need, readRoom())
}

// judgeMemory refuses what can't fit and warns of what may not.
func (p *Plan) judgeMemory(need int64, r room) {
	const mib = 1 << 20
	switch {
	case r.whole > 0 && need > r.whole:
		p.refuse("the program has %d MiB of memory, %s allows %d", need/mib, r.limit, r.whole/mib)
	case r.available > 0 && need > r.available:
		p.warn("the program has %d MiB of memory, only %d are available: something may be ended for want of memory", need/mib, r.available/mib)
	}
}

// readRoom asks the kernel; what it does not tell is no bound.
func readRoom() room {
	info := meminfo()
	r := room{
		whole: info["MemTotal"] + info["SwapTotal"], limit: "this machine",
		available: info["MemAvailable"] + info["SwapFree"],
	}
	if limit := groupLimit(); limit > 0 && limit+info["SwapTotal"] < r.whole {
		r.whole, r.limit = limit+info["SwapTotal"], "the memory limit of this control group (job or container)"
		r.available = min(r.available, r.whole)
	}
	return r
}

// meminfo reads /proc/meminfo, in bytes.
func meminfo() map[string]int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil
	}
	out := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		if n, err := strconv.ParseInt(words[1], 10, 64); err == nil {
			out[strings.TrimSuffix(words[0], ":")] = n * 1024
		}
	}
	return out
}

// groupLimit returns the lowest memory.max of our control group and those above
// it, 0 when there is none. Control groups of version 2 only.
func groupLimit() int64 {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	lowest := int64(0)
	for line := range strings.Lines(string(text)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		for ok && strings.HasPrefix(group, "/") {
			limit, err := os.ReadFile(path.Join("/sys/fs/cgroup", group, "memory.max"))
			if n, perr := strconv.ParseInt(strings.TrimSpace(string(limit)), 10, 64); err == nil && perr == nil && (lowest == 0 || n < lowest) {
				lowest = n
			}
			if group == "/" {
				break
			}
			group = path.Dir(group)
		}
	}
	return lowest
}

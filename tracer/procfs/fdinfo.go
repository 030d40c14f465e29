package procfs

import (
	"bytes"
	"math"
	"strconv"
)

// FDInfo is /proc/PID/fdinfo/FD. Besides the first four fields only those are
// set that belong to the kind of object.
type FDInfo struct {
	Pos   int64  // file offset
	Flags uint64 // O_* of the description, and O_CLOEXEC of the descriptor
	MntID int
	Ino   uint64 // kernels before 5.14 do not tell

	EventFDCount     uint64 // eventfd
	EventFDSemaphore bool

	Epoll   []EpollEntry // epoll: interest list, in the kernel's order
	SigMask uint64       // signalfd: bit N-1 for signal N
	Timer   *TimerFD     // timerfd
	Inotify []InotifyWatch

	Pid   int   // pidfd: process, -1 when it ended, 0 when it is in no namespace of the reader
	NSpid []int // pidfd: its id in each pid namespace

	Locks  []Lock // locks that this process holds through the file; leases too
	ScmFDs int    // unix socket: descriptors that are in flight in its queue
}

// EpollEntry is one entry of an interest list.
type EpollEntry struct {
	FD     int // number it was added under; may mean another file by now
	Events uint32
	Data   uint64
	Pos    int64  // offset of the file
	Ino    uint64 // of the file
	Dev    uint64 // of the file, as in stat(2)
}

// TimerFD is the state of a timerfd; times in nanoseconds.
type TimerFD struct {
	Clock        int
	Ticks        uint64 // expirations that were not read yet
	SettimeFlags uint64 // TFD_TIMER_* of the last timerfd_settime
	Value        int64  // time left, for an absolute timer too; 0: not armed
	Interval     int64
}

// InotifyWatch is one watch of an inotify instance.
type InotifyWatch struct {
	WD          int
	Ino         uint64
	Dev         uint64 // as in stat(2)
	Mask        uint32
	IgnoredMask uint32
	HandleType  int    // of open_by_handle_at(2)
	Handle      []byte // nil if the file system has no handles
}

// ReadFDInfo reads what the kernel tells about an open descriptor. Locks are
// those of the process only as far as its own descriptor table goes.
func ReadFDInfo(pid, fd int) (FDInfo, error) {
	return read(pidPath(pid, "fdinfo/"+strconv.Itoa(fd)), parseFDInfo)
}

// fdinfoSeen remembers which lines have come that every file has.
type fdinfoSeen struct{ pos, flags, mnt bool }

// parseFDInfo reads an fdinfo file. Many kinds of files add lines of their own,
// some without a colon: what is not known is skipped.
func parseFDInfo(data []byte) (FDInfo, error) {
	var info FDInfo
	var seen fdinfoSeen
	for n := 1; len(data) > 0; n++ {
		var line []byte
		line, data = cutLine(data)
		key, value, _ := bytes.Cut(line, colon)
		if reason := info.set(string(key), line, trim(value), &seen); reason != "" {
			return FDInfo{}, badLine(n, line, reason)
		}
	}
	if seen != (fdinfoSeen{true, true, true}) {
		return FDInfo{}, badFile("not an fdinfo file: no pos, flags or mnt_id")
	}
	return info, nil
}

var colon = []byte{':'}

// set stores one line and returns what is wrong with it, or nothing.
func (i *FDInfo) set(key string, line, value []byte, seen *fdinfoSeen) string {
	ok := true
	switch key {
	case "pos":
		i.Pos, ok = signed(value)
		seen.pos = true
	case "flags":
		i.Flags, ok = octal(value)
		seen.flags = true
	case "mnt_id":
		i.MntID, ok = integer(value)
		seen.mnt = true
	case "ino":
		i.Ino, ok = decimal(value)
	case "eventfd-count":
		i.EventFDCount, ok = hex(value)
	case "eventfd-semaphore":
		i.EventFDSemaphore, ok = flag(value)
	case "tfd":
		return i.addEpoll(line)
	case "sigmask":
		i.SigMask, ok = hex(value)
	case "Pid":
		i.Pid, ok = integer(value)
	case "NSpid":
		i.NSpid, ok = integers(value)
	case "scm_fds":
		i.ScmFDs, ok = integer(value)
	case "lock":
		lock, reason := parseLock(value)
		i.Locks = append(i.Locks, lock)
		return reason
	case "clockid", "ticks", "settime flags", "it_value", "it_interval":
		ok = i.setTimer(key, value)
	case "inotify wd":
		return i.addInotify(line)
	}
	if !ok {
		return "bad value"
	}
	return ""
}

// setTimer stores one line of a timerfd.
func (i *FDInfo) setTimer(key string, value []byte) (ok bool) {
	if i.Timer == nil {
		i.Timer = &TimerFD{}
	}
	switch key {
	case "clockid":
		i.Timer.Clock, ok = integer(value)
	case "ticks":
		i.Timer.Ticks, ok = decimal(value)
	case "settime flags":
		i.Timer.SettimeFlags, ok = octal(value)
	case "it_value":
		i.Timer.Value, ok = timespec(value)
	case "it_interval":
		i.Timer.Interval, ok = timespec(value)
	}
	return ok
}

// timespec reads "(SECONDS, NANOSECONDS)" into nanoseconds.
func timespec(s []byte) (int64, bool) {
	s, ok1 := bytes.CutPrefix(s, []byte("("))
	s, ok2 := bytes.CutSuffix(s, []byte(")"))
	secs, nanos, ok3 := bytes.Cut(s, []byte(", "))
	sec, ok4 := decimal(secs)
	nsec, ok5 := decimal(nanos)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || nsec >= 1e9 || sec > (math.MaxInt64-nsec)/1e9 {
		return 0, false
	}
	return int64(sec*1e9 + nsec), true
}

// addEpoll reads "tfd: FD events: HEX data: HEX  pos:N ino:HEX sdev:HEX". The last
// three are missing before 4.13.
func (i *FDInfo) addEpoll(line []byte) string {
	var e EpollEntry
	var events, dev uint64
	w := words{rest: line}
	fd := w.get("tfd:", signed2)
	events = w.get("events:", hex)
	e.Data = w.get("data:", hex)
	if !w.end() {
		e.Pos = int64(w.get("pos:", signed2))
		e.Ino = w.get("ino:", hex)
		dev = w.get("sdev:", hex)
	}
	if w.bad != "" || !w.end() {
		return "bad or missing " + w.bad
	}
	if int64(fd) < 0 || fd > math.MaxInt32 || events > math.MaxUint32 || dev > math.MaxUint32 {
		return "a number out of range"
	}
	e.FD, e.Events, e.Dev = int(fd), uint32(events), kernelDev(dev)
	i.Epoll = append(i.Epoll, e)
	return ""
}

// addInotify reads "inotify wd:HEX ino:HEX sdev:HEX mask:HEX ignored_mask:HEX" and,
// where the file system has handles, "fhandle-bytes:HEX fhandle-type:HEX f_handle:BYTES".
func (i *FDInfo) addInotify(line []byte) string {
	w := words{rest: line[len("inotify"):]}
	var v InotifyWatch
	wd := w.get("wd:", hex)
	v.Ino = w.get("ino:", hex)
	dev := w.get("sdev:", hex)
	mask := w.get("mask:", hex)
	ignored := w.get("ignored_mask:", hex)
	if w.bad == "" && !w.end() {
		size := w.get("fhandle-bytes:", hex)
		kind := w.get("fhandle-type:", hex)
		v.HandleType = int(int32(uint32(kind)))
		if text := w.text("f_handle:"); w.bad == "" {
			if v.Handle = hexBytes(text); v.Handle == nil || uint64(len(v.Handle)) != size || kind > math.MaxUint32 {
				return "bad file handle"
			}
		}
	}
	if w.bad != "" || !w.end() {
		return "bad or missing " + w.bad
	}
	if wd > math.MaxInt32 || mask > math.MaxUint32 || ignored > math.MaxUint32 || dev > math.MaxUint32 {
		return "a number out of range"
	}
	v.WD, v.Dev, v.Mask, v.IgnoredMask = int(wd), kernelDev(dev), uint32(mask), uint32(ignored)
	i.Inotify = append(i.Inotify, v)
	return ""
}

// hexBytes reads two digits a byte; nil for anything else and for nothing.
func hexBytes(s []byte) []byte {
	if len(s)%2 != 0 || len(s) == 0 {
		return nil
	}
	out := make([]byte, len(s)/2)
	for i := range out {
		n, ok := hex(s[2*i : 2*i+2])
		if !ok {
			return nil
		}
		out[i] = byte(n)
	}
	return out
}

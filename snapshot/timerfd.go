package snapshot

// KindTimerFD is the kind of timerfds.
const KindTimerFD Kind = "timerfd"

// TimerFD is a timerfd; times in nanoseconds.
type TimerFD struct {
	Clock    int    `json:"clock"`
	Flags    Hex    `json:"flags"` // TFD_TIMER_* of the last timerfd_settime
	Value    int64  `json:"value"` // time left, 0: not armed
	Interval int64  `json:"interval"`
	Ticks    uint64 `json:"ticks"` // expirations that were not read yet
}

// Kind implements Detail.
func (*TimerFD) Kind() Kind { return KindTimerFD }

// check implements Detail.
func (t *TimerFD) check(*validator) error {
	return notNegative("a time", t.Value, t.Interval)
}

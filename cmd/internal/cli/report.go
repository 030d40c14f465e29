package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/cmd/internal/wire"
	"github.com/crtrace/crtrace/snapshot/capture"
	"github.com/crtrace/crtrace/tracer"
)

// yamaHint names the ways to trace a process under kernel.yama.ptrace_scope=1.
const yamaHint = "kernel.yama.ptrace_scope=1 lets only ancestors trace a process: start it with 'crtrace launch', " +
	"or have it call prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY), or have the administrator set kernel.yama.ptrace_scope=0"

// exitError is an error in JSON.
type exitError struct {
	MessageType string            `json:"message_type"` // "exit_error"
	Code        int               `json:"code"`
	Message     string            `json:"message"`
	Problems    []capture.Problem `json:"problems,omitempty"`
}

// report prints why a command failed.
func (a *app) report(cmd *cobra.Command, code int, err error) {
	if e, ok := errors.AsType[*exitcode.Error](err); ok && e.Err == nil {
		return // a program's own status
	}
	text := printable(explain(err))
	if a.json {
		m := exitError{MessageType: "exit_error", Code: code, Message: text, Problems: problems(err)}
		if a.printJSON(a.err, m) == nil {
			return
		}
	}
	fmt.Fprintf(a.err, "crtrace: %s\n", text)
	if code == exitcode.Usage && cmd != nil {
		fmt.Fprintf(a.err, "Run '%s --help' for usage.\n", cmd.CommandPath())
	}
}

// explain adds to an error what the user can do about it, where the error
// itself does not say so.
func explain(err error) string {
	text := err.Error()
	// One text for both ways that a refusal comes: from the kernel to us, or to a
	// supervisor and over its socket.
	if p, ok := errors.AsType[*tracer.PermissionError](err); ok {
		why := p.Why
		if p.Hint != "" {
			why += " (" + p.Hint + ")"
		}
		text = strings.Replace(text, p.Error(), "attach: "+why, 1)
	}
	if exitcode.From(err) == exitcode.Permission && tracer.YamaScope() == 1 && !strings.Contains(text, "crtrace launch") {
		text += " (" + yamaHint + ")"
	}
	return text
}

// problems returns the list of an "unsupported" error.
func problems(err error) []capture.Problem {
	if u, ok := errors.AsType[*capture.UnsupportedError](err); ok {
		return u.Problems
	}
	if w, ok := errors.AsType[*wire.Error](err); ok {
		return w.Problems
	}
	return nil
}

// printJSON prints one line of JSON.
func (a *app) printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printable makes text safe for a terminal: whatever a program has put into its
// name, or a stranger into an image, is shown escaped. Line breaks stay.
func printable(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = escape(line)
	}
	return strings.Join(lines, "\n")
}

// escape shows control characters, invalid UTF-8 and characters that change the
// direction of text as Go escapes.
func escape(s string) string {
	ok := utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
	if ok {
		return s
	}
	quoted := fmt.Sprintf("%q", s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// sizeText is a number of bytes for people.
func sizeText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < len("KMGTPE")-1 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[prefix])
}

// count is a number with its noun: "1 process", "3 threads".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

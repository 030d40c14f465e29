package cli

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/regs"
	"github.com/crtrace/crtrace/snapshot"
	"github.com/crtrace/crtrace/snapshot/capture"
	"github.com/crtrace/crtrace/tracer"
)

// newApp is an app whose output can be looked at.
func newApp() (*app, *bytes.Buffer, *bytes.Buffer) {
	var out, errs bytes.Buffer
	return &app{out: &out, err: &errs, log: slog.New(slog.DiscardHandler)}, &out, &errs
}

func TestEveryHelpTellsTheExitStatus(t *testing.T) {
	a, _, _ := newApp()
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		_, status, ok := strings.Cut(cmd.Long, "\nEXIT STATUS\n")
		if !ok || !regexp.MustCompile(`(?m)^  \S+ +\S`).MatchString(status) {
			t.Errorf("%s: the help has no exit status", cmd.CommandPath())
		}
		if strings.Contains(status, "\n\n") {
			t.Errorf("%s: the help does not end with the exit status", cmd.CommandPath())
		}
		if cmd.Runnable() && cmd.RunE == nil && cmd.Name() != "help" && cmd.Parent().Name() != "completion" {
			t.Errorf("%s: Run instead of RunE", cmd.CommandPath())
		}
		for _, c := range cmd.Commands() {
			if cmd.Parent() == nil && !c.Hidden && c.GroupID == "" {
				t.Errorf("%s is in no group", c.CommandPath())
			}
			visit(c)
		}
	}
	visit(a.newRoot())
}

func TestUsageErrors(t *testing.T) {
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"nonsense", 2, "unknown command"},
		{"chekpoint", 2, "did you mean checkpoint?"},
		{"--nonsense", 2, "unknown flag"},
		{"checkpoint", 2, "needs --pid"},
		{"checkpoint 5", 2, "takes no arguments"},
		{"checkpoint --pid x", 2, "invalid argument"},
		{"checkpoint --pid 0", 2, "no process id"},
		{"checkpoint --pid -7", 2, "no process id"},
		{"checkpoint --pid 99999999999", 2, "no process id"},
		{"checkpoint --pid 4194305", 2, "no process id"},
		{"checkpoint --pid 1", 2, "init"},
		{"restore", 2, "needs the directory"},
		{"restore a b", 2, "needs the directory"},
		{"restore --pids maybe x", 2, "want one of"},
		{"restore --detach --dry-run x", 2, "exclude"},
		{"inspect", 2, "needs the directory"},
		{"verify", 2, "needs the directory"},
		{"verify /nonexistent", 1, "no such file"},
		{"version x", 2, "takes no arguments"},
		{"launch", 125, "needs a program"},
		{"launch --nonsense x", 125, "unknown flag"},
	} {
		a, out, errs := newApp()
		if code := a.main(strings.Fields(tc.args)); code != tc.code {
			t.Errorf("%q: status %d, want %d", tc.args, code, tc.code)
		}
		if !strings.HasPrefix(errs.String(), "crtrace: ") || !strings.Contains(errs.String(), tc.want) {
			t.Errorf("%q: message %q, want one with %q", tc.args, errs, tc.want)
		}
		if out.Len() > 0 {
			t.Errorf("%q: on stdout: %q", tc.args, out)
		}
	}
}

func TestApplyEnvironment(t *testing.T) {
	env := map[string]string{"CRTRACE_LOG_FILE": "/env", "CRTRACE_VERBOSE": "2", "CRTRACE_QUIET": "true", "CRTRACE_RUNTIME_DIR": ""}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	a, _, _ := newApp()
	flags := a.newRoot().PersistentFlags()
	if err := flags.Parse([]string{"--log-file", "/flag", "--runtime-dir", "/run"}); err != nil {
		t.Fatal(err)
	}
	if err := applyEnvironment(flags, lookup); err != nil {
		t.Fatal(err)
	}
	if a.logFile != "/flag" || a.verbose != 2 || !a.quiet || a.runtimeDir != "/run" {
		t.Errorf("log file %q, verbose %d, quiet %t, runtime dir %q", a.logFile, a.verbose, a.quiet, a.runtimeDir)
	}
	bad := pflag.NewFlagSet("", pflag.ContinueOnError)
	bad.Bool("quiet", false, "")
	err := applyEnvironment(bad, func(string) (string, bool) { return "perhaps", true })
	if err == nil || !strings.Contains(err.Error(), `CRTRACE_QUIET="perhaps"`) {
		t.Errorf("bad value: %v", err)
	}
}

func TestReport(t *testing.T) {
	problem := capture.Problem{PID: 42, Object: "descriptor 5 (socket:[1])", Why: "is connected"}
	for name, tc := range map[string]struct {
		err  error
		json bool
		want string
	}{
		"permission": {&tracer.PermissionError{PID: 42, Why: "operation not permitted", Hint: "do this"}, false,
			"crtrace: checkpoint 42: attach: operation not permitted (do this)\n"},
		"control characters": {errors.New("a\x1b[31mb\u202ec"), false, "crtrace: checkpoint 42: a\\x1b[31mb\\u202ec\n"},
		"json": {&capture.UnsupportedError{Problems: []capture.Problem{problem}}, true,
			`"problems":[{"pid":42,"object":"descriptor 5 (socket:[1])","why":"is connected"}]}`},
		"the program's status": {&exitcode.Error{Code: 9}, false, ""},
	} {
		a, _, errs := newApp()
		a.json = tc.json
		a.report(nil, exitcode.From(tc.err), fmt.Errorf("checkpoint 42: %w", tc.err))
		if got := errs.String(); tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestTexts(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "naïve": "naïve", "a\tb": `a\tb`, "\xff": `\xff`, `say "hi"` + "\n": `say "hi"\n`,
	} {
		if got := escape(in); got != want {
			t.Errorf("escape(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 4404019: "4.2 MiB", 1<<63 - 1: "8.0 EiB", -5: "-5 B"} {
		if got := sizeText(in); got != want {
			t.Errorf("sizeText(%d) = %q, want %q", in, got, want)
		}
	}
	at := time.Date(2026, 3, 1, 13, 0, 5, 0, time.FixedZone("", 3600))
	if got, want := defaultName("../a b\x1b", 7, at), "crtrace-.._a_b_-7-20260301T120005"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
}

// TestInspectHostile shows an image that lies in every number: nothing must
// panic, and no control character must reach the terminal.
func TestInspectHostile(t *testing.T) {
	const evil = "evil\x1b]0;title\a\u202e"
	m := &snapshot.Manifest{
		Files: []snapshot.File{{Path: evil, Size: -1}},
		Descriptions: []snapshot.Description{{}, {Detail: &snapshot.Regular{File: 99}}, {Detail: &snapshot.Device{Path: evil}},
			{Detail: &snapshot.TTY{Path: evil}}, {Detail: &snapshot.Outside{Link: evil}}},
		Processes: []snapshot.Process{{
			PID: -1, Exe: -5, Cwd: evil, Stopped: 400,
			Threads: []snapshot.Thread{{Comm: evil, Call: &snapshot.Call{Name: evil, Remaining: 1 << 62}, Regs: regs.AMD64{Rip: ^uint64(0)}}, {}},
			VMAs: []snapshot.VMA{
				{Start: 9, End: 3, Kind: snapshot.VMAKind(evil), Name: evil, Prot: evil},
				{End: ^snapshot.Hex(0), Kind: snapshot.VMAFile, Object: -1}, {End: 5, Kind: snapshot.VMAShared, Object: 7},
			},
			FDs: []snapshot.FD{{Num: -1, Description: -1}, {Description: 99}, {}, {Description: 1}, {Description: 2}, {Description: 3}, {Description: 4}},
		}},
	}
	a, out, _ := newApp()
	if err := a.inspect(&snapshot.Image{Manifest: m}, inspectFlags{maps: true, fds: true}); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexAny(out.String(), "\x1b\a\u202e"); i >= 0 {
		t.Errorf("control characters in the output: %q", out)
	}
	if got := placeName(m, &m.Processes[0], ^uint64(0)); got != "no memory there" {
		t.Errorf("the last address: %q", got)
	}
}

func TestDisassemble(t *testing.T) {
	var b bytes.Buffer
	disassemble(&b, []byte{0x0f, 0x05, 0x90, 0x06, 0xe8}, 0x1000, 64)
	for _, want := range []string{"1000\t0f05\tsyscall", "1002\t90\tnop", "1003\t06\t(bad)", "1004\te8\t(bad)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	b.Reset()
	printParasite(&b)
	if !strings.Contains(b.String(), "syscall") || !strings.Contains(b.String(), "int ") {
		t.Errorf("the parasite has no system call:\n%s", &b)
	}
}

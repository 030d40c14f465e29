package capture

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestInjectedCallsAreTried: what a checkpoint makes a program do is what is tried
// under a system call filter first.
func TestInjectedCallsAreTried(t *testing.T) {
	text, err := os.ReadFile("seccomp.go")
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for _, name := range regexp.MustCompile(`unix\.(SYS|PR|)_\w+|pr[GS]et\w+`).FindAllString(string(text), -1) {
		tried[name] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	injected := regexp.MustCompile(`(?:t\.call|remote\.Call)\((?:task, )?(unix\.SYS_\w+)(?:, (unix\.PR_\w+|prGet\w+))?|(?:value|flag|takePointed)\((unix\.PR_\w+|prGet\w+)`)
	seen := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "seccomp.go" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range injected.FindAllStringSubmatch(string(text), -1) {
			for _, name := range match[1:] {
				if seen++; name != "" && !tried[name] {
					t.Errorf("%s: %s is injected and not tried", file, name)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d injected calls were found", seen)
	}
	if err := tryInjectedCalls(); err != nil {
		t.Error(err)
	}
}

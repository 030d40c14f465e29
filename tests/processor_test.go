package tests

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/crtrace/crtrace/regs"
)

// replaceOnce replaces the only match of a pattern.
func replaceOnce(t *testing.T, text []byte, pattern, by string) []byte {
	t.Helper()
	re := regexp.MustCompile(pattern)
	if n := len(re.FindAll(text, -1)); n != 1 {
		t.Fatalf("%q is there %d times", pattern, n)
	}
	return re.ReplaceAll(text, []byte(by))
}

// shiftXState turns the image of a program with one thread into one of a processor
// that keeps the components of the extended state elsewhere.
func shiftXState(t *testing.T, image string) {
	t.Helper()
	const shift = 1024
	path := func(name string) string { return filepath.Join(image, name) }
	manifest, err := os.ReadFile(path("manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	state, err := os.ReadFile(path("xstate.bin"))
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?s)"xstate": (\[.*?\])`).FindSubmatch(manifest)
	var here, there []regs.XComponent
	if err := json.Unmarshal(list[1], &here); err != nil || len(here) == 0 {
		t.Fatalf("%s: %v", list[1], err)
	}
	for _, c := range here {
		c.Offset += shift
		there = append(there, c)
	}
	shifted, err := regs.ConvertXState(state, here, there, len(state)+shift)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(there, "    ", "  ")
	if err != nil {
		t.Fatal(err)
	}
	size := strconv.Itoa(len(shifted))
	manifest = replaceOnce(t, manifest, `(?s)"xstate": \[.*?\]`, `"xstate": `+string(text))
	manifest = replaceOnce(t, manifest, `("xstate": \{\s+"offset": 0,\s+"size": )\d+`, `${1}`+size)
	manifest = replaceOnce(t, manifest, `("name": "xstate.bin",\s+"size": )\d+(,\s+"sha256": ")\w+`,
		fmt.Sprintf("${1}%s${2}%x", size, sha256.Sum256(shifted)))
	for name, data := range map[string][]byte{
		"manifest.json": manifest, "xstate.bin": shifted,
		"manifest.sha256": fmt.Appendf(nil, "%x  manifest.json\n", sha256.Sum256(manifest)),
	} {
		if err := os.WriteFile(path(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOtherProcessor: an image of a processor that lays the extended state out in
// another way. All registers are right afterwards.
func TestOtherProcessor(t *testing.T) {
	p := start(t, victim(t, "fpstate"), startOptions{append: true})
	for g := range generations() {
		image := p.checkpoint(fmt.Sprintf("image-%d", g), "--kill")
		p.awaitKilled()
		shiftXState(t, image)
		if status, _, stderr := run(t, "verify", image); status != 0 {
			t.Fatalf("verify: status %d: %s", status, stderr)
		}
		p.restore(image, "--pids=host")
		p.awaitSteps(5)
	}
	p.finish()
}

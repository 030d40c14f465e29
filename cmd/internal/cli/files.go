package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/crtrace/crtrace/cmd/internal/exitcode"
	"github.com/crtrace/crtrace/snapshot"
)

// fileRulesHelp explains --files in the help of the commands that have it.
const fileRulesHelp = "--files PATTERN=RULE says what becomes of files that the program has open or mapped:\n" +
	"  track   they stay on disk and are cut back to their length of the checkpoint (default)\n" +
	"  save    their content is kept in the image and put back\n" +
	"  append  they stay as they are, and the program goes on at their end\n" +
	"  ignore  they stay as they are, and need not be what they were\n" +
	"A pattern is matched with the whole path if it has a slash, else with the last part of it; one\n" +
	"that ends in a slash means all below that directory. The last rule that fits counts.\n"

// fileRules reads the rules of the command line. Paths in them are relative to the
// working directory.
func fileRules(texts []string) (snapshot.FileRules, error) {
	rules, err := snapshot.ParseFileRules(texts)
	if err != nil {
		return nil, exitcode.With(exitcode.Usage, fmt.Errorf("--files: %w", err))
	}
	for i, r := range rules {
		if !strings.Contains(r.Pattern, "/") || filepath.IsAbs(r.Pattern) {
			continue
		}
		abs, err := filepath.Abs(r.Pattern)
		if err != nil {
			return nil, fmt.Errorf("--files %s: %w", r, err)
		}
		if strings.HasSuffix(r.Pattern, "/") {
			abs += "/"
		}
		rules[i].Pattern = abs
	}
	return rules, nil
}

// moves reads the values of --remap. Paths in them are relative to the working
// directory.
func moves(texts []string) (snapshot.Moves, error) {
	var absolute []string
	for _, text := range texts {
		old, now, ok := strings.Cut(text, "=")
		if !ok || old == "" || now == "" {
			return nil, exitcode.Usagef("--remap %q: want OLD=NEW", text)
		}
		a, err := filepath.Abs(old)
		if err != nil {
			return nil, fmt.Errorf("--remap %s: %w", text, err)
		}
		b, err := filepath.Abs(now)
		if err != nil {
			return nil, fmt.Errorf("--remap %s: %w", text, err)
		}
		absolute = append(absolute, snapshot.Move{Old: a, New: b}.String())
	}
	parsed, err := snapshot.ParseMoves(absolute)
	if err != nil {
		return nil, exitcode.With(exitcode.Usage, fmt.Errorf("--remap: %w", err))
	}
	return parsed, nil
}

// texts returns rules or moves in the form of the command line.
func texts[T fmt.Stringer](of []T) []string {
	var out []string
	for _, o := range of {
		out = append(out, o.String())
	}
	return out
}

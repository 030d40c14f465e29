package snapshot

import (
	"fmt"
	"path"
	"strings"
)

// FileRule says what becomes of a file that the program has open or mapped.
type FileRule string

// The rules. The empty rule leaves the choice: save for what is written through a
// mapping and is not too large, track for everything else.
const (
	RuleTrack  FileRule = "track"  // it stays on disk, must be there with at least its length, and is cut back to it
	RuleSave   FileRule = "save"   // its content is in the image and is put back
	RuleAppend FileRule = "append" // it stays as it is, and who was at its end goes on at its end
	RuleIgnore FileRule = "ignore" // it stays as it is and need not be what it was
)

// valid tells whether there is such a rule.
func (r FileRule) valid() bool {
	switch r {
	case "", RuleTrack, RuleSave, RuleAppend, RuleIgnore:
		return true
	}
	return false
}

// FileRules are rules for the files that patterns match; the last one that matches
// counts.
type FileRules []PatternRule

// PatternRule is a rule for some files. A pattern that ends in a slash means
// everything below that directory; one with a slash elsewhere is matched, as
// path.Match does it, with the whole path, one without with the last part.
type PatternRule struct {
	Pattern string
	Rule    FileRule
}

// ParseFileRules reads rules of the form PATTERN=RULE.
func ParseFileRules(texts []string) (FileRules, error) {
	var rules FileRules
	for _, text := range texts {
		at := strings.LastIndexByte(text, '=')
		if at < 1 {
			return nil, fmt.Errorf("file rule %q: want PATTERN=RULE", text)
		}
		r := PatternRule{text[:at], FileRule(text[at+1:])}
		if r.Rule == "" || !r.Rule.valid() {
			return nil, fmt.Errorf("file rule %q: there is no rule %q; the rules are %s, %s, %s and %s",
				text, string(r.Rule), RuleTrack, RuleSave, RuleAppend, RuleIgnore)
		}
		if _, err := path.Match(r.Pattern, ""); err != nil {
			return nil, fmt.Errorf("file rule %q: %w", text, err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// String is the form that ParseFileRules reads.
func (r PatternRule) String() string { return r.Pattern + "=" + string(r.Rule) }

// For returns the rule for a file, empty when there is none.
func (r FileRules) For(name string) FileRule {
	found := FileRule("")
	for _, rule := range r {
		if rule.matches(name) {
			found = rule.Rule
		}
	}
	return found
}

// matches tells whether the rule is for a file.
func (r PatternRule) matches(name string) bool {
	if strings.HasSuffix(r.Pattern, "/") {
		return strings.HasPrefix(name, r.Pattern)
	}
	if !strings.Contains(r.Pattern, "/") {
		name = path.Base(name)
	}
	ok, err := path.Match(r.Pattern, name)
	return ok && err == nil
}

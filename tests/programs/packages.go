package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// ensure sees to it that all commands and packages of an entry are there.
func ensure(e entry) error {
	if e.ordinary && os.Geteuid() == 0 {
		return fmt.Errorf("%w: it does not run as root", errSkipped)
	}
	missing := missingPackages(e)
	if len(missing) > 0 && *install && !e.large {
		cmd := exec.Command("apt-get", append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...)...)
		// In runlevel 1 Debian does not start a server that was just installed.
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get install %s: %w\n%s", strings.Join(missing, " "), err, text)
		}
		missing = nil
	}
	for _, tool := range e.commands() {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: %s is not installed (packages %s)", errSkipped, tool, strings.Join(e.packages, ", "))
		}
	}
	if len(missing) > 0 && e.modules {
		return fmt.Errorf("%w: package %s is not installed", errSkipped, strings.Join(missing, ", "))
	}
	return nil
}

// commands are what must be found to build and run an entry.
func (e entry) commands() []string {
	if len(e.compile) > 0 {
		return append([]string{e.compile[0]}, e.tools...)
	}
	return append([]string{e.run[0]}, e.tools...)
}

// missingPackages asks dpkg; a tool that came another way counts as installed.
func missingPackages(e entry) []string {
	if !e.modules {
		found := 0
		for _, tool := range e.commands() {
			if _, err := exec.LookPath(tool); err == nil {
				found++
			}
		}
		if found == len(e.commands()) {
			return nil
		}
	}
	var missing []string
	for _, p := range e.packages {
		text, err := exec.Command("dpkg-query", "-W", "-f", "${Status}", p).Output()
		if err != nil || !strings.Contains(string(text), "ok installed") {
			missing = append(missing, p)
		}
	}
	return missing
}

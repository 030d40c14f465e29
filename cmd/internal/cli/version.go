package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/crtrace/crtrace/snapshot"
)

// version is the released version, set by the linker (-X); empty in builds from
// a working tree.
var version string

// versionInfo is what crtrace knows about itself.
type versionInfo struct {
	MessageType string `json:"message_type"` // "version"
	Version     string `json:"version"`
	Revision    string `json:"revision,omitempty"`
	Time        string `json:"time,omitempty"` // of the commit, RFC 3339
	Modified    bool   `json:"modified,omitempty"`
	Go          string `json:"go"`
	Format      string `json:"format"` // image format that it writes, "major.minor"
	Arch        string `json:"arch"`
}

// readVersion collects what the linker and the build have recorded.
func readVersion() versionInfo {
	v := versionInfo{
		MessageType: "version", Version: version, Go: runtime.Version(), Arch: runtime.GOARCH,
		Format: fmt.Sprintf("%d.%d", snapshot.FormatMajor, snapshot.FormatMinor),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v.Version == "" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.time":
				v.Time = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if v.Version == "" {
		v.Version = "(devel)"
	}
	return v
}

// toolVersion is the version that images are marked with.
func toolVersion() string { return "crtrace " + readVersion().Version }

func (a *app) newVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of crtrace and of its image format",
		GroupID: groupHost,
		Long:    "Prints the version, the commit that it was built from, the image format that it writes, and\nthe architecture." + exitStatus(pick("0", "2")),
		Args:    exactly(0, ""),
		RunE: func(*cobra.Command, []string) error {
			v := readVersion()
			if a.json {
				return a.printJSON(a.out, v)
			}
			text := "crtrace " + v.Version
			if v.Revision != "" {
				text += fmt.Sprintf(" (%.12s, %s", v.Revision, v.Time)
				if v.Modified {
					text += ", modified"
				}
				text += ")"
			}
			_, err := fmt.Fprintf(a.out, "%s\nimage format %s, %s, %s\n", text, v.Format, v.Arch, v.Go)
			return err
		},
	}
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

package cli

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/crtrace/crtrace/snapshot"
)

// filePath is the path of a file of the image.
func filePath(m *snapshot.Manifest, i int) string {
	if i < 0 || i >= len(m.Files) {
		return fmt.Sprintf("file %d, which the image lacks", i)
	}
	return m.Files[i].Path
}

// sharing is the fourth letter of a protection, as in /proc/PID/maps.
func sharing(v *snapshot.VMA) string {
	if v.Shared {
		return "s"
	}
	return "p"
}

// areaName says what a memory area belongs to.
func areaName(m *snapshot.Manifest, v *snapshot.VMA) string {
	switch {
	case v.Kind == snapshot.VMAFile:
		return filePath(m, v.Object)
	case v.Kind == snapshot.VMAShared && v.Object >= 0 && v.Object < len(m.Shared):
		return m.Shared[v.Object].Name
	}
	return v.Name
}

// descriptionText describes an open file description in a line.
func descriptionText(m *snapshot.Manifest, i int) string {
	if i < 0 || i >= len(m.Descriptions) {
		return fmt.Sprintf("description %d, which the image lacks", i)
	}
	d := &m.Descriptions[i]
	switch x := d.Detail.(type) {
	case nil:
		return "nothing"
	case *snapshot.Regular:
		return fmt.Sprintf("%s at %d", escape(filePath(m, x.File)), x.Offset)
	case *snapshot.Pipe:
		return fmt.Sprintf("pipe %d, %d bytes in it", x.Ino, len(x.Content))
	case *snapshot.Outside:
		return fmt.Sprintf("%s, from outside: becomes the restorer's stream %d", escape(x.Link), x.Stream)
	case *snapshot.TTY:
		return fmt.Sprintf("%s: becomes the restorer's terminal", escape(x.Path))
	default:
		detail, err := json.Marshal(x)
		if err != nil {
			return string(d.Detail.Kind())
		}
		return escape(fmt.Sprintf("%s %s", d.Detail.Kind(), detail))
	}
}

// clamp makes a size of 64 bits one that sizeText takes.
func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

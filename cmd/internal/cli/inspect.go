package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/crtrace/crtrace/snapshot"
)

// inspectFlags are the flags of inspect.
type inspectFlags struct {
	maps, fds, disasm bool
}

func (a *app) newInspect() *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:     "inspect DIR",
		Short:   "Show what is in an image",
		GroupID: groupImage,
		Long: "Shows what the image DIR holds: when and where it was taken, processes, threads and the calls\n" +
			"they were in, memory, open files. --json prints the manifest, which has everything.\n" +
			"--disasm shows the machine code around each thread's instruction pointer, where the image has\n" +
			"those pages, and the code that crtrace runs inside stopped processes.\n\n" +
			"Checksums of memory pages are not looked at: that is what 'crtrace verify' is for." +
			exitStatus(pick("0", "1", "2", "4", "5")),
		Args:              exactly(1, "the directory of an image"),
		ValidArgsFunction: completeImages,
		RunE: func(_ *cobra.Command, args []string) error {
			im, err := snapshot.Open(args[0])
			if err != nil {
				return fmt.Errorf("inspect %s: %w", args[0], err)
			}
			defer im.Close()
			if a.json {
				return a.printJSON(a.out, im.Manifest)
			}
			if err := a.inspect(im, f); err != nil {
				return fmt.Errorf("inspect %s: %w", args[0], err)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&a.json, "json", false, "print the manifest as JSON")
	flags.BoolVar(&f.maps, "maps", false, "list the memory areas of each process")
	flags.BoolVar(&f.fds, "fds", false, "list the descriptors of each process")
	flags.BoolVar(&f.disasm, "disasm", false, "disassemble the code that the threads stand in")
	return cmd
}

// inspect prints an image for people. Everything in it is a stranger's text
// and numbers: strings are escaped, indices checked.
func (a *app) inspect(im *snapshot.Image, f inspectFlags) error {
	m := im.Manifest
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "image\t%s\n", escape(m.ID))
	fmt.Fprintf(w, "taken\t%s by %s\n", m.Created.UTC().Format("2006-01-02 15:04:05 MST"), escape(m.Tool))
	fmt.Fprintf(w, "host\t%s, Linux %s, %s\n", escape(m.Host.Name), escape(m.Host.Kernel), escape(m.Host.Arch))
	fmt.Fprintf(w, "format\t%d.%d\n", m.Format.Major, m.Format.Minor)
	threads := 0
	for i := range m.Processes {
		threads += len(m.Processes[i].Threads)
	}
	fmt.Fprintf(w, "holds\t%s, %s, %s, %s\n", count(len(m.Processes), "process", "processes"), count(threads, "thread", "threads"),
		count(len(m.Descriptions), "open file", "open files"), sizeText(imageSize(m)))
	for i := range m.Processes {
		if err := a.inspectProcess(w, im, &m.Processes[i], f); err != nil {
			return err
		}
	}
	printFiles(w, m)
	if f.disasm {
		printParasite(w)
	}
	return w.Flush()
}

// inspectProcess prints one process.
func (a *app) inspectProcess(w *tabwriter.Writer, im *snapshot.Image, p *snapshot.Process, f inspectFlags) error {
	m := im.Manifest
	fmt.Fprintf(w, "\nprocess %d\t%s\n", p.PID, escape(filePath(m, p.Exe)))
	fmt.Fprintf(w, "  ids\tparent %d, group %d, session %d, user %d, group %d\n", p.PPID, p.PGID, p.SID, p.Credentials.UIDs[0], p.Credentials.GIDs[0])
	fmt.Fprintf(w, "  directory\t%s\n", escape(p.Cwd))
	if p.Stopped != 0 {
		fmt.Fprintf(w, "  state\tstopped by signal %d\n", p.Stopped)
	}
	printMemory(w, m, p)
	for i := range p.Threads {
		t := &p.Threads[i]
		fmt.Fprintf(w, "  thread %d\t%s\t%s\n", t.TID, escape(t.Comm), threadState(t))
	}
	if f.maps {
		for i := range p.VMAs {
			v := &p.VMAs[i]
			fmt.Fprintf(w, "  %x-%x\t%s\t%s\t%s\n", uint64(v.Start), uint64(v.End), escape(v.Prot)+sharing(v), escape(string(v.Kind)), escape(areaName(m, v)))
		}
	}
	if f.fds {
		for _, fd := range p.FDs {
			fmt.Fprintf(w, "  fd %d\t%s\n", fd.Num, descriptionText(m, fd.Description))
		}
	} else {
		fmt.Fprintf(w, "  descriptors\t%d (--fds lists them)\n", len(p.FDs))
	}
	if f.disasm {
		return disassembleThreads(w, im, p)
	}
	return nil
}

// threadState says what a thread was doing.
func threadState(t *snapshot.Thread) string {
	if t.Call == nil {
		return fmt.Sprintf("running at %#x", t.Regs.Rip)
	}
	text := "in " + escape(t.Call.Name)
	if t.Call.Remaining >= 0 {
		text += fmt.Sprintf(", %.3f s left", float64(t.Call.Remaining)/1e9)
	}
	return text
}

// printMemory prints how much memory of each kind a process has.
func printMemory(w *tabwriter.Writer, m *snapshot.Manifest, p *snapshot.Process) {
	sizes := map[snapshot.VMAKind]uint64{}
	for i := range p.VMAs {
		if v := &p.VMAs[i]; v.End > v.Start {
			sizes[v.Kind] += uint64(v.End - v.Start)
		}
	}
	var text strings.Builder
	for _, kind := range []snapshot.VMAKind{snapshot.VMAAnon, snapshot.VMAFile, snapshot.VMAShared} {
		if sizes[kind] > 0 {
			fmt.Fprintf(&text, "%s %s, ", kind, sizeText(clamp(sizes[kind])))
		}
	}
	stored := int64(0)
	for _, s := range m.Stores {
		if s.Name == p.MM.Store {
			stored = s.Data.Size
		}
	}
	fmt.Fprintf(w, "  memory\t%s%s, %s stored\n", text.String(), count(len(p.VMAs), "area", "areas"), sizeText(stored))
}

// printFiles lists the files that the image relies on.
func printFiles(w *tabwriter.Writer, m *snapshot.Manifest) {
	if len(m.Files) > 0 {
		fmt.Fprintf(w, "\nfiles\n")
	}
	for i := range m.Files {
		f := &m.Files[i]
		note := ""
		if f.Saved {
			note = "content in the image"
		}
		if f.Deleted {
			note += " (deleted)"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", escape(f.Path), sizeText(f.Size), note)
	}
}

// imageSize adds up what the image's files hold, in bytes.
func imageSize(m *snapshot.Manifest) int64 {
	total := m.XState.Size
	for _, s := range m.Stores {
		total += s.Map.Size + s.Data.Size
	}
	seen := map[string]bool{}
	for i := range m.Files {
		if f := &m.Files[i]; f.Saved && !seen[f.SHA256] {
			seen[f.SHA256] = true
			total += f.Size
		}
	}
	return total
}

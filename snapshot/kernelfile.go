package snapshot

// KindKernelFile is the kind of files and directories of /proc and /sys.
const KindKernelFile Kind = "kernelfile"

// KernelFile is an open file whose content the kernel makes up when it is read.
// The path may name a process of the tree (/proc/PID/...).
type KernelFile struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset"`
}

// Kind implements Detail.
func (*KernelFile) Kind() Kind { return KindKernelFile }

// check implements Detail.
func (k *KernelFile) check(*validator) error {
	if err := notNegative("the offset", k.Offset); err != nil {
		return err
	}
	return checkPath(k.Path)
}

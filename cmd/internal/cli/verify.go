package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/crtrace/crtrace/snapshot"
)

func (a *app) newVerify() *cobra.Command {
	return &cobra.Command{
		Use:     "verify DIR",
		Short:   "Check every byte of an image",
		GroupID: groupImage,
		Long: "Reads the whole image in DIR and checks the manifest, every checksum and every reference.\n" +
			"Prints nothing but a remark on stderr when the image is good." +
			exitStatus(pick("0", "1", "2", "4", "5", "130")),
		Args:              exactly(1, "the directory of an image"),
		ValidArgsFunction: completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			im, err := snapshot.Open(args[0])
			if err != nil {
				return fmt.Errorf("verify %s: %w", args[0], err)
			}
			defer im.Close()
			if err := im.Verify(); err != nil {
				return fmt.Errorf("verify %s: %w", args[0], err)
			}
			a.note("image %s is good", escape(args[0]))
			return nil
		},
	}
}

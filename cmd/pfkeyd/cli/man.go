package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// man writes the manual pages, for packagers.
func (e *env) man() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write the manual pages into a directory",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true
			h := &doc.GenManHeader{Section: "1", Source: "pfkeyd", Manual: "pfkeyd"}
			if err := doc.GenManTree(root, h, args[0]); err != nil {
				return failed(err)
			}
			return nil
		},
	}
}

// Command crtrace checkpoints and restarts running programs as an ordinary user.
package main

import (
	"os"

	"github.com/crtrace/crtrace/cmd/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }

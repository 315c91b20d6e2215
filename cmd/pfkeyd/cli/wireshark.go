package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/internal/wireshark"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

func (e *env) wireshark() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wireshark",
		Short: "Teach Wireshark PF_KEY, and give it the keys of an engine",
		Long: `Wireshark and tshark show the messages of a trace ('pfkeyd run --trace FILE.pcapng')
field by field once the dissector is installed. With the keys of an engine's SAs they
decrypt the ESP of 'pfkeyd serve --pcap'.`,
		Example: `  pfkeyd wireshark install
  pfkeyd wireshark keys --show-keys
  tshark -o esp.enable_encryption_decode:TRUE -r packets.pcapng`,
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(e.wiresharkInstall(), e.wiresharkUninstall(), e.wiresharkKeys())
	return cmd
}

func (e *env) wiresharkInstall() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install the dissector of PF_KEY for this user",
		Long: `Install writes pfkey.lua, a dissector of PF_KEY in the dialects of all kernels, into
this user's folder of Lua plugins, which Wireshark reads when it starts. It writes its
own file anew and leaves a file of others as it is.`,
		Args: command.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			path, err := pluginPath(dir)
			if err != nil {
				return err
			}
			if err := replace(path, wireshark.Dissector(), 0o777, 0o666); err != nil {
				return command.Failed(err)
			}
			return e.say("%s is installed; Wireshark has it when it starts next\n", path)
		},
	}
	pluginFlag(cmd, &dir)
	return cmd
}

func (e *env) wiresharkUninstall() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove the dissector",
		Long:  `Uninstall removes what install has written, and nothing else.`,
		Args:  command.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			path, err := pluginPath(dir)
			if err != nil {
				return err
			}
			there, err := ours(path)
			if err == nil && there {
				err = os.Remove(path)
			}
			switch {
			case err != nil:
				return command.Failed(err)
			case !there:
				return e.say("%s is not there\n", path)
			}
			return e.say("%s is removed\n", path)
		},
	}
	pluginFlag(cmd, &dir)
	return cmd
}

func (e *env) wiresharkKeys() *cobra.Command {
	var engine, out string
	var show bool
	cmd := &cobra.Command{
		Use:   "keys --show-keys",
		Short: "Give Wireshark the keys of an engine's SAs",
		Long: `Keys asks an engine for its SAs, as any PF_KEY program can, and writes those of ESP
with their keys into the table from which Wireshark decrypts: the file esp_sa in the
folder of its configuration. Only this user can read the file. It is written anew each
time, unless it is somebody else's. SAs that Wireshark cannot decrypt are left out,
which is said on standard error.

Wireshark decrypts when the preference esp.enable_encryption_decode is set. A running
one reads the table when its profile is chosen again.`,
		Example: `  pfkeyd wireshark keys --show-keys
  pfkeyd wireshark keys --show-keys -o -`,
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !show {
				return command.Usagef("the keys of SAs would be in a file: --show-keys says that this is meant")
			}
			return e.runWiresharkKeys(cmd.Context(), engine, out)
		},
	}
	o := cmd.Flags()
	o.StringVar(&engine, "engine", "", command.EngineHelp)
	completeEngine(cmd)
	o.BoolVar(&show, "show-keys", false, "write the keys of the SAs, without which there is nothing to write")
	o.StringVarP(&out, "output", "o", "", "the `FILE` to write, \"-\" for standard output (default: Wireshark's own)")
	return cmd
}

func (e *env) runWiresharkKeys(ctx context.Context, engine, out string) error {
	a, err := command.Engine(engine)
	if err != nil {
		return err
	}
	sas, left, err := espOf(ctx, a)
	if err != nil {
		return err
	}
	table, unknown := wireshark.Keys(sas)
	for _, why := range append(left, unknown...) {
		fmt.Fprintf(e.stderr, "left out: %v\n", why)
	}
	if out == "-" {
		if _, err := e.stdout.Write(table); err != nil {
			return command.Failed(fmt.Errorf("writing keys: %w", err))
		}
		return nil
	}
	if out == "" {
		dir, err := wiresharkConfig()
		if err != nil {
			return err
		}
		out = filepath.Join(dir, wireshark.KeysName)
	}
	if err := replace(out, table, 0o700, 0o600); err != nil {
		return command.Failed(err)
	}
	return e.say("%s has the keys of %s\n", out, command.Count(len(sas)-len(unknown), "SA"))
}

// espOf asks an engine for its SAs of ESP that have keys. left says of each whose packets nothing can open why; a
// kernel may take such.
func espOf(ctx context.Context, a pfkey.Address) (sas []wireshark.SA, left []error, err error) {
	c, err := pfkey.Dial(ctx, a.String())
	if err != nil {
		return nil, nil, command.Reached(command.At(a, err))
	}
	defer c.Close()
	d := c.Dialect()
	for sa, err := range c.Dump(ctx, wire.SATypeUnspec) {
		if err != nil {
			return nil, nil, command.Failed(command.At(a, err))
		}
		if sa.Type != wire.SATypeESP || sa.State == wire.StateLarval {
			continue
		}
		suite, err := kernels.Suite(d.Name, d, sa)
		if err != nil {
			left = append(left, fmt.Errorf("SPI %#x from %s to %s: %w", uint32(sa.SPI), sa.Src.Addr, sa.Dst.Addr, err))
			continue
		}
		sas = append(sas, wireshark.SA{Src: sa.Src.Addr, Dst: sa.Dst.Addr, SPI: uint32(sa.SPI), Suite: suite})
	}
	return sas, left, nil
}

func (e *env) say(format string, a ...any) error {
	if _, err := fmt.Fprintf(e.stdout, format, a...); err != nil {
		return command.Failed(err)
	}
	return nil
}

func pluginFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "", "the `FOLDER` of the plugin (default: ~/.local/lib/wireshark/plugins)")
}

// pluginPath is where the dissector belongs.
func pluginPath(dir string) (string, error) {
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", command.Usagef("%w: --dir names the folder of Wireshark's Lua plugins", err)
		}
		dir = filepath.Join(home, ".local", "lib", "wireshark", "plugins")
	}
	return filepath.Join(dir, wireshark.DissectorName), nil
}

// wiresharkConfig is the folder of Wireshark's configuration.
func wiresharkConfig() (string, error) {
	for _, v := range []struct{ name, below string }{{"WIRESHARK_CONFIG_DIR", ""}, {"XDG_CONFIG_HOME", "wireshark"}} {
		if dir := os.Getenv(v.name); dir != "" {
			return filepath.Join(dir, v.below), nil
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", command.Usagef("%w: --output names the file", err)
	}
	return filepath.Join(home, ".config", "wireshark"), nil
}

// ours says whether there is a file, which must be one that we have written.
func ours(path string) (there bool, err error) {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !st.Mode().IsRegular():
		return false, fmt.Errorf("%s is in the way: it is no file", path)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	if first, _, _ := bytes.Cut(old, []byte("\n")); !bytes.Contains(first, []byte(wireshark.Mark)) {
		return false, fmt.Errorf("%s is somebody else's, and stays as it is", path)
	}
	return true, nil
}

// replace writes a file of ours in one go, and folders on the way to it.
func replace(path string, content []byte, folder, file fs.FileMode) error {
	if _, err := ours(path); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, folder); err != nil {
		return err
	}
	name := filepath.Join(dir, "."+filepath.Base(path)+".new")
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, file)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(name, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

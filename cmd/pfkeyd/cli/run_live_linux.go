package cli

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/live"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// showPage has a page show what the program and the engine at the address do. The program's arguments may be nobody
// else's business, and are not on the page.
func (r *runner) showPage(ctx context.Context, address, program string) (*keptPage, error) {
	a, err := pfkey.ParseAddress(address)
	if err != nil {
		return nil, command.Failed(err)
	}
	title := "pfkeyd run -- " + filepath.Base(program)
	page, err := showLive(ctx, live.Options{Engine: a, Title: title}, 0)
	if err != nil {
		return nil, err
	}
	r.env.sayf("the page is at %s", page.address)
	return keeping(page), nil
}

// keptPage is a page that stays when the program has ended.
type keptPage struct {
	*livePage
	end chan os.Signal // hears of what ends more than a program
}

// keeping has a page hear of SIGTERM and SIGQUIT from now on.
func keeping(page *livePage) *keptPage {
	k := &keptPage{page, make(chan os.Signal, 1)}
	k.hear(unix.SIGTERM, unix.SIGQUIT)
	return k
}

func (k *keptPage) hear(signals ...os.Signal) {
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(k.end, s)
		}
	}
}

// keep keeps the page until somebody wants an end of it. Ctrl-C before was for the program.
func (r *runner) keep(k *keptPage) error {
	defer signal.Stop(k.end)
	k.hear(os.Interrupt, unix.SIGHUP)
	if len(k.end) == 0 {
		r.env.sayf("all programs are gone; the page and the engine stay until Ctrl-C")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-k.end:
			cancel()
		case <-ctx.Done():
		}
	}()
	return k.wait(ctx)
}

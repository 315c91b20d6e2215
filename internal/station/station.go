// Package station puts an engine behind its ports: PF_KEY sockets, the packet port, the control port, and the one
// through which sockets of programs are handed over.
package station

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// patience is how long requests and verdicts that are under way may take once the station is told to stop.
const patience = 2 * time.Second

// Options change what a station does. The zero value is ready.
type Options struct {
	Front    pfkey.Engine          // takes the PF_KEY messages in front of the engine; nil: the engine does
	Packets  packetport.Target     // takes the packets of the packet port in; nil: the engine does
	Counters map[string]func() any // of what else stands in front of the engine, for the control port
	Log      *slog.Logger          // nil: nothing is logged
	// Session is that of the run whose engine this is; the station stops when it is over. Nil: there is none.
	Session net.Conn
	// Stopping, if set, is called once when the station stops: from then on nobody else may let packets in. What
	// the engine gives out still goes its way.
	Stopping func()
}

// A Station is an engine with all that stands in front of it, and the clock that wakes it.
type Station struct {
	engine *engine.Engine
	path   string

	socketListener, packetListener, controlListener, attachListener net.Listener

	sockets *pfkey.Server
	packets *packetport.Server
	control *control.Server
	desk    *launch.Desk
	traces  *traces
}

// Listen makes the sockets at path and beside it. Nothing is served yet: [Station.Run] does that, [Station.Close] gives
// them up.
func Listen(eng *engine.Engine, path string) (_ *Station, err error) {
	eng.KeepEvents()
	s := &Station{engine: eng, path: path}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	l, err := pfkey.Listen(path)
	if err != nil {
		return nil, err
	}
	s.socketListener = l
	// The PF_KEY socket is ours from here on, and what lies beside it with it.
	pl, err := pfkey.Listen(packetport.Path(path))
	if err != nil {
		return nil, err
	}
	s.packetListener = pl
	cl, err := control.Listen(control.Path(path))
	if err != nil {
		return nil, err
	}
	s.controlListener = cl
	al, err := pfkey.Listen(launch.AttachPath(path))
	if err != nil {
		return nil, err
	}
	s.attachListener = al
	return s, nil
}

// Address is where programs find the engine.
func (s *Station) Address() pfkey.Address {
	return pfkey.Address{Kernel: s.engine.Name(), Path: s.path}
}

// Close gives up the sockets of a station that has not run.
func (s *Station) Close() {
	for _, l := range []net.Listener{s.socketListener, s.packetListener, s.controlListener, s.attachListener} {
		if l != nil {
			l.Close()
		}
	}
}

// open makes the servers.
func (s *Station) open(o *Options) {
	if o.Front == nil {
		o.Front = s.engine
	}
	if o.Packets == nil {
		o.Packets = s.engine
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	name := s.engine.Name()
	s.traces = newTraces(o.Front, s.engine, o.Log)
	s.sockets = pfkey.NewServer(o.Front, pfkey.ServerOptions{Log: o.Log})
	s.desk = launch.NewDesk(s.sockets, launch.DeskOptions{
		Address: s.Address().String(),
		Check:   pfkey.CheckPeer,
		Log:     o.Log,
		Sockets: s.engine.List,
		Traced:  s.traces.begin,
	})
	s.packets = packetport.NewServer(o.Packets, packetport.ServerOptions{
		Name: name, Check: pfkey.CheckPeer, Log: o.Log,
	})
	counters := map[string]func() any{
		"pfkey":   func() any { return s.sockets.Counters() },
		"packets": func() any { return s.packets.Counters() },
		"attach":  func() any { return s.desk.Counters() },
		"traces":  func() any { return s.traces.Counters() },
	}
	for name, read := range o.Counters {
		counters[name] = read
	}
	s.control = control.NewServer(s.engine, control.Options{Check: pfkey.CheckPeer, Log: o.Log, Servers: counters})
}

// Run serves until ctx ends or one of the servers fails, and then stops in order: nothing new comes in, what is under
// way is finished, packets that wait end, and their verdicts still reach those who sent them. The engine is closed
// then. It may be called once. The error is that of the first server that failed; the end of ctx is none.
func (s *Station) Run(ctx context.Context, o Options) error {
	s.open(&o)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving, ticking sync.WaitGroup
	errs := make(chan error, 4)
	serve := func(f func(context.Context, net.Listener) error, l net.Listener) {
		serving.Go(func() {
			// A server is stopped by its Shutdown below, not by ctx.
			if err := f(context.Background(), l); err != nil {
				errs <- err
				cancel()
			}
		})
	}
	serve(s.sockets.Serve, s.socketListener)
	serve(s.packets.Serve, s.packetListener)
	serve(s.control.Serve, s.controlListener)
	serve(s.desk.Serve, s.attachListener)
	if o.Session != nil {
		serving.Go(func() {
			s.desk.ServeConn(o.Session)
			cancel()
		})
	}
	ticking.Go(func() { tick(ctx, s.engine) })
	<-ctx.Done()

	stop, done := context.WithTimeout(context.Background(), patience)
	defer done()
	s.packets.Stop(stop)
	if o.Stopping != nil {
		o.Stopping()
	}
	// Who ran programs sees that this is the end, and keeps their ends for a successor.
	s.desk.Close()
	err := s.sockets.Shutdown(stop)
	ticking.Wait()
	s.engine.Close()
	err = errors.Join(err, s.packets.Shutdown(stop), s.control.Shutdown(stop))
	s.sockets.Close()
	serving.Wait()
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // somebody did not read; it is not worth an error
	}
	select {
	case first := <-errs:
		err = first
	default:
	}
	return err
}

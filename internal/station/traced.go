package station

import (
	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/trace"
)

// traced makes a server in front of the same engine whose messages are written to a file that somebody handed over.
func (s *Station) traced(r launch.TraceRequest, o *Options) (*pfkey.Server, func(), error) {
	t := trace.New(o.Front, r.File, trace.Options{
		Pcapng: r.Format == launch.TracePcapng, ShowKeys: r.ShowKeys, Now: s.engine.Now,
	})
	if err := t.Err(); err != nil {
		return nil, nil, err
	}
	server := pfkey.NewServer(t, pfkey.ServerOptions{Log: o.Log})
	return server, func() {
		server.Close()
		if err := t.Err(); err != nil {
			o.Log.Error("the trace is not complete", "err", err)
		}
		r.File.Close()
	}, nil
}

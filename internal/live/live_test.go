package live_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/internal/leak"
	"github.com/pfkeyd/pfkeyd/internal/live"
	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m, "/internal/live.")) }

var own, peer = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

// title is what somebody has called a program.
const title = "pfkeyd run -- </script><script>alert(1)</script>\x00\x1b[31m"

// setup is a page of an engine.
type setup struct {
	host     *pfkeytest.Host
	recorder *live.Recorder
	address  string // of the page
}

func newSetup(t *testing.T) *setup { return newSetupWith(t, live.Options{Title: title}) }

func newSetupWith(t *testing.T, o live.Options) *setup {
	t.Helper()
	host := pfkeytest.New(t, pfkeytest.Addr("192.0.2.1"))
	a, err := pfkey.ParseAddress(host.Serve())
	if err != nil {
		t.Fatal(err)
	}
	o.Engine = a
	r := live.NewRecorder(o)
	server, err := live.Listen(t.Context(), r, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ready := make(chan error)
	var working sync.WaitGroup
	working.Go(func() { r.Run(ctx, func(err error) { ready <- err }) })
	working.Go(func() {
		if err := server.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		working.Wait()
		http.DefaultClient.CloseIdleConnections()
	})
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	return &setup{host, r, server.Address()}
}

// do asks for a path below the page's, or for an address.
func (s *setup) do(t *testing.T, method, path, body string, change func(*http.Request)) (int, http.Header, string) {
	t.Helper()
	if !strings.HasPrefix(path, "http:") {
		path = s.address + path
	}
	r, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

// ask reads an answer into v.
func (s *setup) ask(t *testing.T, method, path, body string, v any) {
	t.Helper()
	code, _, text := s.do(t, method, path, body, nil)
	if err := json.Unmarshal([]byte(text), v); err != nil || code != http.StatusOK {
		t.Fatalf("%s %s: %d %s: %v", method, path, code, text, err)
	}
}

// follow reads events from number n on until enough says so. It returns the last number too.
func (s *setup) follow(t *testing.T, header, query string,
	enough func([]event.Event) bool) (all []event.Event, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address+"events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != "" {
		r.Header.Set("Last-Event-ID", header)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewReader(resp.Body); !enough(all); {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("after %d events: %v", len(all), err)
		}
		if n, ok := strings.CutPrefix(line, "id: "); ok {
			id = strings.TrimSpace(n)
		}
		var batch struct{ Events []event.Event }
		if text, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(text), &batch); err != nil || len(batch.Events) > 500 {
				t.Fatalf("%d events: %v", len(batch.Events), err)
			}
			all = append(all, batch.Events...)
		}
	}
	return all, id
}

// has is enough for events of a type, so many.
func has(typ event.Type, n int) func([]event.Event) bool {
	return func(all []event.Event) bool {
		found := 0
		for i := range all {
			if all[i].Type == typ {
				found++
			}
		}
		return found >= n
	}
}

// Nobody gets anything without the secret, by another name, or for another site.
func TestRefused(t *testing.T) {
	s := newSetup(t)
	secret := strings.Split(s.address, "/")[3]
	wrong := strings.Replace(s.address, secret, strings.Repeat("0", len(secret)), 1)
	bare := strings.TrimSuffix(s.address, secret+"/")
	port := strings.TrimSuffix(s.address[strings.LastIndex(s.address, ":"):], "/"+secret+"/")
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	set := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Del(name)
			for _, v := range values {
				r.Header.Add(name, v)
			}
		}
	}
	move := `{"advance":"1s"}`
	before := s.host.Now()
	for _, tt := range []struct {
		name, method, path, body string
		change                   func(*http.Request)
		code                     int
	}{
		{"page", "GET", "", "", nil, 200},
		{"localhost", "GET", "", "", host("localhost" + port), 200},
		{"own origin", "GET", "info", "", set("Origin", strings.TrimSuffix(bare, "/")), 200},
		{"no secret", "GET", bare, "", nil, 403},
		{"no secret, a path", "GET", bare + "status", "", nil, 403},
		{"wrong secret", "GET", wrong + "status", "", nil, 403},
		{"wrong secret, clock", "POST", wrong + "clock", move, nil, 403},
		{"part of the secret", "GET", bare + secret[:31] + "/info", "", nil, 403},
		{"secret in a way round", "GET", bare + "x/../" + secret + "/info", "", nil, 403},
		{"other host", "GET", "info", "", host("evil.example" + port), 403},
		{"other port", "GET", "info", "", host("127.0.0.1:1"), 403},
		{"no port", "GET", "info", "", host("127.0.0.1"), 403},
		{"other origin", "GET", "info", "", set("Origin", "http://evil.example"), 403},
		{"other origin, clock", "POST", "clock", move, set("Origin", "http://evil.example"), 403},
		{"origin with another port", "GET", "info", "", set("Origin", "http://127.0.0.1:1"), 403},
		{"no origin at all", "GET", "info", "", set("Origin", "null"), 403},
		{"two origins", "GET", "info", "", set("Origin", strings.TrimSuffix(bare, "/"), "http://evil.example"), 403},
		{"form", "POST", "clock", move, set("Content-Type", "text/plain"), 415},
		{"no type", "POST", "clock", move, set("Content-Type"), 415},
		{"clock by GET", "GET", "clock?advance=1s", "", nil, 404},
		{"file of another folder", "GET", "..%2flive.go", "", nil, 403},
		{"no file", "GET", "none.js", "", nil, 404},
	} {
		code, header, text := s.do(t, tt.method, tt.path, tt.body, tt.change)
		if code != tt.code || code != 200 && strings.Contains(text, secret) {
			t.Errorf("%s: %d %q, want %d", tt.name, code, text, tt.code)
		}
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", tt.name, name, got, want)
			}
		}
		if csp := header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; ") ||
			!strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", tt.name, csp)
		}
	}
	if now := s.host.Now(); !now.Equal(before) {
		t.Errorf("the clock has moved by %v", now.Sub(before))
	}
}

// Every page has a secret of its own, of 128 bits.
func TestSecret(t *testing.T) {
	a, b := newSetup(t), newSetup(t)
	one, two := strings.Split(a.address, "/")[3], strings.Split(b.address, "/")[3]
	if raw, err := hex.DecodeString(one); err != nil || len(raw) != 16 || one == two {
		t.Errorf("secrets %q and %q: %v", one, two, err)
	}
}

// A browser hears of what has happened and of what happens, and goes on where it was.
func TestEvents(t *testing.T) {
	s := newSetup(t)
	client := s.host.Client()
	flush := func() {
		if err := client.Flush(t.Context(), wire.SATypeESP); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	past, id := s.follow(t, "", "", has(event.Message, 2))
	var types []event.Type
	for i, e := range past {
		types = append(types, e.Type)
		if e.N != uint64(i+1) {
			t.Errorf("event %d has number %d", i+1, e.N)
		}
	}
	if diff := cmp.Diff([]event.Type{event.Opened, event.Message, event.Message}, types); diff != "" || id != "3" {
		t.Errorf("id %s, (-want +got)\n%s", id, diff)
	}
	flush()
	for _, tt := range []struct {
		header, query string
		first         uint64
	}{{"", "?from=3", 3}, {"3", "", 4}, {"4", "?from=1", 5}} {
		all, _ := s.follow(t, tt.header, tt.query, has(event.Message, 1))
		if all[0].N != tt.first {
			t.Errorf("%+v begins with %+v", tt, all[0])
		}
	}
	for _, query := range []string{"?from=0", "?from=-1", "?from=x"} {
		if code, _, text := s.do(t, "GET", "events"+query, "", nil); code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, code, text)
		}
	}
}

// A flood of packets drives out none of what programs have said, and what is left out is counted.
func TestFlood(t *testing.T) {
	const many = 6000
	s := newSetup(t)
	if err := s.host.Client().Flush(t.Context(), wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	short := []byte{0x45, 0}
	for range many {
		s.host.Inject(short).Expect(packet.Dropped)
	}
	s.host.Client() // a socket is opened behind all that
	s.follow(t, "", "", has(event.Opened, 2))
	all, _ := s.follow(t, "", "", has(event.Opened, 2))
	packets, missing, last := 0, uint64(0), uint64(0)
	for _, e := range all {
		switch {
		case e.Type == event.Missing:
			missing += e.Missing.Count
		case e.Type == event.Packet:
			packets++
		}
		if e.N > 0 && e.N <= last {
			t.Fatalf("event %d comes behind %d", e.N, last)
		}
		last = max(last, e.N)
	}
	if !has(event.Message, 2)(all) || packets > 5000 || uint64(packets)+missing != many {
		t.Errorf("%d packets, %d missing", packets, missing)
	}
}

// The page tells how the engine stands, and what the page is about.
func TestStatus(t *testing.T) {
	s := newSetup(t)
	if _, err := s.host.Client().GetSPI(t.Context(), pfkey.GetSPIParams{Type: wire.SATypeESP,
		Src: pfkey.Host(peer), Dst: pfkey.Host(own), Min: 0x1000, Max: 0x1000}); err != nil {
		t.Fatal(err)
	}
	var st live.State
	s.ask(t, "GET", "status", "", &st)
	if !st.Up || st.Status == nil || st.Status.SACount != 1 || st.Status.SAs[0].SPI != "0x1000" {
		t.Errorf("%+v", st)
	}
	var info live.Info
	s.ask(t, "GET", "info", "", &info)
	want := live.Info{Engine: s.host.Serve(), Kernel: "illumos", Title: title, Virtual: true}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// When the engine has gone, the page has what it has seen.
func TestGone(t *testing.T) {
	s := newSetup(t)
	if err := s.host.Client().Flush(t.Context(), wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	s.follow(t, "", "", has(event.Message, 2))
	s.recorder.Look(t.Context())
	s.host.Close()
	if all, _ := s.follow(t, "", "", has(event.Message, 2)); len(all) < 3 {
		t.Errorf("%d events", len(all))
	}
	var st live.State
	for st.Up = true; st.Up; { // it is looked at a few times a second
		s.ask(t, "GET", "status", "", &st)
	}
	if st.Status == nil || len(st.Status.Sockets) != 1 {
		t.Errorf("the last status: %+v", st.Status)
	}
	code, _, text := s.do(t, "POST", "clock", `{"advance":"1s"}`, nil)
	if code != http.StatusBadGateway || !strings.HasPrefix(text, `{"error":`) {
		t.Errorf("clock: %d %s", code, text)
	}
}

// The clock moves, by what makes sense.
func TestClock(t *testing.T) {
	s := newSetup(t)
	before := s.host.Now()
	var c control.Clock
	s.ask(t, "POST", "clock", `{"advance":"1h30m"}`, &c)
	if by := s.host.Now().Sub(before); by != 90*time.Minute || !c.Virtual || !c.Now.Equal(s.host.Now()) {
		t.Errorf("moved by %v: %+v", by, c)
	}
	for body, code := range map[string]int{
		`{"advance":"-1h"}`: 400, `{"advance":"soon"}`: 400, `{"advance":1}`: 400, `{`: 400, ``: 400,
		`{"advance":"1h","more":1}`: 400, `{"advance":"1h"}{}`: 400, `{"advance":"999999h"}`: 400,
		`{"advance":"` + strings.Repeat("x", 6<<20) + `"}`: 413,
	} {
		if got, _, text := s.do(t, "POST", "clock", body, nil); got != code || !strings.HasPrefix(text, `{"error":`) {
			t.Errorf("%.40s: %d %.100s, want %d", body, got, text, code)
		}
	}
}

// fields are those of a message that a page has been told of, as texts.
func fields(t *testing.T, x *explained, n int) (all []string) {
	t.Helper()
	for _, f := range x.Messages[n].Fields {
		all = append(all, x.Strings[f[1]]+"/"+x.Strings[f[3]]+"="+x.Strings[f[4]])
	}
	return all
}

// explained is how a page reads [live.Explained].
type explained struct {
	Strings  []string
	Messages []struct {
		Meaning, Section string
		Fields           [][9]int
	}
	Of map[uint64]int
}

var keyBytes = []byte("sixteen key byte")

// keyed is an ADD with a key.
func keyed(d *wire.Dialect) []byte {
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP, Seq: 2, PID: 1})
	b = d.AppendSA(b, wire.SA{SPI: 0x1000, State: wire.StateMature, Encrypt: wire.EncAESCBC})
	b = d.AppendKey(b, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: keyBytes})
	return d.Finish(b)
}

// Messages are told field by field, with where the bytes are, and without keys.
func TestExplain(t *testing.T) {
	s := newSetup(t)
	msg := keyed(s.host.Client().Dialect())
	ask, err := json.Marshal(map[string][]string{"messages": {hex.EncodeToString(msg), "", "02"}})
	if err != nil {
		t.Fatal(err)
	}
	var x explained
	code, _, text := s.do(t, "POST", "explain", string(ask), nil)
	if err := json.Unmarshal([]byte(text), &x); err != nil || code != http.StatusOK || len(x.Messages) != 3 {
		t.Fatalf("%d %s: %v", code, text, err)
	}
	if m := x.Messages[0]; m.Meaning == "" || m.Section != "3.1.3" {
		t.Errorf("%+v", m)
	}
	told := strings.Join(fields(t, &x, 0), "\n")
	for _, want := range []string{"base header/type=3 (ADD)", "SA/spi=0x1000", "KEY_ENCRYPT/bits=128"} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not told\n%s", want, told)
		}
	}
	if strings.Contains(text, hex.EncodeToString(keyBytes)) {
		t.Error("a key is told")
	}
	for _, f := range x.Messages[0].Fields {
		if f[5] < 0 || f[6] < 0 || f[5]+f[6] > len(msg) {
			t.Errorf("%v lies outside of the message", f)
		}
	}
	for _, body := range []string{`{"messages":["0"]}`, `{"messages":["zz"]}`, `{"messages":"00"}`,
		`{"messages":[` + strings.Repeat(`"00",`, 100) + `"00"]}`,
		`{"messages":["` + strings.Repeat("00", 2<<20+1) + `"]}`} {
		if code, _, text := s.do(t, "POST", "explain", body, nil); code != http.StatusBadRequest {
			t.Errorf("%.40s: %d %.100s", body, code, text)
		}
	}
}

// A message of very many fields is told as far as a page can show it.
func TestExplainLong(t *testing.T) {
	s := newSetup(t)
	d := s.host.Client().Dialect()
	long := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP})
	for range 60_000 {
		long = append(long, 1, 0, 0xee, 0xee, 0, 0, 0, 0)
	}
	var x explained
	s.ask(t, "POST", "explain", `{"messages":["`+hex.EncodeToString(d.Finish(long))+`"]}`, &x)
	told := fields(t, &x, 0)
	if n := len(told); n != 4001 || !strings.HasSuffix(told[n-1], " more fields are not shown") {
		t.Errorf("%d fields, the last %q", n, told[n-1])
	}
}

// An export is a page that has all in it, and in which no text is more than text.
func TestExport(t *testing.T) {
	s := newSetup(t)
	client := s.host.Client()
	if err := client.Flush(t.Context(), wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	s.host.Inject([]byte{0x45, 0})
	s.follow(t, "", "", has(event.Packet, 1))
	code, header, page := s.do(t, "GET", "export", "", nil)
	if code != http.StatusOK || header.Get("Content-Disposition") != `attachment; filename="pfkeyd-illumos.html"` {
		t.Fatalf("%d %v", code, header)
	}
	for _, other := range []string{`<link rel="stylesheet"`, "src=", "<script>alert", "\x1b", s.address} {
		if strings.Contains(page, other) {
			t.Errorf("the page has %q", other)
		}
	}
	_, data, _ := strings.Cut(page, `<script type="application/json" id="data">`)
	data, _, found := strings.Cut(data, "</script>")
	var x struct {
		Info      live.Info
		Status    live.State
		Events    []event.Event
		Explained explained
	}
	if err := json.Unmarshal([]byte(data), &x); err != nil || !found {
		t.Fatal(err)
	}
	if x.Info.Title != title || x.Info.Exported == nil || x.Status.Status == nil || !has(event.Message, 2)(x.Events) {
		t.Errorf("%+v", x)
	}
	for _, e := range x.Events {
		_, told := x.Explained.Of[e.N]
		if told != (e.Message != nil) {
			t.Errorf("%+v: told %v", e, told)
		}
	}
	if told := fields(t, &x.Explained, 0); !strings.Contains(strings.Join(told, "\n"), "(FLUSH)") {
		t.Errorf("%q", told)
	}
	if n := strings.Count(page, "'sha256-") + strings.Count(page, "&#39;sha256-"); n < 2 {
		t.Errorf("the policy allows %d elements", n)
	}
}

// A message as long as they get, and a name that wants to be more than text, pass as they are.
func TestLongMessage(t *testing.T) {
	s := newSetup(t)
	client := s.host.Client()
	d := client.Dialect()
	const name = "</script><img src=x onerror=alert(1)>\x1b[2J"
	long := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP, Seq: 1, PID: 1})
	long = d.AppendIdentity(long, wire.ExtIdentitySrc, wire.Identity{Type: wire.IdentFQDN, Name: name})
	for len(long) < 65_000*8 {
		long = append(long, 1, 0, 0xee, 0xee, 0, 0, 0, 0)
	}
	long = d.Finish(long)
	sock, errno := s.host.Open(pfkey.Cred{PID: 7, Privileged: true})
	if errno != wire.OK {
		t.Fatal(errno)
	}
	defer sock.Close()
	sock.Send(long, pfkey.Cred{PID: 7}) // what comes of it does not matter
	all, _ := s.follow(t, "", "", has(event.Message, 1))
	whole := func(e event.Event) bool {
		return e.Message != nil && e.Message.To == event.ToKernel && e.Message.Data == hex.EncodeToString(long)
	}
	if !slices.ContainsFunc(all, whole) {
		t.Errorf("no event of %d has the message", len(all))
	}
	_, _, page := s.do(t, "GET", "export", "", nil)
	if strings.Contains(page, name[:20]) || strings.Contains(page, "\x1b") {
		t.Error("a name is more than text")
	}
}

// A page has keys only if that was asked for.
func TestKeys(t *testing.T) {
	for _, keys := range []bool{false, true} {
		s := newSetupWith(t, live.Options{Keys: keys})
		client := s.host.Client()
		if err := client.Add(t.Context(), pfkey.SA{SAID: pfkey.SAID{Type: wire.SATypeESP, SPI: 0x1000,
			Src: pfkey.Host(peer), Dst: pfkey.Host(own)}, Encrypt: wire.EncAESCBC, Auth: wire.AuthSHA1HMAC,
			EncryptKey: pfkey.NewKey(keyBytes), AuthKey: pfkey.NewKey(append(slices.Clone(keyBytes), "more"...)),
		}, 0); err != nil {
			t.Fatal(err)
		}
		_, _, page := s.do(t, "GET", "export", "", nil)
		if !strings.Contains(page, `"name":"ADD"`) || strings.Contains(page, hex.EncodeToString(keyBytes)) != keys {
			t.Errorf("keys %v: the page is another one", keys)
		}
	}
}

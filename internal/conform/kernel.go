package conform

import (
	"bufio"
	"io/fs"
	"iter"
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Kernel is what the recordings of one kernel have of their own. The packages beside this one have one each; nothing
// here knows which there are.
type Kernel struct {
	Name    string
	Builtin []string      // folders of testdata/golden
	Dialect *wire.Dialect // in the byte order of the recordings

	// The host that was recorded: its own addresses. A scenario without a network has none of them if Isolates.
	Addrs, Broadcast []netip.Addr
	Isolates         bool
	// Machine gives an emulated kernel what its operations need beside sockets, a clock and a packet path; nil:
	// nothing.
	Machine func(*Emulated) Machine

	Ops        map[string]*Op
	Points     []string        // the named points that steps may refer to
	Verdicts   []string        // beside those that all packets have
	Rules      map[string]Rule // of volatile spans, by their names
	Deviations []Deviation
	// Slack is by how many seconds times may differ: the recording could cross into another second.
	Slack int64
	SPIs  wire.SPIRange // from which SPIs are picked when a request says nothing
	// Requested is the range from which SPIs are picked for a request of that range; nil: that range.
	Requested func(wire.SAType, wire.SPIRange) wire.SPIRange

	// LooksAtPID: a message must have the process number of the process that sends it.
	LooksAtPID bool

	// AddPolicy adds a policy by other means than a message, on a kernel that has no message for it, and says how; nil:
	// there is one.
	AddPolicy func(p *Player, policy *pfkey.Policy) (how string, err error)

	NewMemory func() Memory // makes what the rules remember of a scenario; nil: nothing
	NewMarker func() Marker // makes what marks bytes of its messages, beside SPIs and times; nil: nothing

	// A running engine goes on counting where a fresh one begins. Named says why a message that names something by such
	// a number cannot be sent, "" if it names nothing so; Numbers says where they are in messages that come.
	Named   func(d *wire.Dialect, msg []byte) string
	Numbers func(d *wire.Dialect, msg []byte) []Span
	Flushes []wire.MsgType // the messages that remove what others have left

	// Read reads recordings of another format. It returns nil, and has read nothing, if this is none.
	Read func(r *bufio.Reader, file string) iter.Seq2[*Scenario, error]
	// Capture reads packets that a kernel protected, with their keys. shown is the name that errors and results show.
	Capture func(fsys fs.FS, file, shown string) (Capture, error)
}

// Capture is packets that a real kernel protected, to be opened and sealed again.
type Capture interface {
	Name() string
	File() string
	Play(t Target, k *Kernel) Result
}

// Op is one kind of action. The type of its parameters says how it is done: it has a method
//
//	Do(p *Player, a *Action, out *Outcome)
//
// or can be read only. Beside that it may have
//
//	Check() error    // says what is wrong with the parameters when a recording is read
//	NotLive() string // says why a running engine cannot be asked for it through a Unix socket, "" if it can
//	Waits() time.Duration // says how long it takes where time is real
type Op struct {
	Args    func() any // makes a pointer to the parameters
	Results []string   // the fields of its outcome that not all have
	Socket  bool       // works on one
	Keeps   bool       // does not read the sockets afterwards
	Moves   bool       // moves packets only, so that it is possible in the middle of a request
	Needs   *Need
}

type doer interface {
	Do(p *Player, a *Action, out *Outcome)
}

// Parameters makes parameters of a type, for [Op.Args].
func Parameters[A any]() any { return new(A) }

// Results that only some operations have.
var (
	OfPacket  = []string{"id", "inner", "inner_vol", "reason", "verdict"} // of an operation that brings a packet in
	OfCounter = []string{"counters"}
	OfWires   = []string{"pkt", "stats", "wires"}
	OfKnob    = []string{"old"}
	OfDump    = []string{"need", "unordered"}
)

var ofSome = func() map[string]bool {
	names := map[string]bool{}
	for _, n := range slices.Concat(OfPacket, OfCounter, OfWires, OfKnob, OfDump) {
		names[n] = true
	}
	return names
}()

// Need is what an operation wants of the machine beside sockets.
type Need struct {
	What string // in words
	Has  func(Machine) bool
}

// The needs of operations that are not one kernel's.
var (
	NeedClock   = &Need{"a clock that can be moved", is[Clock]}
	NeedPackets = &Need{"a packet path", is[PacketPath]}
	NeedOwn     = &Need{"operations of its kernel", is[Owner]}
	NeedTime    = &Need{"time that passes by itself", is[Passing]}
)

func is[T any](m Machine) bool { _, ok := m.(T); return ok }

// Deviation is a difference that is meant. It does not wave a scenario through: Amend changes the recording into the
// answer that is expected of the emulator, and that is compared as exactly as the recording was.
type Deviation struct {
	Name, Reason string
	// Amend rewrites sc if the deviation concerns it, and says whether it did. sc is a copy to be changed at will.
	Amend func(sc *Scenario) bool
}

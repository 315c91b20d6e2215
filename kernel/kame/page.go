package kame

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Page is what an heir of KAME has of its own as tables. It is not changed once an engine runs with it.
type Page struct {
	Dialect  *wire.Dialect
	Tunables []engine.Tunable // by the names of sysctl

	MsgMax     uint8                      // the largest number of a message type
	Extensions map[wire.ExtType]SizeRule  // those that a message may have, and the sizes that they may have
	Protos     map[wire.SAType]uint8      // the SA types with SAs, and their IP protocols
	Scoped     map[wire.MsgType][]byte    // messages whose SA type is something else, and the values it may have
	Calls      map[pfkey.Call]pfkey.Errno // what calls other than reading and writing do
	Buffers    Buffers
	// ConnectEnds: a connect(2), though it fails, leaves a socket that cannot be written any more, and whose reads end.
	ConnectEnds bool
	Handlers    map[wire.MsgType]Handler // beside those that all heirs have

	Auths, Encrypts []Algorithm  // those that REGISTER announces, by their numbers
	ESN             wire.SAFlags // the flag of extended sequence numbers; 0: there are none
	Policies        PolicyPage
	Acquires        AcquirePage
	Packets         PacketPage
	// Upper is what a packet shows of its upper protocol to policies, of which the payload is given; [Upper] is one.
	Upper func(v6 bool, proto uint8, payload []byte) (shown uint8, sport, dport uint16)

	AddEcho    []wire.ExtType          // what the answer to ADD and UPDATE repeats of the request
	SAShows    []Show                  // what GET and DUMP show of an SA
	References map[wire.MsgType]uint16 // the count of references in the header, where the heir shows one
	ReqIDMask  uint32                  // the bits of a request id that are kept
	Buckets    int                     // of heads, which are gone over one after the other; 0: one
	Order      [][]sadb.State          // the SAs of a head: those in these states, then those in these, ...
	// NewestFirst: among those the newest SA comes first. Otherwise it comes last.
	NewestFirst bool
	// PortsInHeads: the ports of a NAT are those of a head.
	PortsInHeads bool
	// AppendKey appends what messages show of the extension that brought a key. It leaves no copy elsewhere.
	AppendKey func(d *wire.Dialect, b, ext []byte) []byte
	SPIs      SPIPage
	// SendDump delivers the messages of a DUMP, and says what send() returns; [SendChain] and [SendEach] are two.
	SendDump func(*Kernel, *Request, [][]byte) wire.Errno
	// KeepsFirstUse: the time of use is that of the first one. Otherwise it is that of the last.
	KeepsFirstUse bool
	// RegisterFits: the answer to a REGISTER finds room with its sender, however much waits there.
	RegisterFits bool
	// EmptyHeadsGo: a head that has no SA any more goes in the next pass. Otherwise it stays until a FLUSH.
	EmptyHeadsGo bool

	// WrapExtra is how many bytes too many the header says around a message for a promiscuous socket.
	WrapExtra int
	// FullEnds: the first receiver without room ends the delivery, and the sender hears of it as of its own.
	FullEnds bool
}

// Heir is what an heir of KAME does in its own way. The control lock is held unless a method says otherwise.
type Heir interface {
	// InUse says whether an SPI may not be chosen, because an SA has it.
	InUse(spi uint32) bool
	// Fits says whether an SA with this index goes to a head for the same protocol and ends.
	Fits(h *Head, x *Index) bool
	// Admit says whether an ADD may make this SA, before its keys are looked at, and for which head; nil: the one that
	// [Kernel.HeadFor] finds. It may change both.
	Admit(r *Request, s *SA, x *Index) (*Head, wire.Errno)
	// CheckSA checks what an ADD or UPDATE says of an SA with keys, but for algorithms and the lengths of keys.
	CheckSA(r *Request, s *SA, x *Index) wire.Errno
	// Answered is told that a GETSPI or an ADD, which m is, has made an SA with this sequence number, which is not 0.
	Answered(m wire.MsgType, x *Index, seq uint32)
	// Update does what an UPDATE asks for, which describes s. The keys of s are overwritten if it is refused.
	Update(r *Request, s *SA, x *Index) wire.Errno
	// Find is the SA that a GET or a DELETE names by an index without mode and request id, and an SPI.
	Find(x *Index, spi uint32) (*SA, wire.Errno)
	// DeleteAll kills the SAs that a DELETE without an SPI means.
	DeleteAll(x *Index)
	// Bucket says where a head is among all, from 0 up to [Page].Buckets.
	Bucket(x *Index) int
	// Deadline is when a pass has something to do with an SA.
	Deadline(s *SA) Deadline
	// Expire ages SAs that are due, or that packets have used. Some may be DEAD meanwhile, and one may come twice.
	Expire(due []*SA, uptime int64)
	// Looks says whether IPsec looks at packets at all. The control lock is not held.
	Looks() bool
	// PolicyAdded is called when a policy has been added.
	PolicyAdded()
	// Setting is called before a tunable changes, to a value that may be out of bounds. It may refuse that.
	Setting(name string, value int64) wire.Errno
	// Shows is what sysctl(8) shows that is no tunable; false: nothing of that name. The control lock is not held.
	Shows(name string) (value int64, ok bool)
	// Acquiring is called when a packet has led to an ACQUIRE that is about to be delivered.
	Acquiring()
}

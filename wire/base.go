package wire

import "fmt"

// Version is the only protocol version there is, PF_KEY_V2.
const Version = 2

// MsgType is the type of a message, sadb_msg_type. It is a symbol: the number in a message is the dialect's, see
// [Dialect.MsgType] and [Dialect.MsgNumber].
type MsgType uint16

// Message types of RFC 2367 section 3.1. The dialects have more.
const (
	MsgReserved MsgType = 0
	MsgGetSPI   MsgType = 1  // SADB_GETSPI, 3.1.1
	MsgUpdate   MsgType = 2  // SADB_UPDATE, 3.1.2
	MsgAdd      MsgType = 3  // SADB_ADD, 3.1.3
	MsgDelete   MsgType = 4  // SADB_DELETE, 3.1.4
	MsgGet      MsgType = 5  // SADB_GET, 3.1.5
	MsgAcquire  MsgType = 6  // SADB_ACQUIRE, 3.1.6
	MsgRegister MsgType = 7  // SADB_REGISTER, 3.1.7
	MsgExpire   MsgType = 8  // SADB_EXPIRE, 3.1.8
	MsgFlush    MsgType = 9  // SADB_FLUSH, 3.1.9
	MsgDump     MsgType = 10 // SADB_DUMP, 3.1.10
	MsgXPromisc MsgType = 11 // SADB_X_PROMISC, 3.1.11
)

// String is the name without SADB_, such as GETSPI, or unknown(0x2a).
func (t MsgType) String() string { return symbolName(t, allMsgRows...) }

// ExtType is the type of an extension, sadb_ext_type. It is a symbol: the number in a message is the dialect's, see
// [Dialect.ExtType] and [Dialect.ExtNumber].
type ExtType uint32

// Extension types of RFC 2367 section 2.3. The dialects have more.
const (
	ExtReserved         ExtType = 0
	ExtSA               ExtType = 1  // SADB_EXT_SA, 2.3.1
	ExtLifetimeCurrent  ExtType = 2  // SADB_EXT_LIFETIME_CURRENT, 2.3.2
	ExtLifetimeHard     ExtType = 3  // SADB_EXT_LIFETIME_HARD, 2.3.2
	ExtLifetimeSoft     ExtType = 4  // SADB_EXT_LIFETIME_SOFT, 2.3.2
	ExtAddressSrc       ExtType = 5  // SADB_EXT_ADDRESS_SRC, 2.3.3
	ExtAddressDst       ExtType = 6  // SADB_EXT_ADDRESS_DST, 2.3.3
	ExtAddressProxy     ExtType = 7  // SADB_EXT_ADDRESS_PROXY, 2.3.3
	ExtKeyAuth          ExtType = 8  // SADB_EXT_KEY_AUTH, 2.3.4
	ExtKeyEncrypt       ExtType = 9  // SADB_EXT_KEY_ENCRYPT, 2.3.4
	ExtIdentitySrc      ExtType = 10 // SADB_EXT_IDENTITY_SRC, 2.3.5
	ExtIdentityDst      ExtType = 11 // SADB_EXT_IDENTITY_DST, 2.3.5
	ExtSensitivity      ExtType = 12 // SADB_EXT_SENSITIVITY, 2.3.6
	ExtProposal         ExtType = 13 // SADB_EXT_PROPOSAL, 2.3.7
	ExtSupportedAuth    ExtType = 14 // SADB_EXT_SUPPORTED_AUTH, 2.3.8
	ExtSupportedEncrypt ExtType = 15 // SADB_EXT_SUPPORTED_ENCRYPT, 2.3.8
	ExtSPIRange         ExtType = 16 // SADB_EXT_SPIRANGE, 2.3.9
)

// String is the name without SADB_EXT_, such as ADDRESS_SRC or X_SA2, or unknown(0x2a). A dialect may have another one,
// see [Dialect.ExtName].
func (t ExtType) String() string {
	if s, ok := extNames[t]; ok {
		return s
	}
	return fmt.Sprintf("unknown(%#x)", uint16(t))
}

// SAType is the type of a security association, sadb_msg_satype (RFC 2367 section 3.3). It is a symbol: the number in a
// message is the dialect's, see [Dialect.SAType] and [Dialect.SATypeNumber].
type SAType uint16

// SA types of RFC 2367 section 3.3, and of dialects.
const (
	SATypeUnspec SAType = 0
	SATypeAH     SAType = 2
	SATypeESP    SAType = 3
	SATypeTCPSig SAType = 4 // TCP signatures: illumos, since 2024, and the BSDs
	SATypeRSVP   SAType = 5
	SATypeOSPFv2 SAType = 6
	SATypeRIPv2  SAType = 7
	SATypeMIP    SAType = 8
	SATypeIPComp SAType = 9  // IP compression: all but illumos
	SATypeIPIP   SAType = 10 // a tunnel without protection: OpenBSD
)

// String is the name in lower case, such as esp, or unknown(0x2a).
func (t SAType) String() string { return symbolName(t, allSATypes...) }

// State is the state of a security association, sadb_sa_state (RFC 2367 section 3.2).
type State uint8

// SA states of RFC 2367 section 3.2.
const (
	StateLarval State = 0
	StateMature State = 1
	StateDying  State = 2
	StateDead   State = 3
)

// String names the states of the RFC; [Dialect.StateName] knows those of a dialect too.
func (s State) String() string { return nameOf(uint64(s), rfcStates) }

// SPI is a security parameters index, in host order in memory and in network order on the wire.
type SPI uint32

// String prints the SPI in hexadecimal, as every IPsec program does.
func (s SPI) String() string { return fmt.Sprintf("%#x", uint32(s)) }

// Seq is the sequence number of a message, sadb_msg_seq, in host order.
type Seq uint32

// IdentType is the type of an identity, sadb_ident_type (RFC 2367 section 3.4).
type IdentType = uint16

// Types of an identity of RFC 2367 section 3.4.
const (
	IdentReserved IdentType = 0
	IdentPrefix   IdentType = 1 // an address and prefix length as text
	IdentFQDN     IdentType = 2
	IdentUserFQDN IdentType = 3
)

// SAFlags are the flags of an SA, sadb_sa_flags: a set of bits.
type SAFlags = uint32

// FlagPFS is the one SA flag of RFC 2367 section 2.3.1. Whether a kernel honours it is another matter.
const FlagPFS SAFlags = 1

// msgRow is a message type in the table of a family.
type msgRow struct {
	row[MsgType]
	section string // of RFC 2367; "" if it is not in there
	meaning string
}

// msgRows are the tables without what they say of each message.
func msgRows(tables ...[]msgRow) [][]row[MsgType] {
	all := make([][]row[MsgType], len(tables))
	for i, rows := range tables {
		for _, r := range rows {
			all[i] = append(all[i], r.row)
		}
	}
	return all
}

func msg(t MsgType, number uint8, name, section, meaning string) msgRow {
	return msgRow{row[MsgType]{t, number, name}, section, meaning}
}

var rfcMsgs = []msgRow{
	msg(MsgReserved, 0, "RESERVED", "3.1", "no message"),
	msg(MsgGetSPI, 1, "GETSPI", "3.1.1", "reserve an SPI: makes a larval SA, which UPDATE completes"),
	msg(MsgUpdate, 2, "UPDATE", "3.1.2", "complete a larval SA, or change one that is there"),
	msg(MsgAdd, 3, "ADD", "3.1.3", "add a new SA, complete with its keys"),
	msg(MsgDelete, 4, "DELETE", "3.1.4", "delete one SA"),
	msg(MsgGet, 5, "GET", "3.1.5", "look up one SA"),
	msg(MsgAcquire, 6, "ACQUIRE", "3.1.6", "the kernel needs an SA; with an errno, key management could not make one"),
	msg(MsgRegister, 7, "REGISTER", "3.1.7", "hear of ACQUIREs for this SA type; the answer lists what the kernel has"),
	msg(MsgExpire, 8, "EXPIRE", "3.1.8", "a lifetime limit of an SA was reached"),
	msg(MsgFlush, 9, "FLUSH", "3.1.9", "delete all SAs of this SA type"),
	msg(MsgDump, 10, "DUMP", "3.1.10", "list all SAs of this SA type, one in each answer"),
	msg(MsgXPromisc, 11, "X_PROMISC", "3.1", "hear all messages; around a message, a copy of it"),
}

// rfcExts are the rows of RFC 2367. A dialect with another name or meaning for one appends its own row, which wins.
var rfcExts = []extRow{
	{typ: ExtSA, name: "SA", short: "sa", section: "2.3.1", shape: shapeSA,
		meaning: "the association itself: SPI, state, algorithms, flags"},
	{typ: ExtLifetimeCurrent, name: "LIFETIME_CURRENT", short: "current", section: "2.3.2", shape: shapeLifetime,
		fields: currentFields, meaning: "what was used so far"},
	{typ: ExtLifetimeHard, name: "LIFETIME_HARD", short: "hard", section: "2.3.2", shape: shapeLifetime,
		meaning: "limits at which the SA dies"},
	{typ: ExtLifetimeSoft, name: "LIFETIME_SOFT", short: "soft", section: "2.3.2", shape: shapeLifetime,
		meaning: "limits at which key management is told to make a new one"},
	{typ: ExtAddressSrc, name: "ADDRESS_SRC", short: "src", section: "2.3.3", shape: shapeAddress,
		meaning: "source of the packets"},
	{typ: ExtAddressDst, name: "ADDRESS_DST", short: "dst", section: "2.3.3", shape: shapeAddress,
		meaning: "destination of the packets"},
	{typ: ExtAddressProxy, name: "ADDRESS_PROXY", short: "proxy", section: "2.3.3", shape: shapeAddress,
		meaning: "whom the source stands for"},
	{typ: ExtKeyAuth, name: "KEY_AUTH", short: "authkey", section: "2.3.4", shape: shapeKey,
		meaning: "key of the authentication algorithm"},
	{typ: ExtKeyEncrypt, name: "KEY_ENCRYPT", short: "encrkey", section: "2.3.4", shape: shapeKey,
		fields: encryptKeyFields, meaning: "key of the encryption algorithm, and its salt"},
	{typ: ExtIdentitySrc, name: "IDENTITY_SRC", short: "srcid", section: "2.3.5", shape: shapeIdentity,
		meaning: "name that the source goes by, for key management"},
	{typ: ExtIdentityDst, name: "IDENTITY_DST", short: "dstid", section: "2.3.5", shape: shapeIdentity,
		meaning: "name that the destination goes by, for key management"},
	{typ: ExtSensitivity, name: "SENSITIVITY", short: "sens", section: "2.3.6", shape: shapeSensitivity,
		meaning: "security label of the data"},
	{typ: ExtProposal, name: "PROPOSAL", short: "proposal", section: "2.3.7", shape: shapeProposal,
		meaning: "combinations of algorithms and limits that would do"},
	{typ: ExtSupportedAuth, name: "SUPPORTED_AUTH", short: "supported-auth", section: "2.3.8", shape: shapeSupported,
		meaning: "authentication algorithms that the kernel has"},
	{typ: ExtSupportedEncrypt, name: "SUPPORTED_ENCRYPT", short: "supported-encr", section: "2.3.8",
		shape: shapeSupported, meaning: "encryption algorithms that the kernel has"},
	{typ: ExtSPIRange, name: "SPIRANGE", short: "spirange", section: "2.3.9", shape: shapeSPIRange,
		meaning: "range that the SPI is chosen from"},
}

var rfcSATypes = []row[SAType]{
	{SATypeUnspec, 0, "unspec"}, {SATypeAH, 2, "ah"}, {SATypeESP, 3, "esp"}, {SATypeRSVP, 5, "rsvp"},
	{SATypeOSPFv2, 6, "ospfv2"}, {SATypeRIPv2, 7, "ripv2"}, {SATypeMIP, 8, "mip"},
}

var rfcStates = []name{{0, "larval"}, {1, "mature"}, {2, "dying"}, {3, "dead"}}

package ip

// Protocol numbers, which are also those of IPv6 extension headers.
const (
	ProtoHopByHop    = 0
	ProtoICMP        = 1
	ProtoIPv4        = 4
	ProtoTCP         = 6
	ProtoUDP         = 17
	ProtoIPv6        = 41
	ProtoRouting     = 43
	ProtoFragment    = 44
	ProtoESP         = 50
	ProtoAH          = 51
	ProtoICMPv6      = 58
	ProtoNone        = 59
	ProtoDestOptions = 60
	ProtoComp        = 108
	ProtoSCTP        = 132
)

// Lengths of headers, in bytes.
const (
	Len4   = 20 // of IPv4 without options
	Len6   = 40 // of IPv6 without extension headers
	LenUDP = 8

	lenTCP         = 20
	lenEcho        = 8
	leastExtension = 8
)

// MaxLen is the most that the length field of a header can say.
const MaxLen = 65535

// TTL is the time to live, or hop limit, of what [UDP] and its like make.
const TTL = 64

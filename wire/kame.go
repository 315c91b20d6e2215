package wire

// KAME's code is the ancestor of the key engines of NetBSD, FreeBSD and Darwin, and Linux took its message format over.
// What is here means the same in all of them.

// Message types of KAME beyond the RFC.
const (
	KAMEMsgXPChange        MsgType = 12
	KAMEMsgXSPDUpdate      MsgType = 13
	KAMEMsgXSPDAdd         MsgType = 14
	KAMEMsgXSPDDelete      MsgType = 15
	KAMEMsgXSPDGet         MsgType = 16
	KAMEMsgXSPDAcquire     MsgType = 17
	KAMEMsgXSPDDump        MsgType = 18
	KAMEMsgXSPDFlush       MsgType = 19
	KAMEMsgXSPDSetIdx      MsgType = 20
	KAMEMsgXSPDExpire      MsgType = 21
	KAMEMsgXSPDDelete2     MsgType = 22
	KAMEMsgXNATTNewMapping MsgType = 23
)

// Extension types of KAME beyond the RFC.
const (
	KAMEExtXKMPrivate ExtType = 17
	KAMEExtXPolicy    ExtType = 18
	KAMEExtXSA2       ExtType = 19
	KAMEExtXNATTType  ExtType = 20
	KAMEExtXNATTSPort ExtType = 21
	KAMEExtXNATTDPort ExtType = 22
	KAMEExtXNATTOA    ExtType = 23 // an address: the original one behind the NAT
)

// Modes of an SA and of an IPsec request.
const (
	ModeAny       uint8 = 0
	ModeTransport uint8 = 1
	ModeTunnel    uint8 = 2
)

// Policy types.
const (
	KAMEPolicyDiscard uint16 = 0
	KAMEPolicyNone    uint16 = 1
	KAMEPolicyIPsec   uint16 = 2
	KAMEPolicyEntrust uint16 = 3 // of sockets only
	KAMEPolicyBypass  uint16 = 4 // of sockets only
)

// Directions of a policy.
const (
	KAMEDirAny uint8 = 0
	KAMEDirIn  uint8 = 1
	KAMEDirOut uint8 = 2
)

// Levels of an IPsec request.
const (
	KAMELevelDefault uint8 = 0
	KAMELevelUse     uint8 = 1
	KAMELevelRequire uint8 = 2
	KAMELevelUnique  uint8 = 3
)

// NAT-T encapsulations.
const (
	KAMENATTNonIKE uint8 = 1 // the draft with the non-IKE marker
	KAMENATTESP    uint8 = 2 // RFC 3948
)

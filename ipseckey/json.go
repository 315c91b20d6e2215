package ipseckey

import (
	"encoding/hex"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Record is a message as --json prints it, one object a line. The names of its fields are stable: new ones may come,
// none will change or go. Fields that the message does not have are left out.
//
// dump, get, getspi and monitor print records; how the other commands went is a [Result].
type Record struct {
	Type   string `json:"type"`             // of the message: "DUMP", "GET", "ADD", "EXPIRE", ...
	SAType string `json:"satype"`           // "esp", "ah", "unspec" for all, ...
	Seq    uint32 `json:"seq"`              // sequence number
	PID    uint32 `json:"pid"`              // process id
	Error  *Fault `json:"error,omitempty"`  // what the key engine complains of
	Broken string `json:"broken,omitempty"` // what is wrong with the message itself; the rest is what could be read

	SPI     string   `json:"spi,omitempty"`     // "0x1a2b3c4d"
	State   string   `json:"state,omitempty"`   // "larval", "mature", "dying", "dead", ...
	Replay  *uint8   `json:"replay,omitempty"`  // size of the replay window in packets
	Auth    string   `json:"auth,omitempty"`    // authentication algorithm, "hmac-sha256"
	Encrypt string   `json:"encrypt,omitempty"` // encryption algorithm, "aes-cbc"
	Flags   []string `json:"flags,omitempty"`   // "X_INBOUND", "X_TUNNEL", ...; bits without a name in hexadecimal

	Src      *RecordAddress `json:"src,omitempty"`
	Dst      *RecordAddress `json:"dst,omitempty"`
	InnerSrc *RecordAddress `json:"inner_src,omitempty"`
	InnerDst *RecordAddress `json:"inner_dst,omitempty"`
	NATLoc   *RecordAddress `json:"nat_loc,omitempty"`
	NATRem   *RecordAddress `json:"nat_rem,omitempty"`

	Current *RecordCurrent `json:"current,omitempty"` // what was used so far
	Hard    *RecordLimits  `json:"hard,omitempty"`
	Soft    *RecordLimits  `json:"soft,omitempty"`
	Idle    *RecordLimits  `json:"idle,omitempty"`

	AuthKey    *RecordKey `json:"auth_key,omitempty"`
	EncryptKey *RecordKey `json:"encrypt_key,omitempty"`

	SrcID *RecordIdentity `json:"src_id,omitempty"`
	DstID *RecordIdentity `json:"dst_id,omitempty"`

	PairSPI     string       `json:"pair_spi,omitempty"`     // of the other direction
	ReplayValue *uint64      `json:"replay_value,omitempty"` // replay counter
	SPIRange    *RecordRange `json:"spi_range,omitempty"`    // of a GETSPI request

	Other []string `json:"other,omitempty"` // names of the other extensions, in their order
}

// Fault is an errno inside a message, with what illumos says beyond it.
type Fault struct {
	Errno          string `json:"errno"`                     // "EINVAL"
	Text           string `json:"text"`                      // "Invalid argument"
	Diagnostic     uint16 `json:"diagnostic,omitempty"`      // code
	DiagnosticName string `json:"diagnostic_name,omitempty"` // "BAD_SASTATE"
	DiagnosticText string `json:"diagnostic_text,omitempty"` // "Invalid SA state"

	About []string `json:"about,omitempty"` // extensions that the diagnostic is about: "SA", "KEY_ENCRYPT", ...
}

// RecordAddress is an address extension.
type RecordAddress struct {
	Addr   string `json:"addr"` // as it is in the message: an IPv4 address may be an IPv4-mapped one
	Port   uint16 `json:"port,omitempty"`
	Proto  uint8  `json:"proto,omitempty"`
	Prefix uint8  `json:"prefix,omitempty"` // bits
}

// RecordCurrent is the current lifetime.
type RecordCurrent struct {
	Alloc uint32 `json:"alloc,omitempty"`
	Bytes uint64 `json:"bytes"`
	Added uint64 `json:"added"`          // seconds since 1970
	Used  uint64 `json:"used,omitempty"` // seconds since 1970 of the first use
}

// RecordLimits is a lifetime that ends something; 0 or absent is no limit.
type RecordLimits struct {
	Alloc   uint32 `json:"alloc,omitempty"`
	Bytes   uint64 `json:"bytes,omitempty"`
	AddTime uint64 `json:"addtime,omitempty"` // seconds after the SA was added
	UseTime uint64 `json:"usetime,omitempty"` // seconds after its first use
}

// RecordKey is a key extension. Hex is there only if asked for.
type RecordKey struct {
	Bits     uint16 `json:"bits"`
	SaltBits uint16 `json:"salt_bits,omitempty"`
	Hex      string `json:"hex,omitempty"` // key and salt
}

// RecordIdentity is an identity extension.
type RecordIdentity struct {
	Type string `json:"type"` // "fqdn", "user_fqdn", ...
	UID  uint64 `json:"uid,omitempty"`
	Name string `json:"name"`
}

// RecordRange is a range of SPIs.
type RecordRange struct {
	Min string `json:"min"`
	Max string `json:"max"`
}

// NewRecord reads a message. keys says whether the record holds key bytes.
func NewRecord(d *wire.Dialect, msg []byte, keys bool) *Record {
	h, err := d.Header(msg)
	r := &Record{Type: d.MsgName(h.Type), SAType: d.SATypeName(h.SAType), Seq: uint32(h.Seq), PID: h.PID}
	if err != nil {
		r.Broken = err.Error()
		return r
	}
	if h.Errno != 0 {
		r.Error = &Fault{Errno: d.ErrnoName(h.Errno), Text: strerror(illumosErrno(d, h.Errno))}
		if hasDiagnostics(d) {
			r.Error.Diagnostic = h.Reserved
			r.Error.DiagnosticName, r.Error.DiagnosticText = d.DiagnosticName(h.Reserved),
				strings.TrimSpace(diagnosticText(h.Reserved))
			if int(h.Reserved) < len(aboutDiagnostic) {
				r.Error.About = aboutDiagnostic[h.Reserved]
			}
		}
	}
	if n := int(h.Len) * 8; n >= wire.HeaderLen && n < len(msg) {
		msg = msg[:n]
	}
	for x, err := range d.Walk(msg) {
		if err == nil {
			err = r.extension(d, h.SAType, x, keys)
		}
		if err != nil && r.Broken == "" {
			r.Broken = err.Error()
		}
	}
	return r
}

func (r *Record) extension(d *wire.Dialect, t wire.SAType, x wire.Ext, keys bool) error {
	switch x.Type {
	case wire.ExtSA:
		v, err := d.ParseSA(x.Raw)
		if err != nil {
			return err
		}
		r.SPI, r.State, r.Replay = v.SPI.String(), d.StateName(v.State), &v.Replay
		if v.Auth != 0 {
			r.Auth = d.AuthName(v.Auth)
		}
		if v.Encrypt != 0 {
			r.Encrypt = d.TransformName(t, v.Encrypt)
		}
		if v.Flags != 0 {
			r.Flags = strings.Split(d.FlagNames(v.Flags), "|")
		}
	case wire.ExtLifetimeCurrent:
		v, err := d.ParseLifetime(x.Raw)
		r.Current = &RecordCurrent{v.Allocations, v.Bytes, v.AddTime, v.UseTime}
		return err
	case wire.ExtLifetimeHard:
		return r.limits(d, &r.Hard, x.Raw)
	case wire.ExtLifetimeSoft:
		return r.limits(d, &r.Soft, x.Raw)
	case wire.IllumosExtXLifetimeIdle:
		return r.limits(d, &r.Idle, x.Raw)
	case wire.ExtAddressSrc:
		return r.address(d, &r.Src, x.Raw)
	case wire.ExtAddressDst:
		return r.address(d, &r.Dst, x.Raw)
	case wire.ExtAddressProxy:
		return r.address(d, &r.InnerSrc, x.Raw)
	case wire.IllumosExtXAddressInnerDst:
		return r.address(d, &r.InnerDst, x.Raw)
	case wire.IllumosExtXAddressNattLoc:
		return r.address(d, &r.NATLoc, x.Raw)
	case wire.IllumosExtXAddressNattRem:
		return r.address(d, &r.NATRem, x.Raw)
	case wire.ExtKeyAuth:
		return r.key(d, &r.AuthKey, x.Raw, keys)
	case wire.ExtKeyEncrypt:
		return r.key(d, &r.EncryptKey, x.Raw, keys)
	case wire.ExtIdentitySrc:
		return r.identity(d, &r.SrcID, x.Raw)
	case wire.ExtIdentityDst:
		return r.identity(d, &r.DstID, x.Raw)
	case wire.IllumosExtXPair:
		v, err := d.ParsePair(x.Raw)
		r.PairSPI = v.SPI.String()
		return err
	case wire.IllumosExtXReplayValue:
		v, err := d.ParseReplayValue(x.Raw)
		n := uint64(v.Replay32)
		if n == 0 {
			n = v.Replay64
		}
		r.ReplayValue = &n
		return err
	case wire.ExtSPIRange:
		v, err := d.ParseSPIRange(x.Raw)
		r.SPIRange = &RecordRange{v.Min.String(), v.Max.String()}
		return err
	default:
		r.Other = append(r.Other, d.ExtName(x.Type))
	}
	return nil
}

func (r *Record) limits(d *wire.Dialect, to **RecordLimits, raw []byte) error {
	v, err := d.ParseLifetime(raw)
	*to = &RecordLimits{v.Allocations, v.Bytes, v.AddTime, v.UseTime}
	return err
}

func (r *Record) address(d *wire.Dialect, to **RecordAddress, raw []byte) error {
	v, err := d.ParseAddress(raw)
	if err != nil {
		return err
	}
	*to = &RecordAddress{v.Addr.String(), v.Port, v.Proto, v.PrefixLen}
	return nil
}

func (r *Record) key(d *wire.Dialect, to **RecordKey, raw []byte, keys bool) error {
	v, err := d.ParseKey(raw)
	*to = &RecordKey{Bits: v.Bits, SaltBits: v.Reserved}
	if err != nil || !keys {
		return err
	}
	area := wire.KeyArea(raw)
	(*to).Hex = hex.EncodeToString(area[:min(len(area), len(v.Data)+int(v.Reserved)/8)])
	return nil
}

func (r *Record) identity(d *wire.Dialect, to **RecordIdentity, raw []byte) error {
	v, err := d.ParseIdentity(raw)
	*to = &RecordIdentity{d.IdentName(v.Type), v.ID, v.Name}
	return err
}

// emit prints a message as one line of JSON.
func (s *session) emit(msg []byte) {
	s.emitJSON(NewRecord(s.dial, msg, s.showKeys && !s.paranoid))
}

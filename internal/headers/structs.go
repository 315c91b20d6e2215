package headers

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// A structure is a C structure whose fields lie as wire's tables say. members has its names in order, without the name
// of the structure before them. One that has another size than the field there says so: "reserved1:1".
type structure struct {
	name    string
	of      func(*wire.Dialect) []wire.Slot
	members string
}

func extension(t wire.ExtType) func(*wire.Dialect) []wire.Slot {
	return func(d *wire.Dialect) []wire.Slot { return d.ExtLayout(t) }
}

func part(t wire.ExtType) func(*wire.Dialect) []wire.Slot {
	return func(d *wire.Dialect) []wire.Slot { return d.PartLayout(t) }
}

var structures = []structure{
	{"sadb_msg", (*wire.Dialect).HeaderLayout, "version type errno satype len reserved seq pid"},
	{"sadb_ext", (*wire.Dialect).ExtHeaderLayout, "len type"},
	{"sadb_sa", extension(wire.ExtSA), "len exttype spi replay state auth encrypt flags"},
	{"sadb_lifetime", extension(wire.ExtLifetimeHard), "len exttype allocations bytes addtime usetime"},
	{"sadb_address", extension(wire.ExtAddressSrc), "len exttype proto prefixlen reserved"},
	{"sadb_key", extension(wire.ExtKeyAuth), "len exttype bits reserved"},
	{"sadb_ident", extension(wire.ExtIdentitySrc), "len exttype type reserved id"},
	{"sadb_sens", extension(wire.ExtSensitivity),
		"len exttype dpd sens_level sens_len integ_level integ_len reserved"},
	{"sadb_prop", extension(wire.ExtProposal), "len exttype replay reserved"},
	{"sadb_comb", part(wire.ExtProposal), "auth encrypt flags auth_minbits auth_maxbits encrypt_minbits " +
		"encrypt_maxbits reserved:4 soft_allocations hard_allocations soft_bytes hard_bytes soft_addtime " +
		"hard_addtime soft_usetime hard_usetime"},
	{"sadb_supported", extension(wire.ExtSupportedAuth), "len exttype reserved"},
	{"sadb_alg", part(wire.ExtSupportedAuth), "id ivlen minbits maxbits reserved:2"},
	{"sadb_spirange", extension(wire.ExtSPIRange), "len exttype min max reserved"},
	{"sadb_x_kmprivate", extension(wire.KAMEExtXKMPrivate), "len exttype reserved"},
	{"sadb_x_policy", extension(wire.KAMEExtXPolicy), "len exttype type dir reserved id priority"},
	{"sadb_x_ipsecrequest", part(wire.KAMEExtXPolicy), "len proto mode level reqid"},
	{"sadb_x_sa2", extension(wire.KAMEExtXSA2), "len exttype mode reserved1:1 reserved2:2 sequence reqid"},
	{"sadb_x_nat_t_type", extension(wire.KAMEExtXNATTType), "len exttype type reserved"},
	{"sadb_x_nat_t_port", extension(wire.KAMEExtXNATTSPort), "len exttype port reserved"},
	{"sadb_x_nat_t_frag", extension(wire.KAMEExtXNATTFrag), "len exttype fraglen reserved"},
	{"sadb_x_sa_replay", extension(wire.FreeBSDExtXSAReplay), "len exttype replay"},
	{"sadb_x_kmaddress", extension(wire.LinuxExtXKMAddress), "len exttype reserved"},

	{"sadb_protocol", extension(wire.OpenBSDExtXProtocol), "len exttype proto direction flags reserved2"},
	{"sadb_x_policy", extension(wire.OpenBSDExtXPolicy), "len exttype seq"},
	{"sadb_x_udpencap", extension(wire.OpenBSDExtXUDPEncap), "len exttype port reserved"},
	{"sadb_x_tag", extension(wire.OpenBSDExtXTag), "len exttype taglen"},
	{"sadb_x_tap", extension(wire.OpenBSDExtXTap), "len exttype unit"},
	{"sadb_x_counter", extension(wire.OpenBSDExtXCounter), "len exttype pad ipackets opackets ibytes obytes idrops " +
		"odrops idecompbytes ouncompbytes"},
	{"sadb_x_rdomain", extension(wire.OpenBSDExtXRDomain), "len exttype dom1 dom2"},
	{"sadb_x_mtu", extension(wire.OpenBSDExtXMTU), "len exttype mtu"},
	{"sadb_x_replay", extension(wire.IllumosExtXReplayValue), "len exttype reserved count"},
	{"sadb_x_iface", extension(wire.OpenBSDExtXIface), "len exttype unit direction reserved"},
}

// A layout is a structure in a dialect.
type layout struct {
	name    string
	members []member
	size    int
}

type member struct {
	ctype, name  string
	count        int // of an array; 0: it is none
	offset, size int
	meaning      string
}

// layouts are the structures that the dialect has.
func (w *writer) layouts() (all []layout, err error) {
	for _, s := range structures {
		slots := s.of(w.d)
		if slots == nil {
			continue
		}
		if own, ok := w.structs[s.name]; ok {
			s.members = own
		}
		l, err := s.lay(slots)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		all = append(all, l)
	}
	return all, nil
}

// lay gives fields the names of the members. The error says that they are not made for each other.
func (s structure) lay(slots []wire.Slot) (layout, error) {
	l := layout{name: s.name}
	last := slots[len(slots)-1]
	end := last.Offset + last.Size
	for _, name := range strings.Fields(s.members) {
		for len(slots) > 0 && slots[0].Offset < l.size {
			slots = slots[1:]
		}
		m := member{name: s.name + "_" + name, offset: l.size}
		if len(slots) > 0 && slots[0].Offset == l.size {
			m.size, m.meaning = slots[0].Size, slots[0].Meaning
		}
		if name, size, ok := strings.Cut(m.name, ":"); ok {
			m.name, m.meaning = name, ""
			m.size, _ = strconv.Atoi(size)
		}
		switch m.size {
		case 0:
			return l, fmt.Errorf("struct %s: no field for %s", s.name, name)
		case 1, 2, 4, 8:
			m.ctype = fmt.Sprintf("uint%d_t", 8*m.size)
		default:
			m.ctype, m.count = "uint8_t", m.size
		}
		l.members = append(l.members, m)
		l.size += m.size
	}
	if l.size != end {
		return l, fmt.Errorf("struct %s: members for %d bytes, and fields of %d", s.name, l.size, end)
	}
	return l, nil
}

func (w *writer) structure(l layout) {
	w.line("struct %s {", l.name)
	for _, m := range l.members {
		decl := fmt.Sprintf("%s %s;", m.ctype, m.name)
		if m.count > 0 {
			decl = fmt.Sprintf("%s %s[%d];", m.ctype, m.name, m.count)
		}
		if m.meaning != "" {
			decl = fmt.Sprintf("%-44s /* %s */", decl, m.meaning)
		}
		w.line("\t%s", decl)
	}
	w.line("};")
}

// assertions are what the compiler checks.
func (w *writer) assertions(layouts []layout) {
	w.line("#include <stddef.h>")
	w.line("#include <net/pfkeyv2.h>")
	for _, l := range layouts {
		w.line("")
		w.line("_Static_assert(sizeof(struct %s) == %d, \"size\");", l.name, l.size)
		for _, m := range l.members {
			w.line("_Static_assert(offsetof(struct %s, %s) == %d, \"offset\");", l.name, m.name, m.offset)
			w.line("_Static_assert(sizeof(((struct %s *)0)->%s) == %d, \"size\");", l.name, m.name, m.size)
		}
	}
}

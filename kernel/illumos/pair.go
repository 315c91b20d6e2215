package illumos

import (
	"encoding/binary"

	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// setPair pairs an SA with the one that X_PAIR names, in the opposite table and with the addresses swapped;
// update_pairing. A partner that cannot be paired (dying, in both tables, paired already) leaves the SA unpaired and
// the message successful: programs see a plain echo. Whatever goes wrong undoes a pairing that the SA had, on its side
// only.
func (k *Kernel) setPair(s *sa, r *request) result {
	spi := wire.SPI(binary.BigEndian.Uint32(r.ext[wire.IllumosExtXPair][4:]))
	if spi == 0 || spi == s.spi {
		return einval(wire.IllumosDiagPairInappropriate)
	}
	partner := s.pairTable().lookup(spi, s.dst, s.src)
	if partner == nil {
		s.unpair()
		return einval(wire.IllumosDiagPairInappropriate)
	}
	st := partner.State()
	if st == sadb.Dead || st == sadb.Dying || partner.has(flagPaired) || partner.has(flagInbound) &&
		partner.has(flagOutbound) {
		s.unpair()
		return result{}
	}
	k.preserve(partner)
	s.pairSPI, partner.pairSPI = partner.spi, s.spi
	s.setFlags(flagPaired, 0)
	partner.setFlags(flagPaired, 0)
	return result{}
}

// unpair takes the pairing off one SA.
func (s *sa) unpair() {
	s.p.k.preserve(s)
	s.pairSPI = 0
	s.setFlags(0, flagPaired)
}

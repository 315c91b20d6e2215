package ipsec

// OpenTunnel undoes [Transform.SealTunnel]: it verifies and decrypts pkt, of which [ParseInbound] said in, and returns
// the packet that was in it. A replay window is the caller's. seqHi is the upper half of an extended sequence number, 0
// without. The result is new memory, or for AH a view of pkt. Errors: ErrICV, ErrPadding and those of
// [Transform.OpenESP], [Transform.VerifyAH] and [DecapTunnel].
//
// Kernels go step by step instead, each in its own order, see the package's beginning.
func (t *Transform) OpenTunnel(pkt []byte, in *Inbound, seqHi uint32) ([]byte, error) {
	payload, next, err := t.open(pkt, in, seqHi)
	if err != nil {
		return nil, err
	}
	return DecapTunnel(payload, next)
}

// OpenTransport undoes [Transform.SealTransport], as [Transform.OpenTunnel] does the other; the result is new memory.
// Checksums of the payload are not touched.
func (t *Transform) OpenTransport(pkt []byte, in *Inbound, seqHi uint32) ([]byte, error) {
	payload, next, err := t.open(pkt, in, seqHi)
	if err != nil {
		return nil, err
	}
	return DecapTransport(nil, pkt, in, payload, next)
}

// open verifies and decrypts.
func (t *Transform) open(pkt []byte, in *Inbound, seqHi uint32) (payload []byte, next uint8, err error) {
	if in.Off < 0 || in.Off > in.End || in.End > len(pkt) {
		return nil, 0, ErrShort
	}
	pkt = pkt[:in.End]
	if in.Proto == AH {
		if err := t.VerifyAH(pkt, in.Off, seqHi); err != nil {
			return nil, 0, err
		}
		ah := ParseAH(pkt, in)
		return pkt[in.Off+ah.Len:], ah.Next, nil
	}
	plain, err := t.OpenESP(nil, in.ESP(pkt), seqHi)
	switch {
	case err != nil:
		return nil, 0, err
	case !CheckPadding(plain):
		return nil, 0, ErrPadding
	}
	_, next, _ = Trailer(plain)
	return Payload(plain), next, nil
}

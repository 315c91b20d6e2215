package wire

// Validate says whether a message is well formed, which a program should know of every answer before it looks for what
// it needs in it: the base header is there, has version 2 and the right length, every extension lies inside the
// message, no known one comes twice, none is smaller than its fixed part or contradicts its own counts, and every
// address is of a known family. Extensions of unknown types are fine, newer kernels have more. Whether a kernel would
// take the message as a request is another question.
//
// The error is a *[DecodeError] with the offset in the message and the name of the extension.
func (d *Dialect) Validate(msg []byte) error {
	h, err := d.Header(msg)
	if err != nil {
		return err
	}
	if err := d.checkHeader(msg, h); err != nil {
		return err
	}
	var seen uint64
	for x, err := range d.Walk(msg) {
		if err != nil {
			return err
		}
		if err := d.checkExt(x); err != nil {
			return err
		}
		bit := d.ext(x.Type).bit()
		if seen&bit != 0 {
			return d.failAt(x, ErrDuplicate)
		}
		seen |= bit
	}
	return nil
}

func (d *Dialect) checkHeader(msg []byte, h Header) error {
	switch {
	case h.Version != Version:
		return &DecodeError{Offset: 0, Err: ErrVersion}
	case len(msg)%8 != 0:
		return &DecodeError{Offset: len(msg), Err: errNotWords}
	case int(h.Len)*8 != len(msg):
		return &DecodeError{Offset: 4, Err: errMsgLength}
	}
	return nil
}

// checkExt checks one extension against its row.
func (d *Dialect) checkExt(x Ext) error {
	if x.Type == ExtReserved {
		return d.failAt(x, ErrType)
	}
	r := d.ext(x.Type)
	if r == nil {
		return nil
	}
	err := d.need(x.Raw, r.min)
	if err == nil && r.shape.rule != nil {
		err = r.shape.rule(d, x.Raw)
	}
	if e, ok := err.(*DecodeError); ok {
		e.Offset += x.Offset
	}
	return err
}

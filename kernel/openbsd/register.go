package openbsd

import "github.com/pfkeyd/pfkeyd/wire"

// register handles REGISTER: any number of an SA type will do, and they repeat after 32.
func (k *Kernel) register(r *request) wire.Errno {
	r.client.register(r.satype())
	r.answer(supported(k.d))
	return wire.OK
}

// supported are the lists of algorithms, the same for each SA type.
func supported(d *wire.Dialect) []byte {
	var auth, encrypt wire.Supported
	for _, a := range auths {
		if a.mac != nil {
			bits := uint16(a.bits)
			auth.Algs = append(auth.Algs, wire.Alg{ID: a.id, MinBits: bits, MaxBits: bits})
		}
	}
	for _, a := range encrypts {
		encrypt.Algs = append(encrypt.Algs, a.Alg)
	}
	b := d.AppendSupported(nil, wire.ExtSupportedAuth, auth)
	b = d.AppendSupported(b, wire.ExtSupportedEncrypt, encrypt)
	return d.AppendSupported(b, wire.OpenBSDExtXSupportedComp, wire.Supported{Algs: compressions})
}

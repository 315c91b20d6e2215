package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// readSA takes algorithms and keys from the SA that an engine has for --proto, --spi, --src and --dst.
func (e *env) readSA(ctx context.Context, f *sendFlags) error {
	switch {
	case f.plain:
		return command.Usagef("--from-engine is for packets that are protected here, not --outbound")
	case f.enc != "null" || f.encKey != "" || f.auth != "none" || f.authKey != "":
		return command.Usagef("--from-engine takes algorithms and keys from the engine, leave out --enc and --auth")
	case !f.recipe.src.IsValid() || !f.recipe.dst.IsValid():
		return command.Usagef("--src and --dst are needed to find the SA")
	}
	a, err := e.address()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := pfkey.Dial(ctx, a.String())
	if err != nil {
		return command.NoEngine(err)
	}
	defer c.Close()
	d := c.Dialect()
	h := wire.Header{Version: wire.Version, Type: wire.MsgGet, SAType: wire.SATypeESP, Seq: c.NextSeq(), PID: c.PID()}
	if f.suite.Proto == ipsec.AH {
		h.SAType = wire.SATypeAH
	}
	m := d.AppendSA(d.AppendHeader(nil, h), wire.SA{SPI: wire.SPI(f.spi)})
	m = d.AppendAddress(m, wire.ExtAddressSrc, pfkey.Host(f.recipe.src))
	m = d.AppendAddress(m, wire.ExtAddressDst, pfkey.Host(f.recipe.dst))
	answer, err := c.Do(ctx, d.Finish(m))
	if err != nil {
		return command.Failed(err)
	}
	return f.takeSA(d, answer)
}

// takeSA reads the answer to a GET. No error shows a key.
func (f *sendFlags) takeSA(d *wire.Dialect, answer []byte) error {
	var sa wire.SA
	var auth wire.Key
	var encrypt []byte // the extension
	for x, err := range d.Walk(answer) {
		if err == nil {
			switch x.Type {
			case wire.ExtSA:
				sa, err = d.ParseSA(x.Raw)
			case wire.ExtKeyAuth:
				auth, err = d.ParseKey(x.Raw)
			case wire.ExtKeyEncrypt:
				encrypt = x.Raw
			}
		}
		if err != nil {
			return command.Failed(fmt.Errorf("the engine's answer: %w", err))
		}
	}
	if f.suite.Proto == ipsec.ESP {
		if err := f.takeCipher(d, sa.Encrypt, encrypt); err != nil {
			return err
		}
	}
	if name := d.AuthName(sa.Auth); sa.Auth != 0 && (f.suite.Cipher == nil || !f.suite.Cipher.AEAD()) {
		m, ok := macByName(strings.TrimSuffix(name, "-mac"))
		if !ok {
			return command.Failed(fmt.Errorf("the SA has integrity %s, which is not known here", name))
		}
		f.suite.MAC, f.suite.AuthKey = m, ipsec.NewKey(auth.Data)
	}
	return nil
}

// takeCipher finds a cipher by the name its number has. The name of a combined one ends with the length of its ICV in
// bytes.
func (f *sendFlags) takeCipher(d *wire.Dialect, id wire.AlgID, ext []byte) error {
	name := d.EncryptName(id)
	if name == "none" {
		name = "null"
	}
	c, ok := cipherByName(strings.TrimPrefix(name, "null-"))
	if base := strings.TrimRight(name, "0123456789"); !ok && base != name {
		if c, ok = cipherByName(base); ok && f.icv == 0 {
			n, _ := strconv.Atoi(name[len(base):])
			f.icv = 8 * n
		}
	}
	if !ok {
		return command.Failed(fmt.Errorf("the SA has encryption %s, which is not known here", name))
	}
	f.suite.Cipher = c
	if ext == nil {
		return nil
	}
	k, err := d.ParseKey(ext)
	if err != nil {
		return command.Failed(fmt.Errorf("the engine's answer: %w", err))
	}
	key, salt := k.Data, []byte(nil)
	if n := int(k.Reserved) / 8; n > 0 { // the salt stands behind the key
		area := wire.KeyArea(ext)
		if len(key)+n > len(area) {
			return command.Failed(errors.New("the engine's answer: the salt is longer than its extension"))
		}
		salt = area[len(key):][:n]
	} else if len(key) >= c.SaltLen { // it is the key's end
		key, salt = key[:len(key)-c.SaltLen], key[len(key)-c.SaltLen:]
	}
	f.suite.Key, f.suite.Salt = ipsec.NewKey(key), ipsec.NewKey(salt)
	return nil
}

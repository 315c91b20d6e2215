package cli

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/pfkeyd/pfkeyd/internal/capture"
	"github.com/pfkeyd/pfkeyd/testdata/pcaps"
	"github.com/pfkeyd/pfkeyd/wire"
)

// captureFolder is where the captures come from: its README says how they were made.
const captureFolder = "esp-linux-6.1/"

// recordedTalk is one direction of a recorded conversation: packets that a real kernel protected, the SA, and what was
// in them.
type recordedTalk struct {
	name    string
	sa      captureSA
	packets []capturePacket
}

type captureSA struct {
	spi                 wire.SPI
	src, dst            netip.Addr
	authKey, encryptKey []byte
}

type capturePacket struct {
	seq         uint32
	data, inner []byte
}

// sidecar is the part of NAME.json that is needed here.
type sidecar struct {
	SAs []struct {
		Dir       string
		SPI       string
		Src, Dst  netip.Addr
		Enc, Auth struct{ Key string }
	}
	Packets []struct {
		N     int
		Dir   string
		Seq   uint32
		Inner string
	}
}

// openCapture reads the packets from A to B of a capture that is built in.
func openCapture(name string) (*recordedTalk, error) {
	c, err := readCapture(name)
	if err != nil {
		return nil, fmt.Errorf("capture %s: %w", name, err)
	}
	return c, nil
}

func readCapture(name string) (*recordedTalk, error) {
	text, err := pcaps.Files.ReadFile(captureFolder + name + ".json")
	if err != nil {
		return nil, err
	}
	var side sidecar
	if err := json.Unmarshal(text, &side); err != nil {
		return nil, err
	}
	c := &recordedTalk{name: name}
	for _, sa := range side.SAs {
		if sa.Dir != "ab" {
			continue
		}
		spi, err := strconv.ParseUint(sa.SPI, 0, 32)
		if err != nil {
			return nil, err
		}
		c.sa = captureSA{spi: wire.SPI(spi), src: sa.Src, dst: sa.Dst}
		if c.sa.authKey, err = hex.DecodeString(sa.Auth.Key); err != nil {
			return nil, errors.New("the authentication key is not hexadecimal")
		}
		if c.sa.encryptKey, err = hex.DecodeString(sa.Enc.Key); err != nil {
			return nil, errors.New("the encryption key is not hexadecimal")
		}
	}
	records, err := readRecords(name)
	if err != nil {
		return nil, err
	}
	for _, p := range side.Packets {
		if p.Dir != "ab" || p.N >= len(records) {
			continue
		}
		inner, err := hex.DecodeString(p.Inner)
		if err != nil {
			return nil, err
		}
		c.packets = append(c.packets, capturePacket{seq: p.Seq, data: records[p.N], inner: inner})
	}
	return c, nil
}

func readRecords(name string) (packets [][]byte, err error) {
	file, err := pcaps.Files.Open(captureFolder + name + ".pcap")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r, err := capture.NewReader(file)
	if err != nil {
		return nil, err
	}
	return r.Packets()
}

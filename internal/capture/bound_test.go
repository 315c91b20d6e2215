package capture_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/capture"
)

// A few compressed bytes that claim to be one huge record are an error, and no memory that nobody has.
func TestRecordBound(t *testing.T) {
	var file bytes.Buffer
	z, err := gzip.NewWriterLevel(&file, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	const size = 128 << 20
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	head = append(head, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	head = binary.LittleEndian.AppendUint32(head, 1<<31-1) // longest record
	head = binary.LittleEndian.AppendUint32(head, 101)     // raw IP
	head = append(head, make([]byte, 8)...)                // of the record: its time
	head = binary.LittleEndian.AppendUint32(head, size)
	head = binary.LittleEndian.AppendUint32(head, size)
	if _, err := z.Write(head); err != nil {
		t.Fatal(err)
	}
	for range size >> 20 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := capture.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Next()
	const want = "record 1: it has more than 67108864 bytes"
	if !errors.Is(err, capture.ErrBroken) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
}

package trace

import (
	"bytes"
	"fmt"
)

// TailLen is how many bytes of the end of a trace are enough for [ReadEnd].
const TailLen = 256

// textEnd is the last line of a trace in text.
const textEnd = "# the end; records: %d, missing: %d\n"

// end is what a trace has behind its last record. Where it is missing, whoever wrote the trace did not get to its end.
func (t *Trace) end(c Counters) []byte {
	if t.o.Format == Pcapng {
		return pcapngStatistics(c)
	}
	return fmt.Appendf([]byte("\n"), textEnd, c.Written, c.Lost)
}

// ReadEnd reads, of the last bytes of a trace, how many records there are in it and how many are missing. It is false
// if the trace was not ended.
func ReadEnd(tail []byte) (c Counters, ok bool) {
	if c, ok := readStatistics(tail); ok {
		return c, true
	}
	if !bytes.HasSuffix(tail, []byte("\n")) {
		return c, false
	}
	line := tail[bytes.LastIndexByte(tail[:len(tail)-1], '\n')+1:]
	if _, err := fmt.Sscanf(string(line), textEnd, &c.Written, &c.Lost); err != nil {
		return Counters{}, false
	}
	return c, true
}

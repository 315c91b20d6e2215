package ipseckey

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// CookieFile reads a cookie label map: a number, white space, a label, one a line. Reading ends at the first line that
// is not so. Labels are the same for every protocol.
func CookieFile(r io.Reader) CookieLabels {
	labels := map[uint32]string{}
	for s := bufio.NewScanner(r); s.Scan(); {
		i := strings.IndexAny(s.Text(), " \t")
		if i < 0 {
			break
		}
		n, err := strconv.ParseUint(s.Text()[:i], 10, 32)
		if err != nil {
			break
		}
		if _, ok := labels[uint32(n)]; !ok {
			labels[uint32(n)] = strings.Trim(s.Text()[i:], " \t\r")
		}
	}
	return func(_, cookie uint32) (string, bool) {
		label, ok := labels[cookie]
		return label, ok
	}
}

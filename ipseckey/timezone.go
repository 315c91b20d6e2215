package ipseckey

import (
	"strconv"
	"strings"
	"time"
)

// ParseTZ finds the time zone that a value of TZ means: a name of the zone database, or a POSIX zone without daylight
// saving time ("UTC-2", which is two hours east); rules behind a name that is in the database are ignored. Only the
// machine's own database is asked.
func ParseTZ(tz string) (*time.Location, bool) {
	name := strings.TrimPrefix(tz, ":")
	name, _, _ = strings.Cut(name, ",")
	if loc, err := time.LoadLocation(name); err == nil {
		return loc, true
	}
	i := strings.IndexAny(name, "+-0123456789")
	if i < 3 {
		return nil, false
	}
	offset := name[i:]
	sign := -1 // what is behind the name is added to local time to get UTC
	if offset[0] == '+' || offset[0] == '-' {
		if offset[0] == '-' {
			sign = 1
		}
		offset = offset[1:]
	}
	seconds, unit := 0, 3600
	for part := range strings.SplitSeq(offset, ":") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || n > 167 || unit == 0 {
			return nil, false
		}
		seconds += n * unit
		unit /= 60
	}
	return time.FixedZone(name[:i], sign*seconds), true
}

// Package toy is for the tests of the operators; it is never built.
package toy

var names = []string{"one"}

func answer(a, b int) result {
	if a == 0 {
		return result{errno: wire.EINVAL}
	}
	if a < b {
		return einval(wire.IllumosDiagNoExt)
	}
	return result{}
}

func hears(t int, c bool) bool {
	if t == 1 && c {
		return true
	}
	return c
}

func reply(b []byte) []byte {
	b = d.AppendAddress(b, 5)
	note(b)
	PutUint16(b, 7)
	return b
}

func tell(k kernel, c *client) wire.Errno {
	k.broadcast(5, toAll, nil)
	if k.broadcast(6, toRegistered, c) {
		return wire.OK
	}
	return wire.ENOENT
}

package wire_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

// The numbers of the linux dialect are those of Linux itself. A few architectures number differently, and PF_KEY
// messages on them too; the dialect has the common numbers.
func TestErrnoAgainstSystem(t *testing.T) {
	if syscall.EDEADLK != 35 || syscall.EMSGSIZE != 90 {
		t.Skip("this architecture has its own numbers")
	}
	known := map[string]syscall.Errno{
		"EPERM": syscall.EPERM, "ENOENT": syscall.ENOENT, "ESRCH": syscall.ESRCH, "EINTR": syscall.EINTR,
		"EIO": syscall.EIO, "ENXIO": syscall.ENXIO,
		"E2BIG": syscall.E2BIG, "EBADF": syscall.EBADF, "EAGAIN": syscall.EAGAIN, "ENOMEM": syscall.ENOMEM,
		"EACCES": syscall.EACCES,
		"EFAULT": syscall.EFAULT, "EBUSY": syscall.EBUSY, "EEXIST": syscall.EEXIST, "EXDEV": syscall.EXDEV,
		"ENODEV":  syscall.ENODEV,
		"ENOTDIR": syscall.ENOTDIR, "EISDIR": syscall.EISDIR, "EINVAL": syscall.EINVAL, "ENFILE": syscall.ENFILE,
		"EMFILE": syscall.EMFILE,
		"ENOTTY": syscall.ENOTTY, "EFBIG": syscall.EFBIG, "ENOSPC": syscall.ENOSPC, "ESPIPE": syscall.ESPIPE,
		"EROFS": syscall.EROFS,
		"EPIPE": syscall.EPIPE, "EDOM": syscall.EDOM, "ERANGE": syscall.ERANGE, "EDEADLK": syscall.EDEADLK,
		"ENAMETOOLONG": syscall.ENAMETOOLONG,
		"ENOSYS":       syscall.ENOSYS, "ENOTEMPTY": syscall.ENOTEMPTY, "ELOOP": syscall.ELOOP,
		"ENODATA": syscall.ENODATA,
		"ETIME":   syscall.ETIME,
		"ENOLINK": syscall.ENOLINK, "EPROTO": syscall.EPROTO, "EBADMSG": syscall.EBADMSG,
		"EOVERFLOW": syscall.EOVERFLOW,
		"ENOTSOCK":  syscall.ENOTSOCK, "EDESTADDRREQ": syscall.EDESTADDRREQ, "EMSGSIZE": syscall.EMSGSIZE,
		"EPROTOTYPE":  syscall.EPROTOTYPE,
		"ENOPROTOOPT": syscall.ENOPROTOOPT, "EPROTONOSUPPORT": syscall.EPROTONOSUPPORT,
		"ESOCKTNOSUPPORT": syscall.ESOCKTNOSUPPORT,
		"EOPNOTSUPP":      syscall.EOPNOTSUPP, "EPFNOSUPPORT": syscall.EPFNOSUPPORT,
		"EAFNOSUPPORT": syscall.EAFNOSUPPORT,
		"EADDRINUSE":   syscall.EADDRINUSE, "EADDRNOTAVAIL": syscall.EADDRNOTAVAIL, "ENETDOWN": syscall.ENETDOWN,
		"ENETUNREACH": syscall.ENETUNREACH,
		"ENETRESET":   syscall.ENETRESET, "ECONNABORTED": syscall.ECONNABORTED, "ECONNRESET": syscall.ECONNRESET,
		"ENOBUFS": syscall.ENOBUFS,
		"EISCONN": syscall.EISCONN, "ENOTCONN": syscall.ENOTCONN, "ESHUTDOWN": syscall.ESHUTDOWN,
		"ETIMEDOUT":    syscall.ETIMEDOUT,
		"ECONNREFUSED": syscall.ECONNREFUSED, "EHOSTDOWN": syscall.EHOSTDOWN, "EHOSTUNREACH": syscall.EHOSTUNREACH,
		"EALREADY":    syscall.EALREADY,
		"EINPROGRESS": syscall.EINPROGRESS, "ECANCELED": syscall.ECANCELED, "ESTALE": syscall.ESTALE,
		"ENOTSUP": syscall.ENOTSUP,
	}
	d := wire.Linux()
	checked := 0
	for e := wire.Errno(1); !strings.HasPrefix(e.String(), "unknown"); e++ {
		n, ok := known[e.String()]
		if !ok {
			t.Errorf("%v is not in this test", e)
		} else if got := d.ErrnoNumber(e); syscall.Errno(got) != n {
			t.Errorf("%v is %d, the system says %d", e, got, n)
		}
		checked++
	}
	if checked != len(known) {
		t.Errorf("%d of %d checked", checked, len(known))
	}
}

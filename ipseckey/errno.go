package ipseckey

import (
	"errors"
	"io/fs"
	"strconv"
	"syscall"

	"github.com/pfkeyd/pfkeyd/wire"
)

// errnoTexts are the texts of strerror(3C) on illumos in the C locale. Empty: "Error N".
var errnoTexts = [...]string{
	1: "Not owner", 2: "No such file or directory", 3: "No such process", 4: "Interrupted system call", 5: "I/O error",
	6: "No such device or address", 7: "Arg list too long", 8: "Exec format error", 9: "Bad file number",
	10: "No child processes", 11: "Resource temporarily unavailable", 12: "Not enough space", 13: "Permission denied",
	14: "Bad address", 15: "Block device required", 16: "Device busy", 17: "File exists", 18: "Cross-device link",
	19: "No such device", 20: "Not a directory", 21: "Is a directory", 22: "Invalid argument",
	23: "File table overflow",
	24: "Too many open files", 25: "Inappropriate ioctl for device", 26: "Text file busy", 27: "File too large",
	28: "No space left on device", 29: "Illegal seek", 30: "Read-only file system", 31: "Too many links",
	32: "Broken pipe",
	33: "Argument out of domain", 34: "Result too large", 35: "No message of desired type", 36: "Identifier removed",
	37: "Channel number out of range", 38: "Level 2 not synchronized", 39: "Level 3 halted", 40: "Level 3 reset",
	41: "Link number out of range", 42: "Protocol driver not attached", 43: "No CSI structure available",
	44: "Level 2 halted",
	45: "Deadlock situation detected/avoided", 46: "No record locks available", 47: "Operation canceled",
	48: "Operation not supported", 49: "Disc quota exceeded", 50: "Bad exchange descriptor",
	51: "Bad request descriptor",
	52: "Message tables full", 53: "Anode table overflow", 54: "Bad request code", 55: "Invalid slot",
	56: "File locking deadlock",
	57: "Bad font file format", 58: "Owner of the lock died", 59: "Lock is not recoverable", 60: "Not a stream device",
	61: "No data available", 62: "Timer expired", 63: "Out of stream resources", 64: "Machine is not on the network",
	65: "Package not installed", 66: "Object is remote", 67: "Link has been severed", 68: "Advertise error",
	69: "Srmount error",
	70: "Communication error on send", 71: "Protocol error", 72: "Locked lock was unmapped ",
	73: "Facility is not active",
	74: "Multihop attempted", 77: "Not a data message", 78: "File name too long",
	79: "Value too large for defined data type",
	80: "Name not unique on network", 81: "File descriptor in bad state", 82: "Remote address changed",
	83: "Can not access a needed shared library", 84: "Accessing a corrupted shared library",
	85: ".lib section in a.out corrupted", 86: "Attempting to link in more shared libraries than system limit",
	87: "Can not exec a shared library directly", 88: "Illegal byte sequence", 89: "Operation not applicable",
	90: "Number of symbolic links encountered during path name traversal exceeds MAXSYMLINKS",
	93: "Directory not empty",
	94: "Too many users", 95: "Socket operation on non-socket", 96: "Destination address required",
	97: "Message too long",
	98: "Protocol wrong type for socket", 99: "Option not supported by protocol", 120: "Protocol not supported",
	121: "Socket type not supported", 122: "Operation not supported on transport endpoint",
	123: "Protocol family not supported",
	124: "Address family not supported by protocol family", 125: "Address already in use",
	126: "Cannot assign requested address",
	127: "Network is down", 128: "Network is unreachable", 129: "Network dropped connection because of reset",
	130: "Software caused connection abort", 131: "Connection reset by peer", 132: "No buffer space available",
	133: "Transport endpoint is already connected", 134: "Transport endpoint is not connected",
	143: "Cannot send after socket shutdown", 144: "Too many references: cannot splice", 145: "Connection timed out",
	146: "Connection refused", 147: "Host is down", 148: "No route to host", 149: "Operation already in progress",
	150: "Operation now in progress", 151: "Stale NFS file handle",
}

// strerror is the text of an errno by its illumos number.
func strerror(n int) string {
	switch {
	case n < 0 || n >= len(errnoTexts):
		return "Unknown error"
	case errnoTexts[n] == "":
		return "Error " + strconv.Itoa(n)
	}
	return errnoTexts[n]
}

// hostErrnos are those whose numbers differ between illumos and the system we run on, or may.
var hostErrnos = []struct {
	host    syscall.Errno
	illumos int
}{
	{syscall.EAGAIN, 11}, {syscall.EDEADLK, 45}, {syscall.ENAMETOOLONG, 78}, {syscall.ENOTEMPTY, 93},
	{syscall.ELOOP, 90},
	{syscall.EOVERFLOW, 79}, {syscall.EMSGSIZE, 97}, {syscall.EPROTOTYPE, 98}, {syscall.ENOPROTOOPT, 99},
	{syscall.EPROTONOSUPPORT, 120}, {syscall.ESOCKTNOSUPPORT, 121}, {syscall.EOPNOTSUPP, 122},
	{syscall.EPFNOSUPPORT, 123},
	{syscall.EAFNOSUPPORT, 124}, {syscall.EADDRINUSE, 125}, {syscall.EADDRNOTAVAIL, 126}, {syscall.ENETDOWN, 127},
	{syscall.ENETUNREACH, 128}, {syscall.ENETRESET, 129}, {syscall.ECONNABORTED, 130}, {syscall.ECONNRESET, 131},
	{syscall.ENOBUFS, 132}, {syscall.EISCONN, 133}, {syscall.ENOTCONN, 134}, {syscall.ESHUTDOWN, 143},
	{syscall.ETIMEDOUT, 145}, {syscall.ECONNREFUSED, 146}, {syscall.EHOSTUNREACH, 148}, {syscall.EALREADY, 149},
	{syscall.EINPROGRESS, 150}, {syscall.ESTALE, 151}, {syscall.EDQUOT, 49}, {syscall.ENOSYS, 89},
	{syscall.ECANCELED, 47},
}

// Errno is an errno by its illumos number, for sockets and files that know it.
type Errno int

// Error is the text of strerror(3C).
func (e Errno) Error() string { return strerror(int(e)) }

// errnoOf finds the errno in an error's chain, as an illumos number; 0 if there is none.
func errnoOf(err error) int {
	var own Errno
	var symbol interface{ Errno() wire.Errno }
	var host syscall.Errno
	switch {
	case errors.As(err, &own):
		return int(own)
	case errors.As(err, &symbol):
		return int(wire.Illumos().ErrnoNumber(symbol.Errno()))
	case errors.As(err, &host):
		for _, h := range hostErrnos {
			if h.host == host {
				return h.illumos
			}
		}
		return int(host) // below 35 all Unix systems agree
	case errors.Is(err, fs.ErrNotExist):
		return enoent
	case errors.Is(err, fs.ErrPermission):
		return eacces
	case errors.Is(err, fs.ErrExist):
		return eexist
	}
	return 0
}

// errorText is what strerror says about err, or its own words if it holds no errno.
func errorText(err error) string {
	if n := errnoOf(err); n != 0 {
		return strerror(n)
	}
	return err.Error()
}

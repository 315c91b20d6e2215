package wire

import "fmt"

// Errno is a symbolic error number. Its values are this package's own; the number that goes onto the wire belongs to
// the dialect, see [Dialect.ErrnoNumber]. The zero value is OK.
//
// It is not an error: an errno is an answer of the protocol, and OK would be an error that is not nil.
type Errno uint8

// The error numbers that PF_KEY kernels answer and PF_KEY sockets return, and what else fits into the byte on the wire.
const (
	OK Errno = iota
	EPERM
	ENOENT
	ESRCH
	EINTR
	EIO
	ENXIO
	E2BIG
	EBADF
	EAGAIN
	ENOMEM
	EACCES
	EFAULT
	EBUSY
	EEXIST
	EXDEV
	ENODEV
	ENOTDIR
	EISDIR
	EINVAL
	ENFILE
	EMFILE
	ENOTTY
	EFBIG
	ENOSPC
	ESPIPE
	EROFS
	EPIPE
	EDOM
	ERANGE
	EDEADLK
	ENAMETOOLONG
	ENOSYS
	ENOTEMPTY
	ELOOP
	ENODATA
	ETIME
	ENOLINK
	EPROTO
	EBADMSG
	EOVERFLOW
	ENOTSOCK
	EDESTADDRREQ
	EMSGSIZE
	EPROTOTYPE
	ENOPROTOOPT
	EPROTONOSUPPORT
	ESOCKTNOSUPPORT
	EOPNOTSUPP
	EPFNOSUPPORT
	EAFNOSUPPORT
	EADDRINUSE
	EADDRNOTAVAIL
	ENETDOWN
	ENETUNREACH
	ENETRESET
	ECONNABORTED
	ECONNRESET
	ENOBUFS
	EISCONN
	ENOTCONN
	ESHUTDOWN
	ETIMEDOUT
	ECONNREFUSED
	EHOSTDOWN
	EHOSTUNREACH
	EALREADY
	EINPROGRESS
	ECANCELED
	ESTALE
	ENOTSUP
	errnoCount
)

// errnos has one row per symbol. Two symbols may share a number in one dialect (ENOTSUP on Linux): read back, the first
// wins.
var errnos = [errnoCount]struct {
	name           string
	linux, illumos uint8
}{
	OK:              {"OK", 0, 0},
	EPERM:           {"EPERM", 1, 1},
	ENOENT:          {"ENOENT", 2, 2},
	ESRCH:           {"ESRCH", 3, 3},
	EINTR:           {"EINTR", 4, 4},
	EIO:             {"EIO", 5, 5},
	ENXIO:           {"ENXIO", 6, 6},
	E2BIG:           {"E2BIG", 7, 7},
	EBADF:           {"EBADF", 9, 9},
	EAGAIN:          {"EAGAIN", 11, 11},
	ENOMEM:          {"ENOMEM", 12, 12},
	EACCES:          {"EACCES", 13, 13},
	EFAULT:          {"EFAULT", 14, 14},
	EBUSY:           {"EBUSY", 16, 16},
	EEXIST:          {"EEXIST", 17, 17},
	EXDEV:           {"EXDEV", 18, 18},
	ENODEV:          {"ENODEV", 19, 19},
	ENOTDIR:         {"ENOTDIR", 20, 20},
	EISDIR:          {"EISDIR", 21, 21},
	EINVAL:          {"EINVAL", 22, 22},
	ENFILE:          {"ENFILE", 23, 23},
	EMFILE:          {"EMFILE", 24, 24},
	ENOTTY:          {"ENOTTY", 25, 25},
	EFBIG:           {"EFBIG", 27, 27},
	ENOSPC:          {"ENOSPC", 28, 28},
	ESPIPE:          {"ESPIPE", 29, 29},
	EROFS:           {"EROFS", 30, 30},
	EPIPE:           {"EPIPE", 32, 32},
	EDOM:            {"EDOM", 33, 33},
	ERANGE:          {"ERANGE", 34, 34},
	EDEADLK:         {"EDEADLK", 35, 45},
	ENAMETOOLONG:    {"ENAMETOOLONG", 36, 78},
	ENOSYS:          {"ENOSYS", 38, 89},
	ENOTEMPTY:       {"ENOTEMPTY", 39, 93},
	ELOOP:           {"ELOOP", 40, 90},
	ENODATA:         {"ENODATA", 61, 61},
	ETIME:           {"ETIME", 62, 62},
	ENOLINK:         {"ENOLINK", 67, 67},
	EPROTO:          {"EPROTO", 71, 71},
	EBADMSG:         {"EBADMSG", 74, 77},
	EOVERFLOW:       {"EOVERFLOW", 75, 79},
	ENOTSOCK:        {"ENOTSOCK", 88, 95},
	EDESTADDRREQ:    {"EDESTADDRREQ", 89, 96},
	EMSGSIZE:        {"EMSGSIZE", 90, 97},
	EPROTOTYPE:      {"EPROTOTYPE", 91, 98},
	ENOPROTOOPT:     {"ENOPROTOOPT", 92, 99},
	EPROTONOSUPPORT: {"EPROTONOSUPPORT", 93, 120},
	ESOCKTNOSUPPORT: {"ESOCKTNOSUPPORT", 94, 121},
	EOPNOTSUPP:      {"EOPNOTSUPP", 95, 122},
	EPFNOSUPPORT:    {"EPFNOSUPPORT", 96, 123},
	EAFNOSUPPORT:    {"EAFNOSUPPORT", 97, 124},
	EADDRINUSE:      {"EADDRINUSE", 98, 125},
	EADDRNOTAVAIL:   {"EADDRNOTAVAIL", 99, 126},
	ENETDOWN:        {"ENETDOWN", 100, 127},
	ENETUNREACH:     {"ENETUNREACH", 101, 128},
	ENETRESET:       {"ENETRESET", 102, 129},
	ECONNABORTED:    {"ECONNABORTED", 103, 130},
	ECONNRESET:      {"ECONNRESET", 104, 131},
	ENOBUFS:         {"ENOBUFS", 105, 132},
	EISCONN:         {"EISCONN", 106, 133},
	ENOTCONN:        {"ENOTCONN", 107, 134},
	ESHUTDOWN:       {"ESHUTDOWN", 108, 143},
	ETIMEDOUT:       {"ETIMEDOUT", 110, 145},
	ECONNREFUSED:    {"ECONNREFUSED", 111, 146},
	EHOSTDOWN:       {"EHOSTDOWN", 112, 147},
	EHOSTUNREACH:    {"EHOSTUNREACH", 113, 148},
	EALREADY:        {"EALREADY", 114, 149},
	EINPROGRESS:     {"EINPROGRESS", 115, 150},
	ECANCELED:       {"ECANCELED", 125, 47},
	ESTALE:          {"ESTALE", 116, 151},
	ENOTSUP:         {"ENOTSUP", 95, 48},
}

// errnoTable is both directions of one dialect's numbering.
type errnoTable struct {
	number [errnoCount]uint8
	symbol [256]Errno // OK for a number without a symbol, except at 0
}

func newErrnoTable(number func(Errno) uint8) *errnoTable {
	t := new(errnoTable)
	for e := range errnoCount {
		n := number(e)
		t.number[e] = n
		if t.symbol[n] == OK && n != 0 {
			t.symbol[n] = e
		}
	}
	return t
}

// String is the name in capitals, OK for 0, or unknown(0xfe).
func (e Errno) String() string {
	if e < errnoCount {
		return errnos[e].name
	}
	return fmt.Sprintf("unknown(%#x)", uint8(e))
}

// ErrnoByName is the inverse of [Errno.String].
func ErrnoByName(s string) (Errno, bool) {
	for e := range errnoCount {
		if errnos[e].name == s {
			return e, true
		}
	}
	return 0, false
}

// Errno turns a number of the dialect into its symbol; false if there is none.
func (d *Dialect) Errno(n uint8) (Errno, bool) {
	e := d.t.errnos.symbol[n]
	return e, e != OK || n == 0
}

// ErrnoNumber turns a symbol into the number the dialect writes. A value that is no symbol becomes EINVAL's number.
func (d *Dialect) ErrnoNumber(e Errno) uint8 {
	if e >= errnoCount {
		e = EINVAL
	}
	return d.t.errnos.number[e]
}

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
	name                string
	linux, illumos, bsd uint8 // bsd: 0 where each BSD has its own
}{
	OK:              {"OK", 0, 0, 0},
	EPERM:           {"EPERM", 1, 1, 1},
	ENOENT:          {"ENOENT", 2, 2, 2},
	ESRCH:           {"ESRCH", 3, 3, 3},
	EINTR:           {"EINTR", 4, 4, 4},
	EIO:             {"EIO", 5, 5, 5},
	ENXIO:           {"ENXIO", 6, 6, 6},
	E2BIG:           {"E2BIG", 7, 7, 7},
	EBADF:           {"EBADF", 9, 9, 9},
	EAGAIN:          {"EAGAIN", 11, 11, 35},
	ENOMEM:          {"ENOMEM", 12, 12, 12},
	EACCES:          {"EACCES", 13, 13, 13},
	EFAULT:          {"EFAULT", 14, 14, 14},
	EBUSY:           {"EBUSY", 16, 16, 16},
	EEXIST:          {"EEXIST", 17, 17, 17},
	EXDEV:           {"EXDEV", 18, 18, 18},
	ENODEV:          {"ENODEV", 19, 19, 19},
	ENOTDIR:         {"ENOTDIR", 20, 20, 20},
	EISDIR:          {"EISDIR", 21, 21, 21},
	EINVAL:          {"EINVAL", 22, 22, 22},
	ENFILE:          {"ENFILE", 23, 23, 23},
	EMFILE:          {"EMFILE", 24, 24, 24},
	ENOTTY:          {"ENOTTY", 25, 25, 25},
	EFBIG:           {"EFBIG", 27, 27, 27},
	ENOSPC:          {"ENOSPC", 28, 28, 28},
	ESPIPE:          {"ESPIPE", 29, 29, 29},
	EROFS:           {"EROFS", 30, 30, 30},
	EPIPE:           {"EPIPE", 32, 32, 32},
	EDOM:            {"EDOM", 33, 33, 33},
	ERANGE:          {"ERANGE", 34, 34, 34},
	EDEADLK:         {"EDEADLK", 35, 45, 11},
	ENAMETOOLONG:    {"ENAMETOOLONG", 36, 78, 63},
	ENOSYS:          {"ENOSYS", 38, 89, 78},
	ENOTEMPTY:       {"ENOTEMPTY", 39, 93, 66},
	ELOOP:           {"ELOOP", 40, 90, 62},
	ENODATA:         {"ENODATA", 61, 61, 0},
	ETIME:           {"ETIME", 62, 62, 0},
	ENOLINK:         {"ENOLINK", 67, 67, 0},
	EPROTO:          {"EPROTO", 71, 71, 0},
	EBADMSG:         {"EBADMSG", 74, 77, 0},
	EOVERFLOW:       {"EOVERFLOW", 75, 79, 0},
	ENOTSOCK:        {"ENOTSOCK", 88, 95, 38},
	EDESTADDRREQ:    {"EDESTADDRREQ", 89, 96, 39},
	EMSGSIZE:        {"EMSGSIZE", 90, 97, 40},
	EPROTOTYPE:      {"EPROTOTYPE", 91, 98, 41},
	ENOPROTOOPT:     {"ENOPROTOOPT", 92, 99, 42},
	EPROTONOSUPPORT: {"EPROTONOSUPPORT", 93, 120, 43},
	ESOCKTNOSUPPORT: {"ESOCKTNOSUPPORT", 94, 121, 44},
	EOPNOTSUPP:      {"EOPNOTSUPP", 95, 122, 45},
	EPFNOSUPPORT:    {"EPFNOSUPPORT", 96, 123, 46},
	EAFNOSUPPORT:    {"EAFNOSUPPORT", 97, 124, 47},
	EADDRINUSE:      {"EADDRINUSE", 98, 125, 48},
	EADDRNOTAVAIL:   {"EADDRNOTAVAIL", 99, 126, 49},
	ENETDOWN:        {"ENETDOWN", 100, 127, 50},
	ENETUNREACH:     {"ENETUNREACH", 101, 128, 51},
	ENETRESET:       {"ENETRESET", 102, 129, 52},
	ECONNABORTED:    {"ECONNABORTED", 103, 130, 53},
	ECONNRESET:      {"ECONNRESET", 104, 131, 54},
	ENOBUFS:         {"ENOBUFS", 105, 132, 55},
	EISCONN:         {"EISCONN", 106, 133, 56},
	ENOTCONN:        {"ENOTCONN", 107, 134, 57},
	ESHUTDOWN:       {"ESHUTDOWN", 108, 143, 58},
	ETIMEDOUT:       {"ETIMEDOUT", 110, 145, 60},
	ECONNREFUSED:    {"ECONNREFUSED", 111, 146, 61},
	EHOSTDOWN:       {"EHOSTDOWN", 112, 147, 64},
	EHOSTUNREACH:    {"EHOSTUNREACH", 113, 148, 65},
	EALREADY:        {"EALREADY", 114, 149, 37},
	EINPROGRESS:     {"EINPROGRESS", 115, 150, 36},
	ECANCELED:       {"ECANCELED", 125, 47, 0},
	ESTALE:          {"ESTALE", 116, 151, 70},
	ENOTSUP:         {"ENOTSUP", 95, 48, 0},
}

// bsdErrno is the numbering of a BSD: what all have of 4.4BSD, and its own. What it has not becomes EINVAL's number.
func bsdErrno(own map[Errno]uint8) func(Errno) uint8 {
	return func(e Errno) uint8 {
		if n := errnos[e].bsd; n != 0 || e == OK {
			return n
		}
		if n, ok := own[e]; ok {
			return n
		}
		return errnos[EINVAL].bsd
	}
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

// Package pfkeyd holds no code: it is the front page of the module.
//
// The module is the key engine of an operating system as an ordinary process: PF_KEY sockets (RFC 2367), the security
// association database with its LARVAL packet queue, and the ESP/AH packet path, answering byte for byte as real
// kernels do. Start with:
//
//   - [github.com/pfkeyd/pfkeyd/wire]: the bytes of PF_KEY messages, for every dialect
//   - [github.com/pfkeyd/pfkeyd/pfkey]: PF_KEY sockets, server and client
//   - [github.com/pfkeyd/pfkeyd/kernel]: an emulated kernel inside your own process
//   - [github.com/pfkeyd/pfkeyd/pfkey/pfkeytest]: the same for your tests, as net/http/httptest is for HTTP
//
// docs/architecture.md is the map, and internal/house has the tests that hold it.
package pfkeyd

// Package terminaltest makes terminals for the tests of commands: what a test types, the command reads, and what the
// command shows, the test sees. It has them on Linux only.
package terminaltest

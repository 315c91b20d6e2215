//go:build !unix

package cli

// syslogNotice has nowhere to write to.
func syslogNotice(int, string) {}

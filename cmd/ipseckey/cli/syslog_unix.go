//go:build unix

package cli

import "log/syslog"

// syslogNotice writes one line to the system's log, if there is one.
func syslogNotice(level int, text string) {
	w, err := syslog.New(syslog.Priority(level), "ipseckey")
	if err != nil {
		return
	}
	defer w.Close()
	w.Write([]byte(text))
}

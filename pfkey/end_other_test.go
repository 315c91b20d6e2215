//go:build !linux

package pfkey_test

// recordsSender says whether the system tells which process sent a message.
func recordsSender() bool { return false }

func passCredentials(int) {}

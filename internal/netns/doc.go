// Package netns makes network namespaces of Linux: a host's network, its IPsec included, of which nobody else knows.
package netns

// Package ipsec is ESP and AH as functions of bytes and keys.
//
// A [Suite] says how an SA protects packets; [Suite.New] makes a [Transform] of it, which any number of goroutines may
// use. What a kernel does with an inbound packet is a chain of functions, so that each kernel can have its own order of
// checks:
//
//	in, err := ipsec.ParseInbound(pkt)                  // headers, UDP encapsulation
//	place := window.Look(uint64(in.Seq))                // a Window decides nothing: the edges are the kernel's
//	plain, err := t.OpenESP(buf, in.ESP(pkt), 0)        // ICV and decryption
//	padLen, next, ok := ipsec.Trailer(plain)            // CheckPadding, CheckLastPad
//	inner, err := ipsec.DecapTunnel(ipsec.Payload(plain), next)           // or
//	inner, err := ipsec.DecapTransport(nil, pkt, &in, ipsec.Payload(plain), next)
//
// For AH, [Transform.VerifyAH] and [ParseAH] take the place of the middle. Outbound, [Transform.SealTunnel] and
// [Transform.SealTransport] do everything; [Transform.SealESP] and [Transform.SealAH] are the parts.
// [Transform.OpenTunnel] and [Transform.OpenTransport] undo them. They are for programs other than kernels.
//
// Functions that make packets append to a slice of the caller and return the longer one; given room they allocate
// nothing. No function keeps a slice. No input, however hostile, makes one panic. Keys print with no verb.
//
// To add a cipher or a MAC: a row in its table (cipher.go, mac.go) and its function.
package ipsec

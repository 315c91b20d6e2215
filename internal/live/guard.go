package live

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"slices"
	"strings"
)

// A guard lets those in who know the secret, and refuses what another site has a browser ask for: its Host or Origin is
// another one.
type guard struct {
	secret string
	hosts  []string
	next   http.Handler // sees paths below the secret
}

// newGuard makes a guard of a server at addr, with a secret of 128 bits.
func newGuard(addr net.Addr, next http.Handler) *guard {
	secret := make([]byte, 16)
	rand.Read(secret) // it does not fail
	_, port, _ := net.SplitHostPort(addr.String())
	return &guard{hex.EncodeToString(secret), []string{"127.0.0.1:" + port, "localhost:" + port}, next}
}

// policy is what the page may do: it loads its own files and speaks to its own server, nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP implements [http.Handler].
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	if !slices.Contains(g.hosts, r.Host) {
		http.Error(w, "this server has another name", http.StatusForbidden)
		return
	}
	if origins := r.Header.Values("Origin"); len(origins) > 1 ||
		len(origins) == 1 && origins[0] != "http://"+r.Host {
		http.Error(w, "another site may not ask", http.StatusForbidden)
		return
	}
	secret, rest, below := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if subtle.ConstantTimeCompare([]byte(secret), []byte(g.secret)) != 1 {
		http.Error(w, "the address has another secret: take the one that was printed", http.StatusForbidden)
		return
	}
	if !below { // names of files are relative to the page's
		http.Redirect(w, r, "/"+g.secret+"/", http.StatusMovedPermanently)
		return
	}
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = "/"+rest, ""
	g.next.ServeHTTP(w, inner)
}

package live

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
)

//go:embed page
var pageFiles embed.FS

// index is the page itself.
const index = "index.html"

// file reads a file of the page.
func file(name string) ([]byte, error) { return fs.ReadFile(pageFiles, path.Join("page", name)) }

// types of the files that a page has, whatever the machine says.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// page serves the files.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if name == "" {
		name = index
	}
	text, err := file(name)
	typ, known := types[path.Ext(name)]
	if err != nil || !known {
		fail(w, http.StatusNotFound, "there is no %q", name)
		return
	}
	w.Header().Set("Content-Type", typ)
	w.Write(text) // an error means that the browser has gone
}

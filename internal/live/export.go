package live

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"regexp"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/kernel/event"
)

// exported is the data of a page that needs no engine.
type exported struct {
	Info      Info              `json:"info"`
	Status    State             `json:"status"`
	Events    []json.RawMessage `json:"events"`
	Explained Explained         `json:"explained"`
}

// Export makes one file of the page and of all that r has, with the fields of every message. It has keys if the
// recorder has.
func Export(ctx context.Context, r *Recorder) ([]byte, error) {
	d, err := r.o.Engine.Dialect()
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	x := exported{Info: r.info(ctx), Status: r.Look(ctx)}
	x.Info.Exported = &now
	x.Events, _, _ = r.history.read(1, 2*maxEvents)
	explain := newExplainer(d, r.o.Keys, maxTold)
	explain.Of = map[uint64]int{}
	known := map[string]int{} // messages, by their bytes
	for _, text := range x.Events {
		var e event.Event
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, err
		}
		if e.Message == nil {
			continue
		}
		msg, err := hex.DecodeString(e.Message.Data)
		if err != nil {
			return nil, err
		}
		n, ok := known[string(msg)]
		if !ok {
			n = len(explain.Messages)
			known[string(msg)] = n
			explain.add(msg)
		}
		explain.Of[e.N] = n
	}
	x.Explained = explain.Explained
	data, err := json.Marshal(x) // nothing in it is the end of a script: < is escaped
	if err != nil {
		return nil, err
	}
	return single(data)
}

// The elements of the page that name another file.
var (
	styles  = regexp.MustCompile(`(?m)^[ \t]*<link rel="stylesheet" href="([a-z-]+\.css)">\n`)
	scripts = regexp.MustCompile(`(?m)^[ \t]*<script defer src="([a-z-]+\.js)"></script>\n`)
)

// single makes one file of the page: the text of each file that it names stands in it, and a policy by which nothing
// else runs. Scripts stand at the end, where the page that they work on is there.
func single(data []byte) ([]byte, error) {
	page, err := file(index)
	if err != nil {
		return nil, err
	}
	allowed := map[string][]string{}
	element := func(tag, name string) (string, error) {
		text, err := file(name)
		if err != nil {
			return "", err
		}
		if bytes.Contains(bytes.ToLower(text), []byte("</"+tag)) {
			return "", fmt.Errorf("%s ends its element", name)
		}
		sum := sha256.Sum256(text)
		allowed[tag] = append(allowed[tag], "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
		return "<" + tag + ">" + string(text) + "</" + tag + ">\n", nil
	}
	var failed error
	note := func(text string, err error) string {
		if err != nil {
			failed = err
		}
		return text
	}
	tail := `<script type="application/json" id="data">` + string(data) + "</script>\n"
	text := scripts.ReplaceAllStringFunc(string(page), func(line string) string {
		tail += note(element("script", scripts.FindStringSubmatch(line)[1]))
		return ""
	})
	text = styles.ReplaceAllStringFunc(text, func(line string) string {
		return note(element("style", styles.FindStringSubmatch(line)[1]))
	})
	rules := fmt.Sprintf("default-src 'none'; script-src %s; style-src %s; img-src data:; base-uri 'none'; form-action 'none'",
		strings.Join(allowed["script"], " "), strings.Join(allowed["style"], " "))
	head := "<head>\n" + `<meta http-equiv="Content-Security-Policy" content="` + html.EscapeString(rules) + `">`
	for _, place := range []struct{ at, text string }{{"<head>", head}, {"</body>", tail + "</body>"}} {
		if strings.Count(text, place.at) != 1 {
			return nil, fmt.Errorf("the page has not one %s", place.at)
		}
		text = strings.Replace(text, place.at, place.text, 1)
	}
	return []byte(text), failed
}

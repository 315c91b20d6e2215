package browser

import (
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

// windows are what the page is looked at in.
var windows = []struct{ width, height int64 }{{1280, 800}, {400, 860}}

// TestScreenshots writes pictures of the page, for people to look at.
func TestScreenshots(t *testing.T) {
	if *imgs == "" {
		t.Skip("no -img")
	}
	if err := os.MkdirAll(*imgs, 0o755); err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	m.start("exec pfkeyd serve --addr 192.0.2.1 --clock virtual", "is ready")
	m.run(conversation)
	url := m.live("")
	for _, w := range windows {
		for _, th := range []theme{"light", "dark"} {
			p := open(t, url, w.width, w.height, th)
			p.wait(all)
			p.write(fmt.Sprintf("live-%d-%s", w.width, th))
			p.do(chromedp.Evaluate[chromedp.Void](`timeline.search("encrkey"); timeline.find(1)`))
			p.wait(`!timeline.asked && document.querySelectorAll(".fields tr").length > 20`)
			p.write(fmt.Sprintf("opened-%d-%s", w.width, th))
		}
	}
}

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
	t.Run("conversation", func(t *testing.T) {
		m := newMachine(t)
		m.start("exec pfkeyd serve --addr 192.0.2.1 --clock virtual", "is ready")
		m.run(conversation)
		picture(t, "live", m.live(""), all, `timeline.search("encrkey"); timeline.find(1)`)
	})
	t.Run("demo", func(t *testing.T) {
		picture(t, "demo", newMachine(t).start("exec pfkeyd demo --live", address), demoEnds,
			`timeline.select(past.records[past.waits[1].begin])`)
	})
	t.Run("iked", func(t *testing.T) {
		picture(t, "iked", ikedPage(t, "--early"), `past.records.length > 10`,
			`timeline.select(past.waits[0] && past.records[past.waits[0].begin])`)
	})
}

// picture takes pictures of a page in each window, light and dark, when a condition is true and something was done.
func picture(t *testing.T, name, url, condition, do string) {
	t.Helper()
	for _, w := range windows {
		for _, th := range []theme{"light", "dark"} {
			p := open(t, url, w.width, w.height, th)
			p.wait(condition)
			p.do(chromedp.Evaluate[chromedp.Void](do))
			p.wait(`!timeline.asked && document.querySelectorAll(".fields tr").length > 5`)
			p.write(fmt.Sprintf("%s-%d-%s", name, w.width, th))
		}
	}
}

package browser

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// rate is how many events a second a flood has.
const rate = 10_000

// TestFlood: while 10,000 events a second come, a click is answered soon, the page keeps what it may and no more, and
// what it left out is counted.
func TestFlood(t *testing.T) {
	m := newMachine(t)
	m.start("exec pfkeyd serve --addr 192.0.2.1", "is ready")
	p := open(t, m.live(""), 1280, 800, "light")
	p.wait(`past && engineStatus`)
	// An answer is a picture: what a click has changed is drawn, counted from when the browser got the click.
	p.do(chromedp.Evaluate[chromedp.Void](`var answered = [];
		addEventListener("click", (event) => requestAnimationFrame(() => setTimeout(() => {
			answered.push(performance.now() - event.timeStamp);
		})), true)`))
	m.start(fmt.Sprintf("echo began; exec ipsecinject bench --rate %d --sizes 64 --time 60s", rate), "began")
	p.wait(`past.trimmed > 0`)

	const told = `past.next + [...past.missing.values()].reduce((a, b) => a + b, 0)`
	before, began := p.number(told), time.Now()
	missing := p.number(`[...past.missing.values()].reduce((a, b) => a + b, 0)`)
	clicks := []string{"#tab-ledger", `[data-kind="socket"]`, "#theme", "#tab-sas", `[data-kind="socket"]`, "#first",
		"#close", "#newest", "#pause", "#pause", "#back", "#newest"}
	for range 3 {
		for _, selector := range clicks {
			// What is looked at pauses the flood; it goes on for the next click.
			p.do(chromedp.Evaluate[chromedp.Void](`paused && pause(false)`))
			p.do(chromedp.Sleep(100 * time.Millisecond))
			if p.text(fmt.Sprintf("document.querySelector(%q).checkVisibility()", selector)) == "true" {
				p.click(selector)
			}
		}
	}
	p.do(chromedp.Evaluate[chromedp.Void](`paused && pause(false)`))
	p.do(chromedp.Sleep(time.Second))
	took := time.Since(began).Seconds()
	all, left := p.number(told)-before, p.number(`[...past.missing.values()].reduce((a, b) => a + b, 0)`)-missing
	answered := get(p, chromedp.Evaluate[[]float64](`answered`))
	slices.Sort(answered)
	worst := time.Duration(answered[len(answered)-1] * float64(time.Millisecond))
	fmt.Printf("%.0f events a second, of which %.0f were left out and counted; "+
		"%d clicks answered in %.0f ms (median), %.0f ms (worst)\n", all/took, left/took,
		len(answered), answered[len(answered)/2], answered[len(answered)-1])
	if *limit > 0 && worst > *limit {
		t.Errorf("a click was answered after %v, want at most %v", worst, *limit)
	}
	if all < rate {
		t.Errorf("the page has heard of %.0f events", all)
	}
	if kept := p.number(`past.records.length`); kept > 11_000 || kept < 5_000 {
		t.Errorf("%.0f events are kept", kept)
	}
	p.contains(`document.getElementById("kept").textContent`, "older ones left out")
}

// number is what an expression comes to, as a number.
func (p *page) number(expression string) float64 {
	p.t.Helper()
	return get(p, chromedp.Evaluate[float64](expression))
}

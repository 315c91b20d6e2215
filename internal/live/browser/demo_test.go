package browser

import "testing"

// demoEnds is true when all acts of the demo that have a page are over.
const demoEnds = `past.waits.length === 4 && past.waits.every((w) => w.how) && !timeline.asked`

// The demo's page has its first three acts, and stays when they are over.
func TestDemo(t *testing.T) {
	m := newMachine(t)
	p := open(t, m.start("exec pfkeyd demo --live", address), 1280, 800, "light")
	p.wait(demoEnds)
	p.expect(`past.waits.map((w) => w.how).join(" ")`, "delivered dropped delivered dropped")
	p.contains(`document.getElementById("title").textContent`, "pfkeyd demo")
	p.click("#tab-ledger")
	p.wait(`document.getElementById("table-ledger").innerText.includes("4 injected = 2 delivered")`)
}

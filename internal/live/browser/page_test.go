package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// conversation is what programs and their peer do to an engine under --clock virtual: packets that come before their
// keys, one that is replaced, one that is left.
const conversation = `
key=000102030405060708090a0b0c0d0e0f10111213
send() { ipsecinject send --src 192.0.2.2 --dst 192.0.2.1 --spi $1 --enc aes-gcm --enc-key $key --wait 0 >&2; }
ipseckey getspi esp src 192.0.2.2 dst 192.0.2.1 spi-min 0x1000 spi-max 0x1000 >&2
send 0x1000
echo update esp spi 0x1000 src 192.0.2.2 dst 192.0.2.1 encralg aes-gcm encrkey $key | ipseckey
send 0x1000
ipseckey getspi esp src 192.0.2.2 dst 192.0.2.1 spi-min 0x1001 spi-max 0x1001 >&2
send 0x1001
send 0x1001
send 0x2002
`

// talked is a machine whose engine has had the conversation, and the page of it.
func talked(t *testing.T) (*machine, *page) {
	t.Helper()
	m := newMachine(t)
	m.start("exec pfkeyd serve --addr 192.0.2.1 --clock virtual", "is ready")
	m.run(conversation)
	p := open(t, m.live(""), 1280, 800, "light")
	p.wait(all)
	return m, p
}

// all is true when the page has the end of the conversation, and what is in sight of it is drawn. (How many events it
// makes depends on when ipseckey's sockets close.)
const all = `timeline.view.at(-1)?.text.includes("no-sa") && !timeline.asked`

// rows are the texts of the rows in sight.
const rows = `[...document.querySelectorAll(".row:not([hidden]) .text")].map((e) => e.textContent).join("\n")`

// keys types into the page. What the page makes of a key itself gets into no field, as with a real keyboard.
func (p *page) keys(text string) {
	p.t.Helper()
	for _, r := range text {
		if r < ' ' || r > '~' {
			p.do(chromedp.KeyEvent(string(r)))
			continue
		}
		for _, typ := range []input.DispatchKeyEventType{
			input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
			if _, err := chromedp.Call(p.ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{
				Type: typ, Key: string(r), Text: string(r)}); err != nil {
				p.t.Fatal(err)
			}
		}
	}
}

// fill puts a text into a field, as a person does.
func (p *page) fill(selector, text string) {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector(%q).select()", selector)))
	p.keys(kb.Backspace + text)
}

// The time line has all that has happened, in order.
func TestTimeline(t *testing.T) {
	_, p := talked(t)
	p.contains(rows, "GETSPI esp", "SA esp 0x1000  larval > mature", "packet 4  queued",
		"packet 5  dropped no-sa (esp_no_sa)")
	p.contains(rows, "packet 1  delivered  192.0.2.2 port 40000 > 192.0.2.1 port 9 udp  after 0s of waiting",
		"packet 3  dropped larval-replaced (sadb_inlarval_replace)")
	p.contains(`document.getElementById("heads").textContent`, "kernel", "0x1000", "0x1001", "wire")
	// What waits is a bar on the lane of its SA, from the event at which it begins to the one that ends it.
	p.expect(`past.waits.map((w) => [w.id, w.life.name, past.records[w.begin].label,
		past.records[w.end]?.label ?? "waits"].join(" ")).join(", ")`,
		"1 0x1000 queued delivered, 3 0x1001 queued dropped, 4 0x1001 queued waits")
	p.contains(`document.getElementById("state").textContent`, "live")
	p.contains(`document.getElementById("kept").textContent`, p.text("past.records.length")+" events kept")
}

// bar is true when the lane of an SA is as wide there, between the rows of two events, as what waits is drawn.
func bar(lane string, from, to int) string {
	return fmt.Sprintf(`(() => {
		const x = timeline.x(past.lives.find((l) => l.name === %q));
		const y = timeline.y(%d) + timeline.y(%d) >> 1;
		const c = new OffscreenCanvas(2, 12).getContext("2d", { willReadFrequently: true });
		c.drawImage(timeline.canvas, Math.floor(x) - 3, y - 6, 2, 12, 0, 0, 2, 12);
		const d = c.getImageData(0, 0, 2, 12).data;
		c.fillStyle = timeline.paint.wait;
		const want = /#(..)(..)(..)/.exec(c.fillStyle).slice(1).map((h) => parseInt(h, 16));
		for (let i = 0; i < d.length; i += 4) if (want.every((v, k) => Math.abs(v - d[i + k]) < 9)) return true;
		return false;
	})()`, lane, from, to)
}

// A packet that waits is seen waiting: there is a bar on the lane of its SA, which begins with it and ends with it.
func TestWaitIsSeen(t *testing.T) {
	_, p := talked(t)
	p.do(chromedp.Evaluate[chromedp.Void](`timeline.edge(false)`))
	p.wait(`timeline.top() === 0 && !timeline.asked`)
	begin, end := int(p.number(`past.waits[0].begin`)), int(p.number(`past.waits[0].end`))
	p.expect(bar("0x1000", begin-2, begin-1), "false")
	p.expect(bar("0x1000", begin, end), "true")
	p.expect(bar("0x1000", end+1, end+2), "false")
}

// A message opens into its fields and bytes, and a field shows its bytes.
func TestFields(t *testing.T) {
	_, p := talked(t)
	p.do(chromedp.Evaluate[chromedp.Void](`timeline.edge(false)`))
	p.wait(`!timeline.asked`)
	p.do(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll(".row:not([hidden])")]
		.find((r) => /^UPDATE esp.*encrkey/.test(r.textContent.replace(/^[0-9:.·]+/, ""))).id = "update"`))
	p.click("#update")
	p.wait(`document.querySelectorAll(".fields tr").length > 20`)
	p.contains(`document.getElementById("detailsname").textContent`, "UPDATE")
	p.contains(`document.getElementById("detailsbody").innerText`, "RFC 2367, 3.1.2", "base header", "KEY_ENCRYPT")
	if got := p.text(`document.getElementById("detailsbody").innerText`); strings.Contains(got, "00010203") {
		t.Errorf("the keys are shown: %s", got)
	}
	p.do(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll(".fields tr")]
		.find((r) => r.cells[0].textContent === "spi").id = "field"`))
	p.do(chromedp.ScrollIntoView("#field"))
	p.click("#field")
	p.expect(`[...document.querySelectorAll(".dump .mark")].map((e) => e.textContent).join(" ")`, "00 00 10 00")
	// And the other way: a byte shows its field.
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll(".dump span")[1].id = "byte"`))
	p.do(chromedp.ScrollIntoView("#byte"))
	p.click("#byte")
	p.contains(`document.querySelector(".fields tr.mark").textContent`, "type")

	// How it stood then: an SA without keys, on which packet 1 waits.
	p.contains(`document.getElementById("then").textContent`, "how it stood after event")
	p.contains(`document.getElementById("table-sas").innerText`, "0x1000", "larval", "packet 1")
	p.click("#tab-ledger")
	p.contains(`document.getElementById("table-ledger").innerText`, "1 injected = 1 held")
	p.click("#close")
	p.wait(`document.getElementById("details").hidden`)
	p.contains(`document.getElementById("table-ledger").innerText`,
		"5 injected = 2 delivered + 1 dropped: larval-replaced + 1 dropped: no-sa + 1 held")
}

// Every control does what it says.
func TestControls(t *testing.T) {
	m, p := talked(t)
	selected := `timeline.selected ? timeline.view.indexOf(timeline.selected) - timeline.view.length : "none"`
	for _, tt := range []struct{ selector, expression, want string }{
		{"#back", selected, "-1"},
		{"#back", selected, "-2"},
		{"#forward", selected, "-1"},
		{"#first", `timeline.view.indexOf(timeline.selected)`, "0"},
		{"#first", `timeline.scroller.scrollTop`, "0"},
		{"#newest", selected, "none"},
		{"#newest", `timeline.follow`, "true"},
		{"#pause", `document.getElementById("state").textContent`, "paused"},
		{"#pause", `document.getElementById("state").textContent`, "live"},
		{"#theme", `document.documentElement.dataset.theme`, "dark"},
		{"#theme", `document.documentElement.dataset.theme`, "light"},
		{"#help", `document.getElementById("keys").open`, "true"},
		{"#keysclose", `document.getElementById("keys").open`, "false"},
		{`[data-kind="message"]`, `timeline.view.some((r) => r.kind === "message")`, "false"},
		{`[data-kind="message"]`, `timeline.view.length === past.records.length`, "true"},
		{`[data-kind="packet"]`, `timeline.view.some((r) => r.kind === "packet")`, "false"},
		{`[data-kind="sa"]`, `timeline.view.some((r) => r.kind === "sa")`, "false"},
		{`[data-kind="socket"]`, `timeline.view.some((r) => r.kind === "socket")`, "false"},
		{`[data-kind="clock"]`, `timeline.filter.kinds.has("clock")`, "false"},
		{"#clear", `timeline.view.length === past.records.length`, "true"},
		{"#real", `timeline.realTime`, "true"},
		{"#real", `timeline.realTime`, "false"},
		{"#tab-policies", `document.getElementById("table-policies").innerText`, "none"},
		{"#tab-sockets", `document.getElementById("table-sockets").innerText`, "none"},
		{"#tab-acquires", `document.getElementById("table-acquires").innerText`, "none"},
		{"#tab-counters", `document.getElementById("table-counters").innerText.includes("ipdrop/sadb")`, "true"},
		{"#tab-ledger", `document.querySelectorAll("#table-ledger path").length`, "4"},
		{"#tab-sas", `document.querySelectorAll("#table-sas tbody tr").length`, "2"},
		{"#table-sas tbody button.link",
			`timeline.filter.spi !== "" && timeline.view.every((r) => r.spi === timeline.filter.spi)`, "true"},
		{"#clear", `timeline.view.length === past.records.length`, "true"},
	} {
		p.click(tt.selector)
		p.wait(`!timeline.asked`)
		if got := p.text(tt.expression); got != tt.want {
			t.Errorf("after a click on %s %s is %q, want %q", tt.selector, tt.expression, got, tt.want)
		}
	}

	p.fill("#spi", "4096") // decimal is welcome
	p.wait(`timeline.filter.spi === "0x1000" && timeline.view.every((r) => r.spi === "0x1000")`)
	p.click("#clear")
	p.fill("#socket", "2")
	p.wait(`timeline.view.length > 0 && timeline.view.every((r) => r.socket === 2)`)
	p.click("#clear")
	p.do(chromedp.Evaluate[chromedp.Void](`{ const s = document.getElementById("name"); s.value = "GETSPI";
		s.dispatchEvent(new Event("change")); }`))
	p.expect(`timeline.view.map((r) => r.label).join(" ")`, "GETSPI GETSPI GETSPI GETSPI")
	p.click("#clear")
	p.fill("#search", "replaced")
	p.wait(`document.getElementById("hits").textContent === "1 found"`)
	p.keys(kb.Enter)
	p.contains(`document.getElementById("detailsname").textContent`, "packet 3: dropped")
	p.keys(kb.Escape)

	// The virtual clock.
	p.fill("#advance", "soon")
	p.click("#move")
	p.wait(`document.getElementById("advance").validationMessage.includes("duration")`)
	p.fill("#advance", "1s")
	p.click("#move")
	p.wait(`timeline.view.some((r) => r.label === "+1s")`)
	p.click("#due")
	p.wait(`timeline.view.some((r) => r.label === "dead")`)
	p.wait(`timeline.view.some((r) => r.text.includes("larval-gone"))`)
	if got := m.run("pfkeyd status --json"); strings.Contains(got, `"state":"larval"`) {
		t.Errorf("the engine's clock has not moved: %s", got)
	}

	// While it is paused nothing comes; afterwards all is there.
	p.click("#pause")
	before := p.text(`timeline.view.length`)
	m.run("ipseckey flush")
	p.expect(`timeline.view.length`, before)
	p.expect(`source.stream`, "undefined")
	p.click("#pause")
	p.wait(`timeline.view.some((r) => r.label === "FLUSH")`)
}

// Keys do what the list of keys says.
func TestKeys(t *testing.T) {
	_, p := talked(t)
	p.click("h1")
	for _, tt := range []struct{ key, expression, want string }{
		{"k", `timeline.view.length - timeline.view.indexOf(timeline.selected)`, "1"},
		{kb.ArrowUp, `timeline.view.length - timeline.view.indexOf(timeline.selected)`, "2"},
		{"j", `timeline.view.length - timeline.view.indexOf(timeline.selected)`, "1"},
		{kb.Home, `timeline.view.indexOf(timeline.selected)`, "0"},
		{kb.ArrowDown, `timeline.view.indexOf(timeline.selected)`, "1"},
		{kb.End, `timeline.selected`, "undefined"},
		{" ", `document.getElementById("state").textContent`, "paused"},
		{" ", `document.getElementById("state").textContent`, "live"},
		{"t", `document.documentElement.dataset.theme`, "dark"},
		{"5", `document.getElementById("table-ledger").hidden`, "false"},
		{"?", `document.getElementById("keys").open`, "true"},
		{kb.Escape, `document.getElementById("keys").open`, "false"},
		{"m", `document.activeElement.id`, "advance"},
		{kb.Escape, `document.activeElement.id`, ""},
		{"f", `document.activeElement.id`, "spi"},
		{kb.Escape, `document.activeElement.id`, ""},
		{"/", `document.activeElement.id`, "search"},
		{"queued", `document.getElementById("hits").textContent`, "3 found"},
		{kb.Escape, `document.activeElement.id`, ""},
		{"n", `timeline.selected === past.records[past.waits[0].begin]`, "true"},
		{"n", `timeline.selected === past.records[past.waits[1].begin]`, "true"},
		{"N", `timeline.selected === past.records[past.waits[0].begin]`, "true"},
		{kb.Escape, `timeline.selected`, "undefined"},
	} {
		p.keys(tt.key)
		p.expect(tt.expression, tt.want)
	}
}

// An export needs no engine, and no server.
func TestExport(t *testing.T) {
	m, _ := talked(t)
	file := filepath.Join(t.TempDir(), "export.html")
	m.run("pfkeyd live --export " + file)
	if page, err := os.ReadFile(file); err != nil || strings.Contains(string(page), "127.0.0.1") {
		t.Errorf("%v; or the page has an address of this machine", err)
	}
	p := open(t, "file://"+file, 1280, 800, "dark")
	p.wait(all)
	p.expect(`document.getElementById("state").textContent`, "export")
	p.expect(`["pause", "export", "clockform"].every((id) => document.getElementById(id).hidden)`, "true")
	p.do(chromedp.Evaluate[chromedp.Void](`timeline.search("encrkey"); timeline.find(1)`))
	p.wait(`document.querySelectorAll(".fields tr").length > 20`)
	p.contains(`document.getElementById("detailsbody").innerText`, "KEY_ENCRYPT")
	p.click("#newest")
	p.click("#tab-ledger")
	p.contains(`document.getElementById("table-ledger").innerText`, "5 injected = 2 delivered")
}

// What comes from outside is text, whatever it looks like, and does not bend the page.
func TestTextIsText(t *testing.T) {
	m := newMachine(t)
	m.start("exec pfkeyd serve --kernel openbsd --addr 192.0.2.1 --clock virtual", "is ready")
	p := open(t, m.live(""), 400, 800, "light")
	p.wait(`past && engineStatus`)
	evil := `"<img src=x onerror=alert(1)>\u0007\u202e</script>" + "A".repeat(65536)`
	p.do(chromedp.Evaluate[chromedp.Void](`takeEvents([
		{n: 100, time: "2026-01-01T00:00:00Z", real: "1999-01-01T00:00:00Z",
		type: "message", socket: 1, pid: 7, message: {to: "kernel", name: ` + evil + `, sa_type: "esp", seq: 1, pid: 1,
		spi: ` + evil + `, line: ` + evil + `, data: "0203"}},
		{n: 101, time: "2025-01-01T00:00:00Z", real: "1998-01-01T00:00:00Z", type: "sa",
		sa: {type: ` + evil + `, spi: ` + evil + `, dst: ` + evil + `, to: ` + evil + `}},
		{n: 102, time: "", real: "", type: "packet", packet: {id: 1,
			verdict: ` + evil + `, reason: ` + evil + `, data: "zz"}},
		{n: 103, time: "x", real: "y", type: "a type that is not known yet"}]);
		engineStatus.sas = [{type: ` + evil + `, spi: ` + evil + `, src: ` + evil + `, state: ` + evil + `}];
		engineStatus.ledger = {injected: 1, verdicts: {dropped: 1}, reasons: {[` + evil + `]: 1}, held: 0, in_flight: 0};
		tables.show(engineStatus); timeline.edge(false)`))
	for range 4 {
		p.wait(`!timeline.asked`)
		p.expect(`document.querySelectorAll("img, main script").length`, "0")
		p.expect(`/[\u0000-\u0008\u202e]/.test(document.body.textContent)`, "false")
		p.expect(`document.documentElement.scrollWidth <= innerWidth && document.body.textContent.length < 50000`, "true")
		p.keys("j")
	}
}

// Nothing is cut off or hidden, in a small window and at 200 % of a large one; tables alone may be wider than the page.
func TestSizes(t *testing.T) {
	m := newMachine(t)
	m.start("exec pfkeyd serve --addr 192.0.2.1 --clock virtual", "is ready")
	m.run(conversation)
	url := m.live("")
	for _, width := range []int64{1280, 640, 400} {
		p := open(t, url, width, 800, "dark")
		p.wait(all)
		p.do(chromedp.Evaluate[chromedp.Void](`timeline.search("encrkey"); timeline.find(1)`))
		p.wait(`!timeline.asked && document.querySelectorAll(".fields tr").length > 20`)
		p.expect(`document.documentElement.scrollWidth <= innerWidth`, "true")
		p.expect(`[...document.querySelectorAll("button, input, select")].filter((e) => e.checkVisibility() &&
			!e.closest(".table, .row, dialog")).filter((e) => {
				const r = e.getBoundingClientRect();
				return r.left < 0 || r.right > innerWidth || r.width < 8 || r.height < 8;
			}).map((e) => e.id).join(" ")`, "")
		// All lanes are in sight, each name within its own.
		p.expect(`[...document.querySelectorAll(".head b")].every((e) => {
			const r = e.getBoundingClientRect(), of = e.parentElement.getBoundingClientRect();
			return r.left >= of.left - 1 && r.right <= of.right + 1 && r.right <= innerWidth;
		})`, "true")
		if width == 400 {
			p.click("#filters")
			p.expect(`document.getElementById("spi").checkVisibility()`, "true")
		}
	}
}

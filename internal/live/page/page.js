"use strict";
// The page: what the controls and keys do.

const TABS = ["sas", "policies", "sockets", "acquires", "ledger", "counters"];

const past = new EventHistory();
const timeline = new Timeline(past);
let engineStatus, info, source;
let paused = false, up = true, trouble = "", why = "";

const tables = new Tables((spi) => setFilter({ spi }), (socket) => setFilter({ socket }));
const details = new Details((r) => source.explain(r));

timeline.onSelect = (r) => {
	details.show(r);
	showTables();
	showState();
};

// takeEvents adds a batch. Where what somebody looks at would make room for it, the page pauses instead.
function takeEvents(events) {
	const anchor = timeline.anchor();
	const room = anchor ? anchor.i - (past.next - KEPT) : Infinity;
	if (events.length > room && !source.export) {
		pause(true, "the history would lose the event that you look at");
		return;
	}
	const from = past.next, names = past.names.size;
	past.add(events);
	timeline.added(from);
	if (past.names.size > names) showNames();
	timeline.draw();
	showKept();
}

function showKept() {
	const parts = [`${count(past.records.length, "event")} kept`];
	if (past.trimmed) parts.push(`${number(past.trimmed)} older ones left out`);
	for (const [w, n] of past.missing) parts.push(`${number(n)} missing: ${WHY[w] ?? w}`);
	if (timeline.view.length < past.records.length) parts.push(`${number(timeline.view.length)} shown by the filter`);
	setText($("kept"), parts.join(" · "));
}

function showStatus(answer) {
	up = answer.up;
	engineStatus = answer.status ?? undefined;
	const virtual = Boolean(engineStatus?.virtual_clock) && up && !source.export;
	setText($("now"), engineStatus ? dayText(engineStatus.now) : "");
	setText($("virtual"), engineStatus?.virtual_clock ? "virtual clock" : "");
	$("clockform").hidden = !virtual;
	$("due").hidden = !engineStatus?.next;
	$("due").title = engineStatus?.next ? `to ${dayText(engineStatus.next)}, when something is due` : "";
	showTables();
	showState();
}

function showTables() {
	const r = timeline.selected;
	$("then").hidden = !r;
	if (r) setText($("then"), `how it stood after event ${r.e.n ? number(r.e.n) : "that was opened"}`);
	tables.show(engineStatus, r ? past.at(r.i) : undefined);
}

function showState() {
	const [text, className] = source?.export ? ["export", "dim"] : trouble ? ["no answer", "bad"] : paused ? ["paused", "wait"]
		: !up ? ["engine gone", "bad"] : ["live", "good"];
	setText($("state"), text);
	$("state").className = `pill ${className}`;
	$("pause").setAttribute("aria-pressed", paused);
	setText($("pause"), paused ? "go on" : "pause");
	const note = trouble || (paused ? why : "");
	$("trouble").hidden = !note;
	setText($("trouble"), note);
}

function pause(stop, reason = "") {
	if (source.export || stop === paused) return;
	paused = stop;
	why = reason && `paused: ${reason}`;
	if (stop) source.pause();
	else {
		if (why || timeline.anchor()) timeline.newest();
		source.goOn(past.lastN);
	}
	showState();
}

function showNames() {
	const select = $("name"), chosen = select.value;
	select.replaceChildren(...["", ...[...past.names].sort()].map((name) => {
		const o = element("option", "", name ? printable(name, 40) : "any message");
		o.value = name;
		return o;
	}));
	select.value = chosen;
}

function setFilter(change) {
	const f = Object.assign(timeline.filter, change);
	for (const b of $("kinds").children) b.setAttribute("aria-pressed", f.kinds.has(b.dataset.kind));
	if (document.activeElement !== $("spi")) $("spi").value = f.spi;
	if (document.activeElement !== $("socket")) $("socket").value = f.socket || "";
	$("name").value = f.name;
	timeline.refilter();
	showKept();
	showHits();
}

const noFilter = () => ({ kinds: new Set(["message", "sa", "packet", "socket", "clock"]), name: "", socket: 0, spi: "" });

function showHits() {
	setText($("hits"), timeline.query ? `${number(timeline.hits)} found` : "");
}

function openTab(name) {
	for (const t of TABS) {
		$(`tab-${t}`).setAttribute("aria-selected", t === name);
		$(`tab-${t}`).tabIndex = t === name ? 0 : -1;
		$(`table-${t}`).hidden = t !== name;
	}
}

// spiOf is an SPI as events have it, from what somebody types.
function spiOf(text) {
	const s = text.trim().toLowerCase();
	if (!s) return "";
	const n = Number(s);
	return Number.isInteger(n) && n >= 0 ? hexOf(n) : s;
}

const DURATION = /^([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h))+$/;

async function advance(by) {
	try {
		if (!DURATION.test(by)) throw new Error("how far is a duration such as 90s, 8h or 1h30m");
		const c = await source.advance(by);
		setText($("now"), dayText(c.now));
		$("advance").setCustomValidity("");
		source.poll();
	} catch (err) {
		$("advance").setCustomValidity(printable(err.message));
		$("advance").reportValidity();
	}
}

function setTheme(theme) {
	document.documentElement.dataset.theme = theme;
	setText($("theme"), theme === "dark" ? "light" : "dark");
	timeline.readColours();
	timeline.draw();
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
let chosenTheme;
function switchTheme() {
	chosenTheme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
	setTheme(chosenTheme);
}

function on(id, event, act) {
	$(id).addEventListener(event, act);
}

function wire() {
	on("pause", "click", () => pause(!paused));
	on("first", "click", () => timeline.edge(false));
	on("back", "click", () => timeline.step(-1));
	on("forward", "click", () => timeline.step(1));
	on("newest", "click", () => timeline.newest());
	on("close", "click", () => timeline.newest());
	on("theme", "click", switchTheme);
	on("help", "click", () => $("keys").showModal());
	on("filters", "click", () => $("filters").setAttribute("aria-expanded", $("bar").classList.toggle("open")));
	on("real", "change", () => {
		timeline.realTime = $("real").checked;
		timeline.draw();
	});
	on("kinds", "click", (event) => {
		const kind = event.target.dataset.kind, kinds = timeline.filter.kinds;
		if (!kind) return;
		if (!kinds.delete(kind)) kinds.add(kind);
		setFilter({});
	});
	on("name", "change", () => setFilter({ name: $("name").value }));
	on("spi", "input", () => setFilter({ spi: spiOf($("spi").value) }));
	on("socket", "input", () => setFilter({ socket: Number($("socket").value) || 0 }));
	on("clear", "click", () => setFilter(noFilter()));
	on("search", "input", () => {
		timeline.search($("search").value);
		showHits();
	});
	on("search", "keydown", (event) => {
		if (event.key === "Enter") timeline.find(event.shiftKey ? -1 : 1);
	});
	on("clockform", "submit", (event) => {
		event.preventDefault();
		advance($("advance").value.trim());
	});
	on("advance", "input", () => $("advance").setCustomValidity(""));
	on("due", "click", () => {
		const by = nanoseconds(engineStatus.next) - nanoseconds(engineStatus.now);
		advance(`${by > 0n ? by : 0n}ns`);
	});
	for (const name of TABS) on(`tab-${name}`, "click", () => openTab(name));
	on("tabs", "keydown", (event) => {
		const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
		if (!by) return;
		const at = TABS.findIndex((t) => $(`tab-${t}`).getAttribute("aria-selected") === "true");
		const next = TABS[(at + by + TABS.length) % TABS.length];
		openTab(next);
		$(`tab-${next}`).focus();
		event.preventDefault();
	});
	prefersDark.addEventListener("change", () => chosenTheme ?? setTheme(prefersDark.matches ? "dark" : "light"));
	document.addEventListener("keydown", key);
}

const KEYS = {
	" ": () => pause(!paused),
	j: () => timeline.step(1),
	ArrowDown: () => timeline.step(1),
	k: () => timeline.step(-1),
	ArrowUp: () => timeline.step(-1),
	Home: () => timeline.edge(false),
	End: () => timeline.newest(),
	"/": () => $("search").focus(),
	n: () => timeline.find(1),
	N: () => timeline.find(-1),
	f: () => $("spi").focus(),
	c: () => setFilter(noFilter()),
	m: () => $("clockform").hidden || $("advance").focus(),
	t: switchTheme,
	x: () => $("export").hidden || $("export").click(),
	"?": () => $("keys").showModal(),
	Escape: () => timeline.selected && timeline.newest(),
};
TABS.forEach((name, i) => { KEYS[i + 1] = () => openTab(name); });

function key(event) {
	if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
	const at = event.target;
	if (at.matches("input:not([type=checkbox]), select")) {
		if (event.key === "Escape") at.blur();
		return;
	}
	if (at.matches("button, a, [type=checkbox]") && (event.key === " " || event.key === "Enter")) return;
	if (at.closest("aside") && /^(Arrow|Home|End| )/.test(event.key)) return;
	const act = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : undefined;
	if (!act) return;
	event.preventDefault();
	act();
}

async function begin() {
	wire();
	setTheme(prefersDark.matches ? "dark" : "light");
	openTab("sas");
	const hear = {
		events: takeEvents,
		status: showStatus,
		up: (is) => {
			up = is;
			showState();
		},
		trouble: (text) => {
			trouble = text;
			showState();
		},
	};
	const data = $("data");
	source = data ? new ExportSource(hear, JSON.parse(data.textContent)) : new LiveSource(hear);
	if (source.export) {
		timeline.follow = false;
		for (const id of ["export", "pause"]) $(id).hidden = true;
	}
	try {
		info = await source.start();
	} catch (err) {
		trouble = printable(err.message);
		showState();
		return;
	}
	const title = printable(info.title || "pfkeyd live", 120);
	document.title = title;
	setText($("title"), title);
	$("title").title = printable(info.title, 2000);
	setText($("kernel"), printable(info.kernel, 60));
	$("kernel").title = printable(info.engine, 300);
	showState();
}

begin();

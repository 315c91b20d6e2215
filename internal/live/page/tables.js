"use strict";
// The tables of what an engine has, and the ledger of its packets as a flow that adds up.

const ROWS_SHOWN = 200;

const COLUMNS = {
	sas: [["SA", (s) => s.type], ["SPI", (s) => s.spi], ["source", (s) => s.src], ["destination", (s) => s.dst],
		["state", (s) => s.state], ["holds", (s) => heldText(s.held)], ["packets", (s) => s.packets && number(s.packets)],
		["algorithms", (s) => [s.encrypt, s.auth].filter(Boolean).join(" ")], ["way", (s) => s.direction], ["expires", (s) => unixText(s.expires)]],
	policies: [["way", (p) => p.direction], ["source", (p) => withPort(p.src, p.src_port)], ["destination", (p) => withPort(p.dst, p.dst_port)],
		["protocol", (p) => (p.proto ? PROTOCOLS[p.proto] ?? p.proto : "any")], ["action", (p) => p.action],
		["wants", (p) => (p.wants ?? []).join(", ")], ["priority", (p) => p.priority], ["tunnel", (p) => p.tunnel], ["id", (p) => p.id]],
	sockets: [["socket", (s) => s.number], ["process", (s) => s.pid], ["user", (s) => s.uid], ["messages wait", (s) => s.queued_messages],
		["bytes", (s) => s.queued_bytes], ["lost", (s) => s.lost_messages], ["registered", (s) => (s.registered ?? []).join(" ")],
		["flags", (s) => (s.flags ?? []).join(" ")]],
	acquires: [["SA", (a) => a.type], ["seq", (a) => a.seq], ["source", (a) => a.src], ["destination", (a) => a.dst],
		["holds", (a) => heldText(a.held)], ["expires", (a) => unixText(a.expires)]],
};
const NAMES = { sas: "SA", policies: "policies", sockets: "socket", acquires: "ACQUIRE" };

const withPort = (address, port) => (port ? `${address} port ${port}` : address);
const heldText = (held) => (held?.length ? held.slice(0, 5).map((p) => `packet ${p.id}`).join(", ") +
	(held.length > 5 ? ` and ${held.length - 5} more` : "") : "");

class Tables {
	constructor(onSPI, onSocket) {
		this.onSPI = onSPI;
		this.onSocket = onSocket;
		this.shown = {};
	}

	// show puts a status into the tables: what the engine says, or how it stood then.
	show(status, then) {
		const of = then ? { ...status, sas: then.sas, sa_count: then.sas.length, sockets: then.sockets, ledger: then.ledger } : status;
		const counts = { sas: of?.sa_count, policies: of?.policy_count, sockets: of?.sockets?.length, acquires: of?.acquire_count };
		for (const name of Object.keys(COLUMNS)) {
			const old = then && (name === "policies" || name === "acquires");
			setText($(`count-${name}`), counts[name] === undefined ? "" : number(counts[name]));
			this.table(name, of?.[name] ?? [], counts[name] ?? 0, old);
		}
		this.ledger(of?.ledger, then);
		this.counters(status?.counters);
	}

	table(name, rows, all, old) {
		const key = JSON.stringify([rows.slice(0, ROWS_SHOWN), all, old]);
		if (this.shown[name] === key) return;
		this.shown[name] = key;
		const box = $(`table-${name}`);
		if (rows.length === 0) {
			box.replaceChildren(element("p", "none", all ? `${number(all)}, none listed` : "none"));
			return;
		}
		// A column that is empty everywhere says nothing.
		const shown = rows.slice(0, ROWS_SHOWN);
		const columns = COLUMNS[name].filter(([, of]) => shown.some((row) => of(row) || of(row) === 0));
		const head = element("tr", "", ...columns.map(([title]) => element("th", "", title)));
		const body = element("tbody", "", ...shown.map((row) => element("tr", "", ...columns.map(([title, of]) => {
			const text = printable(of(row) ?? "", 200);
			if (title === "SPI") return element("td", "", this.button(text, () => this.onSPI(row.spi), `only events of ${row.spi}`));
			if (title === "socket") return element("td", "", this.button(text, () => this.onSocket(row.number), `only events of socket ${row.number}`));
			return element("td", title === "state" ? `state ${TONES[row.state] ?? ""}` : title === "holds" && text ? "wait" : "", text);
		}))));
		const notes = [];
		if (all > shown.length) notes.push(element("p", "none", `${number(all - shown.length)} of ${number(all)} not shown`));
		if (old) notes.unshift(element("p", "none", "as it is now: events do not say how it was then"));
		box.replaceChildren(element("table", "", element("thead", "", head), body), ...notes);
	}

	button(text, act, title) {
		const b = element("button", "link", text);
		b.type = "button";
		b.title = title;
		b.addEventListener("click", act);
		return b;
	}

	ledger(l, then) {
		const key = JSON.stringify([l, Boolean(then)]);
		if (this.shown.ledger === key) return;
		this.shown.ledger = key;
		if (!l) {
			$("table-ledger").replaceChildren(element("p", "none", "none"));
			return;
		}
		const parts = [];
		for (const [verdict, n] of Object.entries(l.verdicts)) if (n && verdict !== "dropped") parts.push([verdict, n, TONES[verdict] ?? "dim"]);
		let dropped = l.verdicts.dropped ?? 0;
		const reasons = Object.entries(l.reasons ?? {}).sort((a, b) => b[1] - a[1]);
		for (const [reason, n] of reasons.slice(0, 8)) {
			parts.push([`dropped: ${reason}`, n, "bad"]);
			dropped -= n;
		}
		if (dropped > 0) parts.push([reasons.length > 8 ? "dropped: other reasons" : "dropped", dropped, "bad"]);
		if (l.held) parts.push(["held", l.held, "wait"]);
		if (l.in_flight) parts.push(["in flight", l.in_flight, "ask"]);
		const sum = parts.reduce((n, [, k]) => n + k, 0);
		const terms = parts.map(([name, n]) => `${number(n)} ${printable(name, 60)}`).join(" + ") || "0";
		const adds = sum === l.injected;
		const text = element("p", adds ? "sum" : "sum bad", `${number(l.injected)} injected ${adds ? "=" : "≠"} ${terms}`);
		const notes = then ? [element("p", "none", "as far as the history goes back")] : [];
		$("table-ledger").replaceChildren(flow(l.injected, parts), text, ...notes);
	}

	counters(counters) {
		const list = Object.entries(counters ?? {}).filter(([, n]) => n).sort();
		const key = JSON.stringify(list);
		if (this.shown.counters === key) return;
		this.shown.counters = key;
		$("table-counters").replaceChildren(list.length === 0 ? element("p", "none", "none")
			: element("table", "", element("tbody", "", ...list.slice(0, ROWS_SHOWN).map(([name, n]) =>
				element("tr", "", element("td", "", printable(name)), element("td", "number", number(n)))))));
	}
}

// flow draws how a number comes apart into others; each band is as wide as its share, but never too thin to see.
function flow(total, parts) {
	const svg = (tag, attributes) => {
		const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
		for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
		return e;
	};
	const width = 460, thin = 3, step = 22, room = Math.max(parts.length * step, 44);
	const picture = svg("svg", { viewBox: `0 0 ${width} ${room + 8}`, class: "flow", role: "img", "aria-label": "where the packets went" });
	const sum = Math.max(parts.reduce((n, [, k]) => n + k, 0), 1);
	const bands = parts.map(([, n]) => Math.max(n / sum * (room - 10), thin));
	const tall = Math.max(bands.reduce((a, b) => a + b, 0), thin);
	let left = 4 + (room - tall) / 2, slot = 4;
	const share = room / Math.max(parts.length, 1);
	const gaps = Math.max(room - tall, 0);
	picture.append(svg("rect", { x: 118, y: left, width: 8, height: tall, class: "fill ask", rx: 2 }));
	const label = svg("text", { x: 110, y: 4 + room / 2 + 4, "text-anchor": "end" });
	label.textContent = `${number(total)} injected`;
	picture.append(label);
	let y = 4;
	parts.forEach(([name, n, tone], i) => {
		const band = bands[i], middle = Math.max(slot + share / 2, 10), top = y + gaps / Math.max(parts.length, 1) / 2;
		const right = [top, top + band];
		picture.append(svg("path", { class: `fill band ${tone}`, d: `M126 ${left} C 170 ${left} 170 ${right[0]} 214 ${right[0]} L 214 ${right[1]} ` +
			`C 170 ${right[1]} 170 ${left + band} 126 ${left + band} Z` }));
		picture.append(svg("rect", { x: 214, y: right[0], width: 8, height: band, class: `fill ${tone}`, rx: 2 }));
		const at = top + band / 2;
		const text = svg("text", { x: 236, y: middle + 4, class: tone });
		text.textContent = `${number(n)} ${printable(name, 34)}`;
		picture.append(svg("line", { x1: 223, y1: at, x2: 233, y2: middle, class: "lead" }), text);
		left += band;
		y = top + band + gaps / Math.max(parts.length, 1) / 2;
		slot += share;
	});
	return picture;
}

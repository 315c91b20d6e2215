"use strict";
// One event, opened: what it says, its fields, and its bytes. A field and its bytes show each other.

const BYTES_SHOWN = 4096;

class Details {
	constructor(explain) {
		this.explain = explain; // record → promise of {meaning, section, fields, strings}
		this.box = $("details");
		this.body = $("detailsbody");
	}

	async show(r) {
		this.record = r;
		this.box.hidden = !r;
		document.body.classList.toggle("opened", Boolean(r));
		if (!r) return;
		const e = r.e;
		const name = e.packet ? `packet ${e.packet.id || "of the engine"}: ${r.label}` : e.message ? r.label : r.text;
		setText($("detailsname"), `${e.n ? `${number(e.n)}. ` : ""}${printable(name, 120)}`);
		const facts = element("dl", "facts");
		const fact = (name, value) => {
			if (value) facts.append(element("div", "", element("dt", "", name), element("dd", "", printable(value, 2000))));
		};
		fact("engine's clock", `${dayText(e.time)}.${clockText(e.time).slice(9)}`);
		fact("machine's", `${dayText(e.real)}.${clockText(e.real).slice(9)}`);
		if (e.message) {
			const program = `program, socket ${e.socket}`;
			fact("way", e.message.to === "kernel" ? `${program} > kernel` : `kernel > ${program}`);
			fact("waits in the socket", e.message.queued ? count(e.message.queued, "message") : "");
		}
		fact("in a line", r.text);
		this.body.replaceChildren(facts);
		if (e.packet) {
			this.packet("The packet as it came", e.packet.data);
			this.packet(e.packet.verdict === "transmitted" || e.packet.verdict === "sent" ? "What went out" : "What was in it", e.packet.inner);
		}
		if (!e.message) return;
		const bytes = bytesOf(e.message.data);
		let told;
		try {
			told = await this.explain(r);
		} catch (err) {
			told = { meaning: "", section: "", strings: [], fields: [], error: err.message };
		}
		if (this.record !== r) return; // another one was opened meanwhile
		const s = (i) => told.strings[i] ?? "";
		if (told.meaning || told.section) {
			this.body.append(element("p", "meaning", printable(`${told.meaning}${told.section ? ` (RFC 2367, ${told.section})` : ""}`, 1000)));
		}
		if (told.error) this.body.append(element("p", "bad", printable(told.error)));
		this.both(told.fields.map(([kind, extension, part, name, value, offset, length, meaning, section]) => ({
			heading: kind === 1 || kind === 2, problem: kind === 3, name: kind === 1 ? s(extension) : kind === 2 ? s(part) : s(name),
			value: s(value), offset, length, meaning: s(meaning) + (s(section) ? ` [${s(section)}]` : ""),
		})), bytes);
	}

	packet(heading, hex) {
		const bytes = bytesOf(hex);
		if (bytes.length === 0) return;
		this.body.append(element("h3", "", `${heading}: ${count(bytes.length, "byte")}`));
		let header = "";
		const fields = [];
		for (const [of, name, value, offset, length] of readPacket(bytes)?.fields ?? []) {
			if (of !== header) fields.push({ heading: true, name: header = of, value: "", meaning: "", offset, length: 0 });
			fields.push({ name, value, offset, length, meaning: "" });
		}
		this.both(fields, bytes);
	}

	// both has fields and bytes side by side.
	both(fields, bytes) {
		const table = element("table", "fields"), body = element("tbody");
		table.append(element("caption", "unseen", "fields"), body);
		const dump = element("div", "dump");
		dump.setAttribute("aria-label", "bytes, hexadecimal");
		const shown = bytes.subarray(0, BYTES_SHOWN), cells = [];
		for (let o = 0; o < shown.length; o += 8) {
			const line = element("div", "", element("i", "", o.toString(16).padStart(4, "0")));
			for (let k = o; k < Math.min(o + 8, shown.length); k++) {
				const cell = element("span", "", shown[k].toString(16).padStart(2, "0"));
				cell.at = k;
				cells.push(cell);
				line.append(cell);
			}
			dump.append(line);
		}
		if (bytes.length > shown.length) dump.append(element("p", "", `${count(bytes.length - shown.length, "more byte")} not shown`));
		const rows = fields.map((f) => {
			const row = element("tr", f.heading ? "heading" : f.problem ? "bad" : "");
			row.field = f;
			if (f.heading || f.problem) {
				const cell = element("th", "", printable(f.problem ? f.value : f.name));
				if (f.meaning) cell.append(element("small", "", printable(f.meaning)));
				cell.colSpan = 2;
				row.append(cell);
			} else {
				row.append(element("td", "", printable(f.name)), element("td", "", element("span", "value", printable(f.value, 2000)),
					" ", element("small", "meaning", printable(f.meaning, 1000))));
			}
			if (f.length > 0) row.tabIndex = 0;
			body.append(row);
			return row;
		});
		let marked = [];
		const mark = (row) => {
			for (const e of marked) e.classList.remove("mark");
			marked = [];
			if (!row?.field || row.field.length === 0) return;
			const { offset, length } = row.field;
			marked = [row, ...cells.slice(offset, offset + length)];
			for (const e of marked) e.classList.add("mark");
		};
		const rowOf = (event) => event.target.closest?.("tr");
		body.addEventListener("mouseover", (event) => mark(rowOf(event)));
		body.addEventListener("mouseleave", () => mark(undefined));
		body.addEventListener("focusin", (event) => mark(rowOf(event)));
		body.addEventListener("click", (event) => {
			mark(rowOf(event));
			marked[1]?.scrollIntoView({ block: "nearest" });
		});
		const byByte = (event) => {
			const at = event.target.at;
			if (at === undefined) return;
			// The innermost field that has the byte: headings stand for all that is below them.
			let best;
			for (const row of rows) {
				const { offset, length } = row.field;
				if (offset <= at && at < offset + length && (!best || length <= best.field.length)) best = row;
			}
			mark(best);
			if (event.type === "click") best?.scrollIntoView({ block: "nearest" });
		};
		dump.addEventListener("mouseover", byByte);
		dump.addEventListener("click", byByte);
		dump.addEventListener("mouseleave", () => mark(undefined));
		this.body.append(element("div", "both", table, dump));
	}
}

"use strict";
// The time line: one row an event, lanes from left to right, arrows between them. Only the rows that are seen are
// there: a canvas has the lanes and arrows, and a handful of elements, used again and again, the text.

const ROW = 30, HEAD = 40; // pixels, as in live.css
const NARROW = 640; // below this width rows have no text of their own
const LANE_MIN = 54, LANE_MAX = 96;

class Timeline {
	constructor(history) {
		this.history = history;
		this.scroller = $("scroller");
		this.sheet = $("sheet");
		this.canvas = $("lanes");
		this.heads = $("heads");
		this.rows = $("rows");
		this.view = []; // records that the filter takes
		this.filter = { kinds: new Set(["message", "sa", "packet", "socket", "clock"]), name: "", socket: 0, spi: "" };
		this.query = "";
		this.hits = 0;
		this.selected = undefined; // a record
		this.follow = true; // the newest row stays in sight
		this.realTime = false; // times are those of the machine's clock
		this.pool = [];
		this.drawn = 0; // of which width the lanes were laid out
		this.onSelect = () => {};
		this.paint = {};
		this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
		this.rows.addEventListener("click", (event) => {
			const row = event.target.closest(".row");
			if (row) this.select(row.record);
		});
		new ResizeObserver(() => this.draw()).observe(this.scroller);
		this.readColours();
	}

	readColours() {
		const style = getComputedStyle(document.documentElement);
		for (const name of ["ink", "dim", "line", "paper", "good", "wait", "bad", "ask", "answer", "select"]) {
			this.paint[name] = style.getPropertyValue(`--${name}`).trim();
		}
		this.font = style.getPropertyValue("--mono").trim() || "monospace";
	}

	takes(r) {
		const f = this.filter;
		if (r.kind === "missing") return true;
		return f.kinds.has(r.kind) && (!f.name || r.e.message?.name === f.name) &&
			(!f.socket || r.socket === f.socket) && (!f.spi || r.spi === f.spi);
	}

	finds(r) {
		if (!this.query) return false;
		r.hay ??= `${r.label} ${r.text} ${r.spi}`.toLowerCase();
		return r.hay.includes(this.query);
	}

	// added takes the records from i on into the view, and lets those go that the history has no more.
	added(i) {
		const records = this.history.records, first = records[0]?.i ?? 0;
		const gone = rowAt(this.view, first);
		if (gone > 0) {
			for (let j = 0; j < gone; j++) if (this.finds(this.view[j])) this.hits--;
			this.view.splice(0, gone);
			if (!this.follow) this.scroller.scrollTop -= gone * ROW;
		}
		for (let j = rowAt(records, i); j < records.length; j++) {
			if (!this.takes(records[j])) continue;
			this.view.push(records[j]);
			if (this.finds(records[j])) this.hits++;
		}
	}

	// refilter makes the view anew; what was selected, or on top, stays in sight.
	refilter() {
		const anchor = this.selected ?? this.view[this.top()];
		this.view = this.history.records.filter((r) => this.takes(r));
		this.hits = this.view.reduce((n, r) => n + this.finds(r), 0);
		this.resize();
		if (anchor && !this.follow) this.reveal(rowAt(this.view, anchor.i));
		this.draw();
	}

	search(text) {
		this.query = text.trim().toLowerCase();
		this.hits = this.view.reduce((n, r) => n + this.finds(r), 0);
		this.draw();
	}

	// find selects the next record that the search finds, from the selected one on; by is 1 or -1.
	find(by) {
		const n = this.view.length;
		let at = this.selected ? rowAt(this.view, this.selected.i) : by > 0 ? -1 : n;
		if (by > 0 && this.selected && this.view[at] !== this.selected) at--;
		for (let k = 1; k <= n; k++) {
			const r = this.view[(((at + by * k) % n) + n) % n];
			if (this.finds(r)) {
				this.select(r);
				return;
			}
		}
	}

	// step selects the record before (-1) or after (1) the selected one.
	step(by) {
		const n = this.view.length;
		if (n === 0) return;
		let at = this.selected ? rowAt(this.view, this.selected.i) : by < 0 ? n : -1;
		if (this.selected && by > 0 && this.view[at] !== this.selected) at--;
		this.select(this.view[Math.min(Math.max(at + by, 0), n - 1)]);
	}

	edge(last) {
		if (this.view.length) this.select(this.view[last ? this.view.length - 1 : 0]);
	}

	select(record) {
		this.selected = record;
		if (record) {
			this.follow = false;
			this.resize();
			this.reveal(rowAt(this.view, record.i));
		}
		this.draw();
		this.onSelect(record);
	}

	// newest lets the time line follow again.
	newest() {
		this.follow = true;
		this.selected = undefined;
		this.draw();
		this.onSelect(undefined);
	}

	// anchor is the record that must not go while somebody looks at it.
	anchor() {
		return this.selected ?? (this.follow ? undefined : this.view[this.top()]);
	}

	// top is the row at the top of what is seen.
	top() {
		return Math.floor(this.scroller.scrollTop / ROW);
	}

	reveal(row) {
		const s = this.scroller, y = row * ROW, room = s.clientHeight - HEAD;
		if (y < s.scrollTop) s.scrollTop = Math.max(0, y - ROW);
		else if (y + ROW > s.scrollTop + room) s.scrollTop = y + 2 * ROW - room;
	}

	scrolled() {
		const s = this.scroller;
		if (!this.selected) this.follow = s.scrollTop + s.clientHeight >= s.scrollHeight - ROW / 2;
		this.draw();
	}

	// draw asks for a picture at the next chance; many questions have one answer.
	draw() {
		if (this.asked) return;
		this.asked = true;
		requestAnimationFrame(() => {
			this.asked = false;
			this.layOut();
			this.resize();
			if (this.follow) this.scroller.scrollTop = this.scroller.scrollHeight;
			this.drawLanes();
			this.drawRows();
		});
	}

	resize() {
		const rows = HEAD + (this.view.length + 1) * ROW;
		this.sheet.style.height = `${Math.max(rows, this.scroller.clientHeight)}px`;
	}

	// layOut says where the lanes are.
	layOut() {
		const width = this.scroller.clientWidth, h = this.history;
		this.narrow = width < NARROW;
		this.lanes = [];
		for (let s = 0; s < Math.max(h.programs.used, 1); s++) this.lanes.push(["program", s]);
		this.lanes.push(["kernel", 0]);
		for (let s = 0; s < h.sas.used; s++) this.lanes.push(["sa", s]);
		this.lanes.push(["wire", 0]);
		this.timeWidth = this.narrow ? 66 : 112;
		const n = this.lanes.length, room = this.narrow ? width - this.timeWidth : (width - this.timeWidth) * 0.55;
		this.lane = Math.min(Math.max(room / n, LANE_MIN), LANE_MAX);
		this.textX = this.timeWidth + n * this.lane + 6;
		this.width = Math.max(width, this.narrow ? this.timeWidth + n * this.lane : this.textX + 200);
		this.sheet.style.width = `${this.width}px`;
		this.height = this.scroller.clientHeight - HEAD;
		const scale = window.devicePixelRatio || 1;
		const [w, hgt] = [Math.round(this.width * scale), Math.round(this.height * scale)];
		if (this.canvas.width !== w || this.canvas.height !== hgt) {
			[this.canvas.width, this.canvas.height] = [w, hgt];
			this.canvas.style.width = `${this.width}px`;
			this.canvas.style.height = `${this.height}px`;
		}
		this.scale = scale;
		this.offsets = { program: 0, kernel: Math.max(h.programs.used, 1) };
		this.offsets.sa = this.offsets.kernel + 1;
		this.offsets.wire = this.offsets.sa + h.sas.used;
	}

	x(life) {
		return this.timeWidth + (this.offsets[life.lane] + life.slot + 0.5) * this.lane;
	}

	// y is where an event's row is on the canvas, also of one that the filter hides or that is out of sight.
	y(i) {
		if (i === -Infinity) return -ROW;
		if (i === Infinity) return this.height + ROW;
		return rowAt(this.view, i) * ROW - this.scroller.scrollTop + ROW * 0.66;
	}

	drawLanes() {
		const c = this.canvas.getContext("2d"), first = this.view[this.top()]?.i ?? 0;
		const lastRow = Math.min(this.view.length - 1, this.top() + Math.ceil(this.height / ROW));
		const last = this.view[lastRow]?.i ?? 0;
		c.setTransform(this.scale, 0, 0, this.scale, 0, 0);
		c.clearRect(0, 0, this.width, this.height);
		c.lineCap = "round";
		this.drawHeads(first, last);
		this.line(c, this.x(KERNEL), 0, this.height, this.paint.dim, 1.5);
		this.line(c, this.x(WIRE), 0, this.height, this.paint.dim, 1.5, [2, 4]);
		for (const life of this.history.lives) {
			if (life.begin <= last && life.end >= first) this.drawLife(c, life);
		}
		for (const wait of this.history.waits) {
			if (wait.begin <= last && wait.end >= first) this.drawWait(c, wait);
		}
		for (let row = this.top(); row <= lastRow; row++) this.drawArrow(c, this.view[row]);
	}

	line(c, x, from, to, colour, width, dash = []) {
		c.strokeStyle = colour;
		c.lineWidth = width;
		c.setLineDash(dash);
		c.beginPath();
		c.moveTo(x, from);
		c.lineTo(x, to);
		c.stroke();
		c.setLineDash([]);
	}

	drawLife(c, life) {
		const x = this.x(life), most = life.lane === "sa" ? SA_LANES : PROGRAM_LANES;
		if (life.slot === most) {
			this.line(c, x, 0, this.height, this.paint.line, 1, [3, 3]);
			return;
		}
		const end = Math.min(this.y(life.end), this.height);
		if (life.lane === "program") {
			this.line(c, x, Math.max(this.y(life.begin), 0), end, this.paint.dim, 1.5);
			return;
		}
		life.states.forEach(({ i, state }, k) => {
			const from = Math.max(this.y(i), 0), to = Math.min(this.y(life.states[k + 1]?.i ?? life.end), end);
			if (to > from && state !== "dead") this.line(c, x, from, to, this.colour(TONES[state]), 3);
			else if (to > from) this.line(c, x, from, to, this.paint.dim, 1, [1, 4]);
		});
	}

	drawWait(c, wait) {
		const x = this.x(wait.life) - 4 + wait.place * 9;
		const from = Math.max(this.y(wait.begin), -ROW), to = Math.min(this.y(wait.end), this.height + ROW);
		c.fillStyle = this.paint.wait;
		c.strokeStyle = this.paint.paper;
		c.lineWidth = 1.5;
		c.beginPath();
		c.roundRect(x, from - 4, 8, Math.max(to - from + 8, 8), 4);
		c.fill();
		c.stroke();
		// Its stripes are those of something that stands in line.
		c.save();
		c.clip();
		c.strokeStyle = this.paint.paper;
		c.lineWidth = 1;
		c.beginPath();
		for (let y = Math.floor(from / 7) * 7; y < to; y += 7) {
			c.moveTo(x, y + 7);
			c.lineTo(x + 8, y);
		}
		c.stroke();
		c.restore();
	}

	drawArrow(c, r) {
		const y = this.y(r.i), colour = this.colour(r.tone);
		if (r.kind === "clock" || r.kind === "missing") {
			const right = this.timeWidth + this.lanes.length * this.lane;
			c.fillStyle = c.strokeStyle = r.kind === "clock" ? this.paint.ink : this.paint.wait;
			c.lineWidth = 1;
			c.setLineDash(r.kind === "clock" ? [] : [4, 3]);
			c.beginPath();
			c.moveTo(this.timeWidth + 6, y);
			c.lineTo(right, y);
			c.stroke();
			c.setLineDash([]);
			this.label(c, r.label, (this.timeWidth + right) / 2, y - 5, c.fillStyle);
			return;
		}
		const xs = r.path.map((life) => this.x(life));
		if (xs.length === 0) return;
		const [from, to] = [xs[0], xs[xs.length - 1]];
		c.strokeStyle = c.fillStyle = colour;
		c.lineWidth = 1.8;
		if (r.kind === "socket") {
			c.beginPath();
			c.arc(from, y, 4.5, 0, 2 * Math.PI);
			if (r.e.type === "opened") c.fill();
			else {
				c.fillStyle = this.paint.paper;
				c.fill();
				c.stroke();
			}
			this.label(c, r.label, from + (to - from) / 2, y + 3, this.paint.dim);
			return;
		}
		for (const x of xs.slice(1, -1)) {
			c.beginPath();
			c.arc(x, y, 3.5, 0, 2 * Math.PI);
			c.fill();
		}
		if (xs.length > 1) {
			const way = Math.sign(to - from), tip = to - way * (r.stop ? 7 : 3);
			c.beginPath();
			c.moveTo(from, y);
			c.lineTo(tip, y);
			c.stroke();
			if (!r.stop) {
				c.beginPath();
				c.moveTo(tip + way * 2, y);
				c.lineTo(tip - way * 6, y - 4.5);
				c.lineTo(tip - way * 6, y + 4.5);
				c.fill();
			}
		}
		if (r.stop) this.cross(c, to, y);
		const far = Math.abs(to - from) > 1.5 * this.lane; // over all of the way the label could lie on a lane
		const middle = xs.length === 1 ? from : far ? from + Math.sign(to - from) * this.lane / 2 : (from + to) / 2;
		this.label(c, r.label, xs.length === 1 ? from + 12 : middle, y - 5, colour, xs.length === 1 ? "left" : "center");
	}

	cross(c, x, y) {
		c.lineWidth = 2.4;
		c.beginPath();
		c.moveTo(x - 5, y - 5);
		c.lineTo(x + 5, y + 5);
		c.moveTo(x + 5, y - 5);
		c.lineTo(x - 5, y + 5);
		c.stroke();
	}

	label(c, text, x, y, colour, align = "center") {
		c.font = `11px ${this.font}`;
		c.textAlign = align;
		c.lineWidth = 4;
		c.lineJoin = "round";
		c.strokeStyle = this.paint.paper;
		text = printable(text, 40);
		c.strokeText(text, x, y);
		c.fillStyle = colour;
		c.fillText(text, x, y);
	}

	colour(tone) {
		return this.paint[tone] || this.paint.ink;
	}

	// drawHeads names the lanes by who was on them last in what is seen.
	drawHeads(first, last) {
		const on = new Map();
		for (const life of this.history.lives) {
			const over = life.slot === (life.lane === "sa" ? SA_LANES : PROGRAM_LANES);
			if (over) on.set(life.lane + life.slot, { kind: "and more", name: life.lane === "sa" ? "SAs" : "programs" });
			else if (life.begin <= last && life.end >= first) on.set(life.lane + life.slot, life);
		}
		while (this.heads.childElementCount < this.lanes.length) {
			this.heads.append(element("div", "head", element("small"), element("b")));
		}
		while (this.heads.childElementCount > this.lanes.length) this.heads.lastElementChild.remove();
		this.lanes.forEach(([lane, slot], k) => {
			const life = on.get(lane + slot), head = this.heads.children[k];
			const [kind, name] = lane === "kernel" || lane === "wire" ? ["", lane]
				: life ? [life.kind, life.name] : lane === "program" && slot === 0 ? ["", "program"] : ["", ""];
			head.style.left = `${this.timeWidth + k * this.lane}px`;
			head.style.width = `${this.lane}px`;
			setText(head.firstChild, printable(kind, 20));
			setText(head.lastChild, printable(name, 30));
		});
	}

	drawRows() {
		const first = this.top(), n = Math.max(0, Math.min(this.view.length - first, Math.ceil(this.height / ROW) + 1));
		while (this.pool.length < n) {
			const row = element("div", "row", element("span", "time"), element("span", "text"));
			row.setAttribute("role", "option");
			this.pool.push(row);
			this.rows.append(row);
		}
		this.pool.forEach((row, k) => {
			row.hidden = k >= n;
			if (row.hidden) return;
			const r = this.view[first + k];
			row.style.transform = `translateY(${(first + k) * ROW}px)`;
			const selected = r === this.selected;
			const className = `row ${r.kind} ${r.tone}${selected ? " selected" : ""}${this.finds(r) ? " hit" : ""}`;
			if (row.className !== className) row.className = className;
			row.setAttribute("aria-selected", selected);
			row.lastChild.style.left = `${this.textX}px`;
			const prior = k > 0 ? this.view[first + k - 1] : undefined; // the row on top has its time in any case
			if (row.record === r && row.realTime === this.realTime && row.narrow === this.narrow && row.prior === prior) return;
			Object.assign(row, { record: r, realTime: this.realTime, narrow: this.narrow, prior });
			setText(row.firstChild, this.timeOf(r, prior));
			setText(row.lastChild, printable(r.text));
		});
	}

	// timeOf is the time of a row; the same time again is only a mark.
	timeOf(r, before) {
		const of = (x) => (this.realTime ? x.e.real : x.e.time);
		const text = clockText(of(r)).slice(0, this.narrow ? 8 : 15);
		return before && clockText(of(before)).slice(0, this.narrow ? 8 : 15) === text ? "·" : text;
	}
}

function setText(e, text) {
	if (e.textContent !== text) e.textContent = text;
}

// rowAt is the place of the first record from number i on in a list of them.
function rowAt(list, i) {
	let low = 0, high = list.length;
	while (low < high) {
		const mid = (low + high) >> 1;
		if (list[mid].i < i) low = mid + 1;
		else high = mid;
	}
	return low;
}

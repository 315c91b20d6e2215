"use strict";
// The history: the last events, the lanes that they stand on, what waits, and how all of it stood at any moment.

const KEPT = 10000; // events
const PROGRAM_LANES = 3, SA_LANES = 6; // at a time; all others share one more
const WAIT_PLACES = 4; // of packets that wait on one lane, side by side

// Slots gives lanes to what lives for a while, the lowest free one first, so that lanes are used again.
class Slots {
	constructor(most) {
		this.most = most;
		this.taken = new Array(most).fill(false);
		this.used = 0; // how many lanes there are by now
	}
	take() {
		let slot = this.taken.indexOf(false);
		if (slot < 0) slot = this.most; // the lane of all others
		else this.taken[slot] = true;
		this.used = Math.max(this.used, slot + 1);
		return slot;
	}
	give(slot) {
		if (slot < this.most) this.taken[slot] = false;
	}
}

const KERNEL = { lane: "kernel", slot: 0 };
const WIRE = { lane: "wire", slot: 0 };

// What an event is about, as the filter has it.
const KINDS = {
	message: "message", lost: "message", refused: "message", sa: "sa", packet: "packet", opened: "socket",
	closed: "socket", clock: "clock", missing: "missing",
};

// Tones of verdicts and states, which live.css gives colours.
const TONES = {
	delivered: "good", transmitted: "good", sent: "good", queued: "wait", held: "wait", dropped: "bad",
	larval: "wait", mature: "good", dying: "wait", idle: "wait", dead: "dim",
};

class EventHistory {
	constructor() {
		this.records = []; // {i, e, kind, label, text, tone, path, stop, spi, socket, wait}
		this.next = 0; // the i of the next record
		this.trimmed = 0; // events that were kept once and made room for newer ones
		this.missing = new Map(); // why → how many events never came
		this.lastN = 0; // the number of the last event
		this.names = new Set(); // of messages seen
		this.programs = new Slots(PROGRAM_LANES);
		this.sas = new Slots(SA_LANES);
		this.lives = []; // of programs and SAs: {lane, slot, name, kind, begin, end, states: [{i, state}]}
		this.byKey = new Map(); // living ones
		this.bySPI = new Map(); // SPI → keys of living SAs
		this.sockets = []; // {number, pid, begin, end}
		this.openSockets = new Map();
		this.waits = []; // {id, begin, end, life, place, how}
		this.waiting = new Map(); // by packet
	}

	add(events) {
		for (const e of events) this.take(e);
		if (this.records.length > KEPT * 1.1) this.trim();
	}

	take(e) {
		const r = { i: this.next++, e, kind: KINDS[e.type] ?? "other", label: e.type, text: "", tone: "", path: [],
			stop: false, spi: "", socket: e.socket ?? 0, wait: undefined };
		if (e.n > 0) this.lastN = e.n;
		switch (e.type) {
		case "opened": this.opened(r); break;
		case "closed": this.closed(r); break;
		case "message": case "lost": this.message(r); break;
		case "refused":
			r.label = e.errno;
			r.text = `socket ${e.socket}: send fails: ${e.errno}`;
			r.tone = "bad";
			r.path = [KERNEL, this.program(e, r.i)];
			break;
		case "sa": this.sa(r); break;
		case "packet": this.packet(r); break;
		case "clock":
			r.label = `+${durationText(nanoseconds(e.clock.to) - nanoseconds(e.time))}`;
			r.text = `the clock moves by ${r.label.slice(1)} to ${dayText(e.clock.to)}`;
			break;
		case "missing":
			this.missing.set(e.missing.why, (this.missing.get(e.missing.why) ?? 0) + e.missing.count);
			r.label = `${number(e.missing.count)} missing`;
			r.text = `${count(e.missing.count, e.missing.of ?? "event")} not shown: ${WHY[e.missing.why] ?? e.missing.why}`;
			r.tone = "wait";
		}
		this.records.push(r);
	}

	// program is the lane of the program that has the event's socket.
	program(e, i) {
		const socket = this.openSockets.get(e.socket);
		const pid = socket?.pid || e.pid;
		return this.life("program", pid ? `pid ${pid}` : `socket ${e.socket}`, pid ? "program" : "socket", i);
	}

	life(lane, name, kind, i, key = lane + name) {
		let life = this.byKey.get(key);
		if (!life) {
			const slots = lane === "sa" ? this.sas : this.programs;
			life = { lane, slot: slots.take(), name, kind, key, begin: i, end: Infinity, states: [], users: 0, dead: false };
			this.byKey.set(key, life);
			this.lives.push(life);
		}
		return life;
	}

	end(life, i) {
		life.end = i;
		this.byKey.delete(life.key);
		(life.lane === "sa" ? this.sas : this.programs).give(life.slot);
		const keys = this.bySPI.get(life.name);
		if (keys?.delete(life.key) && keys.size === 0) this.bySPI.delete(life.name);
	}

	opened(r) {
		const e = r.e, socket = { number: e.socket, pid: e.pid ?? 0, begin: r.i, end: Infinity };
		this.openSockets.set(e.socket, socket);
		this.sockets.push(socket);
		const life = this.program(e, r.i);
		life.users++;
		r.path = [life, KERNEL];
		r.text = `socket ${e.socket} of process ${e.pid ?? 0} opens`;
		r.label = "socket";
		r.tone = "dim";
	}

	closed(r) {
		const e = r.e, life = this.program(e, r.i), socket = this.openSockets.get(e.socket);
		if (socket) socket.end = r.i;
		this.openSockets.delete(e.socket);
		r.path = [life, KERNEL];
		r.text = `socket ${e.socket} of process ${e.pid ?? socket?.pid ?? 0} closes`;
		r.label = "close";
		r.tone = "dim";
		if (--life.users <= 0) this.end(life, r.i);
	}

	message(r) {
		const e = r.e, m = e.message, life = this.program(e, r.i);
		if (!m) {
			[r.label, r.text, r.path] = [e.type, e.type === "lost" ? "lost: no room in the queue" : "an empty message", [life, KERNEL]];
			r.tone = "bad";
			return;
		}
		this.names.add(m.name);
		r.spi = m.spi ?? "";
		r.label = m.errno ? `${m.name} ${m.errno}` : m.name;
		r.text = m.line;
		r.path = m.to === "kernel" ? [life, KERNEL] : [KERNEL, life];
		r.tone = m.errno ? "bad" : m.to === "kernel" ? "ask" : "answer";
		if (e.type === "lost") {
			r.text = `lost: no room in the queue for ${m.line}`;
			r.stop = true;
			r.tone = "bad";
		}
	}

	sa(r) {
		const s = r.e.sa, key = `sa ${s.type} ${s.spi} ${s.dst}`;
		const known = this.byKey.has(key);
		const life = this.life("sa", s.spi, s.type, r.i, key);
		if (!known) {
			[life.src, life.dst] = [s.src ?? "", s.dst];
			if (s.from) { // it is older than the history
				life.begin = -Infinity;
				life.states.push({ i: -Infinity, state: s.from });
			}
			const keys = this.bySPI.get(s.spi) ?? new Set();
			this.bySPI.set(s.spi, keys.add(key));
		}
		life.states.push({ i: r.i, state: s.to });
		r.spi = s.spi;
		r.label = s.to;
		r.text = `SA ${s.type} ${s.spi}  ${s.from ? `${s.from} > ` : "new: "}${s.to}  ${s.src ?? "any"} > ${s.dst}`;
		r.tone = TONES[s.to] ?? "";
		r.path = [KERNEL, life];
		if (s.to === "dead") {
			life.dead = true;
			r.stop = true;
			if (life.users === 0) this.end(life, r.i);
		}
	}

	// saOf finds the SA that a packet belongs to.
	saOf(spi, ip) {
		let found;
		for (const key of this.bySPI.get(spi) ?? []) {
			const life = this.byKey.get(key);
			if (!ip || life.dst === ip.dst) return life;
			found = life;
		}
		return found;
	}

	packet(r) {
		const p = r.e.packet, outer = readPacket(bytesOf((p.data ?? "").slice(0, 160)));
		const inner = readPacket(bytesOf((p.inner ?? "").slice(0, 160)));
		const outgoing = p.verdict === "transmitted" || p.verdict === "sent" || p.verdict === "held";
		const protectedData = outer && (PROTECTED.has(outer.protocol) || outer.spi !== undefined);
		const waited = p.id ? this.waiting.get(p.id) : undefined;
		const life = waited?.life ?? (p.spi ? this.saOf(p.spi, outgoing ? inner : outer) : undefined);
		const name = p.id ? `packet ${number(p.id)}` : "packet of the engine";
		r.spi = p.spi ?? "";
		r.label = p.verdict;
		r.tone = TONES[p.verdict] ?? "";
		const why = p.reason ? ` ${p.reason}${p.counter ? ` (${p.counter})` : ""}` : "";
		r.text = `${name}  ${p.verdict}${why}  ${packetText(inner && p.verdict !== "transmitted" ? inner : outer ?? inner)}`;
		r.stop = p.verdict === "dropped";
		const at = life ?? KERNEL;
		if (p.verdict === "queued" || p.verdict === "held") {
			if (waited) { // it begins to wait somewhere else
				r.path = [waited.life, at];
				this.endWait(waited, r);
			} else {
				r.path = protectedData || !outgoing ? [WIRE, at] : [KERNEL, at];
			}
			if (p.id) this.beginWait(p.id, at, r);
			return;
		}
		if (waited) this.endWait(waited, r);
		const from = waited ? waited.life : outgoing || (p.verdict === "dropped" && !protectedData) ? KERNEL : WIRE;
		if (p.verdict === "dropped") r.path = waited ? [at] : [from, at];
		else r.path = [from, at, outgoing ? WIRE : KERNEL];
		r.path = r.path.filter((lane, i) => lane !== r.path[i - 1]);
	}

	beginWait(id, life, r) {
		life.places ??= new Set();
		let place = 0; // beside others that wait there; the last one is for all that are too many
		while (place < WAIT_PLACES - 1 && life.places.has(place)) place++;
		life.places.add(place);
		const wait = { id, begin: r.i, end: Infinity, life, place, how: "", time: r.e.time };
		this.waits.push(wait);
		this.waiting.set(id, wait);
		life.users = (life.users ?? 0) + 1;
		r.wait = wait;
	}

	endWait(wait, r) {
		wait.end = r.i;
		wait.how = r.e.packet.verdict;
		r.wait = wait;
		r.text += `  after ${durationText(nanoseconds(r.e.time) - nanoseconds(wait.time))} of waiting`;
		this.waiting.delete(wait.id);
		wait.life.places.delete(wait.place);
		if (--wait.life.users <= 0 && wait.life.dead) this.end(wait.life, r.i);
	}

	// trim lets the oldest events go, and what has ended before those that stay.
	trim() {
		const over = this.records.length - KEPT;
		this.trimmed += over;
		this.records = this.records.slice(over);
		const first = this.records[0].i;
		const stays = (x) => x.end >= first;
		this.lives = this.lives.filter(stays);
		this.waits = this.waits.filter(stays);
		this.sockets = this.sockets.filter(stays);
		for (const life of this.lives) { // of the states before, the last is enough
			while (life.states.length > 1 && life.states[1].i <= first) life.states.shift();
		}
		// A wait or an SA whose end is among what is missing would stay for good: the oldest go where there are too many.
		const tooMany = (list, drop) => { if (list.length > 2 * KEPT) list.splice(0, list.length - 2 * KEPT).forEach(drop); };
		tooMany(this.waits, (w) => { this.waiting.delete(w.id); w.life.users--; });
		tooMany(this.lives, (l) => { if (l.end === Infinity) this.end(l, first); });
		tooMany(this.sockets, (s) => this.openSockets.delete(s.number));
	}

	// at says how things stood right after event i, as far as the events say.
	at(i) {
		const then = { sas: [], sockets: [], ledger: undefined };
		const held = new Map();
		for (const w of this.waits) {
			if (w.begin <= i && w.end > i) held.set(w.life, [...held.get(w.life) ?? [], { id: w.id }]);
		}
		for (const life of this.lives) {
			if (life.lane !== "sa" || life.begin > i) continue;
			let state = "";
			for (const s of life.states) if (s.i <= i) state = s.state;
			if (state === "dead" && !held.has(life)) continue;
			then.sas.push({ type: life.kind, spi: life.name, src: life.src, dst: life.dst, state, held: held.get(life) });
		}
		for (const s of this.sockets) if (s.begin <= i && s.end > i) then.sockets.push({ number: s.number, pid: s.pid });
		const ledger = { injected: 0, ended: 0, held: 0, in_flight: 0, verdicts: {}, reasons: {} };
		for (const r of this.records) {
			if (r.i > i) break;
			const p = r.e.packet;
			if (!p || p.verdict === "queued" || p.verdict === "held") continue;
			ledger.ended++;
			ledger.verdicts[p.verdict] = (ledger.verdicts[p.verdict] ?? 0) + 1;
			if (p.reason) ledger.reasons[p.reason] = (ledger.reasons[p.reason] ?? 0) + 1;
		}
		for (const packets of held.values()) ledger.held += packets.length;
		ledger.injected = ledger.ended + ledger.held;
		then.ledger = ledger;
		return then;
	}
}

// WHY says why events are missing.
const WHY = {
	unread: "they came too fast while nobody was watching",
	fast: "more happened than is taken down",
	slow: "they came faster than they could be shown",
};

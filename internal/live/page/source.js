"use strict";
// Where events come from: a server beside the engine, or the page itself, when it is an export.

const POLL = 500; // milliseconds

class LiveSource {
	constructor(on) {
		this.on = on; // {events, status, up, trouble}
		this.explained = new Map();
		this.export = false;
	}

	async start() {
		const info = await this.get("info");
		this.listen(1);
		this.poll();
		setInterval(() => this.poll(), POLL);
		document.addEventListener("visibilitychange", () => this.poll());
		return info;
	}

	listen(from) {
		const s = this.stream = new EventSource(`events?from=${from}`);
		s.onmessage = (m) => {
			if (s === this.stream) this.on.events(JSON.parse(m.data).events);
		};
		s.addEventListener("engine", (m) => this.on.up(JSON.parse(m.data).up));
		s.onopen = () => this.on.trouble("");
		s.onerror = () => this.on.trouble("the server of this page does not answer; the page tries again");
	}

	pause() {
		this.stream.close();
		this.stream = undefined;
	}

	goOn(last) {
		this.listen(last + 1);
	}

	async poll() {
		if (document.hidden || this.polling) return;
		this.polling = true;
		try {
			this.on.status(await this.get("status"));
		} catch {
			// the stream of events tells of it
		} finally {
			this.polling = false;
		}
	}

	async get(path) {
		const answer = await fetch(path);
		if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
		return answer.json();
	}

	async post(path, body) {
		const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
		const got = await answer.json();
		if (!answer.ok) throw new Error(got.error ?? `${path}: ${answer.status}`);
		return got;
	}

	async explain(record) {
		const hex = record.e.message.data;
		let told = this.explained.get(hex);
		if (!told) {
			const got = await this.post("explain", { messages: [hex] });
			told = { strings: got.strings, ...got.messages[0] };
			if (this.explained.size >= 100) this.explained.delete(this.explained.keys().next().value);
			this.explained.set(hex, told);
		}
		return told;
	}

	advance(by) {
		return this.post("clock", { advance: by });
	}
}

class ExportSource {
	constructor(on, data) {
		this.on = on;
		this.data = data;
		this.export = true;
	}

	async start() {
		this.on.events(this.data.events);
		if (this.data.status) this.on.status(this.data.status);
		return this.data.info;
	}

	async explain(record) {
		const x = this.data.explained, message = x?.messages[x.of[record.e.n]];
		if (!message) throw new Error("this export does not explain the message");
		return { strings: x.strings, ...message };
	}
}

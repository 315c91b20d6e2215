"use strict";
// Text for people: nothing that comes from an engine is ever markup, and nothing of it may bend the page.

// $ finds what index.html has.
const $ = (id) => document.getElementById(id);

// printable shows control characters as pictures of them, and cuts what is too long.
function printable(text, most = 300) {
	let s = String(text ?? "");
	const over = s.length - most;
	if (over > 0) s = s.slice(0, most);
	s = s.replace(/[\u0000-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
		.replace(/[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, "\u2421");
	return over > 0 ? `${s}… (${count(over, "more character")})` : s;
}

// element makes an element with a class and children; texts become text nodes.
function element(tag, className, ...children) {
	const e = document.createElement(tag);
	if (className) e.className = className;
	e.append(...children);
	return e;
}

const number = (n) => Number(n ?? 0).toLocaleString("en-US");
const count = (n, what) => `${number(n)} ${what}${n === 1 ? "" : "s"}`;

// clockText is the time of day of an RFC 3339 time, to the microsecond.
function clockText(time) {
	const [, hms = "", fraction = ""] = /T(\d\d:\d\d:\d\d)(?:\.(\d+))?/.exec(time) ?? [];
	return `${hms}.${fraction.padEnd(6, "0").slice(0, 6)}`;
}

// dayText is a time with its day, to the second.
const dayText = (time) => String(time ?? "").slice(0, 19).replace("T", " ");

// nanoseconds is an RFC 3339 time in UTC as a BigInt.
function nanoseconds(time) {
	const [, whole, fraction = ""] = /^([^.Z]+)(?:\.(\d+))?Z$/.exec(time) ?? [];
	if (!whole) return 0n;
	return BigInt(Date.parse(`${whole}Z`)) * 1000000n + BigInt(fraction.padEnd(9, "0").slice(0, 9));
}

// durationText is a number of nanoseconds, rounded to what people read.
function durationText(ns) {
	const negative = ns < 0n, n = negative ? -ns : ns;
	const seconds = Number(n) / 1e9;
	let s;
	if (seconds === 0) s = "0s";
	else if (seconds < 1e-3) s = `${+(seconds * 1e6).toFixed(1)}µs`;
	else if (seconds < 1) s = `${+(seconds * 1e3).toFixed(1)}ms`;
	else if (seconds < 60) s = `${+seconds.toFixed(1)}s`;
	else {
		const whole = Math.round(seconds);
		s = [[Math.floor(whole / 3600), "h"], [Math.floor(whole / 60) % 60, "m"], [whole % 60, "s"]]
			.filter(([v]) => v > 0).map(([v, unit]) => v + unit).join("");
	}
	return negative ? `-${s}` : s;
}

// unixText is a time in seconds, 0 for never.
const unixText = (seconds) => (seconds ? dayText(new Date(seconds * 1000).toISOString()) : "");

// bytesOf reads hexadecimal.
function bytesOf(hex) {
	const b = new Uint8Array(Math.floor((hex ?? "").length / 2));
	for (let i = 0; i < b.length; i++) b[i] = parseInt(hex.substr(2 * i, 2), 16);
	return b;
}

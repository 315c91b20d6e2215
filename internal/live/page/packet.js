"use strict";
// IP packets: their headers field by field, as far as one sees without keys. Offsets and lengths are bytes.

const PROTOCOLS = { 1: "icmp", 4: "ipip", 6: "tcp", 17: "udp", 41: "ipv6", 50: "esp", 51: "ah", 58: "icmp6", 108: "ipcomp" };
const PROTECTED = new Set([50, 51, 108]);
const NAT_PORT = 4500;

const hexOf = (n) => `0x${n.toString(16)}`;

function addressText(b) {
	if (b.length === 4) return b.join(".");
	const groups = [];
	for (let i = 0; i < 16; i += 2) groups.push((b[i] << 8 | b[i + 1]).toString(16));
	// RFC 5952: the longest run of zeros is left out.
	let best = [0, 0];
	for (let i = 0; i < 8; i++) {
		let n = 0;
		while (i + n < 8 && groups[i + n] === "0") n++;
		if (n > best[1]) best = [i, n];
	}
	if (best[1] < 2) return groups.join(":");
	return `${groups.slice(0, best[0]).join(":")}::${groups.slice(best[0] + best[1]).join(":")}`;
}

// readPacket tells of an IP datagram: {src, dst, protocol, ports, spi, seq, fields}; undefined where there is none.
// fields are [header, name, value, offset, length].
function readPacket(b) {
	const p = { src: "", dst: "", protocol: 0, spi: undefined, seq: undefined, ports: undefined, fields: [] };
	const u16 = (o) => b[o] << 8 | b[o + 1];
	const u32 = (o) => u16(o) * 65536 + u16(o + 2);
	let header, next;
	const field = (name, value, offset, length) => p.fields.push([header, name, String(value), offset, length]);
	if (b.length >= 20 && b[0] >> 4 === 4) {
		header = "IPv4";
		next = (b[0] & 15) * 4;
		p.protocol = b[9];
		[p.src, p.dst] = [addressText(b.slice(12, 16)), addressText(b.slice(16, 20))];
		field("version, header length", `4, ${next} bytes`, 0, 1);
		field("total length", u16(2), 2, 2);
		field("identification", hexOf(u16(4)), 4, 2);
		field("flags, fragment offset", hexOf(u16(6)), 6, 2);
		field("time to live", b[8], 8, 1);
		field("protocol", nameOf(p.protocol), 9, 1);
		field("header checksum", hexOf(u16(10)), 10, 2);
		field("source", p.src, 12, 4);
		field("destination", p.dst, 16, 4);
		if (u16(6) & 0x1fff) return p; // a later fragment: no header follows
	} else if (b.length >= 40 && b[0] >> 4 === 6) {
		header = "IPv6";
		next = 40;
		p.protocol = b[6];
		[p.src, p.dst] = [addressText(b.slice(8, 24)), addressText(b.slice(24, 40))];
		field("version, class, flow", hexOf(u32(0)), 0, 4);
		field("payload length", u16(4), 4, 2);
		field("next header", nameOf(p.protocol), 6, 1);
		field("hop limit", b[7], 7, 1);
		field("source", p.src, 8, 16);
		field("destination", p.dst, 24, 16);
	} else {
		return undefined;
	}
	const esp = (o) => {
		if (b.length < o + 8) return;
		header = "ESP";
		[p.spi, p.seq] = [hexOf(u32(o)), u32(o + 4)];
		field("SPI", p.spi, o, 4);
		field("sequence number", p.seq, o + 4, 4);
		field("encrypted", count(b.length - o - 8, "byte"), o + 8, b.length - o - 8);
	};
	if (p.protocol === 50) {
		esp(next);
	} else if (p.protocol === 51 && b.length >= next + 12) {
		header = "AH";
		[p.spi, p.seq] = [hexOf(u32(next + 4)), u32(next + 8)];
		field("next header", nameOf(b[next]), next, 1);
		field("SPI", p.spi, next + 4, 4);
		field("sequence number", p.seq, next + 8, 4);
	} else if ((p.protocol === 6 || p.protocol === 17) && b.length >= next + 8) {
		header = PROTOCOLS[p.protocol].toUpperCase();
		p.ports = [u16(next), u16(next + 2)];
		field("source port", p.ports[0], next, 2);
		field("destination port", p.ports[1], next + 2, 2);
		if (p.protocol === 17) {
			field("length", u16(next + 4), next + 4, 2);
			if (p.ports.includes(NAT_PORT) && b.length >= next + 16 && u32(next + 8) !== 0) esp(next + 8);
		}
	} else if ((p.protocol === 1 || p.protocol === 58) && b.length >= next + 8) {
		header = p.protocol === 1 ? "ICMP" : "ICMPv6";
		field("type, code", `${b[next]}, ${b[next + 1]}`, next, 2);
		field("identifier, sequence", `${u16(next + 4)}, ${u16(next + 6)}`, next + 4, 4);
	}
	return p;
}

const nameOf = (protocol) => `${protocol} (${PROTOCOLS[protocol] ?? "another"})`;

// packetText is a datagram on one line.
function packetText(p) {
	if (!p) return "";
	const [from, to] = p.ports ? [` port ${p.ports[0]}`, ` port ${p.ports[1]}`] : ["", ""];
	const what = p.spi ? `${p.protocol === 51 ? "ah" : "esp"} ${p.spi} seq ${p.seq}`
		: PROTOCOLS[p.protocol] ?? `protocol ${p.protocol}`;
	return `${p.src}${from} > ${p.dst}${to} ${what}`;
}

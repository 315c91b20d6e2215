-- What follows reads the tables above. It tells a message field by field, as package wire of pfkeyd does
-- (Dialect.Fields); what wire refuses (Dialect.Validate) is expert information.

local HEADER_LEN, EXT_HEADER_LEN, MAX_CONTEXT = 16, 4, 4096
local POLICY_IPSEC, MODE_TUNNEL, PROTOCOL_IKE, EXT_SA, EXT_CURRENT, EXT_AUTHS, EXT_COOKIE = 2, 2, 1, 1, 2, 14, 19

local TOO_SHORT, LENGTH, FAMILY = "too short", "length does not fit", "unknown address family"
local NOT_DECODED, EXTRA, PADDING = "not decoded", "behind what is known of it", "to a word of 8 bytes"

local pfkey = Proto("pfkey", "PF_KEY version 2")

-- The dialect and the byte order stand in no message. The capture names the one; the length in the base header is right
-- in one order only.
local choices, numbered = {}, {}
for i, d in ipairs(dialects) do
	choices[i], numbered[i] = { i, d.name, i }, d
	dialects[d.name] = d
end
pfkey.prefs.dialect = Pref.enum("Dialect", 1, "Of captures that do not say which kernel they are of", choices, false)
pfkey.prefs.big_endian = Pref.bool("Big endian", false, "Of messages whose length is wrong in either byte order")

local interface_description = Field.new("frame.interface_description")

local malformed = ProtoExpert.new("pfkey.malformed", "Not well formed", expert.group.MALFORMED, expert.severity.ERROR)
local cut = ProtoExpert.new("pfkey.cut", "The capture has the beginning of it only", expert.group.UNDECODED,
	expert.severity.NOTE)
local refused = ProtoExpert.new("pfkey.refused", "Refused", expert.group.RESPONSE_CODE, expert.severity.NOTE)
pfkey.experts = { malformed, cut, refused }

-- The fields that filters name: pfkey.sa.spi. A name has one type; where that differs between dialects, the second type
-- is in the name.

local fields, taken, list = {}, {}, {}

local bases = {
	decimal = base.DEC, words = base.DEC, bytecount = base.DEC, netdecimal = base.DEC, named = base.DEC, hex = base.HEX,
	nethex = base.HEX, flags = base.HEX,
}

local function kind_of(slot)
	return bases[slot.style] and "uint" .. slot.size * 8 or slot.style
end

-- register makes a field of a kind: uint8 ... uint64, ipv4, ipv6, bytes, string.
local function register(scope, name, kind, meaning, base_of_integer)
	local filter = "pfkey" .. (scope .. "." .. name):lower():gsub("[^a-z0-9.]+", "_")
	local key = scope .. "\0" .. name .. "\0" .. kind
	if fields[key] then
		return
	end
	if taken[filter] and taken[filter] ~= kind then
		filter = filter .. "_" .. kind
	end
	taken[filter] = kind
	if base_of_integer then
		fields[key] = ProtoField[kind](filter, name, base_of_integer, nil, nil, meaning)
	elseif kind == "bytes" then
		fields[key] = ProtoField.bytes(filter, name, base.NONE, meaning)
	elseif kind == "string" then
		fields[key] = ProtoField.string(filter, name, base.ASCII, meaning)
	else
		fields[key] = ProtoField[kind](filter, name, meaning)
	end
	list[#list + 1] = fields[key]
end

local function register_slots(scope, slots, whose)
	for _, slot in ipairs(slots) do
		register(scope, (whose or "") .. slot.name, kind_of(slot), slot.meaning, bases[slot.style])
	end
end

local function register_sockaddr(d, scope, whose)
	register(scope, whose .. (d.length_byte and "length" or "family"), "bytes", "of the socket address")
	register_slots(scope, d.structures.inet, whose)
	register_slots(scope, d.structures.inet6, whose)
end

local function register_cookie(d, scope)
	register_slots(scope, d.ext_header)
	register_slots(scope, d.exts[EXT_COOKIE] and d.exts[EXT_COOKIE].fields or {})
	register_slots(scope, d.structures.cookie32)
	register_slots(scope, d.structures.cookie64)
end

-- What stands behind the fixed part of a kind of extensions.
local register_tail = {
	address = function(d, scope) register_sockaddr(d, scope, "") end,
	cookie = register_cookie,
	eprop = function(d, scope)
		register_slots(scope, d.structures.ecomb)
		register(scope, "satype", "bytes", "one algorithm of an SA type")
		register_cookie(d, scope)
	end,
	ereg = function(_, scope) register(scope, "satype", "bytes", "one SA type") end,
	identity = function(_, scope) register(scope, "identity", "string", "the name") end,
	key = function(_, scope) register(scope, "key", "bytes", "most significant bit first") end,
	kmaddress = function(d, scope)
		register_sockaddr(d, scope, "local ")
		register_sockaddr(d, scope, "remote ")
	end,
	policy = function(d, scope)
		register_slots(scope, d.structures.request)
		register_sockaddr(d, scope, "source ")
		register_sockaddr(d, scope, "destination ")
	end,
	proposal = function(d, scope)
		register_slots(scope, d.structures.comb)
		register_cookie(d, scope)
	end,
	secctx = function(_, scope) register(scope, "context", "string", "the text") end,
	sensitivity = function(_, scope)
		register(scope, "bitmap", "bytes", "sensitivity compartments")
		register(scope, "integrity bitmap", "bytes", "integrity compartments")
	end,
	supported = function(_, scope) register(scope, "alg", "bytes", "one algorithm") end,
	tag = function(_, scope) register(scope, "name", "string", "the name") end,
}

register("", "message", "string", "the name of the message")
register("", "extension", "string", "the name of an extension")
register("", "part", "string", "a part of an extension")
for _, name in ipairs({ "data", "extra", "padding", "cut" }) do
	register("", name, "bytes")
end
for _, d in ipairs(dialects) do
	register_slots("", d.header)
	for number = 0, d.last_ext do
		local x = d.exts[number]
		if x then
			register_slots("." .. x.name, d.ext_header)
			register_slots("." .. x.name, x.fields)
			if register_tail[x.kind] then
				register_tail[x.kind](d, "." .. x.name)
			end
		end
	end
	register_slots(".unknown", d.ext_header)
end
pfkey.fields = list

-- A teller tells of one message. What the current extension still has is from off to stop.
local Teller = {}
Teller.__index = Teller

function Teller:u8(at) return self.tvb(at, 1):uint() end

function Teller:u16(at)
	local r = self.tvb(at, 2)
	return self.big and r:uint() or r:le_uint()
end

function Teller:u32(at)
	local r = self.tvb(at, 4)
	return self.big and r:uint() or r:le_uint()
end

-- add shows what stands at off, and moves on.
function Teller:add(scope, name, kind, size, label, value, network)
	local f, r, item = fields[scope .. "\0" .. name .. "\0" .. kind], self.tvb(self.off, size), nil
	if value then
		item = self.tree:add(f, r, value)
	elseif self.big or network or kind == "bytes" then
		item = self.tree:add(f, r)
	else
		item = self.tree:add_le(f, r)
	end
	item:set_text(label)
	self.off = self.off + size
	return item
end

function Teller:problem(text)
	self.item:add_proto_expert_info(malformed, text)
end

local function unknown(n) return string.format("unknown(0x%x)", n) end

local function name_of(names, n) return names and names[n] or unknown(n) end

-- hex64 writes a UInt64.
local function hex64(n)
	local digits = n:tohex():lower():gsub("^0+", "")
	return "0x" .. (digits == "" and "0" or digits)
end

local function flags_of(flags, n)
	if n == 0 then
		return "0"
	end
	local set = {}
	for _, f in ipairs(flags) do
		if math.floor(n / f[1]) % 2 == 1 then
			set[#set + 1] = f[2]
			n = n - f[1]
		end
	end
	if n ~= 0 then
		set[#set + 1] = string.format("0x%x", n)
	end
	return table.concat(set, "|")
end

-- ipv6 writes an address as RFC 5952 wants it. Wireshark's own way depends on its version.
local function ipv6(b)
	local g, best, len = {}, 0, 1
	for i = 1, 8 do
		g[i] = b:byte(2 * i - 1) * 256 + b:byte(2 * i)
	end
	if g[1] + g[2] + g[3] + g[4] + g[5] == 0 and g[6] == 0xffff then
		return string.format("::ffff:%d.%d.%d.%d", b:byte(13, 16))
	end
	local i = 1
	while i <= 8 do
		local j = i
		while j <= 8 and g[j] == 0 do
			j = j + 1
		end
		if j - i > len then
			best, len = i, j - i
		end
		i = math.max(j, i + 1)
	end
	local function join(from, to)
		local s = {}
		for k = from, to do
			s[#s + 1] = string.format("%x", g[k])
		end
		return table.concat(s, ":")
	end
	if best == 0 then
		return join(1, 8)
	end
	return join(1, best - 1) .. "::" .. join(best + len, 8)
end

-- rune reads the character at i: its number and size; nil if it is no UTF-8.
local function rune(s, i)
	local a, b, c, d = s:byte(i, i + 3)
	local function follows(x, low, high) return x and x >= (low or 0x80) and x <= (high or 0xbf) end
	if a < 0x80 then
		return a, 1
	elseif a >= 0xc2 and a <= 0xdf and follows(b) then
		return (a - 0xc0) * 64 + b - 0x80, 2
	elseif a >= 0xe0 and a <= 0xef and follows(b, a == 0xe0 and 0xa0, a == 0xed and 0x9f) and follows(c) then
		return ((a - 0xe0) * 64 + b - 0x80) * 64 + c - 0x80, 3
	elseif a >= 0xf0 and a <= 0xf4 and follows(b, a == 0xf0 and 0x90, a == 0xf4 and 0x8f) and follows(c) and follows(d) then
		return (((a - 0xf0) * 64 + b - 0x80) * 64 + c - 0x80) * 64 + d - 0x80, 4
	end
end

local escapes = {
	[7] = "\\a", [8] = "\\b", [9] = "\\t", [10] = "\\n", [11] = "\\v", [12] = "\\f", [13] = "\\r", [34] = '\\"',
	[92] = "\\\\",
}

-- quoted quotes what is not plain printable ASCII in one word.
local function quoted(s)
	if s == "" then
		return '""'
	elseif not s:find("[^\33-\126]") and not s:find('["\\]') then
		return s
	end
	local out, i = {}, 1
	while i <= #s do
		local n, size = rune(s, i)
		if not n then
			n, size = nil, 1
			out[#out + 1] = string.format("\\x%02x", s:byte(i))
		elseif escapes[n] then
			out[#out + 1] = escapes[n]
		elseif n < 0x20 or n == 0x7f then
			out[#out + 1] = string.format("\\x%02x", n)
		elseif n < 0x7f then
			out[#out + 1] = string.char(n)
		else
			out[#out + 1] = string.format(n < 0x10000 and "\\u%04x" or "\\U%08x", n)
		end
		i = i + size
	end
	return '"' .. table.concat(out) .. '"'
end

-- value writes what a slot has at off.
function Teller:value(slot)
	local r, style = self.tvb(self.off, slot.size), slot.style
	if style == "ipv4" then
		return string.format("%d.%d.%d.%d", r:raw():byte(1, 4))
	elseif style == "ipv6" then
		return ipv6(r:raw())
	elseif style == "bytes" then
		return r:bytes():tohex(true)
	elseif slot.size == 8 then
		local n = self.big and r:uint64() or r:le_uint64()
		return style == "hex" and hex64(n) or tostring(n)
	end
	local network = style == "netdecimal" or style == "nethex"
	local n = (self.big or network) and r:uint() or r:le_uint()
	if style == "hex" or style == "nethex" then
		return string.format("0x%x", n), n
	elseif style == "words" then
		return string.format("%d (%d bytes)", n, n * 8), n
	elseif style == "bytecount" then
		return string.format("%d bytes", n), n
	elseif style == "flags" then
		return string.format("0x%x (%s)", n, flags_of(self.d.flags, n)), n
	elseif style == "named" then
		return string.format("%d (%s)", n, name_of(slot.names, n)), n
	end
	return string.format("%d", n), n
end

-- slots tells fields in a row; false if the extension ends before the last.
function Teller:slots(slots, whose)
	for _, slot in ipairs(slots) do
		if self.stop - self.off < slot.size then
			return false
		end
		local text, n = self:value(slot)
		if self.number == EXT_SA and slot.name == "encrypt" and self.satype == "ipcomp" then
			text = string.format("%d (%s)", n, name_of(self.d.compressions, n))
		elseif self.number == EXT_SA and slot.name == "state" and n == 0 and not self:tells_state() then
			text = "0 (not said)"
		end
		local name = (whose or "") .. slot.name
		self:add(self.scope, name, kind_of(slot), slot.size, name .. " = " .. text, nil, slot.style:find("^net"))
	end
	return true
end

-- tells_state says whether state 0 is that of an SA, LARVAL: in what a kernel tells, and not in a request.
function Teller:tells_state()
	if self.message == "GET" then
		return self:find(EXT_CURRENT)
	end
	return self.message == "GETSPI" or self.message == "DUMP" or self.message == "EXPIRE"
end

function Teller:find(number)
	local off = HEADER_LEN
	while self.len - off >= EXT_HEADER_LEN do
		local n = self:u16(off) * 8
		if n == 0 or n > self.len - off then
			return false
		elseif self:u16(off + 2) == number then
			return true
		end
		off = off + n
	end
	return false
end

-- bytes tells up to n bytes without a value.
function Teller:bytes(scope, name, n)
	n = math.min(n, self.stop - self.off)
	if n > 0 then
		self:add(scope, name, "bytes", n, name)
	end
end

-- text tells a name of n bytes; a NUL at its end is not shown.
function Teller:text(name, n)
	n = math.min(n, self.stop - self.off)
	if n > 0 then
		local s = quoted((self.tvb(self.off, n):raw():gsub("%z$", "")))
		self:add(self.scope, name, "string", n, name .. " = " .. s, s)
	end
end

-- upto_nul is how many bytes there are up to a NUL, and with it.
function Teller:upto_nul()
	local rest = self.stop - self.off
	if rest == 0 then
		return 0
	end
	return self.tvb(self.off, rest):raw():find("\0", 1, true) or rest
end

-- rest tells what the extension has left.
function Teller:rest(name)
	local n = self.stop - self.off
	if n == 0 then
		return
	elseif name == "extra" and n < 8 and not self.tvb(self.off, n):raw():find("[^%z]") then
		name = "padding"
	end
	self:bytes("", name, n)
end

-- part begins a part of the extension, of at most n bytes.
function Teller:part(name, n)
	self.tree = self.item:add(fields["\0part\0string"], self.tvb(self.off, math.min(n, self.stop - self.off)), name)
	self.tree:set_text(name)
end

-- sockaddr tells of one; false if it is not whole.
function Teller:sockaddr(whose)
	if self.stop - self.off < 2 then
		return false
	end
	local d = self.d
	local family = d.length_byte and self:u8(self.off + 1) or self:u16(self.off)
	local called = family == 0 and "unspec" or family == d.inet and "inet" or family == d.inet6 and "inet6" or unknown(family)
	local name, text = "family", string.format("%d (%s)", family, called)
	if d.length_byte then
		name, text = "length", string.format("%d, family = %s", self:u8(self.off), text)
	end
	self:add(self.scope, whose .. name, "bytes", 2, whose .. name .. " = " .. text)
	if called == "inet" or called == "inet6" then
		return self:slots(d.structures[called], whose)
	end
	return false
end

-- sockaddr_size is how many bytes a whole one at off has, or what is wrong with it.
function Teller:sockaddr_size(off)
	local d, rest = self.d, self.stop - off
	if rest < 2 then
		return nil, TOO_SHORT
	end
	local family = d.length_byte and self:u8(off + 1) or self:u16(off)
	local size = family == d.inet and d.inet_len or family == d.inet6 and d.inet6_len
	if not size then
		return nil, FAMILY
	elseif rest < size then
		return nil, TOO_SHORT
	end
	return size
end

-- pair_problem says what is wrong with two sockaddrs that lie back to back.
function Teller:pair_problem(off)
	local size, problem = self:sockaddr_size(off)
	if size then
		size, problem = self:sockaddr_size(off + size)
	end
	return problem
end

-- has_cookie says whether the X_KM_COOKIE of illumos stands at off.
function Teller:has_cookie(off)
	return self.d.tucked_cookie and self.stop - off >= 16 and self:u16(off) == 2 and self:u16(off + 2) == EXT_COOKIE
end

function Teller:cookie_tail()
	if self.stop - self.off >= 8 then
		self:slots(self.d.structures[self:u32(self.off - 4) == PROTOCOL_IKE and "cookie32" or "cookie64"])
	end
end

function Teller:cookie()
	if self:has_cookie(self.off) then
		self:part("X_KM_COOKIE, inside the length of the proposal", 16)
		self:slots(self.d.ext_header)
		self:slots(self.d.exts[EXT_COOKIE].fields)
		self:cookie_tail()
	end
end

-- algorithm writes one of an X_EPROP.
function Teller:algorithm(off)
	local d, satype, typ, alg, salt = self.d, self:u8(off), self:u8(off + 1), self:u8(off + 2), self:u8(off + 3)
	local kind = d.alg_types[typ]
	local names = kind == "auth" and d.auths or kind == "crypt" and d.encrypts or nil
	local s = string.format("%d (%s), algtype = %d (%s), alg = %d (%s), minbits = %d, maxbits = %d", satype,
		name_of(d.satypes, satype), typ, name_of(d.alg_types, typ), alg, name_of(names, alg), self:u16(off + 4),
		self:u16(off + 6))
	return salt == 0 and s or string.format("%s, saltbits = %d", s, salt)
end

-- What follows the fixed part, for each kind of extensions.
local tails = {
	address = function(t) t:sockaddr("") end,
	cookie = Teller.cookie_tail,
	eprop = function(t)
		local n, i = t:u16(t.off - 2), 1
		while i <= n and t.stop - t.off >= 64 do
			local algs = t:u8(t.off)
			t:part("ecomb " .. i, 64 + 8 * algs)
			t:slots(t.d.structures.ecomb)
			while algs > 0 and t.stop - t.off >= 8 do
				t:add(t.scope, "satype", "bytes", 8, "satype = " .. t:algorithm(t.off))
				algs = algs - 1
			end
			i = i + 1
		end
		t:cookie()
	end,
	ereg = function(t)
		while t.off < t.stop and t:u8(t.off) ~= 0 do
			local n = t:u8(t.off)
			t:add(t.scope, "satype", "bytes", 1, string.format("satype = %d (%s)", n, name_of(t.d.satypes, n)))
		end
	end,
	identity = function(t) t:text("identity", t:upto_nul()) end,
	key = function(t) t:bytes(t.scope, "key", math.floor((t:u16(t.off - 4) + 7) / 8)) end,
	kmaddress = function(t)
		if t:sockaddr("local ") then
			t:sockaddr("remote ")
		end
	end,
	policy = function(t)
		local stop, least, i = t.stop, t.d.request_len, 1
		while stop - t.off >= least do
			local n = t:u16(t.off)
			if n < least or n > stop - t.off then
				break
			end
			t:part("request " .. i, n)
			t.stop = t.off + n
			t:slots(t.d.structures.request)
			if t.off < t.stop and t:sockaddr("source ") then
				t:sockaddr("destination ")
			end
			t:bytes("", "extra", t.stop - t.off)
			t.stop = stop
			i = i + 1
		end
	end,
	proposal = function(t)
		local i = 1
		while t.stop - t.off >= 72 do
			t:part("comb " .. i, 72)
			t:slots(t.d.structures.comb)
			i = i + 1
		end
		t:cookie()
	end,
	secctx = function(t) t:text("context", t:u16(t.off - 2)) end,
	sensitivity = function(t)
		local m, n = t:u8(t.off - 7) * 8, t:u8(t.off - 5) * 8
		if m <= t.stop - t.off then
			t:bytes(t.scope, "bitmap", m)
		end
		if n <= t.stop - t.off then
			t:bytes(t.scope, "integrity bitmap", n)
		end
	end,
	supported = function(t)
		local names = t.number == EXT_AUTHS and t.d.auths or t.d.encrypts
		while t.stop - t.off >= 8 do
			local off = t.off
			local s = string.format("alg = %d (%s), ivlen = %d, minbits = %d, maxbits = %d", t:u8(off),
				name_of(names, t:u8(off)), t:u8(off + 1), t:u16(off + 2), t:u16(off + 4))
			if t:u16(off + 6) ~= 0 then
				s = string.format("%s, increment = %d, saltbits = %d", s, t:u8(off + 6), t:u8(off + 7))
			end
			t:add(t.scope, "alg", "bytes", 8, s)
		end
	end,
	tag = function(t) t:text("name", t:upto_nul()) end,
}

local function pad8(n) return math.floor((n + 7) / 8) * 8 end

-- What is wrong with an extension that has its fixed part, for each kind.
local rules = {
	address = function(t, off, len)
		local d = t.d
		if d.plain_address and len == 8 then
			return
		end
		local size, problem = t:sockaddr_size(off + 8)
		if not size then
			return problem
		elseif d.exact_address and (d.length_byte and t:u8(off + 8) ~= size or len ~= 8 + pad8(size)) then
			return LENGTH
		end
	end,
	cookie = function(_, _, len) return len < 16 and TOO_SHORT end,
	eprop = function(t, off, len)
		local p, stop = off + 8, off + len
		for _ = 1, t:u16(off + 6) do
			if stop - p < 64 or stop - p - 64 < t:u8(p) * 8 then
				return TOO_SHORT
			end
			p = p + 64 + t:u8(p) * 8
		end
	end,
	key = function(t, off, len) return 8 + math.floor((t:u16(off + 4) + 7) / 8) > len and TOO_SHORT end,
	kmaddress = function(t, off) return t:pair_problem(off + 8) end,
	lifetime = function(t, _, len) return t.d.exact_lifetime and len ~= 32 and LENGTH end,
	policy = function(t, off, len)
		local p, stop, least, tunnels = off + 16, off + len, t.d.request_len, {}
		while stop - p >= least do
			local n = t:u16(p)
			if n < least or n > stop - p then
				return LENGTH
			elseif t:u8(p + 4) == MODE_TUNNEL and not (t.d.bare_tunnel and n == least) then
				tunnels[#tunnels + 1] = { p + least, p + n }
			end
			p = p + n
		end
		if t:u16(off + 4) ~= POLICY_IPSEC then
			return
		end
		for _, pair in ipairs(tunnels) do
			local whole = t.stop
			t.stop = pair[2]
			local problem = t:pair_problem(pair[1])
			t.stop = whole
			if problem then
				return problem
			end
		end
	end,
	proposal = function(t, off, len)
		local rest = (len - 8) % 72
		return rest ~= 0 and not (rest == 16 and t:has_cookie(off + len - 16)) and LENGTH
	end,
	secctx = function(t, off, len)
		local n = t:u16(off + 6)
		if 8 + n > len then
			return TOO_SHORT
		end
		return (n > MAX_CONTEXT or len ~= pad8(8 + n)) and LENGTH
	end,
	sensitivity = function(t, off, len) return 16 + (t:u8(off + 9) + t:u8(off + 11)) * 8 > len and TOO_SHORT end,
}

-- begin makes the item of an extension of len bytes.
function Teller:begin(name, len)
	local r = self.tvb(self.off, len)
	self.item = self.root:add(fields["\0extension\0string"], r, name)
	self.item:set_text(string.format("%s, %d bytes", name, len))
	self.tree = self.item
end

function Teller:check_header()
	local words = self:u16(4)
	if self:u8(0) ~= 2 then
		return "version is not 2"
	elseif self.whole % 8 ~= 0 then
		return LENGTH .. ": not a multiple of 8 bytes"
	elseif words * 8 ~= self.whole then
		return LENGTH .. ": the header says another length than the message has"
	end
end

-- base_header tells of it; false if there is no more.
function Teller:base_header()
	local n = math.min(self.len, HEADER_LEN)
	self.off, self.stop, self.scope = 0, n, ""
	self:begin("base header", n)
	self:slots(self.d.header)
	if n < HEADER_LEN then
		self:rest("cut")
		if self.whole < HEADER_LEN then
			self:problem(TOO_SHORT)
		end
		return false
	end
	local problem = self:check_header()
	if problem then
		self:problem(problem)
	end
	self.root:add(fields["\0message\0string"], self.tvb(1, 1), self.message):set_generated()
	local errno = self:u8(2)
	if errno ~= 0 then
		self.item:add_proto_expert_info(refused, name_of(self.d.errnos, errno))
	end
	return true
end

-- extension tells of the one at off; false if there is no more.
function Teller:extension()
	local off, rest = self.off, self.len - self.off
	self.stop = self.len
	if rest < EXT_HEADER_LEN then
		self:begin("trailing bytes", rest)
		self:rest("data")
		if self.whole - off < EXT_HEADER_LEN then
			self:problem(TOO_SHORT .. " for the header of an extension")
		end
		return false
	end
	local n, number = self:u16(off) * 8, self:u16(off + 2)
	local x = self.d.exts[number]
	self.number, self.scope = number, x and "." .. x.name or ".unknown"
	local is_cut = n > rest and n <= self.whole - off
	if n > 0 and n <= rest then
		self.stop = off + n
	end
	self:begin(x and x.name or unknown(number), self.stop - off)
	self:slots(self.d.ext_header)
	if n == 0 then
		self:rest("data")
		self:problem(LENGTH .. ": it is zero")
		return false
	elseif n > rest and not is_cut then
		self:rest("data")
		self:problem(LENGTH .. ": it lies past the end of the message")
		return false
	end
	if not x then
		self:rest("data")
		if number == 0 then
			self:problem("extension type is unknown")
		end
	else
		if self:slots(x.fields) and tails[x.kind] then
			tails[x.kind](self)
		end
		self:rest("extra")
		local problem
		if is_cut then
			self.item:add_proto_expert_info(cut)
		elseif n < x.min then
			problem = TOO_SHORT
		else
			problem = rules[x.kind] and rules[x.kind](self, off, n)
		end
		if problem then
			self:problem(problem)
		end
		if self.seen[number] then
			self:problem("comes twice")
		end
		self.seen[number] = true
		if number == EXT_SA and n >= 16 and self.stop - off >= 8 then
			self.spi = self.tvb(off + 4, 4):uint()
		end
	end
	self.off = self.stop
	return self.off < self.len
end

-- dialect_of finds the dialect of a message; nil if it is something else of this link type.
local function dialect_of(tvb)
	local text = interface_description()
	text = text and tostring(text.value) or ""
	local named = text:find("^PF_KEY version 2") and dialects[text:match("dialect (%w+)$") or ""]
	if named then
		return named
	end
	local n = tvb:reported_len()
	if tvb:len() < HEADER_LEN or tvb(0, 1):uint() ~= 2 or tvb(4, 2):uint() * 8 ~= n and tvb(4, 2):le_uint() * 8 ~= n then
		return nil
	end
	return numbered[pfkey.prefs.dialect] or dialects[1]
end

local function is_big(tvb)
	local n = tvb:reported_len()
	if tvb:len() < 6 or tvb(4, 2):le_uint() * 8 == n then
		return tvb:len() < 6 and pfkey.prefs.big_endian
	end
	return tvb(4, 2):uint() * 8 == n or pfkey.prefs.big_endian
end

function pfkey.dissector(tvb, pinfo, tree)
	local d = dialect_of(tvb)
	if not d then
		return 0
	end
	pinfo.cols.protocol = "PF_KEY"
	if pinfo.p2p_dir == 0 then
		pinfo.cols.src, pinfo.cols.dst = "program", "kernel"
	elseif pinfo.p2p_dir == 1 then
		pinfo.cols.src, pinfo.cols.dst = "kernel", "program"
	end
	if tvb:len() == 0 then
		pinfo.cols.info = "an empty message"
		tree:add(pfkey):add_proto_expert_info(malformed, TOO_SHORT)
		return 0
	end
	local t = setmetatable({ d = d, tvb = tvb, big = is_big(tvb), len = tvb:len(), whole = tvb:reported_len(), seen = {} },
		Teller)
	t.root = tree:add(pfkey, tvb())
	t.root:set_text(string.format("PF_KEY of %s, %s endian", d.name, t.big and "big" or "little"))
	if t.len < HEADER_LEN then
		pinfo.cols.info = string.format("%d bytes, too few for a base header", t.len)
		t:base_header()
		return t.len
	end
	t.message, t.satype = name_of(d.messages, t:u8(1)), name_of(d.satypes, t:u8(3))
	t:base_header()
	t.off = HEADER_LEN
	while t.off < t.len and t:extension() do end
	local errno = t:u8(2)
	pinfo.cols.info = string.format("%s %s seq=%d pid=%d%s%s", t.message, t.satype, t:u32(8), t:u32(12),
		t.spi and string.format(" spi=0x%x", t.spi) or "", errno ~= 0 and " " .. name_of(d.errnos, errno) or "")
	return t.len
end

DissectorTable.get("wtap_encap"):add((wtap or wtap_encaps).USER0, pfkey)

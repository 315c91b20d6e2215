/*
 * A key manager in C, for the headers of 'pfkeyd headers' and the sockets of 'pfkeyd run --hosted'. One source for all
 * kernels: it asks the kernel for everything that a key manager asks for, and checks every answer.
 *
 *	pfkeyd run --kernel NAME --hosted --addr 192.0.2.1 --addr 2001:db8::1 --clock virtual -- \
 *		keymanager PACKET CLOCK
 *
 * PACKET is a command that has the host send a packet from 192.0.2.1 to 192.0.2.9, which a policy protects. CLOCK is a
 * command that takes an amount of time and moves the clock so far.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <net/pfkeyv2.h>
#include <pfkeyd/layout.h>

/* Which kernel it is, by what its headers have. */
#ifdef SADB_X_EXT_FLOW_TYPE
#define OPENBSD 1
#include <netinet/ip_ipsp.h>
#define IPSEC_MODE_TRANSPORT 1 /* a flag of the SA */
#define IPSEC_MODE_TUNNEL 2
#else
#define OPENBSD 0
#include <netipsec/ipsec.h>
#endif
#ifdef SADB_X_SATYPE_TCPSIGNATURE
#define BSD 1
#else
#define BSD 0
#endif
#define KAME_BSD (BSD && !OPENBSD)
#if BSD && defined(SADB_X_NAT_T_NEW_MAPPING)
#define NETBSD 1
#else
#define NETBSD 0
#endif

/* what a kernel says of an SA that it has not */
#define NO_SA (NETBSD ? ENOENT : ESRCH)

#ifndef SADB_X_EALG_AES
#define SADB_X_EALG_AES SADB_X_EALG_AESCBC
#endif

static int checks, failures;
static const char *doing = "start";

/* check counts a check, and says what is wrong if it fails. */
static bool check(bool ok, const char *format, ...)
{
	va_list a;

	checks++;
	if (ok)
		return true;
	failures++;
	printf("FAIL %s: ", doing);
	va_start(a, format);
	vprintf(format, a);
	va_end(a);
	printf("\n");
	return false;
}

/* ---- Messages. One is made at a time. */

static union {
	struct sadb_msg msg;
	unsigned char bytes[16384];
} out, in;

static uint32_t seq;

static void begin(int type, int satype)
{
	memset(&out, 0, sizeof(out));
	out.msg.sadb_msg_version = PF_KEY_V2;
	out.msg.sadb_msg_type = type;
	out.msg.sadb_msg_satype = satype;
	out.msg.sadb_msg_len = sizeof(out.msg) / 8;
	out.msg.sadb_msg_seq = ++seq;
	out.msg.sadb_msg_pid = getpid();
}

/* extend appends n zero bytes, up to a word, as an extension. */
static void *extend(int type, size_t n)
{
	struct sadb_ext *ext = (void *)(out.bytes + out.msg.sadb_msg_len * 8);

	n = (n + 7) / 8;
	ext->sadb_ext_len = n;
	ext->sadb_ext_type = type;
	out.msg.sadb_msg_len += n;
	return ext;
}

typedef union {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
} address;

static address parse(const char *text, int port)
{
	address a;

	memset(&a, 0, sizeof(a));
	if (inet_pton(AF_INET, text, &a.in.sin_addr) == 1) {
		a.in.sin_family = AF_INET;
		a.in.sin_port = htons(port);
	} else if (inet_pton(AF_INET6, text, &a.in6.sin6_addr) == 1) {
		a.in6.sin6_family = AF_INET6;
		a.in6.sin6_port = htons(port);
	} else {
		abort();
	}
	return a;
}

static size_t size_of(const address *a)
{
	return a->sa.sa_family == AF_INET ? sizeof(a->in) : sizeof(a->in6);
}

static void put_address(int type, address a, int prefix)
{
	struct sadb_address *ext = extend(type, sizeof(*ext) + size_of(&a));

#if OPENBSD
	(void)prefix;
#else
	ext->sadb_address_proto = IPSEC_ULPROTO_ANY;
	ext->sadb_address_prefixlen = prefix < 0 ? (a.sa.sa_family == AF_INET ? 32 : 128) : prefix;
#endif
	memcpy(ext + 1, &a, size_of(&a));
}

static void put_addresses(address src, address dst)
{
	put_address(SADB_EXT_ADDRESS_SRC, src, -1);
	put_address(SADB_EXT_ADDRESS_DST, dst, -1);
}

static void put_sa(uint32_t spi)
{
	struct sadb_sa *ext = extend(SADB_EXT_SA, sizeof(*ext));

	ext->sadb_sa_spi = htonl(spi);
	ext->sadb_sa_replay = 4;
	ext->sadb_sa_state = SADB_SASTATE_MATURE;
	ext->sadb_sa_auth = SADB_AALG_SHA1HMAC;
	ext->sadb_sa_encrypt = SADB_X_EALG_AES;
}

static void *find_in(unsigned char *msg, int type);

static void put_mode(int mode)
{
#if OPENBSD
	struct sadb_sa *ext = find_in(out.bytes, SADB_EXT_SA);

	if (ext != NULL && mode == IPSEC_MODE_TUNNEL)
		ext->sadb_sa_flags |= SADB_X_SAFLAGS_TUNNEL;
#else
	struct sadb_x_sa2 *ext = extend(SADB_X_EXT_SA2, sizeof(*ext));

	ext->sadb_x_sa2_mode = mode;
#endif
}

static const char encrypt_key[] = "an AES key of 16", auth_key[] = "a HMAC-SHA1 key, 20.";

static void put_keys(void)
{
	struct sadb_key *ext = extend(SADB_EXT_KEY_ENCRYPT, sizeof(*ext) + 16);

	ext->sadb_key_bits = 128;
	memcpy(ext + 1, encrypt_key, 16);
	ext = extend(SADB_EXT_KEY_AUTH, sizeof(*ext) + 20);
	ext->sadb_key_bits = 160;
	memcpy(ext + 1, auth_key, 20);
}

static void put_lifetime(int type, uint64_t seconds)
{
	struct sadb_lifetime *ext = extend(type, sizeof(*ext));

	ext->sadb_lifetime_addtime = seconds;
}

#if OPENBSD
/* put_flow is for packets between two ends with so many bits, in a direction, and wants what kind says. */
static void put_flow(int kind, int dir, address src, address dst, int bits)
{
	struct sadb_protocol *type;
	address mask[2] = { src, dst };

	for (size_t i = 0; i < 2; i++) {
		unsigned char *p = (void *)&mask[i].in6.sin6_addr;
		int whole = bits;

		if (src.sa.sa_family == AF_INET)
			p = (void *)&mask[i].in.sin_addr;
		memset(p, 0, src.sa.sa_family == AF_INET ? 4 : 16);
		if (i == 0)
			whole = src.sa.sa_family == AF_INET ? 32 : 128;
		memset(p, 0xff, whole / 8);
	}
	put_address(SADB_X_EXT_SRC_MASK, mask[0], -1);
	put_address(SADB_X_EXT_DST_MASK, mask[1], -1);
	put_address(SADB_X_EXT_SRC_FLOW, src, -1);
	put_address(SADB_X_EXT_DST_FLOW, dst, -1);
	type = extend(SADB_X_EXT_FLOW_TYPE, sizeof(*type));
	type->sadb_protocol_proto = kind;
	type->sadb_protocol_direction = dir;
}
#else
/* put_policy demands ESP, in a tunnel from src to dst unless they are nil. */
static void put_policy(int dir, uint32_t id, const address *src, const address *dst)
{
	size_t n = sizeof(struct sadb_x_ipsecrequest) + (src != NULL ? size_of(src) + size_of(dst) : 0);
	struct sadb_x_policy *ext;
	struct sadb_x_ipsecrequest *request;

	n = (n + 7) & ~7;
	ext = extend(SADB_X_EXT_POLICY, sizeof(*ext) + n);
	ext->sadb_x_policy_type = IPSEC_POLICY_IPSEC;
	ext->sadb_x_policy_dir = dir;
	ext->sadb_x_policy_id = id;
	request = (void *)(ext + 1);
	request->sadb_x_ipsecrequest_len = n;
	request->sadb_x_ipsecrequest_proto = IPPROTO_ESP;
	request->sadb_x_ipsecrequest_mode = src != NULL ? IPSEC_MODE_TUNNEL : IPSEC_MODE_TRANSPORT;
	request->sadb_x_ipsecrequest_level = IPSEC_LEVEL_REQUIRE;
	if (src != NULL) {
		memcpy(request + 1, src, size_of(src));
		memcpy((char *)(request + 1) + size_of(src), dst, size_of(dst));
	}
}
#endif

/* ---- The conversation. */

static int open_socket(void)
{
	int s = socket(PF_KEY, SOCK_RAW, PF_KEY_V2);

	if (s < 0) {
		perror("socket");
		exit(1);
	}
	return s;
}

/* next reads a message that lies in the socket already; false if there is none. */
static bool next(int s)
{
	ssize_t n = recv(s, &in, sizeof(in), MSG_DONTWAIT);

	if (n < 0)
		return false;
	if (NETBSD && in.msg.sadb_msg_type == SADB_X_PROMISC)
		in.msg.sadb_msg_len = n / 8; /* it counts the header of what it wraps twice */
	return check(n >= (ssize_t)sizeof(in.msg) && n == in.msg.sadb_msg_len * 8, "a message of %zd bytes says %d words",
		n, in.msg.sadb_msg_len);
}

static void drain(int s)
{
	while (next(s))
		;
}

/* answer looks for the answer to the last request, which lies there when send has returned. */
static bool answer(int s)
{
	while (next(s))
		if (in.msg.sadb_msg_type == out.msg.sadb_msg_type && in.msg.sadb_msg_seq == out.msg.sadb_msg_seq &&
			in.msg.sadb_msg_pid == out.msg.sadb_msg_pid)
			return true;
	return check(false, "no answer");
}

static bool send_out(int s, size_t n)
{
	return send(s, &out, n, 0) == (ssize_t)n;
}

/* request sends what was made, and wants this errno in the answer. */
static bool request(int s, int want)
{
	drain(s);
	if (!check(send_out(s, out.msg.sadb_msg_len * 8), "send: %s", strerror(errno)) || !answer(s))
		return false;
	return check(in.msg.sadb_msg_errno == want, "the answer's errno is %d (%s), want %d (%s)", in.msg.sadb_msg_errno,
		strerror(in.msg.sadb_msg_errno), want, strerror(want));
}

/* refused sends n bytes, and wants send itself to fail. */
static void refused(int s, size_t n, int want)
{
	bool sent;

	drain(s);
	errno = 0;
	sent = send_out(s, n);
	check(!sent && errno == want, "send of %zu bytes: %s, want %s", n, sent ? "done" : strerror(errno), strerror(want));
}

/* find is an extension of the message in a buffer, which begins behind its header; NULL if it has none. */
static void *find_in(unsigned char *msg, int type)
{
	size_t end = ((struct sadb_msg *)msg)->sadb_msg_len * 8, off = sizeof(struct sadb_msg);

	while (off + sizeof(struct sadb_ext) <= end) {
		struct sadb_ext *ext = (void *)(msg + off);

		if (ext->sadb_ext_len == 0 || off + ext->sadb_ext_len * 8 > end)
			break;
		if (ext->sadb_ext_type == type)
			return ext;
		off += ext->sadb_ext_len * 8;
	}
	return NULL;
}

static void *find(int type)
{
	return find_in(in.bytes, type);
}

/* want is an extension that the answer must have. */
static void *want(int type)
{
	void *ext = find(type);

	check(ext != NULL, "the answer has no extension %d", type);
	return ext;
}

static const char *show(const void *sockaddr)
{
	static char text[2][INET6_ADDRSTRLEN + 24];
	static int turn;
	const address *a = sockaddr;
	char *s = text[turn ^= 1];

	if (a->sa.sa_family == AF_INET)
		inet_ntop(AF_INET, &a->in.sin_addr, s, sizeof(text[0]));
	else if (a->sa.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &a->in6.sin6_addr, s, sizeof(text[0]));
	else
		snprintf(s, sizeof(text[0]), "family %d", a->sa.sa_family);
	return s;
}

/* same compares families and addresses; ports are the kernel's own business. */
static bool same(const void *sockaddr, const address *a)
{
	address got;

	memcpy(&got, sockaddr, size_of(a));
	if (got.sa.sa_family != a->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return memcmp(&got.in.sin_addr, &a->in.sin_addr, sizeof(a->in.sin_addr)) == 0;
	return memcmp(&got.in6.sin6_addr, &a->in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0;
}

static void want_address(int type, address a)
{
	struct sadb_address *ext = want(type);

	if (ext == NULL)
		return;
	check(ext->sadb_address_len * 8 == sizeof(*ext) + ((size_of(&a) + 7) & ~7), "address %d has %d words", type,
		ext->sadb_address_len);
	check(same(ext + 1, &a), "address %d is %s, want %s", type, show(ext + 1), show(&a));
}

static void want_addresses(address src, address dst)
{
	want_address(SADB_EXT_ADDRESS_SRC, src);
	want_address(SADB_EXT_ADDRESS_DST, dst);
}

static void want_spi(uint32_t spi)
{
	struct sadb_sa *ext = want(SADB_EXT_SA);

	if (ext != NULL)
		check(ntohl(ext->sadb_sa_spi) == spi, "the SPI is %#x, want %#x", ntohl(ext->sadb_sa_spi), spi);
}

/* is_of says whether a message is of this SA. */
static bool is_of(uint32_t spi)
{
	struct sadb_sa *ext = find(SADB_EXT_SA);

	return ext != NULL && ntohl(ext->sadb_sa_spi) == spi;
}

static void want_key(int type, const char *key, size_t n)
{
	struct sadb_key *ext = want(type);

	if (ext != NULL)
		check(ext->sadb_key_bits == 8 * n && memcmp(ext + 1, key, n) == 0, "key %d is another one", type);
}

#if !OPENBSD
/* want_endpoints looks at those in the only request of a policy. */
static void want_endpoints(const address *src, const address *dst)
{
	struct sadb_x_policy *ext = want(SADB_X_EXT_POLICY);
	struct sadb_x_ipsecrequest *request;
	char *p;

	if (ext == NULL || !check(ext->sadb_x_policy_len * 8u >= sizeof(*ext) + sizeof(*request), "no request"))
		return;
	request = (void *)(ext + 1);
	check(request->sadb_x_ipsecrequest_proto == IPPROTO_ESP, "the request is for %d", request->sadb_x_ipsecrequest_proto);
	check(request->sadb_x_ipsecrequest_level == IPSEC_LEVEL_REQUIRE, "its level is %d",
		request->sadb_x_ipsecrequest_level);
	p = (char *)(request + 1);
	if (src != NULL && check(request->sadb_x_ipsecrequest_len >= sizeof(*request) + size_of(src) + size_of(dst),
			"a request of %d bytes", request->sadb_x_ipsecrequest_len)) {
		check(same(p, src), "it begins at %s, want %s", show(p), show(src));
		p += size_of(src);
		check(same(p, dst), "it ends at %s, want %s", show(p), show(dst));
	}
}
#endif

/* ---- What a key manager does. */

static address us4, peer4, us6, peer6;
static uint32_t spi4, spi6;

static void registers(int s)
{
	static const int types[] = { SADB_SATYPE_ESP, SADB_SATYPE_AH };

	for (size_t i = 0; i < 2; i++) {
		static const int kinds[] = { SADB_EXT_SUPPORTED_AUTH, SADB_EXT_SUPPORTED_ENCRYPT };
		static const int algs[] = { SADB_AALG_SHA1HMAC, SADB_X_EALG_AES };

		doing = i == 0 ? "register ESP" : "register AH";
		begin(SADB_REGISTER, types[i]);
		if (!request(s, 0))
			continue;
		for (size_t kind = 0; kind < 2; kind++) {
			struct sadb_supported *ext = want(kinds[kind]);
			struct sadb_alg *alg;
			bool found = false;

			if (ext == NULL)
				continue;
			for (alg = (void *)(ext + 1); alg < (struct sadb_alg *)((uint64_t *)ext + ext->sadb_supported_len); alg++)
				found |= alg->sadb_alg_id == algs[kind];
			check(found, "algorithm %d is not in list %d", algs[kind], kinds[kind]);
		}
	}
}

static void flushes(int s)
{
	doing = "flush";
	begin(SADB_FLUSH, SADB_SATYPE_UNSPEC);
	request(s, 0);
#if !OPENBSD /* flows have gone with the SAs */
	doing = "flush policies";
	begin(SADB_X_SPDFLUSH, SADB_SATYPE_UNSPEC);
	request(s, 0);
#endif
}

static uint32_t getspi(int s, const char *what, address src, address dst)
{
	struct sadb_spirange *range;
	struct sadb_sa *sa;

	doing = what;
	begin(SADB_GETSPI, SADB_SATYPE_ESP);
	put_mode(IPSEC_MODE_TUNNEL);
	put_addresses(src, dst);
	range = extend(SADB_EXT_SPIRANGE, sizeof(*range));
	range->sadb_spirange_min = 0x1000;
	range->sadb_spirange_max = 0x1fff;
	if (!request(s, 0) || (sa = want(SADB_EXT_SA)) == NULL)
		return 0;
	check(ntohl(sa->sadb_sa_spi) >= 0x1000 && ntohl(sa->sadb_sa_spi) <= 0x1fff, "the SPI is %#x", ntohl(sa->sadb_sa_spi));
	want_addresses(src, dst);
	return ntohl(sa->sadb_sa_spi);
}

/* install is an UPDATE of a larval SA, or an ADD. */
static void install(int s, const char *what, int type, uint32_t spi, address src, address dst)
{
	doing = what;
	begin(type, SADB_SATYPE_ESP);
	put_sa(spi);
	put_mode(IPSEC_MODE_TUNNEL);
	put_addresses(src, dst);
	put_lifetime(SADB_EXT_LIFETIME_HARD, 3600);
	put_lifetime(SADB_EXT_LIFETIME_SOFT, 1800);
	put_keys();
	if (request(s, 0)) {
		want_spi(spi);
		want_addresses(src, dst);
	}
}

static void name(int type, uint32_t spi, address src, address dst)
{
	begin(type, SADB_SATYPE_ESP);
	put_sa(spi);
	put_addresses(src, dst);
}

static void gets(int s, const char *what, uint32_t spi, address src, address dst)
{
	struct sadb_sa *sa;
	struct sadb_lifetime *hard;

	doing = what;
	name(SADB_GET, spi, src, dst);
	if (!request(s, 0))
		return;
	want_spi(spi);
	want_addresses(src, dst);
	if ((sa = want(SADB_EXT_SA)) != NULL)
		check(sa->sadb_sa_state == SADB_SASTATE_MATURE && sa->sadb_sa_encrypt == SADB_X_EALG_AES &&
			sa->sadb_sa_auth == SADB_AALG_SHA1HMAC, "state %d, encryption %d, authentication %d", sa->sadb_sa_state,
			sa->sadb_sa_encrypt, sa->sadb_sa_auth);
	if ((hard = want(SADB_EXT_LIFETIME_HARD)) != NULL)
		check(hard->sadb_lifetime_addtime == 3600, "it lives %d s", (int)hard->sadb_lifetime_addtime);
	want_key(SADB_EXT_KEY_ENCRYPT, encrypt_key, 16);
	want_key(SADB_EXT_KEY_AUTH, auth_key, 20);
}

static void dumps(int s, int want_v4, int want_v6)
{
	int v4 = 0, v6 = 0, others = 0;

	doing = "dump";
	drain(s);
	begin(SADB_DUMP, SADB_SATYPE_UNSPEC);
	check(send_out(s, 16), "send: %s", strerror(errno));
	while (next(s)) {
		struct sadb_address *dst = find(SADB_EXT_ADDRESS_DST);

		if (in.msg.sadb_msg_type != SADB_DUMP || dst == NULL)
			continue;
		if (((struct sockaddr *)(dst + 1))->sa_family == AF_INET)
			v4++;
		else if (((struct sockaddr *)(dst + 1))->sa_family == AF_INET6)
			v6++;
		else
			others++;
	}
	check(v4 == want_v4 && v6 == want_v6 && others == 0, "%d IPv4, %d IPv6, %d others, want %d, %d and none", v4, v6,
		others, want_v4, want_v6);
}

/* faults are what a kernel refuses, in the numbers of this machine. */
static void faults(int s)
{
	doing = "add what is there";
	begin(SADB_ADD, SADB_SATYPE_ESP);
	put_sa(spi4);
	put_mode(IPSEC_MODE_TUNNEL);
	put_addresses(peer4, us4);
	put_keys();
	if (request(s, EEXIST) && KAME_BSD) /* they answer with the request itself */
		check(in.msg.sadb_msg_len == out.msg.sadb_msg_len &&
			memcmp(in.bytes + 16, out.bytes + 16, out.msg.sadb_msg_len * 8 - 16) == 0, "the request comes back changed");

	doing = "get what is not there";
	name(SADB_GET, 0x7777, peer4, us4);
	request(s, NO_SA);

	doing = "a message that is too short";
	begin(SADB_FLUSH, SADB_SATYPE_UNSPEC);
	refused(s, 8, BSD ? EINVAL : EMSGSIZE);
	if (!BSD)
		return;

	doing = "an SA type that nobody has";
	begin(SADB_FLUSH, SADB_SATYPE_RSVP);
	if (OPENBSD)
		refused(s, 16, EINVAL);
	else
		request(s, EOPNOTSUPP);

	doing = "a message that is too long";
	begin(SADB_FLUSH, SADB_SATYPE_UNSPEC);
	extend(SADB_EXT_KEY_AUTH, 4096);
	refused(s, out.msg.sadb_msg_len * 8, OPENBSD ? EMSGSIZE : ENOBUFS);
	refused(s, 12000, EMSGSIZE);

	doing = "addresses of two families";
	name(SADB_GET, spi4, peer4, us6);
	request(s, OPENBSD ? ESRCH : EINVAL); /* that is another SA */

#if OPENBSD
	doing = "the number of another process";
	name(SADB_GET, spi4, peer4, us4);
	out.msg.sadb_msg_pid++;
	refused(s, out.msg.sadb_msg_len * 8, EINVAL);
#endif

	doing = "an address of no family";
	address none = us4;
	none.sa.sa_family = AF_UNIX;
	name(SADB_GET, spi4, none, none);
	refused(s, out.msg.sadb_msg_len * 8, EINVAL);
}

#if OPENBSD
/* policies adds flows, and leaves that for packets to 192.0.2.9. */
static void policies(int s)
{
	const struct {
		const char *what, *to;
		int dir, bits;
		const address *local, *peer;
	} all[] = {
		{ "a flow for a tunnel", "10.2.0.0", IPSP_DIRECTION_OUT, 16, &us4, &peer4 },
		{ "a flow for a tunnel over IPv6", "10.3.0.0", IPSP_DIRECTION_IN, 16, &us6, &peer6 },
		{ "a flow for IPv6", "2001:db8:9::", IPSP_DIRECTION_OUT, 48, &us6, &peer6 },
		{ "a flow for transport", "192.0.2.9", IPSP_DIRECTION_OUT, 32, &us4, NULL },
	};
	const size_t count = sizeof(all) / sizeof(all[0]);

	for (size_t i = 0; i < count; i++) {
		address to = parse(all[i].to, 0), from = to.sa.sa_family == AF_INET6 ? us6 : us4;

		doing = all[i].what;
		begin(SADB_X_ADDFLOW, SADB_SATYPE_ESP);
		put_addresses(*all[i].local, all[i].peer != NULL ? *all[i].peer : to);
		put_flow(SADB_X_FLOW_TYPE_REQUIRE, all[i].dir, from, to, all[i].bits);
		if (request(s, 0)) {
			want_address(SADB_X_EXT_SRC_FLOW, from);
			want_address(SADB_X_EXT_DST_FLOW, to);
			want_addresses(*all[i].local, all[i].peer != NULL ? *all[i].peer : to);
		}
	}
	doing = "delete flows";
	for (size_t i = 0; i < count - 1; i++)
		for (int again = 0; again < 2; again++) {
			address to = parse(all[i].to, 0), from = to.sa.sa_family == AF_INET6 ? us6 : us4;

			begin(SADB_X_DELFLOW, SADB_SATYPE_ESP);
			put_flow(SADB_X_FLOW_TYPE_REQUIRE, all[i].dir, from, to, all[i].bits);
			request(s, again ? ESRCH : 0);
		}
}

/* asks asks for the flow that has led to an ACQUIRE. */
static void asks(int s, uint32_t number)
{
	struct sadb_x_policy *policy;

	doing = "ask for the flow";
	begin(SADB_X_ASKPOLICY, SADB_SATYPE_UNSPEC);
	policy = extend(SADB_X_EXT_POLICY, sizeof(*policy));
	policy->sadb_x_policy_seq = number;
	if (!request(s, 0))
		return;
	want_address(SADB_X_EXT_SRC_FLOW, us4);
	want_address(SADB_X_EXT_DST_FLOW, parse("192.0.2.9", 0));
	want_address(SADB_X_EXT_DST_MASK, parse("255.255.255.255", 0));
	begin(SADB_X_ASKPOLICY, SADB_SATYPE_UNSPEC);
	policy = extend(SADB_X_EXT_POLICY, sizeof(*policy));
	policy->sadb_x_policy_seq = number + 77;
	request(s, ESRCH);
}
#else
/* policies adds them, finds them again, and leaves those for packets to 192.0.2.9. */
static void policies(int s)
{
	const struct {
		const char *what, *to;
		int dir;
		const address *src, *dst;
	} all[] = {
		{ "a policy for a tunnel", "10.2.0.0", IPSEC_DIR_OUTBOUND, &us4, &peer4 },
		{ "a policy for a tunnel over IPv6", "10.3.0.0", IPSEC_DIR_INBOUND, &peer6, &us6 },
		{ "a policy for IPv6", "2001:db8:9::", IPSEC_DIR_OUTBOUND, &us6, &peer6 },
		{ "a policy for transport", "192.0.2.9", IPSEC_DIR_OUTBOUND, NULL, NULL },
	};
	const size_t count = sizeof(all) / sizeof(all[0]);
	uint32_t ids[sizeof(all) / sizeof(all[0])] = { 0 };
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		address to = parse(all[i].to, 0), from = to.sa.sa_family == AF_INET6 ? us6 : us4;
		struct sadb_x_policy *policy;

		doing = all[i].what;
		begin(SADB_X_SPDADD, SADB_SATYPE_UNSPEC);
		put_policy(all[i].dir, 0, all[i].src, all[i].dst);
		put_address(SADB_EXT_ADDRESS_SRC, from, -1);
		put_address(SADB_EXT_ADDRESS_DST, to, -1);
		if (!request(s, 0))
			continue;
		want_addresses(from, to);
		if ((policy = want(SADB_X_EXT_POLICY)) != NULL)
			ids[i] = policy->sadb_x_policy_id;

		begin(SADB_X_SPDGET, SADB_SATYPE_UNSPEC);
		struct sadb_x_policy *ask = extend(SADB_X_EXT_POLICY, sizeof(*ask));
		ask->sadb_x_policy_dir = all[i].dir;
		ask->sadb_x_policy_id = ids[i];
		if (request(s, 0)) {
			want_addresses(from, to);
			want_endpoints(all[i].src, all[i].dst);
		}
	}

	doing = "add a policy that is there";
	begin(SADB_X_SPDADD, SADB_SATYPE_UNSPEC);
	put_policy(IPSEC_DIR_OUTBOUND, 0, NULL, NULL);
	put_addresses(us4, parse("192.0.2.9", 0));
	request(s, EEXIST);

	doing = "dump policies";
	drain(s);
	begin(SADB_X_SPDDUMP, SADB_SATYPE_UNSPEC);
	check(send_out(s, 16), "send: %s", strerror(errno));
	while (next(s)) {
		struct sadb_x_policy *policy = find(SADB_X_EXT_POLICY);

		for (size_t i = 0; i < count && policy != NULL; i++)
			if (policy->sadb_x_policy_id == ids[i]) {
				found++;
				want_address(SADB_EXT_ADDRESS_DST, parse(all[i].to, 0));
				want_endpoints(all[i].src, all[i].dst);
			}
	}
	check(found == count, "%zu of %zu policies", found, count);

	doing = "delete policies";
	for (size_t i = 0; i < count - 1; i++) {
		begin(SADB_X_SPDDELETE2, SADB_SATYPE_UNSPEC);
		struct sadb_x_policy *ask = extend(SADB_X_EXT_POLICY, sizeof(*ask));
		ask->sadb_x_policy_dir = all[i].dir;
		ask->sadb_x_policy_id = ids[i];
		request(s, 0);
	}
}

#endif

/* acquires has the host send a packet that a policy protects. The kernel wants an SA for it; its number is returned. */
static uint32_t acquires(int s, const char *packet)
{
	uint32_t number = 0;

	doing = "acquire";
	drain(s);
	check(system(packet) == 0, "the packet: %s", packet);
	while (next(s)) {
		if (in.msg.sadb_msg_type != SADB_ACQUIRE)
			continue;
		number = in.msg.sadb_msg_seq;
		check(in.msg.sadb_msg_pid == 0 && number != 0, "process %d, number %d", in.msg.sadb_msg_pid, number);
		want_addresses(us4, parse("192.0.2.9", 0));
		want(SADB_EXT_PROPOSAL);
		if (!OPENBSD)
			want(SADB_X_EXT_POLICY);
	}
	check(number != 0, "the kernel does not ask for an SA");
	return number;
}

/* expires gives the kernel the SA that it wants, uses it, and moves the clock until it has reached its limits. */
static void expires(int s, uint32_t number, const char *packet, const char *clock)
{
	static const int limits[] = { SADB_EXT_LIFETIME_SOFT, SADB_EXT_LIFETIME_HARD };
	address peer = parse("192.0.2.9", 0);
	char command[512];

	doing = "add what the kernel wants";
	begin(SADB_ADD, SADB_SATYPE_ESP);
	out.msg.sadb_msg_seq = number;
	put_sa(0x2222);
	put_mode(IPSEC_MODE_TRANSPORT);
	put_addresses(us4, peer);
	put_lifetime(SADB_EXT_LIFETIME_HARD, 30);
	put_lifetime(SADB_EXT_LIFETIME_SOFT, 10);
	put_keys();
	request(s, 0);
	check(system(packet) == 0, "the packet: %s", packet);
	for (size_t i = 0; i < 2; i++) {
		bool heard = false;

		doing = i == 0 ? "expire softly" : "expire";
		drain(s);
		snprintf(command, sizeof(command), "%s +%ds", clock, i == 0 ? 12 : 22);
		check(system(command) == 0, "the clock: %s", command);
		while (next(s))
			if (in.msg.sadb_msg_type == SADB_EXPIRE && is_of(0x2222)) {
				struct sadb_lifetime *current = want(SADB_EXT_LIFETIME_CURRENT);

				heard |= find(limits[i]) != NULL;
				want_addresses(us4, peer);
				check(find(limits[1 - i]) == NULL, "both limits at once");
				check(current == NULL || current->sadb_lifetime_bytes > 0, "nobody has used it");
			}
		if (NETBSD && i == 1) /* it goes without a word */
			check(!heard, "the kernel tells of it");
		else
			check(heard, "the kernel does not tell of it");
	}
	name(SADB_GET, 0x2222, us4, peer);
	request(s, NO_SA);
}

/* watches hears on a second socket what happens on the first: the BSDs wrap it in X_PROMISC, Linux does not. */
static void watches(int s)
{
	int watcher = open_socket();
	bool heard = false;

	doing = "watch";
	begin(SADB_X_PROMISC, 1);
	request(watcher, 0);
	drain(watcher);
	name(SADB_GET, 0x7777, peer6, us6);
	request(s, NO_SA);
	while (next(watcher)) {
		bool wraps = in.msg.sadb_msg_type == SADB_X_PROMISC && in.msg.sadb_msg_len * 8u >= 2 * sizeof(in.msg);
		struct sadb_address *dst;

		if (wraps != BSD)
			continue;
		dst = find_in(in.bytes + (wraps ? sizeof(in.msg) : 0), SADB_EXT_ADDRESS_DST);
		if (dst != NULL) {
			heard = true;
			check(same(dst + 1, &us6), "it was sent to %s, want %s", show(dst + 1), show(&us6));
		}
	}
	check(heard, "it hears nothing");
	close(watcher);
}

/* natt adds an SA behind a NAT, with the addresses in front of it. */
static void natt(int s)
{
#if OPENBSD
	struct sadb_x_udpencap *encap;

	doing = "add an SA behind a NAT";
	begin(SADB_ADD, SADB_SATYPE_ESP);
	put_sa(0x3333);
	put_mode(IPSEC_MODE_TUNNEL);
	((struct sadb_sa *)find_in(out.bytes, SADB_EXT_SA))->sadb_sa_flags |= SADB_X_SAFLAGS_UDPENCAP;
	put_addresses(peer4, us4);
	put_keys();
	encap = extend(SADB_X_EXT_UDPENCAP, sizeof(*encap));
	encap->sadb_x_udpencap_port = htons(4501);
	request(s, 0);

	doing = "get it";
	name(SADB_GET, 0x3333, peer4, us4);
	if (request(s, 0) && (encap = want(SADB_X_EXT_UDPENCAP)) != NULL)
		check(encap->sadb_x_udpencap_port == htons(4501), "its port is %d", ntohs(encap->sadb_x_udpencap_port));
#else
	struct sadb_x_nat_t_type *type;
	struct sadb_x_nat_t_port *port;

	doing = "add an SA behind a NAT";
	begin(SADB_ADD, SADB_SATYPE_ESP);
	put_sa(0x3333);
	put_mode(IPSEC_MODE_TUNNEL);
	put_addresses(peer4, us4);
	put_keys();
	type = extend(SADB_X_EXT_NAT_T_TYPE, sizeof(*type));
	type->sadb_x_nat_t_type_type = 2;
	port = extend(SADB_X_EXT_NAT_T_SPORT, sizeof(*port));
	port->sadb_x_nat_t_port_port = htons(4501);
	port = extend(SADB_X_EXT_NAT_T_DPORT, sizeof(*port));
	port->sadb_x_nat_t_port_port = htons(4500);
	put_address(SADB_X_EXT_NAT_T_OA, parse("10.9.8.7", 0), -1);
	request(s, 0);

	doing = "get it";
	name(SADB_GET, 0x3333, peer4, us4);
	if (!request(s, 0))
		return;
	if ((type = want(SADB_X_EXT_NAT_T_TYPE)) != NULL)
		check(type->sadb_x_nat_t_type_type == 2, "its type is %d", type->sadb_x_nat_t_type_type);
	if ((port = want(SADB_X_EXT_NAT_T_SPORT)) != NULL)
		check(port->sadb_x_nat_t_port_port == htons(4501), "its port is %d", ntohs(port->sadb_x_nat_t_port_port));
	if (BSD && !NETBSD) /* NetBSD does not show it */
		want_address(SADB_X_EXT_NAT_T_OA, parse("10.9.8.7", 0));
#endif
}

#if OPENBSD
/* identities are names. */
static void identities(int s)
{
	static const char name_of[] = "peer.example.org";
	struct sadb_ident *ext;

	doing = "add an SA with identities";
	begin(SADB_ADD, SADB_SATYPE_ESP);
	put_sa(0x4444);
	put_addresses(peer6, us6);
	put_keys();
	for (int type = SADB_EXT_IDENTITY_SRC; type <= SADB_EXT_IDENTITY_DST; type++) {
		ext = extend(type, sizeof(*ext) + sizeof(name_of));
		ext->sadb_ident_type = SADB_IDENTTYPE_FQDN;
		memcpy(ext + 1, name_of, sizeof(name_of));
	}
	request(s, 0);
	name(SADB_GET, 0x4444, peer6, us6);
	if (request(s, 0) && (ext = want(SADB_EXT_IDENTITY_DST)) != NULL)
		check(strcmp((char *)(ext + 1), name_of) == 0, "it is %s", (char *)(ext + 1));
}
#elif BSD
/* identities are addresses in KAME, too. */
static void identities(int s)
{
	doing = "add an SA with identities";
	begin(SADB_ADD, SADB_SATYPE_ESP);
	put_sa(0x4444);
	put_mode(IPSEC_MODE_TUNNEL);
	put_addresses(peer6, us6);
	put_keys();
	for (int type = SADB_EXT_IDENTITY_SRC; type <= SADB_EXT_IDENTITY_DST; type++) {
		struct sadb_ident *ext = extend(type, sizeof(*ext) + sizeof(us4.in));

		ext->sadb_ident_type = SADB_X_IDENTTYPE_ADDR;
		memcpy(ext + 1, &us4, sizeof(us4.in));
	}
	if (request(s, 0)) {
		struct sadb_ident *ext = find(SADB_EXT_IDENTITY_SRC);

		if (ext != NULL)
			check(same(ext + 1, &us4), "it is %s, want %s", show(ext + 1), show(&us4));
	}
}
#endif

#if OPENBSD || defined(SADB_X_EXT_NEW_ADDRESS_DST)
/* moves takes an SA to other addresses. */
static void moves(int s)
{
	address elsewhere = parse("2001:db8::77", 0);

	doing = "move an SA";
	begin(SADB_UPDATE, SADB_SATYPE_ESP);
	put_sa(spi6);
	put_mode(IPSEC_MODE_TUNNEL);
	put_addresses(us6, peer6);
#if OPENBSD
	put_address(SADB_EXT_ADDRESS_PROXY, elsewhere, -1);
#else
	put_address(SADB_X_EXT_NEW_ADDRESS_SRC, us6, -1);
	put_address(SADB_X_EXT_NEW_ADDRESS_DST, elsewhere, -1);
#endif
	put_lifetime(SADB_EXT_LIFETIME_HARD, 3600);
	put_lifetime(SADB_EXT_LIFETIME_SOFT, 1800);
	if (request(s, 0))
		gets(s, "get it where it is now", spi6, us6, elsewhere);
}
#endif

static void deletes(int s)
{
	doing = "delete";
	name(SADB_DELETE, spi4, peer4, us4);
	if (request(s, 0))
		want_addresses(peer4, us4);
	name(SADB_GET, spi4, peer4, us4);
	request(s, NO_SA);
}

int main(int argc, char **argv)
{
	uint32_t number;
	int s;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 3) {
		fprintf(stderr, "usage: keymanager PACKET CLOCK\n");
		return 2;
	}
	us4 = parse("192.0.2.1", 0);
	peer4 = parse("192.0.2.2", 0);
	us6 = parse("2001:db8::1", 0);
	peer6 = parse("2001:db8::2", 0);
	s = open_socket();
	flushes(s);
	registers(s);
	spi4 = getspi(s, "get an SPI", peer4, us4);
	install(s, "update the larval SA", SADB_UPDATE, spi4, peer4, us4);
	gets(s, "get it", spi4, peer4, us4);
	spi6 = getspi(s, "get an SPI for IPv6", us6, peer6);
	install(s, "update the larval SA of IPv6", SADB_UPDATE, spi6, us6, peer6);
	gets(s, "get that of IPv6", spi6, us6, peer6);
	install(s, "add an SA", SADB_ADD, 0x5555, us4, peer4);
	gets(s, "get what was added", 0x5555, us4, peer4);
	dumps(s, 2, 1);
	faults(s);
	policies(s);
	number = acquires(s, argv[1]);
#if OPENBSD
	asks(s, number);
#endif
	expires(s, number, argv[1], argv[2]);
	watches(s);
	natt(s);
#if BSD
	identities(s);
#endif
#if OPENBSD || defined(SADB_X_EXT_NEW_ADDRESS_DST)
	moves(s);
#endif
	deletes(s);
	flushes(s);
	doing = "the end";
#if OPENBSD /* which says nothing of nothing */
	dumps(s, 0, 0);
#else
	begin(SADB_DUMP, SADB_SATYPE_UNSPEC);
	request(s, ENOENT);
#endif
	printf("keymanager: %d checks, %d failed\n", checks, failures);
	return failures == 0 ? 0 : 1;
}

/* A PF_KEY program as they are found: it opens a socket, registers for ESP, and looks for the answer at once, with nothing
   but a peek, as libipsec does. The messages are those of both dialects that are emulated on this machine. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#ifndef AF_KEY
#define AF_KEY 15
#endif

struct msg { uint8_t version, type, err, satype; uint16_t len, reserved; uint32_t seq, pid; };

static void fail(const char *what) {
	printf("FAIL %s: %s\n", what, strerror(errno));
	exit(1);
}

static void failed(const char *what, long got) {
	printf("FAIL %s: got %ld\n", what, got);
	exit(1);
}

static int key_socket(void) {
	int s = socket(AF_KEY, SOCK_RAW, 2);
	if (s < 0) fail("socket");
	return s;
}

/* ask sends a REGISTER for ESP and reads its answer without waiting. */
static void ask(int s, uint32_t seq) {
	struct msg m = {2, 7, 0, 3, 2, 0, seq, (uint32_t)getpid()}, h;
	if (send(s, &m, sizeof m, 0) != sizeof m) fail("send");
	for (;;) {
		char buf[65536];
		ssize_t n = recv(s, &h, sizeof h, MSG_PEEK | MSG_DONTWAIT);
		if (n < 0) fail("peek");
		if (n != sizeof h) failed("peek", n);
		n = recv(s, buf, sizeof buf, 0);
		if (n != h.len * 8) failed("recv", n);
		if (h.pid != (uint32_t)getpid() || h.seq != seq) continue;
		if (h.type != 7) failed("type of the answer", h.type);
		if (h.err && h.err != EEXIST) failed("errno of the answer", h.err);
		return;
	}
}

/* look is how iked waits: a millisecond in poll, then a peek. */
static void look(int s, uint32_t seq) {
	struct msg m = {2, 7, 0, 3, 2, 0, seq, (uint32_t)getpid()};
	char buf[65536];
	if (send(s, &m, sizeof m, 0) != sizeof m) fail("send");
	struct pollfd p = {s, POLLIN, 0};
	int n = poll(&p, 1, 1);
	if (n != 1) failed("poll", n);
	if (recv(s, buf, sizeof buf, 0) < 16) fail("recv");
}

static void *thread(void *arg) {
	int s = key_socket();
	for (int i = 1; i <= 3; i++) ask(s, (uint32_t)(uintptr_t)arg * 100 + i);
	close(s);
	return NULL;
}

static void threads(void) {
	pthread_t t[8];
	for (uintptr_t i = 0; i < 8; i++)
		if (pthread_create(&t[i], NULL, thread, (void *)(i + 1))) fail("pthread_create");
	for (int i = 0; i < 8; i++) pthread_join(t[i], NULL);
}

static void forks(int depth) {
	if (depth == 0) {
		ask(key_socket(), 1);
		return;
	}
	pid_t p = depth % 2 ? fork() : vfork();
	if (p < 0) fail("fork");
	if (p == 0) {
		char arg[16];
		snprintf(arg, sizeof arg, "%d", depth - 1);
		execl("/proc/self/exe", "client", "forks", arg, NULL);
		_exit(99);
	}
	int st;
	if (waitpid(p, &st, 0) != p || st) failed("child", st);
}

static void wrong(int typ, int proto, int want) {
	int s = socket(AF_KEY, typ, proto);
	if (s >= 0 || errno != want) failed("errno of a wrong socket", s >= 0 ? 0 : errno);
}

/* pass sends a descriptor to a child, which alone uses it, as iked does. */
static void pass(void) {
	int pair[2], st;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) fail("socketpair");
	pid_t p = fork();
	if (p == 0) {
		char c, space[CMSG_SPACE(sizeof(int))];
		struct iovec v = {&c, 1};
		struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
		if (recvmsg(pair[1], &h, 0) != 1 || !CMSG_FIRSTHDR(&h)) fail("recvmsg");
		int s;
		memcpy(&s, CMSG_DATA(CMSG_FIRSTHDR(&h)), sizeof s);
		for (int i = 1; i < 50; i++) { ask(s, i); look(s, 1000 + i); }
		fflush(stdout);
		_exit(0);
	}
	int s = key_socket();
	char c = 'x', space[CMSG_SPACE(sizeof(int))];
	memset(space, 0, sizeof space);
	struct iovec v = {&c, 1};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
	struct cmsghdr *m = CMSG_FIRSTHDR(&h);
	m->cmsg_level = SOL_SOCKET;
	m->cmsg_type = SCM_RIGHTS;
	m->cmsg_len = CMSG_LEN(sizeof s);
	memcpy(CMSG_DATA(m), &s, sizeof s);
	if (sendmsg(pair[0], &h, 0) != 1) fail("sendmsg");
	close(s);
	if (waitpid(p, &st, 0) != p || st) failed("child", st);
}

static void flags(void) {
	int s = socket(AF_KEY, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 2);
	if (s < 0) fail("socket");
	if (!(fcntl(s, F_GETFD) & FD_CLOEXEC)) failed("close-on-exec", 0);
	if (!(fcntl(s, F_GETFL) & O_NONBLOCK)) failed("non-blocking", 0);
	ask(s, 1);
	s = key_socket();
	if (fcntl(s, F_GETFD) & FD_CLOEXEC) failed("close-on-exec", 1);
	if (fcntl(s, F_GETFL) & O_NONBLOCK) failed("non-blocking", 1);
	wrong(SOCK_DGRAM, 2, ESOCKTNOSUPPORT);
	wrong(SOCK_RAW, 0, EPROTONOSUPPORT);
	wrong(SOCK_RAW | 0x100000, 2, EINVAL);
	wrong(11, 2, EINVAL);
}

static void zero(void) {
	close(0);
	int s = key_socket();
	if (s != 0) failed("descriptor", s);
	ask(s, 1);
}

static void emfile(void) {
	int keep = key_socket();
	struct rlimit r = {3 + 5, 3 + 5};
	if (setrlimit(RLIMIT_NOFILE, &r)) fail("setrlimit");
	for (int i = 0; i < 100; i++) {
		if (socket(AF_KEY, SOCK_RAW, 2) >= 0) continue;
		if (errno != EMFILE) fail("socket with a full table");
		ask(keep, 1);
		return;
	}
	failed("sockets", 100);
}

static void empty(void) {
	int s = key_socket();
	char c = 0;
	if (send(s, &c, 0, 0) != 0) fail("empty send");
	ask(s, 1);
	if (send(s, &c, 0, 0) != 0) fail("empty send");
	ask(s, 2);
}

static void policy(void) {
	int s = socket(AF_INET, SOCK_DGRAM, 0), s6 = socket(AF_INET6, SOCK_DGRAM, 0);
	char p[16] = {2, 0, 18};
	if (setsockopt(s, IPPROTO_IP, 16, p, sizeof p)) fail("IP_IPSEC_POLICY");
	if (setsockopt(s, IPPROTO_IP, 17, p, sizeof p)) fail("IP_XFRM_POLICY");
	if (s6 >= 0 && setsockopt(s6, IPPROTO_IPV6, 34, p, sizeof p)) fail("IPV6_IPSEC_POLICY");
	int on = 1;
	if (setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on)) fail("SO_REUSEADDR");
}

static void encap(void) {
	int s = socket(AF_INET, SOCK_DGRAM, 0), v = 77; /* no kernel knows this kind */
	if (setsockopt(s, IPPROTO_UDP, 100, &v, sizeof v)) fail("UDP_ENCAP");
}

static void identity(void) {
	gid_t g[2] = {12345, 54321};
	if (setgroups(2, g)) fail("setgroups");
	if (setresgid(12345, 12345, 12345)) fail("setresgid");
	if (setresuid(12345, 12345, 12345)) fail("setresuid");
}

static void jail(const char *dir) {
	if (chroot(dir)) fail("chroot");
	if (chdir("/")) fail("chdir");
	ask(key_socket(), 1);
}

/* daemon leaves a process behind that uses PF_KEY when its parent is long gone. */
static void daemon_(const char *file) {
	int p[2];
	char c;
	if (pipe(p)) fail("pipe");
	pid_t pid = fork();
	if (pid > 0) return;
	setsid();
	if (fork()) _exit(0);
	close(p[1]);
	usleep(300000); /* long enough for the first process to be gone */
	int s = key_socket();
	for (int i = 1; i < 20; i++) ask(s, i);
	int f = open(file, O_CREAT | O_WRONLY, 0600);
	c = 'y';
	if (f < 0 || write(f, &c, 1) != 1) _exit(1);
	_exit(0);
}

/* wait_ says that it is ready, waits for a byte on its input, and asks once more. */
static void wait_(void) {
	int s = key_socket();
	char c;
	ask(s, 1);
	printf("ready\n");
	fflush(stdout);
	if (read(0, &c, 1) != 1) fail("read");
	struct msg m = {2, 7, 0, 3, 2, 0, 2, (uint32_t)getpid()};
	char buf[65536];
	if (send(s, &m, sizeof m, 0) != sizeof m) fail("send");
	ssize_t n = recv(s, buf, sizeof buf, 0); /* blocks until there is an engine */
	if (n < 16) failed("recv", n);
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	if (t.tv_sec > 0 || t.tv_nsec > 500000000) failed("processor time in ms", t.tv_sec * 1000 + t.tv_nsec / 1000000);
}

static volatile sig_atomic_t got;
static void catch_(int s) { got = s; }

/* interrupted sends while signals come all the time, none of which restarts a call, and says how often it was told that it had sent. */
static void interrupted(void) {
	int s = key_socket(), sent = 0;
	struct sigaction a = {.sa_handler = catch_};
	struct itimerval every = {{0, 50}, {0, 50}};
	char buf[65536];
	if (sigaction(SIGALRM, &a, NULL)) fail("sigaction");
	if (setitimer(ITIMER_REAL, &every, NULL)) fail("setitimer");
	for (int i = 1; i <= 2000; i++) {
		struct msg m = {2, 7, 0, 3, 2, 0, (uint32_t)i, (uint32_t)getpid()};
		ssize_t n = send(s, &m, sizeof m, 0);
		if (n == sizeof m) sent++;
		else if (n >= 0 || errno != EINTR) fail("send");
		while (recv(s, buf, sizeof buf, MSG_DONTWAIT) >= 0) ;
	}
	every.it_value.tv_usec = 0;
	setitimer(ITIMER_REAL, &every, NULL);
	if (!got) failed("signals", 0);
	printf("sent %d\n", sent);
}

/* hidden wants its memory to be nobody's business. */
static void hidden(void) {
	if (prctl(PR_SET_DUMPABLE, 0)) fail("PR_SET_DUMPABLE");
	int s = key_socket();
	for (int i = 1; i <= 200; i++) ask(s, i);
}

static void signals(void) {
	signal(SIGUSR1, catch_);
	signal(SIGTERM, catch_);
	printf("ready\n");
	fflush(stdout);
	while (!got) usleep(1000);
	exit(got == SIGTERM ? 70 : 71);
}

int main(int argc, char **argv) {
	const char *what = argc > 1 ? argv[1] : "ask", *arg = argc > 2 ? argv[2] : "";
	if (!strcmp(what, "ask")) { int s = key_socket(); for (int i = 1; i <= 200; i++) ask(s, i); }
	else if (!strcmp(what, "look")) { int s = key_socket(); for (int i = 1; i <= 200; i++) look(s, i); }
	else if (!strcmp(what, "once")) ask(key_socket(), 1);
	else if (!strcmp(what, "threads")) threads();
	else if (!strcmp(what, "forks")) forks(atoi(arg));
	else if (!strcmp(what, "pass")) pass();
	else if (!strcmp(what, "flags")) flags();
	else if (!strcmp(what, "zero")) zero();
	else if (!strcmp(what, "emfile")) emfile();
	else if (!strcmp(what, "empty")) empty();
	else if (!strcmp(what, "policy")) policy();
	else if (!strcmp(what, "encap")) encap();
	else if (!strcmp(what, "identity")) identity();
	else if (!strcmp(what, "chroot")) jail(arg);
	else if (!strcmp(what, "daemon")) daemon_(arg);
	else if (!strcmp(what, "wait")) wait_();
	else if (!strcmp(what, "signals")) signals();
	else if (!strcmp(what, "interrupted")) interrupted();
	else if (!strcmp(what, "hidden")) hidden();
	else if (!strcmp(what, "kill")) raise(SIGKILL);
	else if (!strcmp(what, "exit")) exit(atoi(arg));
	else { printf("FAIL what is %s\n", what); return 2; }
	printf("ok %s\n", what);
	return 0;
}

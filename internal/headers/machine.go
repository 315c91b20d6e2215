package headers

// preludeIncludes are the headers of libc that a program may want. errno.h and netinet/udp.h are not among them: what
// those have depends on the system that a program believes it is on.
var preludeIncludes = []string{
	"sys/types.h", "sys/param.h", "sys/socket.h", "sys/stat.h", "sys/time.h", "sys/uio.h", "sys/un.h", "sys/wait.h",
	"sys/ioctl.h", "sys/queue.h", "net/if.h", "netinet/in.h", "netinet/ip.h", "netinet/ip6.h", "arpa/inet.h", "netdb.h",
	"assert.h", "ctype.h", "fcntl.h", "grp.h", "inttypes.h", "limits.h", "poll.h", "pthread.h", "pwd.h", "signal.h",
	"stdarg.h", "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "strings.h", "syslog.h",
	"time.h", "unistd.h",
}

// prelude is pfkeyd/prelude.h. The headers of libc and of the compiler do not work for another system than that which
// they are made for, so they come first.
func (w *writer) prelude() {
	for _, path := range preludeIncludes {
		w.line("#if __has_include(<%s>)", path)
		w.line("#include <%s>", path)
		w.line("#endif")
	}
	if len(w.selects) == 0 {
		return
	}
	w.line("")
	for _, name := range []string{"linux", "__linux", "__linux__", "__gnu_linux__"} {
		w.line("#undef %s", name)
	}
	for _, s := range w.selects {
		w.line("#undef %s", s[0])
		w.define(s[0], s[1])
	}
}

// lengths is pfkeyd/sockaddr_len.h. In C a[b] is b[a], so a member that is the family becomes the index of a table.
func (w *writer) lengths() {
	w.line("/*")
	w.line(" * address.ss_len follows address.ss_family: 16 for AF_INET, 28 for AF_INET6, else 0. What is")
	w.line(" * written to it goes nowhere. For C only. A structure with a member of such a name of its own,")
	w.line(" * and headers that have one, must come before this one; { 16, AF_INET } without names of members")
	w.line(" * is wrong here and no compiler says so.")
	w.line(" */")
	w.line("#include <netinet/in.h>")
	w.line("#include <string.h>")
	w.line("#include <sys/socket.h>")
	w.line("")
	w.line("static inline unsigned char *pfkeyd_sockaddr_lens(void) __attribute__((unused));")
	w.line("static inline unsigned char *pfkeyd_sockaddr_lens(void)")
	w.line("{")
	w.line("\tstatic const unsigned char lens[AF_MAX] = {")
	w.line("\t\t[AF_INET] = sizeof(struct sockaddr_in), [AF_INET6] = sizeof(struct sockaddr_in6)")
	w.line("\t};")
	w.line("\tstatic __thread unsigned char written[1 << (8 * sizeof(sa_family_t))];")
	w.line("")
	w.line("\tmemcpy(written, lens, sizeof(lens));")
	w.line("\treturn written;")
	w.line("}")
	w.line("")
	for _, m := range []string{"sa", "ss", "sin", "sin6"} {
		w.define(m+"_len", m+"_family[pfkeyd_sockaddr_lens()]")
	}
}

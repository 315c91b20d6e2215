/* What pfkeyd/sockaddr_len.h promises; it says nothing if that is so. */

#include <pfkeyd/sockaddr_len.h>

#include <stdio.h>


static int failures;

static void check(int got, int want, const char *what)
{
	if (got != want) {
		printf("FAIL %s: %d, want %d\n", what, got, want);
		failures++;
	}
}

int main(void)
{
	struct sockaddr_storage ss;
	struct sockaddr *sa = (struct sockaddr *)&ss;
	struct sockaddr_in *in = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;

	memset(&ss, 0, sizeof(ss));
	ss.ss_len = 99;
	check(ss.ss_len, 0, "no family");
	in->sin_len = sizeof(*in);
	in->sin_family = AF_INET;
	check(ss.ss_len, 16, "ss_len of IPv4");
	check(sa->sa_len, 16, "sa_len of IPv4");
	in6->sin6_family = AF_INET6;
	in6->sin6_len = 1;
	check(in6->sin6_len, 28, "sin6_len");
	check(ss.ss_family, AF_INET6, "the family");
	ss.ss_family = 65535;
	check(ss.ss_len, 0, "ss_len of no family there is");
	return failures != 0;
}

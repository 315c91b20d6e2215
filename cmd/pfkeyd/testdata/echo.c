/* A bare echo over an end of a SOCK_SEQPACKET pair, descriptor 3: what a round trip costs when the server is C and does nothing. */
#include <sys/socket.h>

int main(void)
{
	static char buf[1 << 16];
	ssize_t n;

	while ((n = recv(3, buf, sizeof buf, 0)) > 0)
		if (send(3, buf, n, MSG_NOSIGNAL) != n)
			return 1;
	return 0;
}

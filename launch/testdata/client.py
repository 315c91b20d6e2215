# A Python program on an AF_KEY socket: registers for ESP and looks for the answer without waiting.
import errno, os, socket, struct, sys

AF_KEY, PF_KEY_V2 = 15, 2

def ask(s, seq):
    s.send(struct.pack("=BBBBHHII", 2, 7, 0, 3, 2, 0, seq, os.getpid()))
    head = s.recv(16, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    _, typ, err, _, n, _, got, pid = struct.unpack("=BBBBHHII", head)
    msg = s.recv(65536)
    assert err in (0, errno.EEXIST) and (typ, got, pid, len(msg)) == (7, seq, os.getpid(), 8 * n), (typ, err, got, pid, len(msg), n)

s = socket.socket(AF_KEY, socket.SOCK_RAW, PF_KEY_V2)
for i in range(1, 101):
    ask(s, i)
pid = os.fork()
if pid == 0:
    ask(socket.socket(AF_KEY, socket.SOCK_RAW, PF_KEY_V2), 7)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print("ok python", file=sys.stdout)

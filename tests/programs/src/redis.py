"""redis with an append-only file, under load from two clients inside the tree; what the file holds is read back at the end."""
import os
import socket

from tree import LIMIT, check, connect, end, free_port, start, steps


class Client:
    def __init__(self, port):
        self.socket = connect(port)
        self.socket.settimeout(LIMIT)
        self.file = self.socket.makefile("rwb")

    def send(self, *words):
        words = [str(w).encode() for w in words]
        self.file.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        self.file.flush()

    def answer(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return rest.decode()

    def ask(self, *words):
        self.send(*words)
        return self.answer()


def serve(port):
    return start("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", os.getcwd(), "--appendonly", "yes",
                 "--appendfsync", "everysec", "--save", "", "--daemonize", "no", log="redis.log")


port = free_port()
server = serve(port)
one, two = Client(port), Client(port)
check("ready", one.ask("PING"), "PONG")
for n in steps():
    for i in range(50):  # pipelined: answers are under way at any time
        one.send("RPUSH", "list", n * 50 + i)
        two.send("INCRBY", "sum", i)
    for i in range(50):
        check("length", one.answer(), (n - 1) * 50 + i + 1)
        check("sum", two.answer(), (n - 1) * 1225 + i * (i + 1) // 2)
    check("tail", one.ask("LRANGE", "list", -2, -1), [b"%d" % (n * 50 + 48), b"%d" % (n * 50 + 49)])
for c in (one, two):
    c.socket.close()
end(server)
server = serve(port)
again = Client(port)
try:
    length = n
except NameError:
    length = 0
import time
deadline = time.monotonic() + LIMIT
while (values := again.ask("LRANGE", "list", 0, -1)) and isinstance(values, str) and time.monotonic() < deadline:
    pass  # it is still loading
check("the file's list", values, [b"%d" % i for i in range(50, 50 * (length + 1))])
check("the file's sum", again.ask("GET", "sum"), b"%d" % (length * 1225))
end(server)
print("PASS", flush=True)

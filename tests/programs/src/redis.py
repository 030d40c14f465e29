"""redis with an append-only file, under load from two clients inside the tree; what the file holds is read back at the end."""
import os

from tree import check, connect, end, free_port, serving, start, steps, until


class Client:
    def __init__(self, port):
        self.socket = connect(port)
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

    def close(self):
        self.file.close()
        self.socket.close()

    def ask(self, *words):
        self.send(*words)
        return self.answer()


def serve(port):
    server = start("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", os.getcwd(), "--appendonly", "yes",
                   "--appendfsync", "everysec", "--save", "", "--daemonize", "no", log="redis.log")
    serving(server, port)
    return server


def loaded(client):
    """The list, once the server has read its file; until then it answers with an error."""
    values = client.ask("LRANGE", "list", 0, -1)
    return values if isinstance(values, list) else None


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
    c.close()
end(server)
server = serve(port)
again = Client(port)
check("the file's list", until("the file is read", lambda: loaded(again)), [b"%d" % i for i in range(50, 50 * (n + 1))])
check("the file's sum", again.ask("GET", "sum"), b"%d" % (n * 1225))
again.close()
end(server)
print("PASS", flush=True)

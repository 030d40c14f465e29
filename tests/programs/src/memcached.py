"""memcached with four threads, under load from three clients inside the tree."""
import os

from tree import check, connect, end, free_port, serving, start, steps, user


def client(number, port, orders, answers):
    """Adds to a counter of its own and keeps values, each time it is told to."""
    file = connect(port).makefile("rwb")

    def ask(text):
        file.write(text)
        file.flush()
        return file.readline()

    check("set", ask(b"set n%d 0 0 1\r\n0\r\n" % number), b"STORED\r\n")
    while order := os.read(orders, 1):
        before = None
        for _ in range(40):
            value = int(ask(b"incr n%d 1\r\n" % number))
            check("counter", before is None or value == before + 1, True)
            before = value
        value = b"%d" % before * 1000
        check("set", ask(b"set v%d 0 0 %d\r\n%s\r\n" % (number, len(value), value)), b"STORED\r\n")
        check("get", ask(b"get v%d\r\n" % number), b"VALUE v%d 0 %d\r\n" % (number, len(value)))
        check("value", (file.readline(), file.readline()), (value + b"\r\n", b"END\r\n"))
        os.write(answers, b"%d\n" % before)
    os._exit(0)


port = free_port()
server = start("memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "4", "-u", user())
serving(server, port)
clients = []
for number in range(3):
    (order_in, order_out), (answer_in, answer_out) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(order_out)
        for _, orders, answers in clients:
            orders.close()
            answers.close()
        client(number, port, order_in, answer_out)
    os.close(order_in)
    os.close(answer_out)
    clients.append((pid, open(order_out, "wb", buffering=0), open(answer_in, "rb")))
for n in steps():
    for _, orders, _ in clients:
        orders.write(b".")
    for _, _, answers in clients:
        check("a client's counter", int(answers.readline()), n * 40)
for pid, orders, _ in clients:
    orders.close()
    check("status of a client", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
end(server)
print("PASS", flush=True)

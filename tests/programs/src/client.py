"""A client of a server outside the tree, which sends back what it gets."""
import socket
import sys
import time

from tree import check, steps

server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[2])
lines = server.makefile("rwb")
for n in steps():
    lines.write(b"%d\n" % n)
    lines.flush()
    check("what comes back", lines.readline(), b"%d\n" % n)
    time.sleep(0.01)
print("PASS", flush=True)

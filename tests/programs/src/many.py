"""200 processes in a ring of pipes; a number goes round, and each process adds one to it and to what it knows itself."""
import os
import struct
import time

from tree import check, steps

COUNT = 200


def relay(source, sink):
    """Passes numbers on, raised by one; ends when nobody writes any more."""
    passed = 0
    while data := os.read(source, 16):
        number, turn = struct.unpack("qq", data)
        passed += 1
        if passed != turn:
            os._exit(1)
        os.write(sink, struct.pack("qq", number + 1, turn))
    os._exit(passed % 100)


first, entrance = os.pipe()
source = first
children = []
for _ in range(COUNT):
    next_source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(entrance)
        os.close(next_source)
        relay(source, sink)
    children.append(pid)
    os.close(source)
    os.close(sink)
    source = next_source
for n in steps():
    os.write(entrance, struct.pack("qq", n, n))
    check("the number after a round", struct.unpack("qq", os.read(source, 16)), (n + COUNT, n))
    time.sleep(0.01)
os.close(entrance)
for pid in children:
    check("status of a process", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), n % 100)
print("PASS", flush=True)

"""Python: threads, a generator, a random state and a running hash, checked at every step."""
import hashlib, os, queue, random, sys, threading, time

todo, done = queue.Queue(), queue.Queue()


def work():
    while True:
        n = todo.get()
        done.put((n, hashlib.sha256(b"%d" % n).hexdigest()))


def squares():
    n = 0
    while True:
        n += 1
        yield n * n


for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
ours, twin, gen, n = random.Random(7), random.Random(7), squares(), 0
print("ready", flush=True)
while not os.path.exists(sys.argv[1]):
    n += 1
    print("step", n, flush=True)
    assert next(gen) == n * n, "FAIL generator"
    assert ours.random() == twin.random(), "FAIL random state"
    for i in range(8):
        todo.put(n * 8 + i)
    got = dict(done.get(timeout=120) for _ in range(8))
    for i in range(8):
        assert got[n * 8 + i] == hashlib.sha256(b"%d" % (n * 8 + i)).hexdigest(), "FAIL hash"
    time.sleep(0.01)
print("PASS", flush=True)

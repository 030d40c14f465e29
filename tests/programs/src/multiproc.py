"""multiprocessing: a pool, a queue, a manager's dictionary, a lock and shared memory, checked at every step."""
import multiprocessing as mp
from multiprocessing import shared_memory

from tree import check, steps


def square(x):
    return x * x


def produce(queue, block, lock):
    memory = shared_memory.SharedMemory(block)
    n = 0
    while memory.buf[0] == 0:  # not told to end
        n += 1
        with lock:
            memory.buf[8:16] = n.to_bytes(8, "little")
        queue.put(n)  # waits while it is full
    queue.put(None)
    memory.close()


def main():
    memory = shared_memory.SharedMemory(create=True, size=1 << 20)
    memory.buf[1000:1 << 20] = bytes(i % 251 for i in range(1000, 1 << 20))
    picture = bytes(memory.buf[1000:1 << 20])
    queue, lock = mp.Queue(maxsize=3), mp.Lock()
    producer = mp.Process(target=produce, args=(queue, memory.name, lock))
    producer.start()
    last = 0
    with mp.Manager() as manager, mp.Pool(4) as pool:
        squares = manager.dict()
        for n in steps():
            base = range(n * 20, n * 20 + 20)
            check("pool", pool.map(square, base, chunksize=3), [x * x for x in base])
            squares[n] = n * n
            check("manager", (len(squares), squares[n // 2 + 1]), (n, (n // 2 + 1) ** 2))
            check("queue", queue.get(), n)
            with lock:
                made = int.from_bytes(memory.buf[8:16], "little")
            check("producer runs ahead", last <= made and n <= made <= n + 6, True)
            last = made
            check("shared memory", bytes(memory.buf[1000:1 << 20]), picture)
        memory.buf[0] = 1
        while queue.get() is not None:
            pass
    producer.join()
    check("status of the producer", producer.exitcode, 0)
    memory.close()
    memory.unlink()
    print("PASS", flush=True)


if __name__ == "__main__":
    main()

"""asyncio: a server and clients on loopback, a subprocess and timers in one event loop, checked at every step."""
import asyncio

from tree import check, steps


async def answer(reader, writer):
    while line := await reader.readline():
        await asyncio.sleep(0.005)
        writer.write(b"%d\n" % (int(line) * 3))
        await writer.drain()
    writer.close()


async def ask(stream, n):
    reader, writer = stream
    writer.write(b"%d\n" % n)
    check("server", int(await reader.readline()), n * 3)


async def tick(ticks):
    while True:
        await asyncio.sleep(0.003)
        ticks.append(len(ticks))


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
    pipe = asyncio.subprocess.PIPE
    helper = await asyncio.create_subprocess_exec("sed", "-u", "s/^/n/", stdin=pipe, stdout=pipe)
    ticks = []
    ticker = asyncio.create_task(tick(ticks))
    for n in steps():
        before = len(ticks)
        await asyncio.gather(*(ask(s, n * 10 + i) for i, s in enumerate(streams)))
        helper.stdin.write(b"%d\n" % n)
        check("subprocess", await helper.stdout.readline(), b"n%d\n" % n)
        await asyncio.sleep(0.02)
        check("timer runs", len(ticks) > before, True)
    check("timer", ticks, list(range(len(ticks))))
    ticker.cancel()
    helper.stdin.close()
    check("status of the subprocess", await helper.wait(), 0)
    for _, writer in streams:
        writer.close()
    server.close()
    print("PASS", flush=True)


asyncio.run(main())

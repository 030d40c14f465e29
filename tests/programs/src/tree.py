"""What the drivers in Python have in common. A driver is the root of a process tree: it starts
servers and clients, checks them at every step until the stop file is there, and ends them by pid."""
import os
import pwd
import random
import socket
import subprocess
import sys
import time

LIMIT = 100  # seconds that anything may take; whoever waits for us waits longer
STOP = sys.argv[1]


def steps():
    """Counts the steps; a step is printed when its checks have passed."""
    print("ready", flush=True)
    n = 0
    while not os.path.exists(STOP):
        n += 1
        yield n
        print("step", n, flush=True)


def check(what, got, want):
    if got != want:
        sys.exit(f"FAIL {what}: {got!r}, want {want!r}")


def until(what, condition):
    """Waits until a condition holds, and returns what it returned."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    sys.exit(f"FAIL {what}: not within {LIMIT} s")


def start(*words, log="server.log", **more):
    """Starts a server or client; what it says goes to a file."""
    more.setdefault("stdin", subprocess.DEVNULL)
    with open(log, "ab") as out:
        more.setdefault("stdout", out)
        return subprocess.Popen(words, stderr=out, **more)


def end(process, status=0):
    """Ends a process in the polite way."""
    process.terminate()
    check(f"status of {process.args[0]}", process.wait(LIMIT), status)


def free_port():
    """A port that nobody has, below those that the kernel gives out to connections."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue  # taken: another one


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT)


def serving(server, port):
    """Waits until a server that was started accepts connections."""
    def attempt():
        check(f"{server.args[0]} runs", server.poll(), None)
        try:
            connect(port).close()
            return True
        except ConnectionRefusedError:
            return False
    until(f"a server at port {port}", attempt)


def user():
    """The name of the user that runs this, whatever the environment says."""
    return pwd.getpwuid(os.getuid()).pw_name

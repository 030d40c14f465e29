"""SQLite: one process inside a transaction, another that waits for its lock; rows and sums are checked at every step."""
import os
import sqlite3
import time

from tree import LIMIT, check, steps, until

DONE = "writer-ends"


def connect():
    db = sqlite3.connect("data.db", isolation_level=None, timeout=LIMIT)
    db.execute("PRAGMA journal_mode=DELETE")
    return db


def second_writer():
    """Wants the lock all the time; each of its transactions writes a pair of rows."""
    db, n = connect(), 0
    while not os.path.exists(DONE):
        n += 1
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t VALUES ('second', ?)", (n,))
        db.execute("INSERT INTO t VALUES ('second', ?)", (-n,))
        db.execute("COMMIT")
        time.sleep(0.03)  # SQLite polls for the lock: the first writer would starve
    os._exit(0)


db = connect()
db.execute("CREATE TABLE t (writer TEXT, n INTEGER)")
child = os.fork()
if child == 0:
    second_writer()
for n in steps():
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO t VALUES ('first', ?)", (n,))
    before = db.execute("SELECT count(*), sum(n) FROM t WHERE writer = 'second'").fetchone()
    time.sleep(0.05)  # the other one waits for the lock now
    check("rows of the second writer", db.execute("SELECT count(*), sum(n) FROM t WHERE writer = 'second'").fetchone(), before)
    check("pairs of the second writer", (before[0] % 2, before[1] or 0), (0, 0))
    rows = db.execute("SELECT count(*), sum(n) FROM t WHERE writer = 'first'").fetchone()
    check("rows", rows, (n, n * (n + 1) // 2))
    db.execute("COMMIT")
    count = "SELECT count(*) FROM t WHERE writer = 'second'"
    until("the second writer gets the lock", lambda: db.execute(count).fetchone()[0] > before[0])
with open(DONE, "w"):
    pass
check("status of the second writer", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
check("integrity", db.execute("PRAGMA integrity_check").fetchone()[0], "ok")
numbers = [r[0] for r in db.execute("SELECT n FROM t WHERE writer = 'second' AND n > 0 ORDER BY n")]
check("numbers of the second writer", numbers, list(range(1, len(numbers) + 1)))
print("PASS", flush=True)

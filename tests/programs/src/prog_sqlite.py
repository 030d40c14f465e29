"""SQLite in WAL mode: rows, sums and the integrity check, checked at every step."""
import os, sqlite3, sys, time

db = sqlite3.connect("data.db")
assert db.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal"
db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text BLOB)")
db.commit()
n = 0
print("ready", flush=True)
while not os.path.exists(sys.argv[1]):
    n += 1
    print("step", n, flush=True)
    with db:
        db.execute("INSERT INTO t VALUES (?, ?)", (n, bytes([n % 256]) * 500))
    count, total = db.execute("SELECT count(*), sum(n) FROM t").fetchone()
    assert (count, total) == (n, n * (n + 1) // 2), f"FAIL rows {count} {total}, want {n}"
    if n % 50 == 0:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok", "FAIL integrity"
    time.sleep(0.01)
print("PASS", flush=True)

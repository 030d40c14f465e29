"""PostgreSQL, a client in the middle of a transaction, one that reads, and one that waits for a lock."""
import os
import subprocess

from tree import check, end, start, steps, until

BIN = max(p for p in (f"/usr/lib/postgresql/{v}/bin" for v in os.listdir("/usr/lib/postgresql")) if os.path.isdir(p))


class Client:
    """psql that stays connected; each question is one line, each answer too."""

    def __init__(self):
        pipe = subprocess.PIPE
        self.psql = subprocess.Popen((BIN + "/psql", "-XqAtw", "-v", "ON_ERROR_STOP=1", "-h", os.getcwd(), "-d", "postgres"),
                                     stdin=pipe, stdout=pipe, stderr=open("psql.log", "ab"), text=True)

    def send(self, statement):
        self.psql.stdin.write(statement + ";\n")
        self.psql.stdin.flush()

    def ask(self, statement):
        self.send(statement)
        return self.psql.stdout.readline().rstrip("\n")

    def close(self):
        self.psql.stdin.close()
        check("status of psql", self.psql.wait(), 0)


with open("initdb.log", "wb") as log:
    subprocess.run((BIN + "/initdb", "-D", "data", "-A", "trust", "--no-sync", "--locale=C"), check=True, stdout=log, stderr=log)
server = start(BIN + "/postgres", "-D", "data", "-k", os.getcwd(), "-c", "listen_addresses=", "-c", "shared_memory_type=mmap",
               "-c", "dynamic_shared_memory_type=posix", log="postgres.log")
until("PostgreSQL is ready", lambda: subprocess.run((BIN + "/pg_isready", "-q", "-h", os.getcwd())).returncode == 0)
writer, reader, waiter = Client(), Client(), Client()
writer.send("CREATE TABLE t (n integer PRIMARY KEY)")
writer.send("CREATE TABLE u (n integer)")
writer.send("INSERT INTO u VALUES (0)")
committed = n = 0
check("begin", writer.ask("BEGIN; SELECT 'begun'"), "begun")
check("update", writer.ask("UPDATE u SET n = n + 1 RETURNING n"), "1")
waiter.send("UPDATE u SET n = n + 1000 RETURNING n")  # until the writer commits
for n in steps():
    check("insert", writer.ask(f"INSERT INTO t VALUES ({n}) RETURNING n"), str(n))
    check("the writer's rows", writer.ask("SELECT count(*), sum(n) FROM t"), f"{n}|{n * (n + 1) // 2}")
    check("the reader's rows", reader.ask("SELECT count(*) FROM t"), str(committed))
    if n % 20 == 0:
        rounds = n // 20
        check("commit", writer.ask("COMMIT; SELECT 'committed'"), "committed")
        committed = n
        check("the waiter's row", waiter.psql.stdout.readline(), f"{rounds * 1001}\n")
        check("begin", writer.ask("BEGIN; SELECT 'begun'"), "begun")
        check("update", writer.ask("UPDATE u SET n = n + 1 RETURNING n"), str(rounds * 1001 + 1))
        waiter.send("UPDATE u SET n = n + 1000 RETURNING n")
check("rollback", writer.ask("ROLLBACK; SELECT 'back'"), "back")
check("rows after the rollback", reader.ask("SELECT count(*) FROM t"), str(committed))
for client in (writer, reader, waiter):
    client.close()
end(server)
print("PASS", flush=True)

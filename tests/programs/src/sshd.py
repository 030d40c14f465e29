"""sshd on loopback and a session of ssh, all inside the tree: a remote shell counts, and 100 kB go through at every step."""
import hashlib
import os
import subprocess

from tree import check, end, free_port, serving, start, steps, user

port = free_port()
for name in ("host", "user"):
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name), check=True)
with open("config", "w") as f:
    f.write(f"""ListenAddress 127.0.0.1:{port}
HostKey {os.path.abspath("host")}
AuthorizedKeysFile {os.path.abspath("user.pub")}
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
""")
server = start("/usr/sbin/sshd", "-D", "-e", "-f", "config", log="sshd.log")
serving(server, port)
REMOTE = """n=0; while read -r length; do n=$((n + 1)); head -c "$length" | sha256sum; echo "is $n"; done; exit 7"""
ssh = subprocess.Popen(("ssh", "-F", "none", "-i", "user", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
                        "-o", "UserKnownHostsFile=known", "-o", "BatchMode=yes", "-p", str(port),
                        user() + "@127.0.0.1", "exec sh -c '" + REMOTE + "'"),
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open("ssh.log", "ab"))
for n in steps():
    data = hashlib.shake_128(b"%d" % n).digest(100000)
    ssh.stdin.write(b"%d\n" % len(data) + data)
    ssh.stdin.flush()
    check("hash", ssh.stdout.readline(), hashlib.sha256(data).hexdigest().encode() + b"  -\n")
    check("count", ssh.stdout.readline(), b"is %d\n" % n)
ssh.stdin.close()
check("status of the session", ssh.wait(), 7)
end(server)
print("PASS", flush=True)

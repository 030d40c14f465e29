"""nginx with two workers, under load from inside the tree: kept connections, new ones, a reply that is read slowly."""
import http.client
import os
import time

from tree import LIMIT, check, end, free_port, serving, start, steps

CONF = """worker_processes 2; daemon off; pid nginx.pid; error_log error.log;
events { worker_connections 64; }
http {
	access_log access.log; keepalive_requests 1000000; keepalive_timeout 600; send_timeout 600;
	client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
	server { listen 127.0.0.1:%d; root .; location = /code { return 204; } }
}
"""


def get(connection, path):
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read()


port = free_port()
with open("nginx.conf", "w") as f:
    if os.geteuid() == 0:  # else the workers could not read the directory
        f.write("user root;\n")
    f.write(CONF % port)
page = b"".join(b"%d\n" % i for i in range(20000))
with open("page", "wb") as f:
    f.write(page)
server = start("/usr/sbin/nginx", "-p", os.getcwd(), "-c", "nginx.conf", "-e", "error.log")
serving(server, port)
kept = [http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT) for _ in range(4)]
slow, part = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT), None
asked = 0
for n in steps():
    for c in kept:
        check("page", get(c, "/page"), (200, page))
    once = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    check("code", get(once, "/code"), (204, b""))
    once.close()
    asked += len(kept) + 1
    # A part of this reply waits unread between the steps.
    if part is None:
        slow.request("GET", "/page")
        slow_reply, part = slow.getresponse(), b""
        asked += 1
    part += slow_reply.read(10000)
    check("a part of the page", part, page[:len(part)])
    if len(part) == len(page):
        slow_reply.read()
        part = None
    time.sleep(0.01)
for c in kept + [slow]:
    c.close()
end(server)
with open("access.log") as f:
    log = [line.split()[6] for line in f]
check("requests in the log", log.count("/page") + log.count("/code"), asked)
print("PASS", flush=True)

"""nginx with two workers, under load from inside the tree: kept connections, new ones, a large file read slowly."""
import http.client
import os

from tree import LIMIT, check, connect, end, free_port, start, steps

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
    f.write(CONF % port)
page = b"".join(b"%d\n" % i for i in range(20000))
with open("page", "wb") as f:
    f.write(page)
with open("large", "wb") as f:
    f.write(page * 50)
server = start("/usr/sbin/nginx", "-p", os.getcwd(), "-c", "nginx.conf", "-e", "error.log")
connect(port).close()
kept = [http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT) for _ in range(4)]
slow = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
slow.request("GET", "/large")
response, read = slow.getresponse(), 0
asked = 0
for n in steps():
    for c in kept:
        check("page", get(c, "/page"), (200, page))
    once = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    check("code", get(once, "/code"), (204, b""))
    once.close()
    asked += len(kept) + 1
    # The large file is under way all the time, its buffers are full.
    part = response.read(5000)
    check("large file", part, (page * 2)[read % len(page):][:len(part)])
    read += len(part)
    if read == len(page) * 50:
        slow.request("GET", "/large")
        response, read = slow.getresponse(), 0
for c in kept + [slow]:
    c.close()
end(server)
with open("access.log") as f:
    log = [line.split()[6] for line in f]
check("requests in the log", log.count("/page") + log.count("/code"), asked)
print("PASS", flush=True)

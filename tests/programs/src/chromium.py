"""A headless browser; its debugging interface is asked at every step."""
import json
import os
import time
import urllib.request

from tree import check, end, start, steps, until

profile = os.path.abspath("profile")
browser = start("chromium", "--headless", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0",
                "--user-data-dir=" + profile, "data:text/html,<title>crtrace</title>", log="chromium.log")
port_file = os.path.join(profile, "DevToolsActivePort")
until("the browser listens", lambda: os.path.exists(port_file) and os.path.getsize(port_file))
with open(port_file) as f:
    port = int(f.readline())


def titles():
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
        return [page["title"] for page in json.load(answer) if page["type"] == "page"]


until("the page is there", lambda: titles() == ["crtrace"])
for n in steps():
    check("title", titles(), ["crtrace"])
    time.sleep(0.05)
end(browser)
print("PASS", flush=True)

"""tmux with vim, less, top and a python prompt in its panes: each screen, seen by capture-pane, is what it was before."""
import os
import re
import subprocess

from tree import check, steps, until

SOCKET = os.path.abspath("tmux.sock")


def tmux(*words):
    return subprocess.run(("tmux", "-S", SOCKET, "-f", "/dev/null", *words), check=True, capture_output=True, text=True).stdout


def screen(pane):
    return tmux("capture-pane", "-p", "-t", pane)


def settled(pane, text):
    """The screen of a pane, once it shows a text and looks the same twice."""
    def look():
        now = screen(pane)
        return now if text in now and now == screen(pane) else None
    return until(f"{text!r} in {pane}", look)


os.environ.update(TERM="xterm", LANG="C.UTF-8", LESSHISTFILE="-", PYTHONSTARTUP="", TOPRC="")
os.environ.pop("TMUX", None)
with open("numbers", "w") as f:
    f.writelines(f"{n} of 500\n" for n in range(1, 501))
with open("text", "w") as f:
    f.write("first line\n")

tmux("new-session", "-d", "-s", "t", "-n", "less", "-x", "90", "-y", "30", "less numbers")
tmux("split-window", "-t", "t:less", "vim -u NONE -n text")
tmux("new-window", "-d", "-t", "t:", "-n", "python", "/usr/bin/python3 -q")
tmux("new-window", "-d", "-t", "t:", "-n", "top", "top -d 0.2")
LESS, VIM, PYTHON, TOP = "t:less.0", "t:less.1", "t:python", "t:top"
settled(LESS, "1 of 500")
settled(VIM, "first line")
settled(PYTHON, ">>>")
tmux("send-keys", "-t", LESS, "/250 of", "Enter")
tmux("send-keys", "-t", VIM, "o", "second line")
tmux("send-keys", "-t", PYTHON, "n = 0", "Enter")
until("top shows something", lambda: "load average" in screen(TOP))
still = {LESS: settled(LESS, "250 of"), VIM: settled(VIM, "second line")}
settled(PYTHON, "n = 0")

for n in steps():
    for pane, before in still.items():
        check(f"screen of {pane}", screen(pane), before)
    tmux("send-keys", "-t", PYTHON, "n += 1; print('is', n)", "Enter")
    until(f"python counts to {n}", lambda: re.findall(r"is \d+", screen(PYTHON))[-1:] == [f"is {n}"])
    before = screen(TOP)
    until("top goes on", lambda: screen(TOP) != before)

tmux("send-keys", "-t", VIM, "Escape", ":wq", "Enter")
until("vim ends", lambda: VIM[-1] not in tmux("list-panes", "-t", "t:less", "-F", "#{pane_index}"))
with open("text") as f:
    check("what vim wrote", f.read(), "first line\nsecond line\n")
tmux("send-keys", "-t", LESS, "G")
settled(LESS, "500 of 500")
tmux("send-keys", "-t", TOP, "q")
tmux("send-keys", "-t", PYTHON, "exit()", "Enter")
tmux("send-keys", "-t", LESS, "q")
until("tmux ends", lambda: not os.path.exists(SOCKET) or subprocess.run(("tmux", "-S", SOCKET, "has-session"), capture_output=True).returncode)
print("PASS", flush=True)

"""GNU screen with vim and a counting shell: the screen of vim stays what it was, the shell goes on counting."""
import itertools
import os
import subprocess

from tree import check, steps, until

NAME = "crtrace"


def screen(*words):
    subprocess.run(("screen", "-S", NAME, *words), check=True, capture_output=True)


copies = itertools.count(1)


def hardcopy(window):
    """What a window shows. Screen writes it to a file, some time later; each
    time to another one, as crtrace does not bring back files that were removed after a checkpoint."""
    name = f"copy-{next(copies)}"
    screen("-p", window, "-X", "hardcopy", os.path.abspath(name))

    def read():
        try:
            with open(name, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""
    # A window has 24 lines; what is shorter is not complete yet.
    return until(f"a hardcopy of {window}", lambda: read().count("\n") >= 24 and read())


def settled(window, text):
    def look():
        now = hardcopy(window)
        return now if text in now and now == hardcopy(window) else None
    return until(f"{text!r} in {window}", look)


directory = os.path.abspath("sockets")
os.mkdir(directory, 0o700)
os.environ.update(SCREENDIR=directory, TERM="xterm", LANG="C", SYSSCREENRC="/dev/null")
os.environ.pop("STY", None)
with open("text", "w") as f:
    f.write("first line\n")
with open("count.sh", "w") as f:
    f.write("n=0; while read -r word; do n=$((n + 1)); clear; echo $word $n.; done")
subprocess.run(("screen", "-c", "/dev/null", "-dmS", NAME, "-t", "shell", "sh", "count.sh"), check=True)
until("screen starts", lambda: subprocess.run(("screen", "-S", NAME, "-Q", "select", "."), capture_output=True).returncode == 0)
screen("-X", "screen", "-t", "vim", "vim", "-u", "NONE", "-n", "text")
settled("vim", "first line")
screen("-p", "vim", "-X", "stuff", "osecond line")
before = settled("vim", "second line")

for n in steps():
    check("screen of vim", hardcopy("vim"), before)
    screen("-p", "shell", "-X", "stuff", "is\r")
    until(f"the shell counts to {n}", lambda: f"is {n}." in hardcopy("shell"))

screen("-p", "vim", "-X", "stuff", "\x1b:wq\r")


def saved():
    with open("text") as f:
        return f.read() == "first line\nsecond line\n"


until("vim writes", saved)
screen("-X", "quit")
until("screen ends", lambda: not os.listdir(directory))
print("PASS", flush=True)

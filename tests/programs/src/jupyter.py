"""An ipython kernel and its client, inside the tree: variables, output and a generator live in the kernel."""
import os

from jupyter_client.manager import KernelManager

from tree import LIMIT, check, steps

os.environ.update(JUPYTER_RUNTIME_DIR=os.getcwd(), PYDEVD_DISABLE_FILE_VALIDATION="1")
manager = KernelManager(kernel_name="python3")
# The database of the history would be of a later time than the restored kernel.
manager.start_kernel(extra_arguments=["--HistoryManager.enabled=False"])
client = manager.blocking_client()
client.start_channels()
client.wait_for_ready(timeout=LIMIT)


def run(code):
    """Runs code in the kernel and returns what it prints."""
    request, text = client.execute(code), ""
    while True:
        message = client.get_iopub_msg(timeout=LIMIT)
        if message["parent_header"].get("msg_id") != request:
            continue
        if message["msg_type"] == "stream":
            text += message["content"]["text"]
        if message["msg_type"] == "error":
            return "".join(message["content"]["traceback"])
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            check("reply", client.get_shell_msg(timeout=LIMIT)["content"]["status"], "ok")
            return text


run("def squares():\n  n = 0\n  while True:\n    n += 1\n    yield n * n\nn, all = 0, squares()")
for n in steps():
    check("kernel", run("n += 1; print(n, next(all))"), f"{n} {n * n}\n")
client.stop_channels()
manager.shutdown_kernel()
print("PASS", flush=True)

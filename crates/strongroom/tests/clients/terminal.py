"""A command at a terminal: python3 terminal.py PROGRAM ARG...

STEPS in the environment is a list of pairs, as JSON: what has to be on the terminal, and what is
typed then. What was on the terminal goes to standard output; the exit code is the command's.
"""

import json
import os
import pty
import select
import signal
import sys
import time

PATIENCE = 30


def main():
    steps = json.loads(os.environ.pop("STEPS"))
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(sys.argv[1], sys.argv[1:])
    seen, looked_at = b"", 0
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if steps and steps[0][0].encode() in seen[looked_at:]:
            looked_at = len(seen)
            os.write(terminal, steps.pop(0)[1].encode())
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            piece = b""
        if not piece:
            break
        seen += piece
    else:
        os.kill(child, signal.SIGKILL)
    sys.stdout.buffer.write(seen)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


main()

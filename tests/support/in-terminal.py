"""Runs a command in a terminal: in-terminal.py COLUMNS STEPS COMMAND...

STEPS is JSON: a list of [text to wait for, what to do then], done in turn; "^C" presses Ctrl-C, a number sets the columns.
Prints what the terminal received; ends with the exit code of the command.
"""

import fcntl
import json
import os
import pty
import signal
import struct
import sys
import termios


def resize(terminal, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


columns, steps, command = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
process, terminal = pty.fork()
if process == 0:
    resize(0, columns)
    os.execvp(command[0], command)
# A step that never comes: a terminal that goes away ends its command.
signal.signal(signal.SIGALRM, lambda *_: os.kill(process, signal.SIGKILL))
signal.alarm(240)
output, searched = b"", 0
while True:
    try:
        chunk = os.read(terminal, 65536)
    except OSError:  # Linux: the other side is closed
        break
    if not chunk:
        break
    output += chunk
    while steps:
        at = output.find(steps[0][0].encode(), searched)
        if at < 0:
            break
        searched = at + len(steps[0][0].encode())
        action = steps.pop(0)[1]
        if action == "^C":
            os.write(terminal, b"\x03")
        else:
            resize(terminal, action)
status = os.waitpid(process, 0)[1]
sys.stdout.buffer.write(output)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)

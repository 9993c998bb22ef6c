"""Makes the stream of `make up` readable: formats the lines that processes log, and passes all others on unchanged.

python -m logs.readable < the output of docker compose up, or of the stack without containers
"""

import os
import signal
import sys

from logs.lines import mend, parse
from logs.sources import PREFIX
from logs.view import Format


def readable(line: str, form: Format) -> str:
    """Return a line of the stream in readable form."""
    match = PREFIX.match(line)
    if not match:
        return line
    return "\n".join(form.line(match[1], parse(part), part) for part in mend(match[2]))


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command that writes the stream ends first
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    form = Format(colour=colour)
    try:
        for raw in sys.stdin.buffer:
            print(readable(raw.decode(errors="backslashreplace").rstrip("\r\n"), form), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())

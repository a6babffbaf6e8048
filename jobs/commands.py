"""The command line."""

import sys

from jobs import child, worker
from tempo_core.settings import Home


def main() -> int:
    if sys.argv[1] == "run":
        return child.main(int(sys.argv[2]))
    return worker.main(Home.from_environment())

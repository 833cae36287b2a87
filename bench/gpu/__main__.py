"""``python -m bench.gpu``: for a machine that has no more than the few packages this needs."""

import sys

from bench.gpu.command import main

sys.exit(main(sys.argv[1:]))

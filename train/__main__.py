"""``python -m lmzoo.train`` is the ``lmzoo`` command."""

import sys

from .cli import main
from .execution.thread_budget import limit_threads

limit_threads()
sys.exit(main())

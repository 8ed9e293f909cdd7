"""``python -m lmzoo.train`` is the ``lmzoo`` command."""

import sys

from .cli import main
from .runs.environment import limit_threads

limit_threads()
sys.exit(main())

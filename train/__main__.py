"""``python -m lmzoo.train`` is the ``lmzoo`` command."""

import sys

from .cli import main

sys.exit(main())

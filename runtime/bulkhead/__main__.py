"""``python -m bulkhead`` is the command ``bulkhead``."""

import sys

from bulkhead.cli import main

sys.exit(main())

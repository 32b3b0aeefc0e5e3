"""`python -m tracelab`."""

import sys

from tracelab.cli import main

sys.exit(main())

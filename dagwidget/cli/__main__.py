"""`python -m dagwidget.cli`."""

import sys

from .main import main

sys.exit(main())

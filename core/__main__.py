"""`python -m core` is the same as `meshgpt`, for a place where nothing is installed."""

import sys

from core.cli import main

sys.exit(main())

"""`python -m dermdemo`."""

import sys

from dermdemo.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m nautilus_client` is the command `nautilus`."""

import sys

from nautilus_client.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m bridge` is `upnp2mqtt`."""

import sys

from bridge.cli import main

sys.exit(main())

"""The old name of `rrarank.integrations`, kept for one release."""

import sys
import warnings

from rrarank import integrations

warnings.warn("rrarank.neighbours is now rrarank.integrations", DeprecationWarning, stacklevel=2)
sys.modules[__name__] = integrations

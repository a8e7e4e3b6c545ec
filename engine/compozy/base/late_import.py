"""The lock for late imports of libraries whose modules import each other, such as numpy.

Of two threads that import such modules at the same time, Python gives one a module that is not complete, to avoid a
deadlock of import locks.
"""

from __future__ import annotations

import threading

LATE_IMPORT = threading.RLock()

"""Has clients send no second copy of a request that is late: it takes ids too.

With this folder on PYTHONPATH, in every process: what it prints does not depend on its speed.
"""

import contextlib

with contextlib.suppress(ImportError):  # a Python without the client
    from idalloc_client._rpc._pending_calls import PendingCalls

    PendingCalls.doubt = lambda *_: None  # type: ignore[method-assign]

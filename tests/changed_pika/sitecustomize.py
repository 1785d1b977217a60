"""Makes pika one that idalloc does not know: with this folder on PYTHONPATH, in every process.

What idalloc's own streams are built on is gone from where it was. pika itself, which has taken it
from there before, works as ever.
"""

import contextlib

with contextlib.suppress(ImportError):  # a Python without pika
    from pika.adapters.utils import nbio_interface, selector_ioloop_adapter

    del nbio_interface.AbstractStreamTransport
    del selector_ioloop_adapter.SelectorIOServicesAdapter

"""Tells variables that Kubernetes sets for its Services from those that an operator sets.

A Service called `idalloc-metrics` sets IDALLOC_METRICS_PORT=tcp://10.0.0.1:9464 in every pod of its
namespace (Kubernetes, "Accessing the Service": environment variables).
"""

import os
import re
from collections.abc import Mapping
from typing import Final

_LINK: Final = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


def is_service_link(value: str) -> bool:
    """Tell whether a value is the address of a Service; no setting has values like that."""
    return _LINK.fullmatch(value) is not None


def service_link_warnings(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Warn of variables that look like settings and are ignored."""
    return [
        f"{name} is ignored: it is not a setting but what Kubernetes says of a Service, {value} "
        "(enableServiceLinks: false in the pod's spec prevents it)"
        for name, value in sorted(environ.items())
        if name.startswith("IDALLOC_") and name.endswith("_PORT") and is_service_link(value)
    ]

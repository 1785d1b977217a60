"""What Kubernetes says of a Service is not taken for a setting."""

import pytest

from idalloc_worker.settings._errors import SettingsError
from idalloc_worker.settings._service_links import is_service_link, service_link_warnings
from idalloc_worker.settings._settings import load_settings

OF_A_SERVICE = {  # called idalloc-metrics, with the port 9464, as Kubernetes writes it
    "IDALLOC_METRICS_SERVICE_HOST": "10.0.0.11",
    "IDALLOC_METRICS_SERVICE_PORT": "9464",
    "IDALLOC_METRICS_SERVICE_PORT_METRICS": "9464",
    "IDALLOC_METRICS_PORT": "tcp://10.0.0.11:9464",
    "IDALLOC_METRICS_PORT_9464_TCP": "tcp://10.0.0.11:9464",
    "IDALLOC_METRICS_PORT_9464_TCP_PROTO": "tcp",
    "IDALLOC_METRICS_PORT_9464_TCP_PORT": "9464",
    "IDALLOC_METRICS_PORT_9464_TCP_ADDR": "10.0.0.11",
}


def test_a_service_called_idalloc_metrics_sets_nothing() -> None:
    """The worker starts, without a port, and says once what it ignores."""
    assert load_settings(None, {}, OF_A_SERVICE).metrics_port == 0
    (warning,) = service_link_warnings(OF_A_SERVICE)
    assert warning.startswith("IDALLOC_METRICS_PORT is ignored")
    assert "enableServiceLinks" in warning


@pytest.mark.parametrize("value", ["tcp://10.0.0.1:80", "udp://[fd00::1]:53", "sctp://10.0.0.1:1"])
def test_each_protocol_of_a_service(value: str) -> None:
    """Whatever setting a Service's name may come to stand for."""
    assert is_service_link(value)
    assert load_settings(None, {}, {"IDALLOC_TABLE": value}).table == "segments"


@pytest.mark.parametrize("value", ["9464x", "http://10.0.0.1:80", "tcp://10.0.0.1"])
def test_other_mistakes_are_still_told(value: str) -> None:
    """Nothing but the address of a Service is ignored."""
    assert not is_service_link(value)
    with pytest.raises(SettingsError, match="IDALLOC_METRICS_PORT"):
        load_settings(None, {}, {"IDALLOC_METRICS_PORT": value})
    assert not service_link_warnings({"IDALLOC_METRICS_PORT": value})

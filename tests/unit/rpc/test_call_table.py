"""The calls of one link, told by the test what becomes of its channel."""

from pika.exceptions import ChannelClosedByBroker, StreamLostError

from idalloc_client import AccessRefusedError
from idalloc_client._clients._session import _BlockingCall
from idalloc_client._rpc._pending_calls import CallTable
from idalloc_client._rpc._request_spec import health_exchange


def test_without_the_right_to_send_calls_end_until_there_is_a_channel() -> None:
    """Those in flight, and those that come while the next channel is waited for."""
    table = CallTable(max_in_flight=10)
    calls = [_BlockingCall(health_exchange(None), 1e12) for _ in range(3)]
    table.add(calls[0])
    table.on_lost(ChannelClosedByBroker(403, "ACCESS_REFUSED - write access refused"))
    table.add(calls[1])
    assert [type(call.reply._error) for call in calls[:2]] == [AccessRefusedError] * 2
    table.on_lost(StreamLostError())  # that says nothing about rights: calls wait for a connection
    table.add(calls[2])
    assert not calls[2].reply.done()
    assert len(table) == 1

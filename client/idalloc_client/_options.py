"""What a client is made with: names, defaults, checks and documentation of its options, once."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NoReturn

from idalloc_client.amqp import (
    Brokers,
    UrlSource,
    checked_exchange,
    checked_timeout,
    connection_parameters,
    process_name,
    unencrypted_logins,
    user_ids,
    warn_of_cleartext,
)

_LEASE_TIMEOUT = 30.0  # seconds: nobody waits for it in vain, the sequence has its own patience


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """The options as they were checked: one object, which goes whole to whoever reads one.

    No field has a default, so that one that is not passed on is a mistake at once.
    """

    brokers: Brokers
    """How each broker is connected to, with the connection's name."""
    timeout: float
    max_in_flight: int
    exchange: str
    workers: frozenset[bytes]
    retry: bool


class ConfiguredClient(ABC):
    """A client, made with its options."""

    _MAX_IN_FLIGHT: ClassVar[int]

    def __init__(  # noqa: PLR0913  # a user's options
        self,
        url: UrlSource,
        *,
        timeout: float = 5.0,
        name: str | None = None,
        max_in_flight: int | None = None,
        exchange: str = "",
        workers: str | Iterable[str] = (),
        retry: bool = True,
    ) -> None:
        """Check the options; the connection follows at the first call.

        Args:
            url: `amqp://user:password@host1:port,host2:port/vhost`, with pika's URL options. Of
                several brokers of a cluster the client uses one, and goes to another at once when
                that is lost. Or a callable that returns the URL, such as `UrlFile(path)`: it is
                called here and at each connect, on the thread or loop of the connection, so it must
                not take long. User and password may differ each time, as with short-lived tokens.
                If it fails later, the last ones are used.
            timeout: seconds that a call may take, unless the call names its own timeout.
            name: what the management UI shows; by default product, role, host and process id.
            max_in_flight: calls that may wait at one time; one more raises `TooManyCallsError`.
                By default 10,000, and 100,000 of an `AsyncIdClient`.
            exchange: where requests go; by default the default exchange. `id.requests` is for a
                user who may write only there; `id.local` asks a worker at the same node of a
                cluster, if there is one.
            workers: the RabbitMQ users that workers log in with, one name or several. Then only
                replies count that the broker vouches for as sent by one of them; by default all do.
            retry: whether the client asks again, until the call's deadline, if a worker or the
                broker refuses for the moment: `NoAvailableIdError` and `BusyError` that say when to
                ask again, `QueueFullError`, `ShuttingDownError`. If not, it raises the first one.

        Raises:
            ValueError: for a bad URL, timeout, exchange or user name; without the URL in its text.
        """
        timeout = checked_timeout(timeout)
        brokers = connection_parameters(url, name or process_name("client"))
        for broker in brokers:
            broker.role = None if name else "client"
        for login in unencrypted_logins(brokers):
            warn_of_cleartext(login)
        self._options = ClientOptions(
            brokers=brokers,
            timeout=timeout,
            max_in_flight=self._MAX_IN_FLIGHT if max_in_flight is None else max_in_flight,
            exchange=checked_exchange(exchange),
            workers=user_ids(workers),
            retry=retry,
        )
        self._begin()

    def __reduce__(self) -> NoReturn:
        # What a copy shared with the original would be closed with it.
        raise TypeError(
            "a client cannot be copied or pickled: make it where each process imports it"
        )

    @abstractmethod
    def _begin(self) -> None:
        """Make what the client consists of, once its options are there."""

    def _lease_terms(self, timeout: float) -> tuple[float, bool]:  # noqa: ARG002  # the fakes' own
        """Say how many seconds a lease of a sequence may take, and whether the sequence asks again.

        `timeout` is how long somebody waits for it.
        """
        return _LEASE_TIMEOUT, self._options.retry

    def _time(self, timeout: float | None) -> float:
        return self._options.timeout if timeout is None else checked_timeout(timeout)

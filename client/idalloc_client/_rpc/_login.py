"""By which name the broker knows the user of a client, and vouches for it to workers."""

from idalloc_client.amqp import Brokers, ChannelClosedByBroker, ReplyCode, user_id


class Login:
    """The name that requests carry."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self._name: str | None = None
        self.user_id: bytes | None = None
        """None where a request is to carry no name."""
        self.look()

    def look(self) -> None:
        """Go by the name that this connection was opened as, if that has changed."""
        name = user_id(self._brokers)
        if name != self._name:
            self._name = name
            self.user_id = None if name is None else name.encode()

    def refused(self, reason: BaseException) -> None:
        """Hear why a channel ended: the broker may know this user under another name.

        That is a certificate's or a token's.
        """
        if (
            isinstance(reason, ChannelClosedByBroker)
            and reason.reply_code == ReplyCode.PRECONDITION_FAILED
            and "user_id" in reason.reply_text
        ):
            self.user_id = None

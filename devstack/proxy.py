"""A TCP proxy on 127.0.0.1 that fails on command, for tests of lost and slow connections."""

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self

Hook = Callable[[bytes], bytes | None]
"""Gets what one side has just sent; returns what to pass on, None for nothing."""

_CHUNK = 65536
_MOST_PENDING = 1 << 20  # bytes; beyond it the sender is no longer read
_JOIN_SECONDS = 10.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class _Pipe:
    """One direction of one connection."""

    source: socket.socket
    target: socket.socket
    from_server: bool
    pending: deque[tuple[float, bytes]] = field(default_factory=deque)  # (when it is due, bytes)
    size: int = 0
    ended: bool = False  # the source has sent its end of stream
    end_passed_on: bool = False

    def push(self, due: float, data: bytes) -> None:
        self.pending.append((due, data))
        self.size += len(data)

    def pop(self, sent: int) -> None:
        due, data = self.pending.popleft()
        if sent < len(data):
            self.pending.appendleft((due, data[sent:]))
        self.size -= sent


@dataclass(eq=False)
class _Link:
    """One connection of a client and the one to the server that belongs to it."""

    client: socket.socket
    server: socket.socket
    armed: bool = False  # the client has sent the marker: the server's next bytes are lost

    def __post_init__(self) -> None:
        self.up = _Pipe(self.client, self.server, from_server=False)
        self.down = _Pipe(self.server, self.client, from_server=True)

    @property
    def pipes(self) -> tuple[_Pipe, _Pipe]:
        return self.up, self.down


class TcpProxy:
    """Forwards connections to `target_host:target_port` and spoils them when told to.

    Listens from construction to `close()`. One thread owns all sockets; the methods may be called
    from any thread and return when they have taken effect. The hooks run in that thread; they may
    call the methods, and must not block.
    """

    def __init__(self, target_host: str, target_port: int, *, delay: float = 0.0) -> None:
        self.delay = delay
        """Seconds that every byte takes each way; may be changed at any time, for bytes to come."""
        self.on_client_bytes: Hook | None = None
        self.on_server_bytes: Hook | None = None
        self.accepted = 0
        """How many connections have been accepted so far, the refused ones included."""
        self._target = (target_host, target_port)
        self._refusing = False
        self._paused = False
        self._marker: bytes | None = None
        self._links: list[_Link] = []
        self._commands: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_out.settimeout(0)
        # epoll waits for whole milliseconds: what is to come a little late would come later still.
        self._selector = selectors.SelectSelector() if delay else selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{self.port}")
        self._thread.start()

    @property
    def connections(self) -> int:
        """How many connections are open at the moment."""
        return len(self._links)

    def drop(self) -> None:
        """Reset every connection, as a crash or a firewall does (the peers see ECONNRESET)."""
        self._do(self._drop_all)

    def pause(self) -> None:
        """Forward nothing any more, in either direction, but keep all connections open."""
        self._do(lambda: self._set_paused(to=True))

    def resume(self) -> None:
        """Forward again, first what has been held back since `pause()`."""
        self._do(lambda: self._set_paused(to=False))

    def half_close(self, side: Literal["client", "server"] = "client") -> None:
        """Tell one side of every connection that the other has sent its last byte.

        The other direction goes on, as with a peer that has closed only its sending half.
        """
        self._do(lambda: self._half_close_all(side))

    def refuse(self, on: bool = True) -> None:  # noqa: FBT001, FBT002 - a switch, as its name says
        """Reset new connections at once; those that are open are left alone."""
        self._do(lambda: self._set_refusing(to=on))

    def lose_answer_to(self, marker: bytes) -> None:
        """Lose one answer: that to the next bytes from a client that contain `marker`.

        The server gets the request and acts on it; what it sends next is thrown away and the
        connection is reset on both sides. Happens once. Finds nothing in a TLS connection, which
        a given MySQL may offer; a private one does not.
        """
        self._do(lambda: self._set_marker(marker))

    def close(self) -> None:
        """Reset what is open, stop listening and join the thread. May be called again."""
        with contextlib.suppress(RuntimeError):  # it is closed already
            self._do(self._begin_close)
        self._thread.join(_JOIN_SECONDS)
        if self._thread.is_alive():
            raise RuntimeError(f"thread {self._thread.name} did not end")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Everything below runs in the proxy's thread, except `_do`.

    def _do(self, command: Callable[[], None]) -> None:
        if threading.current_thread() is self._thread:
            command()  # from a hook
            return
        done = threading.Event()
        self._commands.append((command, done))
        try:
            self._wake_in.send(b"x")
        except OSError:
            raise RuntimeError("the proxy is closed") from None
        done.wait()

    def _run(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        try:
            while not self._closing:
                now = (
                    time.monotonic()
                )  # one for both, lest what falls due between them is forgotten
                self._watch_links(now)
                for key, events in self._selector.select(self._until_next_due(now)):
                    self._handle(key.fileobj, events)
                self._run_commands()
        finally:
            self._shut()

    def _handle(self, source: object, events: int) -> None:
        if source is self._listener:
            self._accept()
        elif source is self._wake_out:
            self._wake_out.recv(_CHUNK)
        else:
            link = next(
                (link for link in self._links if source in {link.client, link.server}), None
            )
            if link is not None:  # it may have been dropped by an event of this same round
                self._serve(link, source, events)

    def _run_commands(self) -> None:
        while self._commands:
            command, done = self._commands.popleft()
            command()
            done.set()

    def _shut(self) -> None:
        self._closing = True
        self._drop_all()
        self._listener.close()
        self._wake_in.close()
        self._wake_out.close()
        self._selector.close()
        self._run_commands()  # those that came too late need not wait

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # it has gone again
        self.accepted += 1
        if self._refusing:
            _reset(client)
            return
        client.settimeout(0)
        server = socket.socket()
        server.settimeout(0)
        server.connect_ex(self._target)  # its failure shows at the first recv
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._links.append(_Link(client, server))

    def _watch_links(self, now: float) -> None:
        """Ask the selector for just what can be acted on, so that it does not spin."""
        for link in self._links:
            for end in (link.client, link.server):
                self._watch(end, self._wanted(link, end, now))

    def _wanted(self, link: _Link, end: socket.socket, now: float) -> int:
        if self._paused:
            return 0
        incoming, outgoing = (link.up, link.down) if end is link.client else (link.down, link.up)
        events = 0
        if not incoming.ended and incoming.size < _MOST_PENDING:
            events |= selectors.EVENT_READ
        if outgoing.pending and outgoing.pending[0][0] <= now:
            events |= selectors.EVENT_WRITE
        return events

    def _watch(self, end: socket.socket, events: int) -> None:
        known = self._selector.get_map().get(end)
        if known is None:
            if events:
                self._selector.register(end, events)
        elif not events:
            self._selector.unregister(end)
        elif known.events != events:
            self._selector.modify(end, events)

    def _until_next_due(self, now: float) -> float | None:
        if self._paused:
            return None
        due = [pipe.pending[0][0] for link in self._links for pipe in link.pipes if pipe.pending]
        # Bytes that are due already wait for their socket, which the selector watches.
        later = [when - now for when in due if when > now]
        return min(later) if later else None

    def _serve(self, link: _Link, end: object, events: int) -> None:
        incoming, outgoing = (link.up, link.down) if end is link.client else (link.down, link.up)
        try:
            if events & selectors.EVENT_READ:
                self._receive(link, incoming)
            if events & selectors.EVENT_WRITE and link in self._links:
                self._send(link, outgoing)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(link)

    def _receive(self, link: _Link, pipe: _Pipe) -> None:
        data = pipe.source.recv(_CHUNK)
        if not data:
            pipe.ended = True
            self._pass_end_on(link, pipe)
            return
        passed = self._spoil(link, pipe, data)
        if passed and link in self._links:
            pipe.push(time.monotonic() + self.delay, passed)

    def _spoil(self, link: _Link, pipe: _Pipe, data: bytes) -> bytes | None:
        hook = self.on_server_bytes if pipe.from_server else self.on_client_bytes
        if pipe.from_server and link.armed:
            self._drop(link)
            return None
        if not pipe.from_server and self._marker is not None and self._marker in data:
            self._marker = None
            link.armed = True
        return hook(data) if hook else data

    def _send(self, link: _Link, pipe: _Pipe) -> None:
        now = time.monotonic()
        while pipe.pending and pipe.pending[0][0] <= now:
            pipe.pop(pipe.target.send(pipe.pending[0][1]))
        self._pass_end_on(link, pipe)

    def _pass_end_on(self, link: _Link, pipe: _Pipe) -> None:
        if pipe.ended and not pipe.pending and not pipe.end_passed_on:
            pipe.end_passed_on = True
            pipe.target.shutdown(socket.SHUT_WR)
        if link.up.end_passed_on and link.down.end_passed_on:
            self._forget(link)
            link.client.close()
            link.server.close()

    def _half_close_all(self, side: str) -> None:
        for link in list(self._links):
            pipe = link.down if side == "client" else link.up
            pipe.ended = True
            try:
                self._pass_end_on(link, pipe)
            except OSError:
                self._drop(link)

    def _drop_all(self) -> None:
        for link in list(self._links):
            self._drop(link)

    def _drop(self, link: _Link) -> None:
        self._forget(link)
        _reset(link.client)
        _reset(link.server)

    def _forget(self, link: _Link) -> None:
        self._links.remove(link)
        for end in (link.client, link.server):
            self._watch(end, 0)

    def _set_paused(self, *, to: bool) -> None:
        self._paused = to

    def _set_refusing(self, *, to: bool) -> None:
        self._refusing = to

    def _set_marker(self, marker: bytes) -> None:
        self._marker = marker

    def _begin_close(self) -> None:
        self._closing = True


def _reset(end: socket.socket) -> None:
    """Close so that the peer gets a reset and not an end of stream."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    end.close()

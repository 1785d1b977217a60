"""Rules of what outlives a worker: the stream of marks, old marks, and memory that is set back."""

from typing import Final

from tests.mutations._rule import SIMULATION, Rule

_FLEET = "worker/idalloc_worker/fleet/_fleet.py"
_GREETINGS = "worker/idalloc_worker/fleet/_greetings.py"
_MEMORY = "worker/idalloc_worker/marks/_memory.py"
_STREAM = "worker/idalloc_worker/marks/_marks_stream.py"
_LOG = "worker/idalloc_worker/marks/_snapshot_log.py"
_OWN = "worker/idalloc_worker/fleet/_own_messages.py"
_VOUCHING = "worker/idalloc_worker/marks/_vouching.py"
_REFILLS = "worker/idalloc_worker/refill/_coordinator.py"
_OTHERS = "worker/idalloc_worker/service/_other_owners.py"
_SERVICE = "worker/idalloc_worker/service/_service.py"

_UNIT = "tests/unit/fleet/test_fleet.py"
_STREAM_TESTS = "tests/unit/marks/test_marks_stream.py"
_RULES = "tests/simulation/test_rules.py"
_DARK = f"{SIMULATION}:dark"

MEMORY: Final = (
    # The stream of marks
    Rule(
        "Nothing begins before the stream is read.",
        _FLEET,
        """\
            self._state = FleetState.READING
            self._greetings.confirmed()
            self._channel.works()
            self.memory.connect(self._channel.connection)
""",
        """\
            self._state = FleetState.GATHERING
            self._greetings.confirmed()
            self._channel.works()
            self.memory.connect(self._channel.connection)
            self._begin(generation)
""",
        (_UNIT, _DARK),
    ),
    Rule(
        "What was on its way when a worker bound its queue is in the stream before it begins.",
        _GREETINGS,
        "pause = max(ON_ITS_WAY, self._confirmed - self._began)",
        "pause = self._confirmed - self._began",
        (_UNIT,),
    ),
    Rule(
        "A broker that was slow with the greeting is given as long for what is on its way.",
        _GREETINGS,
        "pause = max(ON_ITS_WAY, self._confirmed - self._began)",
        "pause = ON_ITS_WAY",
        (_UNIT,),
    ),
    Rule(
        "Of the stream only messages from the exchange count.",
        _MEMORY,
        "        if not from_fleet:\n            return  # anybody",
        "        if False:\n            return  # anybody",
        (_UNIT,),
    ),
    Rule(
        "What came through the exchange is told from what did not, in the stream too.",
        _STREAM,
        "from_fleet=method.exchange == FLEET_EXCHANGE",
        "from_fleet=True",
        (_STREAM_TESTS,),
    ),
    Rule(
        "The end of the stream is a message of one's own.",
        _MEMORY,
        "            if body == self._sentinel():\n",
        "            if True:\n",
        (_UNIT, _DARK),
    ),
    Rule(
        "Each reading ends at another message of one's own.",
        _MEMORY,
        "        self._sentinels += 1\n",
        "",
        (_UNIT,),
    ),
    Rule(
        "Reading goes on until one's own message.",
        _MEMORY,
        "        if offset >= self._until:\n",
        "        if True:\n",
        (_UNIT, _DARK),
    ),
    Rule(
        "What a stream says that is not whole is read from its beginning.",
        _MEMORY,
        "if not whole and self._start > 0:",
        "if False:",
        (_UNIT,),
    ),
    Rule(
        "Where the stream is not whole at all the others are asked.",
        _FLEET,
        "        if whole:\n            # A broker",
        "        if True:\n            # A broker",
        (_UNIT,),
    ),
    Rule(
        "Where there is no stream the others are asked.",
        _MEMORY,
        "        self._go_on(whole=False)\n",
        "        self._go_on(whole=True)\n",
        (_UNIT,),
    ),
    Rule(
        "A stream that could not be used is tried again.",
        _MEMORY,
        "if self._state is _State.REFUSED and connection is self._connection:",
        "if False:",
        (_UNIT,),
    ),
    Rule(
        "After a reconnect the stream is read on from where it was.",
        _MEMORY,
        "            self._start, self._resuming = self._end, True\n",
        "            self._start, self._resuming = end, False\n",
        (_UNIT,),
    ),
    Rule(
        "A stream that is shorter than what was read is another one, and read anew.",
        _MEMORY,
        "if max(end - SPAN, 0) <= self._end <= end:",
        "if max(end - SPAN, 0) <= self._end:",
        (_UNIT,),
    ),
    Rule(
        "After a reconnect a worker says again what it reserved last.",
        _FLEET,
        "            self.memory.repeat_own()\n",
        "",
        (_UNIT,),
    ),
    Rule(
        "A whole snapshot needs all parts, in order.",
        _LOG,
        "        if part != expected:\n            return\n",
        "",
        (_UNIT,),
    ),
    Rule(
        "Parts that are told to one worker are no snapshot.",
        _LOG,
        "        if part is None:\n            return\n",
        "        part = part or 0\n",
        (_UNIT,),
    ),
    Rule(
        "The last whole snapshot is never far back.",
        _MEMORY,
        "if self._log.due and self._fleet.speaking and self._writing is None:",
        "if False:",
        (_UNIT,),
    ),
    Rule(
        "A stream without a snapshot gets one.",
        _MEMORY,
        "        if not self._log.whole and self._fleet.speaking:\n"
        "            self.write_snapshot()",
        "        if False:\n            self.write_snapshot()",
        (_UNIT,),
    ),
    Rule(
        "Each part of a snapshot waits for the one before.",
        _MEMORY,
        "                self._fleet.publish(body, step)\n",
        "                self._fleet.publish(body, nothing)\n                step()\n",
        (_UNIT,),
    ),
    Rule(
        "A consumer that was ended says nothing any more.",
        _STREAM,
        "            if channel is self._channel:\n                self._on_message(",
        "            if True:\n                self._on_message(",
        (_STREAM_TESTS,),
    ),
    Rule(
        "A stream that goes down is read on from where it was.",
        _STREAM,
        "            self._next = offset + 1\n",
        "            pass\n",
        (_STREAM_TESTS,),
    ),
    Rule(
        "The stream is read on over another channel: pika rejects what comes to a cancelled one.",
        _STREAM,
        "            channel.close()\n\n    def _open(",
        "            self._channel = channel\n\n    def _open(",
        (_STREAM_TESTS,),
    ),
    Rule(
        "A stream that says nothing is done without.",
        _STREAM,
        "            if heard == self._heard:\n",
        "            if False:\n",
        (_STREAM_TESTS,),
    ),
    Rule(
        "A queue that is no stream is done without.",
        _STREAM,
        "        if offset is None:\n",
        "        if False:\n",
        (_STREAM_TESTS,),
    ),
    Rule(
        "Who may not declare the stream, or bind it, may still read it.",
        _STREAM,
        "if refused and self._care < _Care.NONE:",
        "if False:",
        (_STREAM_TESTS,),
    ),
    # Old marks
    Rule(
        "Marks that are older than that are not vouched for.",
        _VOUCHING,
        "abs(self._wall_clock() - at) <= self._max_age",
        "self._wall_clock() >= at",
        (_UNIT,),
    ),
    Rule(
        "A tag that nobody vouches for is served once its row was raised.",
        _VOUCHING,
        "if max_id > self._rows.setdefault(app_tag, max_id):",
        "if max_id >= self._rows.setdefault(app_tag, max_id):",
        (_UNIT,),
    ),
    Rule(
        "A refill of a tag that nobody vouches for reserves nothing.",
        _REFILLS,
        "if self._fleet.vouching.vouches_for(refill.app_tag):",
        "if True:",
        (_UNIT, "tests/unit/refill/test_coordinator.py"),
    ),
    Rule(
        "Only who knows all marks says that it is alive.",
        _MEMORY,
        "                if vouching.for_all:\n",
        "                if True:\n",
        (_UNIT,),
    ),
    # Memory that is set back
    Rule(
        "Who speaks under a worker's key, and is not it, is a copy.",
        _FLEET,
        "                if not self._own.heard(message):\n",
        "                if False:\n",
        (_UNIT,),
    ),
    Rule(
        "A claim of one's own is heard once.",
        _OWN,
        "                sent[claim] -= 1\n",
        "                sent[claim] += 1\n",
        (_UNIT,),
    ),
    Rule(
        "A hello of one's own names a queue of one's own.",
        _OWN,
        "return message.reply_to in self._queues",
        "return True",
        (_UNIT,),
    ),
    Rule(
        "What was said on the channel before may still be heard.",
        _OWN,
        "for sent in (self._claims, self._earlier):",
        "for sent in (self._claims,):",
        (_UNIT,),
    ),
    Rule(
        "A claim of one's own that one knows nothing of shows that memory was set back.",
        _MEMORY,
        "if self._marks.is_news(message.worker, message.app_tag, message.right):",
        "if False:",
        (_UNIT,),
    ),
    Rule(
        "Clocks that jump apart show that memory was set back.",
        "worker/idalloc_worker/service/_clocks.py",
        "return jump if abs(jump) > JUMP else 0.0",
        "return 0.0",
        ("tests/unit/service/test_clocks.py",),
    ),
    Rule(
        "A jump of the clocks is looked for all the time.",
        _SERVICE,
        "        self._others.look_at_clocks()\n",
        "",
        (_RULES,),
    ),
    Rule(
        "A jump of the clocks is looked for before a connection is used.",
        _SERVICE,
        "        self._others.look_before_connecting()\n",
        "",
        (_RULES,),
    ),
    Rule(
        "A worker whose memory was set back drops all that it holds.",
        _OTHERS,
        "        for engine in self._engines:\n            engine.void()\n",
        "",
        (_RULES,),
    ),
    Rule(
        "A worker whose memory was set back goes on under another name.",
        _OTHERS,
        "        self._renew_key()\n",
        "",
        (_RULES,),
    ),
    Rule(
        "A worker whose memory was set back leaves its requests to the broker.",
        _OTHERS,
        '        self._link.reset_channel(ConnectionResetError("its memory was rolled back"))\n',
        "",
        (_RULES,),
    ),
)

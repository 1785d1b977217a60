"""Rules of what happens to messages that end the connection of whoever takes them."""

from typing import Final

from tests.mutations._rule import Rule

_QUARANTINE = "worker/idalloc_worker/requests/_quarantine.py"
_STREAM = "worker/idalloc_worker/marks/_careful_stream.py"
_TAKEN = "worker/idalloc_worker/requests/_taken.py"
_SERVICE = "worker/idalloc_worker/service/_service.py"
_MESSAGE_CHANNEL = "client/idalloc_client/amqp/_io/_channel.py"

_UNIT = "tests/unit/requests/test_quarantine.py"
_STREAM_TESTS = "tests/unit/marks/test_careful_stream.py"
_TAKEN_TESTS = "tests/unit/requests/test_taken.py"
_WHOLE = "tests/simulation/test_quarantine.py"

QUARANTINE: Final = (
    Rule(
        "Only an internal error of the broker makes messages suspicious.",
        "client/idalloc_client/amqp/_reason.py",
        "        reason.reply_code == ReplyCode.INTERNAL_ERROR\n",
        "        True\n",
        (_UNIT,),
    ),
    Rule(
        "One loss is chance.",
        _QUARANTINE,
        "if not self.active and now - self._last < _SOON:",
        "if not self.active:",
        (_UNIT, _WHOLE),
    ),
    Rule(
        "A message that is taken singly is gone from its queue as it is sent.",
        _MESSAGE_CHANNEL,
        "self.pika_channel.basic_get(queue, on_got, auto_ack=True)",
        "self.pika_channel.basic_get(queue, on_got, auto_ack=False)",
        (_UNIT,),
    ),
    Rule(
        "A message is blamed only if the broker could not cope with it.",
        _QUARANTINE,
        "        elif ended_by_message(reason):\n            self._set_aside(asked)",
        "        elif True:\n            self._set_aside(asked)",
        (_UNIT,),
    ),
    Rule(
        "As long as culprits come, messages are taken singly.",
        _QUARANTINE,
        "queue.group.until = now + (_AT_LEAST if queue.group.kind == ORDERED else _CALM)",
        "queue.group.until = min(queue.group.until, now + _CALM)",
        (_UNIT,),
    ),
    Rule(
        "A bundle that is put back is a worker's only if it was one's.",
        _QUARANTINE,
        "if users.trusts(properties.user_id):",
        "if True:",
        (_UNIT,),
    ),
    Rule(
        "A bundle is for the owner of its partition.",
        _QUARANTINE,
        "        if bundle:\n            self._put_back",
        "        if False:\n            self._put_back",
        (_UNIT,),
    ),
    Rule(
        "No more is taken than is answered.",
        _QUARANTINE,
        "if self._owner.unsent() < _MOST_ANSWERS:",
        "if True:",
        (_UNIT,),
    ),
    Rule(
        "A request that was taken off its queue is not acknowledged.",
        _TAKEN,
        "            delivery.finished = True\n            self._acks.flush_soon()",
        "            super().finish(delivery)\n            self._acks.flush_soon()",
        (_TAKEN_TESTS,),
    ),
    Rule(
        "What is put away says nothing that the broker would act upon.",
        _TAKEN,
        "properties, reply_to=None, user_id=user_id,",
        "properties, user_id=user_id,",
        (_TAKEN_TESTS,),
    ),
    Rule(
        "Nothing is consumed while messages are taken singly.",
        _SERVICE,
        "        if self._quarantine.active:\n            self._listen(",
        "        if False:\n            self._listen(",
        (_WHOLE,),
    ),
    Rule(
        "A message of the stream is skipped only where it came alone.",
        _STREAM,
        "        if not self._singly:\n",
        "        if False:\n",
        (_STREAM_TESTS,),
    ),
    Rule(
        "Not more of the stream is skipped than can be read in time.",
        _STREAM,
        "if self._skipped >= _MOST_SKIPPED:",
        "if False:",
        (_STREAM_TESTS,),
    ),
    Rule(
        "A worker that stops first answers what it has asked for singly.",
        _SERVICE,
        "            self._quarantine.finish(lambda: self._local.leave(self._cancel_consumers))\n",
        "            self._quarantine.stop()\n            self._cancel_consumers()\n",
        (_WHOLE,),
    ),
    Rule(
        "A worker that stops first sends what it answers aside.",
        _SERVICE,
        "        self._side.finish(\n",
        "        self._side.close()\n        (lambda then: then())(\n",
        (_WHOLE,),
    ),
    Rule(
        "What was asked for is waited for.",
        _QUARANTINE,
        "        if self._asked is None:\n            self.stop()\n",
        "        if True:\n            self.stop()\n",
        (_UNIT, _WHOLE),
    ),
)

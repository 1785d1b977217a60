"""Rules of the client: whose reply it is, whose ids they are, and what a child inherits."""

from typing import Final

from tests.mutations._rule import Rule

_PENDING = "client/idalloc_client/_rpc/_pending_calls.py"
_RETIRED = "client/idalloc_client/_rpc/_retired_channels.py"
_PACE = "client/idalloc_client/_batching/_pace.py"
_CLIMB = "client/idalloc_client/_batching/_climb.py"
_CLIMB_TESTS = "tests/unit/batching/test_climb.py"
_PACE_TESTS = "tests/unit/batching/test_pace.py"
_TASK_PROMISE = "client/idalloc_client/_batching/_task_promise.py"
_TASK_PROMISE_TESTS = "tests/unit/batching/test_task_promise.py"
_TAG_QUEUE_TESTS = "tests/unit/batching/test_tag_queue.py"
_TAG_QUEUE = "client/idalloc_client/_batching/_tag_queue.py"
_BATCHER = "client/idalloc_client/_batching/_batcher.py"
_REFUSED = "client/idalloc_client/_batching/_refused_callers.py"
_RETRY = "client/idalloc_client/_retry.py"
_SEQUENCE = "client/idalloc_client/_sequences/_sequence.py"
_BUFFER = "client/idalloc_client/_sequences/_lease_buffer.py"
_SESSION = "client/idalloc_client/_clients/_session.py"
_MEMORY = "client/idalloc_client/_memory.py"

_BATCHER_TESTS = "tests/unit/batching/test_batcher.py"
_BATCHER_RETRY_TESTS = "tests/unit/batching/test_batcher_retry.py"
_RETRY_TESTS = "tests/unit/clients/test_retry.py"
_MEMORY_TESTS = "tests/unit/clients/test_memory.py"
_SESSION_TESTS = "tests/unit/clients/test_session.py"
_SECRETS = "tests/unit/settings/test_secrets.py"
_COPIES = "client/idalloc_client/_rpc/_copies.py"
_COPIES_TESTS = "tests/unit/rpc/test_copies.py"
_PENDING_TESTS = "tests/unit/rpc/test_pending_calls.py"
_PERIOD_TESTS = "tests/unit/batching/test_batcher_periods.py"
_FAKE_PERIOD_TESTS = "tests/unit/faces/test_fake_periods.py"
_URL_SOURCES = "tests/unit/amqp/test_url_source.py"

CLIENT: Final = (
    Rule(
        "Whose task has gone gets no id: it would be lost without a word.",
        _TAG_QUEUE,
        "if type(promise) is TaskPromise and promise.outcome is NOTHING:",
        "if type(promise) is TaskPromise:",
        (_TAG_QUEUE_TESTS,),
    ),
    Rule(
        "The first outcome of a task's call stands.",
        _TASK_PROMISE,
        "        if self.outcome is not NOTHING:\n            raise asyncio.InvalidStateError",
        "        if False:\n            raise asyncio.InvalidStateError",
        (_TASK_PROMISE_TESTS,),
    ),
    Rule(
        "A task that raises Ctrl-C leaves none of those asleep that were to be woken with it.",
        _TASK_PROMISE,
        "self.wake(list(promises))",
        "pass",
        (_TASK_PROMISE_TESTS,),
    ),
    Rule(
        "A task goes on in its own context, whoever woke it.",
        _TASK_PROMISE,
        "promise.context.run(step, arrived)",
        "step(arrived)",
        (_TASK_PROMISE_TESTS,),
    ),
    Rule(
        "An outcome that was there before its task waited wakes it all the same.",
        _TASK_PROMISE,
        "        if self.outcome is not NOTHING:\n            self._go_on(step)",
        "        if False:\n            self._go_on(step)",
        (_TASK_PROMISE_TESTS,),
    ),
    Rule(
        "A task of another thread's loop sends nothing through this one.",
        "client/idalloc_client/_clients/_async_session.py",
        "if queue.eager and self._thread_id != get_ident():",
        "if False:",
        ("tests/unit/clients/test_async_session.py",),
    ),
    Rule(
        "A channel of whose requests the broker takes none is given up for another one.",
        _PENDING,
        "        elif self._silence.given_up(now):\n",
        "        elif False:\n",
        (_PENDING_TESTS,),
    ),
    Rule(
        "Channels are given up less and less often.",
        "client/idalloc_client/_rpc/_silent_channel.py",
        "        self._longest = min(2 * self._longest, LONGEST)\n",
        "",
        (_PENDING_TESTS,),
    ),
    Rule(
        "What was sent over the channel before may be answered on it.",
        _RETIRED,
        "            if channel.is_open and left:",
        "            if False:",
        (_PENDING_TESTS,),
    ),
    Rule(
        "Another channel beside a living one has nothing sent again.",
        _PENDING,
        "        if before is not None:\n",
        "        if False:\n",
        (_PENDING_TESTS,),
    ),
    Rule(
        "What was sent over a channel before that is lost is sent again.",
        _RETIRED,
        "                lost |= left\n",
        "                pass\n",
        (_PENDING_TESTS,),
    ),
    Rule(
        "A channel that gave way is closed, whatever becomes of the next.",
        _RETIRED,
        "        self._channels = [(channel, frozenset()) for channel, _ in self._channels]\n",
        "        self._channels = []\n",
        (_PENDING_TESTS,),
    ),
    Rule(
        "What is taken on the channel before does not make a silent one a good one.",
        _PENDING,
        "        elif unconfirmed is self._unconfirmed:\n",
        "        else:\n",
        (_PENDING_TESTS,),
    ),
    Rule(
        "While the queue is full, the broker goes on to say what it does not take.",
        _PENDING,
        "            self._doubted_at = now\n        elif",
        "            pass\n        elif",
        (_PENDING_TESTS,),
    ),
    Rule(
        "Each channel numbers its own messages.",
        _PENDING,
        "        self._unconfirmed = Confirms()\n        self._silence",
        "        self._silence",
        (_PENDING_TESTS,),
    ),
    Rule(
        "A reply completes the call that it answers, and no other.",
        _PENDING,
        '        call = self._calls.pop(properties.correlation_id or b"", None)\n',
        "        call = self._calls.popitem()[1] if self._calls else None\n",
        (_PENDING_TESTS,),
    ),
    Rule(
        "A reply that no worker sent completes no call, where the caller knows whom to expect.",
        _PENDING,
        "        if self._workers and properties.user_id not in self._workers:",
        "        if False:",
        (_PENDING_TESTS,),
    ),
    Rule(
        "A call that was ended is not completed by a late reply.",
        _PENDING,
        "        self._calls.pop(correlation_id, None)\n",
        "",
        (_PENDING_TESTS, _BATCHER_TESTS),
    ),
    Rule(
        "What may have been lost with a connection is sent again.",
        _PENDING,
        "        self._restores = self._process.restores\n        self._send_all()\n",
        "        self._restores = self._process.restores\n",
        (_PENDING_TESTS,),
    ),
    Rule(
        "A request does not leave past its deadline.",
        _PENDING,
        "or self._blocked or remaining_ms <= 0:",
        "or self._blocked:",
        (_PENDING_TESTS,),
    ),
    Rule(
        "Requests are held back while the broker does not read.",
        _PENDING,
        "or self._blocked or remaining_ms <= 0:",
        "or remaining_ms <= 0:",
        (_PENDING_TESTS,),
    ),
    Rule(
        "A request carries its deadline.",
        _PENDING,
        'expiration=b"%d" % min(remaining_ms, _MAX_EXPIRATION_MS)',
        "expiration=None",
        (_PENDING_TESTS,),
    ),
    Rule(
        "A request that reaches no queue ends its call at once.",
        _PENDING,
        "        call.finish(NoRouteError(str(method.routing_key), str(method.exchange)))\n",
        "        pass\n",
        (_PENDING_TESTS,),
    ),
    Rule(
        "A request that the broker does not take ends its call, and no other one.",
        _PENDING,
        "if self._copies.told(correlation_id, now, taken=taken) or taken:",
        "if self._copies.told(correlation_id, now, taken=taken):",
        (_PENDING_TESTS,),
    ),
    Rule(
        "What may be lost is sent again after a pause, not at every look.",
        _COPIES,
        "self._plan(call, now, patience, copies + 1)",
        "pass",
        (_COPIES_TESTS,),
    ),
    Rule(
        "What may be lost is sent again a few times, however long its caller waits.",
        _COPIES,
        "now + pause if copies < MOST_COPIES else inf, copies",
        "now + pause, copies",
        (_COPIES_TESTS,),
    ),
    Rule(
        "Copies have a budget: where all requests are late the load does not double.",
        _COPIES,
        "        if self._left < 1:\n            return False\n",
        "",
        (_COPIES_TESTS,),
    ),
    Rule(
        "Copies of which the broker says nothing do not hold up others for long.",
        _COPIES,
        "for call, end in self._untold.items() if end > now}",
        "for call, end in self._untold.items()}",
        (_COPIES_TESTS,),
    ),
    Rule(
        "A broker that says nothing for one and a half heartbeats is left.",
        "client/idalloc_client/amqp/_link.py",
        "            self._discard_connection(AMQPHeartbeatTimeout())\n",
        "            pass\n",
        ("tests/integration/test_several_brokers.py",),
    ),
    Rule(
        "A broker that answers no goodbye is cut off.",
        "client/idalloc_client/amqp/_link.py",
        "        given_up.abort()\n",
        "        pass\n",
        ("tests/integration/test_several_brokers.py",),
    ),
    Rule(
        "A broker that takes logins and ends each connection rests longer each time.",
        "client/idalloc_client/amqp/_brokers.py",
        "        if steady:\n            self._choice.wrote(self._number, now)\n",
        "        self._choice.wrote(self._number, now)\n",
        ("tests/unit/amqp/test_brokers.py",),
    ),
    Rule(
        "A move to another broker is told.",
        "client/idalloc_client/amqp/_brokers.py",
        "moved = self._used not in (None, self._number)",
        "moved = False",
        ("tests/unit/amqp/test_brokers.py",),
    ),
    Rule(
        "A copy that the broker refuses does not end the call: the request may be in the queue.",
        _PENDING,
        "if self._copies.told(correlation_id, now, taken=taken) or taken:",
        "if taken:",
        (_PENDING_TESTS,),
    ),
    Rule(
        "The broker is not asked to confirm while pika would let requests overtake the question.",
        _PENDING,
        "if channel is None or not self._listening or not channel.is_open or self._blocked:",
        "if channel is None or not channel.is_open or self._blocked:",
        (_PENDING_TESTS,),
    ),
    Rule(
        "A closed client ends every call.",
        _PENDING,
        "        self._closed = True\n        self._end_all(error)\n",
        "        self._closed = True\n",
        (_PENDING_TESTS,),
    ),
    Rule(
        "The ids of a caller that has left go to nobody else.",
        _TAG_QUEUE,
        "            taken += count or 1\n            if not settle(promise, mine):\n",
        "            if not promise.done():\n                taken += count or 1\n"
        "            if not settle(promise, mine):\n",
        ("tests/unit/batching/test_tag_queue.py",),
    ),
    Rule(
        "Each caller of a request gets ids of its own.",
        _TAG_QUEUE,
        "            taken += count or 1\n",
        "            taken += 1\n",
        (_BATCHER_TESTS,),
    ),
    Rule(
        "Callers are served first come, first served.",
        _TAG_QUEUE,
        "        self.waiting[:0] = waiters\n",
        "        self.waiting += waiters\n",
        ("tests/unit/batching/test_tag_queue.py",),
    ),
    Rule(
        "Who is refused for the moment is asked for again only in time.",
        _RETRY,
        "        if remaining <= LAST_CHANCE:\n            return None\n",
        "",
        (_BATCHER_TESTS, _BATCHER_RETRY_TESTS, _RETRY_TESTS),
    ),
    Rule(
        "Nobody is asked for again before the pause that the answer asks for, if it has the time.",
        _RETRY,
        "max(asked_for, SHORTEST) * (1 <<",
        "SHORTEST * (1 <<",
        (_RETRY_TESTS,),
    ),
    Rule(
        "Pauses grow, so that an outage is not hammered at.",
        _RETRY,
        "cls(error, before.times + 1, before.first_at, now)",
        "cls(error, 1, before.first_at, now)",
        (_RETRY_TESTS, _BATCHER_RETRY_TESTS),
    ),
    Rule(
        "Who has less time than the pause does not make others ask sooner.",
        "client/idalloc_client/_batching/_resting.py",
        "            if pause.earliest <= group.due - now <= pause.latest:\n",
        "            if True:\n",
        (_BATCHER_RETRY_TESTS,),
    ),
    Rule(
        "What cannot pass is told at once.",
        _RETRY,
        "        return error.retry_after is not None\n",
        "        return True\n",
        (_RETRY_TESTS, _BATCHER_RETRY_TESTS),
    ),
    Rule(
        "A crowd without ids is not split again and again.",
        _REFUSED,
        "            queue.dry = not alive\n",
        "",
        (_BATCHER_RETRY_TESTS,),
    ),
    Rule(
        "A crowd that rests is served as far as there are ids.",
        _BATCHER,
        "        queue.dry = False\n",
        "",
        (_BATCHER_RETRY_TESTS,),
    ),
    Rule(
        "Who rests counts as a call, and ends with the client.",
        _BATCHER,
        "        self._refused.tell(resting, error)\n",
        "",
        (_BATCHER_RETRY_TESTS,),
    ),
    Rule(
        "A lease hears the first answer, while its sequence waits.",
        _BATCHER,
        "retry = self._retry and not lease\n",
        "retry = self._retry\n",
        (_BATCHER_RETRY_TESTS,),
    ),
    Rule(
        "At its deadline a caller hears what a worker had answered before.",
        _RETRY,
        "if refusals is not None and type(error) is CallTimeoutError:",
        "if False:",
        (_RETRY_TESTS, _BATCHER_RETRY_TESTS),
    ),
    Rule(
        "Whoever waits for a lease waits out a refusal that can pass.",
        _BUFFER,
        "elif error is None or not isinstance(error, _FINAL) or self._can_pass(error):",
        "elif error is None or not isinstance(error, _FINAL):",
        ("tests/unit/sequences/test_sequence.py",),
    ),
    Rule(
        "Leases that come after the end are given up.",
        _SEQUENCE,
        """\
                if self._closed_by is not None:
                    self._buffer.give_up()
""",
        "",
        ("tests/unit/sequences/test_sequence.py",),
    ),
    Rule(
        "A closed sequence hands out nothing more.",
        _BUFFER,
        "        self._ready.clear()\n",
        "",
        ("tests/unit/sequences/test_lease_buffer.py", "tests/unit/sequences/test_sequence.py"),
    ),
    Rule(
        "What is left of the range in use is given up, too.",
        _BUFFER,
        "        given_up += sum(1 for _ in self._chunk)\n",
        "",
        ("tests/unit/sequences/test_lease_buffer.py", "tests/unit/sequences/test_sequence.py"),
    ),
    Rule(
        "A sequence cannot be copied.",
        _SEQUENCE,
        'raise TypeError("a sequence of ids cannot be copied or pickled")',
        "return super().__reduce__()",
        ("tests/unit/sequences/test_sequence.py",),
    ),
    # Memory that is not one's own any more
    Rule(
        "Where uWSGI forks later, no thread is left that could wait for the interpreter's lock.",
        "client/idalloc_client/_clients/_brief_session.py",
        "        if self._lasting.closed or not self._brief():\n",
        "        if True:\n",
        ("tests/unit/clients/test_brief_session.py",),
    ),
    Rule(
        "A child that C code forked has no ids of its parent: the kernel wipes the page.",
        _MEMORY,
        "        memory.madvise(_WIPE_ON_FORK)\n",
        "",
        (_MEMORY_TESTS,),
    ),
    Rule(
        "Where no kernel wipes it, the process id is compared for each id.",
        _MEMORY,
        "        mine = map(self._pid.__eq__, iter(os.getpid, None))\n",
        "        mine = itertools.repeat(True)\n",
        (_MEMORY_TESTS,),
    ),
    Rule(
        "An emulator that says yes to each advice is not believed.",
        _MEMORY,
        "    if not _heeds_advice(memory):\n",
        "    if False:\n",
        (_MEMORY_TESTS,),
    ),
    Rule(
        "Leases of before a restore are void, also those that somebody holds.",
        _MEMORY,
        "        before.revoke()\n",
        "",
        (_MEMORY_TESTS,),
    ),
    Rule(
        "Clocks that jump apart show a restore.",
        _MEMORY,
        "        if abs(gap - before) > _JUMP:\n",
        "        if False:\n",
        (_MEMORY_TESTS,),
    ),
    Rule(
        "A sequence looks at the clocks before it goes on.",
        _SEQUENCE,
        "            self.process.look_at_clocks()\n",
        "",
        (_MEMORY_TESTS,),
    ),
    Rule(
        "A lease that was on its way at a restore is void.",
        _BUFFER,
        "        if page is not self.page:\n            self._counters",
        "        if False:\n            self._counters",
        (_MEMORY_TESTS,),
    ),
    Rule(
        "A reply that may have come before a restore is not used.",
        _PENDING,
        "        if self._restores != self._process.restores:\n",
        "        if False:\n",
        (_PENDING_TESTS,),
    ),
    Rule(
        "After a restore a client begins with another connection.",
        "client/idalloc_client/_rpc/_restore_watch.py",
        "            self._link.reset_connection(MemoryRestoredError())\n",
        "            pass\n",
        (_SESSION_TESTS,),
    ),
    Rule(
        "A child has locks of its own.",
        _MEMORY,
        "self._by_process.setdefault(os.getpid(), threading.RLock())",
        "self._by_process.setdefault(0, threading.RLock())",
        (_MEMORY_TESTS,),
    ),
    Rule(
        "A child does not share its parent's connection.",
        _SESSION,
        "if running is None or not running.alive[0]:",
        "if running is None:",
        (_SESSION_TESTS,),
    ),
    Rule(
        "What a child has of its parent's it leaves to it.",
        _SESSION,
        "                    self._running = None\n",
        "",
        (_SESSION_TESTS,),
    ),
    Rule(
        "Where there is no global lock, threads take one for each id.",
        _SEQUENCE,
        "(_no_global_lock() if locked is None else locked)",
        "locked",
        (_MEMORY_TESTS,),
    ),
    # How many requests are on their way
    Rule(
        "On a long way requests of a tag leave apart.",
        _PACE,
        "self.gap = _SPREAD * self._shortest / FAR if far else 0.0",
        "self.gap = 1e-9 if far else 0.0",
        (_PACE_TESTS,),
    ),
    Rule(
        "What waits in queues is not taken for distance.",
        _PACE,
        "self._shortest = shortest + (seconds - shortest) / _FORGET",
        "self._shortest = seconds",
        (_PACE_TESTS,),
    ),
    Rule(
        "All tags together have no more requests on a long way than their answers' work allows.",
        _PACE,
        "crowded = on_the_way > FAR and on_the_way * self._work > _SHARE * self._shortest",
        "crowded = False",
        (_PACE_TESTS,),
    ),
    Rule(
        "Requests that wait for each other do not make the way seem longer.",
        _PACE,
        "        elif alone:\n",
        "        else:\n",
        (_PACE_TESTS,),
    ),
    Rule(
        "A crowd on a long way leaves at once, in shares.",
        _PACE,
        "if not queue.in_flight or queue.wanted >= self.piece(queue):",
        "if not queue.in_flight:",
        (_PACE_TESTS,),
    ),
    Rule(
        "Whoever waits near the broker does not stay in a group of its own.",
        _PACE,
        "return bool(self.gap) or queue.wanted > queue.asked_for",
        "return True",
        (_CLIMB_TESTS,),
    ),
    Rule(
        "What was tried is better only if it is so each time.",
        _CLIMB,
        "if self._wins == _WINS:",
        "if self._wins:",
        (_CLIMB_TESTS,),
    ),
    Rule(
        "What follows a change of the number at once is no measure of it.",
        _CLIMB,
        "self._changed |= places != self.places",
        "pass",
        (_CLIMB_TESTS,),
    ),
    Rule(
        "Trials that fail become rare.",
        _CLIMB,
        "min(2 * self._next_wait, _LONGEST_WAIT)",
        "self._next_wait",
        (_CLIMB_TESTS,),
    ),
    Rule(
        "A client that waits for a core has fewer requests on their way.",
        _CLIMB,
        "contended or busy > _BUSY",
        "busy > _BUSY",
        (_CLIMB_TESTS,),
    ),
    Rule(
        "Beside other work, fewer requests have to bring more: calls wait longer for them.",
        _CLIMB,
        "self._least = _AS_MUCH if saves else _GAIN",
        "self._least = _AS_MUCH",
        (_CLIMB_TESTS,),
    ),
    Rule(
        "Where fewer requests were worse, more are tried, also beside other work.",
        _CLIMB,
        "contended and fewer != self._worse",
        "contended",
        (_CLIMB_TESTS,),
    ),
    Rule(
        "A crowd that comes back after a pause finds what was found.",
        _CLIMB,
        "        if not self.full or self._ids",
        "        if seconds > _STALE or not self.full or self._ids",
        (_CLIMB_TESTS,),
    ),
    Rule(
        "Groups that take turns at one place come together.",
        _PACE,
        "queue.asked_for + answered",
        "queue.asked_for",
        (_CLIMB_TESTS,),
    ),
    Rule(
        "A caller alone is not held up by what was found for a crowd.",
        _CLIMB,
        "not self.full or self._ids < _FEW * self._turns:",
        "not self.full:",
        (_CLIMB_TESTS,),
    ),
    Rule(
        "A queue that was held back is let go.",
        _BATCHER,
        """\
        queue.held_back = False
        self._flush(queue)
""",
        """\
        self._flush(queue)
""",
        (_PACE_TESTS,),
    ),
    # What a fault leaves behind
    Rule(
        "A tag is not left full by a fault while requests leave.",
        _BATCHER,
        """\
        finally:
            queue.flush_pending = queue.flushing = False
            queue.full = queue.held_back or self._wait(queue) == inf
            queue.eager = not queue.full
""",
        """\
        except ZeroDivisionError:
            raise
        else:
            queue.flush_pending = queue.flushing = False
            queue.full = queue.held_back or self._wait(queue) == inf
            queue.eager = not queue.full
""",
        (_BATCHER_TESTS,),
    ),
    Rule(
        "A tag goes on, whatever becomes of an answer.",
        _BATCHER,
        """\
            self._end_forgotten(request, unexpected(error))
        finally:
            queue, answered = request.tag_queue, request.batch.size
""",
        """\
            self._end_forgotten(request, unexpected(error))
        else:
            queue, answered = request.tag_queue, request.batch.size
""",
        (_BATCHER_TESTS,),
    ),
    # Passwords
    Rule(
        "What is wrong with a client's URL comes without what found it: that may quote it.",
        "client/idalloc_client/amqp/_broker_url.py",
        "    except (ValueError, TypeError, AttributeError):\n        return None, ILL_FORMED\n",
        "    except (ValueError, TypeError, AttributeError) as error:\n"
        "        raise ValueError(ILL_FORMED) from error\n",
        (_SECRETS,),
    ),
    Rule(
        "Nor does what is wrong with a worker's.",
        "client/idalloc_client/amqp/_server_url.py",
        "    except ValueError:\n        return None\n",
        "    except ValueError as error:\n        raise ValueError(_ENCODE_HINT) from error\n",
        (_SECRETS,),
    ),
    # Rotated logins
    Rule(
        "Each connect reads its login anew.",
        "client/idalloc_client/amqp/_brokers.py",
        "            return renewed(self._brokers[self._number])\n",
        "            return self._brokers[self._number]\n",
        (_URL_SOURCES,),
    ),
    Rule(
        "A login that cannot be read leaves the one of before in use.",
        "client/idalloc_client/amqp/_url_source.py",
        "            self._failed = True\n",
        "            raise\n",
        (_URL_SOURCES,),
    ),
    Rule(
        "A side connection logs in as the user of its link.",
        "client/idalloc_client/amqp/_broker_url.py",
        "            fresh.credentials = present\n",
        "            pass\n",
        (_URL_SOURCES,),
    ),
    # Numbers of a period
    Rule(
        "Nobody who asked for a bare id gets a number that is unique in a period only.",
        _TAG_QUEUE,
        "        if self.single and ids.period is None:\n",
        "        if self.single:\n",
        (_PERIOD_TESTS,),
    ),
    Rule(
        "Nor from a request that others share.",
        _TAG_QUEUE,
        "    if ids.period is None:\n        return one\n",
        "    if ids:\n        return one\n",
        (_PERIOD_TESTS,),
    ),
    Rule(
        "Nor with a batch.",
        "client/idalloc_client/_clients/_client.py",
        "        if isinstance(drawn, PeriodError):\n            raise drawn\n",
        "        if isinstance(drawn, PeriodError):\n            return drawn.ids\n",
        (_FAKE_PERIOD_TESTS,),
    ),
    Rule(
        "Nor from a sequence, whose leases would outlive the period.",
        _SEQUENCE,
        "        answer = without_period(answer)  # which would end before the lease\n",
        "",
        (_FAKE_PERIOD_TESTS,),
    ),
    Rule(
        "Nor from an asynchronous one.",
        "client/idalloc_client/_sequences/_async_sequence.py",
        "        ids = without_period(answer.result())  # which would end before the lease\n",
        "        ids: object = answer.result()\n",
        (_FAKE_PERIOD_TESTS,),
    ),
    Rule(
        "A sequence of such a tag asks once: each lease would be a gap in its numbers.",
        _SEQUENCE,
        "                self._closed_by = self._closed_by or answer  # each lease would be a "
        "gap\n",
        "                pass\n",
        (_FAKE_PERIOD_TESTS,),
    ),
    Rule(
        "Callers who share a request get numbers of the period of its reply.",
        "client/idalloc_client/_batch.py",
        "        return IdBatch(pieces, self.worker, self.period, self.app_tag)\n",
        "        return IdBatch(pieces, self.worker, app_tag=self.app_tag)\n",
        (_PERIOD_TESTS,),
    ),
    Rule(
        "No period comes a second time, where clocks are set back over midnight.",
        "schemas/idalloc_schemas/_period.py",
        "        if utc >= period.ends(zone):\n            return period.next()\n",
        "",
        ("tests/unit/schemas/test_period.py",),
    ),
    Rule(
        "The text of a number is one text: no zeros in front, no other check digits.",
        "client/idalloc_client/text/_number.py",
        "        if not number or self._written(number.period.first, number.id) != text:\n",
        "        if not number:\n",
        ("tests/unit/text/test_number.py",),
    ),
    Rule(
        "What is sent again goes to any worker, not to an owner that may not read it.",
        _PENDING,
        "            if again:\n                self._route.owner_missed(now)",
        "            if False:\n                self._route.owner_missed(now)",
        (_PENDING_TESTS,),
    ),
    Rule(
        "Who may write to one exchange only writes to no owner's queue.",
        "client/idalloc_client/_rpc/_route.py",
        "None if self.exchange or now < self._no_owner_until else shortcut",
        "None if now < self._no_owner_until else shortcut",
        (_PENDING_TESTS,),
    ),
    Rule(
        "A request that its owner's queue did not take goes to any worker.",
        _PENDING,
        "if not taken and call is not None and queue != call.spec.queue:",
        "if False:",
        (_PENDING_TESTS,),
    ),
    Rule(
        "No budget keeps a request from any worker that its owner has not answered.",
        _PENDING,
        "wanted = self._copies.are_due(correlation_id, now, _OWNERS_PATIENCE)",
        "wanted = self._copies.wants(correlation_id, now, _OWNERS_PATIENCE)",
        (_PENDING_TESTS,),
    ),
    Rule(
        "What an owner's queue says of a request ends none that is with any worker by then.",
        _PENDING,
        "if method.routing_key != call.spec.queue:",
        "if method.routing_key == call.shortcut:",
        (_PENDING_TESTS,),
    ),
)

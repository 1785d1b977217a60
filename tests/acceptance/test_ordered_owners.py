"""Owners of ordered tags that lose their partition by no fault of theirs, or give it up."""

from urllib.parse import unquote, urlsplit

from tests.devstack import Database, PrivateRabbitMq
from tests.foreign import ForeignClient
from tests.ordered import add_ordered_tag, next_id
from tests.workers import Fleet

KILL = """\
{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)),
exit(amqqueue:get_pid(Queue), kill)."""
READY = "Ready for ordered tags"


def test_the_process_of_a_partition_s_queue_is_restarted(
    own_rabbitmq: PrivateRabbitMq, database: Database
) -> None:
    """Nobody knows who gets the partition then, so whoever does begins above all that was reserved.

    Twice: RabbitMQ 3 may give the queue to another worker, and the next time back to the first.
    """
    add_ordered_tag(database, "order", step=1000)
    with Fleet(own_rabbitmq.url, database.url) as fleet, ForeignClient(own_rabbitmq.url) as caller:
        for worker in fleet.start(2):
            worker.wait_for_log(READY)
        assert next_id(caller, "order") == 1
        for _ in range(2):
            ((reserved,),) = database.query("SELECT max_id FROM segments WHERE app_tag = 'order'")
            kill_queue(own_rabbitmq, "id.ordered.0")
            assert next_id(caller, "order") >= reserved


def test_a_clean_stop_has_nothing_to_complain_of(
    fleet: Fleet, database: Database, vhost: str
) -> None:
    """Neither that of an owner, nor that of a worker that passes requests on, nor an early one."""
    add_ordered_tag(database, "order")
    workers = fleet.start(2)
    with ForeignClient(vhost) as caller:
        assert [next_id(caller, "order") for _ in range(4)] == [1, 2, 3, 4]
    early = fleet.start(1, ready=False)[0]
    early.wait_for_log("Serving")
    for worker in (early, *workers):
        assert worker.terminate() == 0
        levels = {line.split()[1] for line in worker.log.read_text().splitlines() if line.strip()}
        assert levels == {"INFO"}, worker.tail()


def kill_queue(broker: PrivateRabbitMq, queue: str) -> None:
    """End the Erlang process of a queue, as a fault in it would; its supervisor starts another."""
    vhost = unquote(urlsplit(broker.url).path[1:])
    broker.ctl("eval", KILL.format(vhost=vhost, queue=queue))

"""A fleet of real workers on a simulated broker, database and clock, under random schedules.

Everything between the AMQP channel and the refill threads is the product's own code, all of
`WorkerService` and what it is made of. A schedule is a list of choices, so that it can be run again
and cut down to what matters.
"""

from tests.simulation._campaign import Campaign, run_many, story

__all__ = ["Campaign", "run_many", "story"]

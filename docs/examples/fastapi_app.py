"""A service with FastAPI that numbers its orders with idalloc.

pip install idalloc fastapi uvicorn
IDALLOC_URL=amqp://user:password@host:5672/vhost uvicorn fastapi_app:app

curl -X POST localhost:8000/orders -H 'content-type: application/json' -d '{"item": "tea"}'
"""  # noqa: INP001  # a file to copy, in no package

import logging
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict

from fastapi import Depends, FastAPI, Request, Response, status
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from idalloc_client import (
    AsyncIdClient,
    BusyError,
    CallTimeoutError,
    ConnectionLostError,
    NoAvailableIdError,
    NoRouteError,
    ShuttingDownError,
    TooManyCallsError,
)
from idalloc_client.text import FixedDecimal

# What passes by itself or as soon as an operator acts. All others are faults: FastAPI's 500.
PASSING = (
    BusyError,
    CallTimeoutError,
    ConnectionLostError,
    NoAvailableIdError,
    NoRouteError,
    ShuttingDownError,
    TooManyCallsError,
)

ORDER_NUMBER = FixedDecimal(prefix="ORD-", width=12)

log = logging.getLogger("orders")


class State(TypedDict):
    """What lives as long as the application."""

    ids: AsyncIdClient


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
    """Share one client among all requests; it connects at its first call."""
    async with AsyncIdClient(os.environ["IDALLOC_URL"], timeout=2.0) as ids:
        yield {"ids": ids}


def id_client(request: Request) -> AsyncIdClient:
    """Give the client to a request; a test puts a fake in this function's place."""
    ids: AsyncIdClient = request.state.ids
    return ids


Ids = Annotated[AsyncIdClient, Depends(id_client)]


class NewOrder(BaseModel):
    """An order as it comes in."""

    item: str


class Order(NewOrder):
    """An order with its number: as text, since JavaScript rounds integers beyond 2**53."""

    number: str


app = FastAPI(title="Orders", lifespan=lifespan)


@app.post("/orders", status_code=status.HTTP_201_CREATED)
async def create_order(new: NewOrder, ids: Ids) -> Order:
    """Take an order."""
    order_id = await ids.next_id("order")
    return Order(item=new.item, number=ORDER_NUMBER.encode(order_id))


async def on_passing_error(_request: Request, error: Exception) -> Response:
    """Tell the caller when to come again."""
    log.warning("No id: %s", error)
    retry_after = getattr(error, "retry_after", None) or 1.0
    return JSONResponse(
        {"detail": "no order number can be given just now"},
        status_code=status.HTTP_503_SERVICE_UNAVAILABLE,
        headers={"Retry-After": str(math.ceil(retry_after))},  # whole seconds
    )


for passing in PASSING:
    app.add_exception_handler(passing, on_passing_error)

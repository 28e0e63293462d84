# SPDX-License-Identifier: Apache-2.0
"""As much of Pub/Sub's Publisher service as a bucket's notifications need, over grpc."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

import grpc
from google.pubsub_v1.types import pubsub

from .cloudevent import headers_and_body
from .queue import Event

log = logging.getLogger(__name__)

_SERVICE = "google.pubsub.v1.Publisher"
# What Pub/Sub itself accepts in one request is 10 MB; grpc's own limit is 4.
_OPTIONS = [("grpc.max_receive_message_length", 16 * 1024**2), ("grpc.so_reuseport", 0)]


class Publisher:
    """Turns published messages into events and hands them on before it answers.

    Args:
        accept: commits events to the queue; when it raises, the publisher is told and tries again.
    """

    def __init__(self, accept: Callable[[Collection[Event]], None]) -> None:
        self._accept = accept
        self._topics: dict[str, Any] = {}

    async def create_topic(self, request: Any, context: Any) -> Any:
        """Remember a topic; creating it twice is an error, as it is there."""
        if request.name in self._topics:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, request.name)
        self._topics[request.name] = request
        return request

    async def get_topic(self, request: Any, context: Any) -> Any:
        """Every topic exists: that of the notifications is not created by anybody."""
        return self._topics.get(request.topic) or pubsub.Topic(name=request.topic)

    async def publish(self, request: Any, context: Any) -> Any:
        """Accept messages; those that are no notification of a new object are acknowledged and dropped."""
        ids, events = [], []
        for message in request.messages:
            ids.append(str(uuid.uuid4().int % 10**16))
            try:
                headers, body = headers_and_body(ids[-1], dict(message.attributes), message.data, datetime.now(UTC))
            except ValueError as reason:
                log.warning("message dropped: %s", reason)
                continue
            events.append(Event(ids[-1], headers, body, received=time.time(), due=0.0))
        self._accept(events)
        return pubsub.PublishResponse(message_ids=ids)


async def start_server(publisher: Publisher, port: int) -> Any:
    """A running grpc.aio server on 127.0.0.1.

    Raises:
        RuntimeError: when the port is taken.
    """
    methods: dict[str, tuple[Any, Any, Any]] = {
        "CreateTopic": (publisher.create_topic, pubsub.Topic, pubsub.Topic),
        "GetTopic": (publisher.get_topic, pubsub.GetTopicRequest, pubsub.Topic),
        "Publish": (publisher.publish, pubsub.PublishRequest, pubsub.PublishResponse),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(method, request.deserialize, response.serialize)
        for name, (method, request, response) in methods.items()
    }
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server

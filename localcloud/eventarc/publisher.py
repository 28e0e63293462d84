# SPDX-License-Identifier: Apache-2.0
# proto-plus ships no types:
# mypy: allow-subclassing-any
"""As much of Pub/Sub's Publisher service as a bucket's notifications need, over grpc: Publish, to any topic."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

import grpc
import proto  # type: ignore[import-untyped]

from .cloudevent import headers_and_body
from .queue import Event

log = logging.getLogger(__name__)

_SERVICE = "google.pubsub.v1.Publisher"
# What Pub/Sub itself accepts in one request is 10 MB; grpc's own limit is 4.
_OPTIONS = [("grpc.max_receive_message_length", 16 * 1024**2), ("grpc.so_reuseport", 0)]


# What is used of google/pubsub/v1/pubsub.proto. Google's own package brings its clients along, whose import was half
# of this process's start.
__protobuf__ = proto.module(package="localcloud.eventarc")


class PubsubMessage(proto.Message):
    """A notification: the object resource as JSON, and attributes that say what happened to it."""

    data = proto.Field(proto.BYTES, number=1)
    attributes = proto.MapField(proto.STRING, proto.STRING, number=2)


class PublishRequest(proto.Message):
    """Messages to one topic; which one makes no difference here."""

    messages = proto.RepeatedField(PubsubMessage, number=2)


class PublishResponse(proto.Message):
    """The id given to each message, in the same order."""

    message_ids = proto.RepeatedField(proto.STRING, number=1)


class Publisher:
    """Turns published messages into events and hands them on before it answers.

    Args:
        accept: commits events to the queue; when it raises, the publisher is told and tries again.
    """

    def __init__(self, accept: Callable[[Collection[Event]], None]) -> None:
        self._accept = accept

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
        return PublishResponse(message_ids=ids)


async def start_server(publisher: Publisher, port: int) -> Any:
    """A running grpc.aio server on 127.0.0.1.

    Raises:
        RuntimeError: when the port is taken.
    """
    publish = grpc.unary_unary_rpc_method_handler(
        publisher.publish, PublishRequest.deserialize, PublishResponse.serialize
    )
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Publish": publish}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server

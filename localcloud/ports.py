# SPDX-License-Identifier: Apache-2.0
"""Which port each service listens on: the one that was set, else last time's, else a free one."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

from dropfit.errors import LocalCloudError

SERVICES = ("storage", "bigquery", "eventarc", "on_upload", "predict")
# These two speak grpc beside their HTTP port.
NAMES = (*SERVICES, "bigquery_grpc", "eventarc_grpc")
# Below the range from which Linux and macOS take the ports of outgoing connections, so that none is taken
# away between our choice and the child's bind.
_RANGE = range(20_000, 32_000)


def parse_ports(text: str) -> dict[str, int]:
    """Ports from `predict=8080,storage=4443`, the form of DROPFIT_PORTS and of `--port`.

    Raises:
        LocalCloudError: naming what is wrong with the text.
    """
    ports: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if not number.isdecimal() or not 1 <= int(number) <= 65_535:
            raise LocalCloudError(f"a port is set as NAME=NUMBER, such as predict=8080; this is not: {part!r}")
        ports[name] = int(number)
    check_names(ports)
    return ports


def check_names(ports: Iterable[str]) -> None:
    """Refuse ports of services that do not exist.

    Raises:
        LocalCloudError: naming them and those that do.
    """
    if unknown := sorted(set(ports) - set(NAMES)):
        raise LocalCloudError(f"no such service: {', '.join(unknown)}. Ports can be set for {', '.join(NAMES)}.")


def choose_ports(
    fixed: Mapping[str, int],
    remembered: Mapping[str, int],
    needed: Iterable[str] = NAMES,
    holds: ExitStack | None = None,
) -> dict[str, int]:
    """A port for every name.

    Args:
        fixed: name -> port that somebody set.
        remembered: name -> port of the last run, taken again if free.
        needed: those that will be bound, so that only they must be free.
        holds: keeps the chosen ports from other local clouds until it is closed.

    Raises:
        LocalCloudError: when a fixed port is taken, or set twice.
    """
    check_names(fixed)
    chosen: dict[str, int] = {}
    for name, port in fixed.items():
        if twin := next((other for other, taken in chosen.items() if taken == port), None):
            raise LocalCloudError(f"port {port} is set for both {twin} and {name}: give one of them another.")
        if name in needed and not is_free(port):
            raise LocalCloudError(
                f"port {port}, set for {name}, is in use by another program. Stop that program, set another "
                f"port ({name}=N), or set none and a free one is chosen."
            )
        chosen[name] = port
    with ExitStack() as briefly:
        for name in NAMES:
            if name not in chosen:
                chosen[name] = _free_port(remembered.get(name), set(chosen.values()), holds or briefly)
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could bind this port on 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection of the last run that is still closing is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _hold(port: int) -> socket.socket | None:
    """The port's UDP twin, bound: a mark to other local clouds that leaves TCP to the child, and dies with us."""
    twin = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        twin.bind(("127.0.0.1", port))
    except OSError:
        twin.close()
        return None
    return twin


def _free_port(remembered: int | None, taken: set[int], holds: ExitStack) -> int:
    candidates = [remembered] if remembered else []
    candidates += random.sample(_RANGE, 200)
    for port in candidates:
        if port not in taken and (twin := _hold(port)):
            if is_free(port):
                holds.enter_context(twin)
                return port
            twin.close()
    raise LocalCloudError("no free port found on 127.0.0.1 between 20000 and 32000.")

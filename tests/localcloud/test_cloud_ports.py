# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psutil
import pytest
from clouds import Start, storage_client, upload

from dropfit.errors import LocalCloudError
from localcloud.cloud import LocalCloud, parse_ports, status
from localcloud.ports import choose_ports, is_free


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_ports_are_read_from_one_line() -> None:
    assert parse_ports("predict=8080, storage=4443,") == {"predict": 8080, "storage": 4443}
    assert parse_ports("") == {}


@pytest.mark.parametrize("text", ["predict", "predict=", "predict=x", "predict=0", "predict=70000", "=1"])
def test_a_port_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(LocalCloudError):
        parse_ports(text)


def test_a_port_of_no_service_is_refused_with_those_that_exist() -> None:
    with pytest.raises(LocalCloudError, match=r"no such service: bigtable\. .*bigquery, eventarc"):
        parse_ports("bigtable=1")


def test_one_port_for_two_services_is_refused() -> None:
    with pytest.raises(LocalCloudError, match="both predict and storage"):
        choose_ports({"predict": 8080, "storage": 8080}, {}, ())


def test_last_times_ports_are_taken_again_unless_busy(busy: int) -> None:
    first = choose_ports({}, {})
    assert choose_ports({}, first) == first
    second = choose_ports({}, first | {"predict": busy})
    assert second["predict"] != busy
    assert second["storage"] == first["storage"]


def test_a_busy_port_that_was_set_is_an_error_and_leaves_nothing(start: Start, busy: int, tmp_path) -> None:
    before = set(psutil.Process().children())  # some of which may end meanwhile
    with pytest.raises(LocalCloudError, match=rf"port {busy}, set for storage, is in use .*storage=N"):
        start("storage", "eventarc", ports={"storage": busy})
    assert status(tmp_path / "home") == []
    assert not (tmp_path / "home" / "env").exists()
    assert set(psutil.Process().children()) <= before


def test_a_port_can_be_set_by_argument_and_by_environment(start: Start) -> None:
    with ExitStack() as holds:
        ports = choose_ports({}, {}, holds=holds)
        environ = {"DROPFIT_PORTS": f"storage={ports['storage']},predict=1", "PATH": "/usr/bin:/bin"}
        cloud = start("storage", ports={"predict": 2}, environ=environ)
    assert cloud.env["STORAGE_EMULATOR_HOST"] == f"http://127.0.0.1:{ports['storage']}"
    assert cloud.env["DROPFIT_PREDICT_URL"] == "http://127.0.0.1:2"


def test_two_clouds_in_two_homes_run_at_once_and_ports_stay_over_down_and_up(start: Start) -> None:
    with ThreadPoolExecutor() as pool:
        one, two = pool.map(lambda home: start("storage", home=home), ("one", "two"))
    assert one.ports["storage"] != two.ports["storage"]
    upload(one, "x.csv", b"one")
    assert [blob.name for blob in storage_client(two).list_blobs("dropfit-landing")] == []
    before = one.ports["storage"]  # of the others nobody listens, so that others may have taken them
    one.stop()
    assert is_free(before)
    assert {process.state for process in status(two.home.root)} == {"running"}
    assert start("storage", home="one").ports["storage"] == before


def test_servers_listen_on_this_machine_only(whole: LocalCloud) -> None:
    addresses = set()
    for process in status(whole.home.root):
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        listening = [c for p in tree for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert listening, process.name
        addresses |= {connection.laddr.ip.removeprefix("::ffff:") for connection in listening}
    assert addresses == {"127.0.0.1"}


def test_a_port_that_one_local_cloud_has_chosen_is_not_chosen_by_another_before_it_is_bound() -> None:
    with ExitStack() as holds:
        first = choose_ports({}, {}, holds=holds)
        second = choose_ports({}, first)
        assert not set(first.values()) & set(second.values())
        assert all(is_free(port) for port in first.values())
    assert choose_ports({}, first) == first

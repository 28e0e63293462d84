# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from clouds import Start, clean_environ, ended, eventually, storage_client, upload
from google.cloud import bigquery

from dropfit.errors import LocalCloudError
from localcloud.cloud import Home, LocalCloud, start_detached, status, stop
from localcloud.ports import is_free

# A supervisor of storage and eventarc alone, which start in a second.
SUPERVISOR = """
import sys, threading
from pathlib import Path
from localcloud import daemon, supervisor

class Small(supervisor.LocalCloud):
    def __init__(self, *args, **options):
        super().__init__(*args, services=("storage", "eventarc"), **options)

daemon.LocalCloud = Small
def main():
    daemon.serve(Path(sys.argv[1]), ready=lambda: print("ready", flush=True))

if sys.argv[2] == "orphan":
    # Started from a thread, children do not end with their supervisor, as on a system without prctl.
    daemon.signal.signal = lambda *args: None
    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
elif sys.argv[2] == "impatient":
    daemon.serve(Path(sys.argv[1]), progress=lambda line: daemon.signal.raise_signal(daemon.signal.SIGINT))
else:
    main()
"""


def processes_of(home: Path) -> list[psutil.Process]:
    """Every process of a home that runs, its supervisor included if it serves."""
    return [psutil.Process(process.pid) for process in status(home) if process.pid]


def bound(home: Path) -> list[int]:
    """The ports on which a home's services listen; the others that it chose, another local cloud may have by now."""
    state = Home(home).read_state()
    assert state is not None
    return [port for name, port in state.ports.items() if name.removesuffix("_grpc") in state.children]


def nothing_left(home: Path, before: list[psutil.Process], ports: list[int]) -> bool:
    """Whether all of it has gone, or soon goes: what was killed is reaped a moment later."""
    eventually(lambda: ended(before) and all(is_free(port) for port in ports))
    return not (home / "env").exists()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[object]:
    """Starts a supervisor process of its own, as `dropfit up` in a terminal."""
    home, started = tmp_path / "home", []

    def _serve(kind: str = "normal") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SUPERVISOR, str(home), kind]
        process = subprocess.Popen(command, env=clean_environ(), stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout
        assert kind == "impatient" or process.stdout.readline() == "ready\n"
        return process

    yield _serve
    for process in started:
        process.kill()
        process.communicate()
    stop(home)


@pytest.mark.parametrize(
    "how", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.verify)]
)
def test_ctrl_c_and_its_like_leave_no_process_and_no_port(served, tmp_path: Path, how: signal.Signals) -> None:
    supervisor = served()
    home = tmp_path / "home"
    before, ports = processes_of(home), bound(home)
    assert len(before) == 3
    supervisor.send_signal(how)
    assert supervisor.wait(120) == 0
    assert nothing_left(home, before, ports)
    assert {process.state for process in status(home)} == {"stopped"}


def test_ctrl_c_during_the_start_leaves_nothing_either(served, tmp_path: Path) -> None:
    supervisor, home = served("impatient"), tmp_path / "home"
    assert supervisor.wait(120) == 0
    state = Home(home).read_state()
    assert state.phase == "stopped"
    assert state.children
    assert {process.state for process in status(home)} == {"stopped"}
    assert nothing_left(home, [], bound(home))


def test_stop_ends_a_supervisor_and_all_it_started(served, tmp_path: Path) -> None:
    supervisor = served()
    home = tmp_path / "home"
    before, ports = processes_of(home), bound(home)
    assert stop(home)
    assert supervisor.wait(60) == 0
    assert nothing_left(home, before, ports)
    assert not stop(home)


@pytest.mark.parametrize("kind", ["normal", "orphan"])
def test_stop_cleans_up_after_a_supervisor_that_was_killed(served, tmp_path: Path, kind: str) -> None:
    supervisor = served(kind)
    home = tmp_path / "home"
    before, ports = processes_of(home), bound(home)
    supervisor.kill()
    supervisor.wait()
    assert status(home)[0].name == "localcloud"
    assert status(home)[0].state == "crashed"
    if kind == "orphan":
        assert {process.state for process in status(home)[1:]} == {"running"}
    assert stop(home)
    assert nothing_left(home, before, ports)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_children_end_with_a_killed_supervisor(served, tmp_path: Path) -> None:
    supervisor = served()
    before = processes_of(tmp_path / "home")
    supervisor.kill()
    supervisor.wait()
    eventually(lambda: ended(before))


def test_up_after_a_killed_supervisor_clears_away_what_it_left(served, start: Start, tmp_path: Path) -> None:
    supervisor = served("orphan")
    before = processes_of(tmp_path / "home")
    supervisor.kill()
    supervisor.wait()
    cloud = start("storage", "eventarc")
    assert ended(before)
    assert {process.state for process in status(cloud.home.root)} == {"running"}


def test_the_phase_is_starting_until_all_is_up_then_running_then_stopped(start: Start, tmp_path: Path) -> None:
    place, phases = Home(tmp_path / "home"), []
    assert place.read_state() is None
    cloud = start(
        "storage", "eventarc", progress=lambda line: phases.append((place.read_state().phase, line.split()[0]))
    )
    assert phases == [("starting", "eventarc"), ("starting", "storage")]
    assert place.read_state().phase == "running"
    cloud.stop()
    assert place.read_state().phase == "stopped"
    cloud.start()
    assert place.read_state().phase == "running"


@pytest.mark.parametrize("record", [None, '{"phase": ', "[]"])
def test_a_home_that_never_ran_or_whose_record_is_torn_has_nothing_to_show_or_stop(
    tmp_path: Path, record: str | None
) -> None:
    home = tmp_path / "home"
    if record is not None:
        home.mkdir()
        (home / "state.json").write_text(record)
    assert status(home) == []
    assert not stop(home)
    assert home.exists() == (record is not None)


def test_up_twice_says_that_it_runs_already_and_where(start: Start) -> None:
    cloud = start("storage")
    with pytest.raises(LocalCloudError, match=rf"already running \(pid {os.getpid()}, predict at http://127") as told:
        LocalCloud(cloud.home.root).start()
    assert str(cloud.home.root) in str(told.value)
    with pytest.raises(LocalCloudError, match="already running"):
        start_detached(cloud.home.root)
    with pytest.raises(LocalCloudError, match="already running"):
        cloud.start()  # nor does the refusal make it forget what it started
    assert {process.state for process in status(cloud.home.root)} == {"running"}
    upload(cloud, "still there.csv")
    before = processes_of(cloud.home.root)
    cloud.stop()
    assert nothing_left(cloud.home.root, before, bound(cloud.home.root))


def test_a_crashed_child_is_reported_with_its_exit_code(start: Start) -> None:
    told: list[str] = []
    cloud = start("storage", "eventarc", progress=told.append)
    eventarc = next(process for process in status(cloud.home.root) if process.name == "eventarc")
    psutil.Process(eventarc.pid).kill()
    crashed = eventually(lambda: [p for p in status(cloud.home.root) if p.state == "crashed" and p.exit_code])
    assert [(process.name, process.exit_code, process.pid) for process in crashed] == [("eventarc", -9, None)]
    assert crashed[0].ended_at
    assert Path(crashed[0].log).exists()
    eventually(lambda: any("eventarc ended by itself (exit code -9)" in line for line in told))
    assert Home(cloud.home.root).read_state().phase == "running"


def test_a_child_that_cannot_start_is_named_with_its_last_words(start: Start, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "predict.py").write_text("raise RuntimeError('the adopter made a mistake')")
    with pytest.raises(LocalCloudError, match="predict did not start") as told:
        start("storage", "predict", functions_dir=broken)
    assert "the adopter made a mistake" in str(told.value)
    assert str(tmp_path / "home" / "logs" / "predict.log") in str(told.value)
    assert {process.state for process in status(tmp_path / "home")} == {"stopped"}
    assert all(is_free(port) for port in bound(tmp_path / "home"))


def test_stop_from_outside_spares_the_program_that_hosts_the_cloud(start: Start) -> None:
    cloud = start("storage")
    before = processes_of(cloud.home.root)
    assert stop(cloud.home.root)
    assert nothing_left(cloud.home.root, before, bound(cloud.home.root))
    assert {process.state for process in status(cloud.home.root)} == {"stopped"}
    cloud.stop()
    assert {process.state for process in status(cloud.home.root)} == {"stopped"}


@pytest.mark.verify
def test_a_detached_cloud_stays_and_its_state_survives_down_and_up(functions: Path, tmp_path: Path) -> None:
    home, told = tmp_path / "home", []
    start_detached(home, progress=told.append, functions_dir=functions)
    try:
        assert sum(" is up at " in line for line in told) == 5
        assert {process.state for process in status(home)} == {"running"}
        first = Home(home).read_state()
        cloud = attached(home)
        generation = upload(cloud, "kept.csv", b"kept").generation
        bigquery_client(first.ports).query("CREATE TABLE dropfit.kept AS SELECT 7 AS n").result()
        before = processes_of(home)
        assert stop(home)
        assert nothing_left(home, before, bound(home))
        start_detached(home, functions_dir=functions)
        assert Home(home).read_state().ports == first.ports
        blob = storage_client(cloud).bucket("dropfit-landing").get_blob("kept.csv")
        assert (blob.generation, blob.download_as_bytes()) == (generation, b"kept")
        rows = bigquery_client(first.ports).query("SELECT n FROM dropfit.kept").result()
        assert [row.n for row in rows] == [7]
    finally:
        stop(home)


def attached(home: Path) -> LocalCloud:
    """A LocalCloud's view of one that a daemon runs."""
    from dotenv import dotenv_values

    cloud = LocalCloud(home)
    cloud.env = {name: value or "" for name, value in dotenv_values(home / "env").items()}
    return cloud


def bigquery_client(ports: dict[str, int]) -> bigquery.Client:
    from google.auth.credentials import AnonymousCredentials

    endpoint = {"api_endpoint": f"http://127.0.0.1:{ports['bigquery']}"}
    return bigquery.Client("dropfit-local", credentials=AnonymousCredentials(), client_options=endpoint)


def test_a_detached_cloud_that_cannot_start_says_why(functions: Path, tmp_path: Path) -> None:
    (tmp_path / "predict.py").write_text("import nonsense_that_is_not_there")
    (tmp_path / "on_upload.py").write_text((functions / "on_upload.py").read_text())
    with pytest.raises(LocalCloudError, match="nonsense_that_is_not_there"):
        start_detached(tmp_path / "home", functions_dir=tmp_path)
    assert {process.state for process in status(tmp_path / "home")} == {"stopped"}
    with pytest.raises(LocalCloudError, match="no such service: predic"):
        start_detached(tmp_path / "home", ports={"predic": 1}, functions_dir=tmp_path)


def test_the_functions_see_no_bytecode_ban_and_no_settings_of_other_servers(start: Start, tmp_path: Path) -> None:
    (tmp_path / "predict.py").write_text(
        "import os, functions_framework\n"
        "@functions_framework.http\n"
        "def predict(request):\n"
        "    return dict(os.environ)\n"
    )
    environ = clean_environ(PYTHONDONTWRITEBYTECODE="1", PORT="1", DEBUG="1", MINE="kept", DROPFIT_RETRAIN_JOB="j")
    cloud = start("predict", functions_dir=tmp_path, environ=environ)
    seen = httpx.get(cloud.env["DROPFIT_PREDICT_URL"], timeout=60).json()
    assert not {"PYTHONDONTWRITEBYTECODE", "DEBUG", "DROPFIT_RETRAIN_JOB"} & seen.keys()
    assert seen.get("PORT") != "1"
    assert seen["MINE"] == "kept"
    assert cloud.env.items() <= seen.items()

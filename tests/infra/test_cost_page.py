# SPDX-License-Identifier: Apache-2.0
"""What the document says of costs is what the command prints, what was measured, and what Terraform deploys."""

from __future__ import annotations

import os
import re

import hcl2
import pytest
from bills import INFRA, PRICES, ROOT, prose

from dropfit import costs
from dropfit.predictionlog import PredictionLog
from infra.deploy import cost, usage
from infra.deploy.cost import month
from infra.deploy.sizes import DAYS, SIZES, Size
from infra.deploy.usage import MONTH


def test_the_document_has_the_tables_that_the_command_prints() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text()
    for rows in (cost.overview(PRICES), cost.choices(PRICES)):
        table = cost.markdown(rows)
        assert table in text, (
            f"docs/deploy.md is older than the prices: python -m infra.deploy.cost --markdown\n{table}"
        )


def test_what_the_document_says_besides_follows_from_the_bill() -> None:
    text = prose()
    idle = {(line.item, line.price): line.used for line in month(SIZES["idle"], PRICES)}
    assert (
        f"that is {idle['predict', 'run_cpu']:,.0f} vCPU-seconds of {PRICES['run_cpu'].free:,.0f} free ones" in text
    )
    assert f"{idle['sweep job', 'job_cpu']:,.0f} vCPU-seconds of {PRICES['job_cpu'].free:,.0f} free ones" in text
    assert f"{96 * DAYS:,.0f} runs a month" in text
    assert f"a line of the flights' problem is {usage.LINE} bytes" in text.lower()
    assert "ours are seven" in text
    assert idle["alerts", "alert_conditions"] == 7
    spent = cost.items(month(SIZES["team"], PRICES))
    assert max(spent, key=lambda item: spent[item]) == "pipeline"
    assert "The pipeline is the largest item of a team" in text


def test_dataflow_s_bill_has_the_same_prices() -> None:
    theirs, row = costs.Prices(), costs.Work(rows=0).table_row_bytes
    ours = [PRICES[name].price for name in ("storage", "storage_writes", "storage_reads", "tables")]
    assert ours == [theirs.storage_gb_month, theirs.write_1000, theirs.read_1000, theirs.table_gb_month]
    assert (PRICES["storage_writes"].per, PRICES["storage_reads"].per) == (1000, 1000)
    assert row == usage.TABLE_ROW


def test_a_request_costs_the_processor_time_that_was_measured() -> None:
    serving = (ROOT / "docs" / "serving.md").read_text()
    [measured] = re.findall(r"^\| Dropfit, model \| (\d+) \|", serving, re.MULTILINE)
    assert Size().cpu_us == float(measured)


def test_a_line_of_the_log_is_as_long_as_is_counted() -> None:
    read, write = os.pipe()
    log = PredictionLog("acme-prod", 1.0, 1 << 20, fd=write)
    body = b'{"instances": [{"carrier": "UA", "origin": "EWR", "dest": "IAH", "weekday": 4, "hour": 17}]}'
    reply = (
        b'{"predictions":[{"value":0.2740538716316223,"source":"table","policy":[]}],'
        b'"model_version":"20261124T154305-af231c2a"}'
    )
    trace = {b"traceparent": b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    log.add(trace, 200, 0.000231, body, reply, "20261124T154305-af231c2a", "hybrid", 1, "/predict")
    log.flush()
    line = os.read(read, 1 << 16)
    os.close(read), os.close(write)
    assert line.count(b"\n") == 1
    assert len(line) == pytest.approx(usage.LINE, rel=0.05)


def test_sizes_are_those_that_terraform_deploys() -> None:
    text = (INFRA / "variables.tf").read_text()
    size = Size()
    said = dict(re.findall(r'^variable "(\w+)" \{(.*?)^\}', text, re.MULTILINE | re.DOTALL))

    def optional(variable: str, field: str) -> float:
        [value] = re.findall(rf'{field}\s*= optional\(\w+, "?([\d.]+)(?:Gi)?"?\)', said[variable])
        return float(value)

    assert (optional("predict", "cpu"), optional("predict", "memory")) == (size.vcpu, size.gib)
    assert optional("predict", "min_instances") == size.min_instances
    assert (optional("job", "cpu"), optional("job", "memory")) == (size.retrain_vcpu, size.retrain_gib)
    assert 'default     = "*/15 * * * *"' in said["sweep_schedule"]
    assert size.sweeps_per_day == 24 * 60 / 15
    assert re.findall(r"default +=(.*)", said["log_retention_days"]) == [f" {size.log_days:g}"]
    assert hcl2.loads((INFRA / "prod.tfvars").read_text())["predict"]["min_instances"] == SIZES["team"].min_instances


def counted(pattern: str, *files: str) -> list[str]:
    found = [
        hit
        for name in files
        for file in INFRA.glob(name)
        for hit in re.findall(pattern, file.read_text(), re.MULTILINE)
    ]
    assert found, f"{pattern} is nowhere in {files}"
    return found


def test_what_idles_is_what_terraform_has() -> None:
    size = Size()
    # Conditions on log entries cost nothing.
    on_metrics = r"\b(condition_(?:threshold|prometheus_query_language|absent|monitoring_query_language)) \{"
    assert size.conditions == len(counted(on_metrics, "*.tf"))
    kinds = counted(r'value_type +=+ "(\w+)"', "metrics.tf")
    assert (size.counters, size.distributions) == (kinds.count("INT64"), kinds.count("DISTRIBUTION"))
    assert counted(r'^  period +=+ "(\d+)s"', "uptime.tf") == [f"{size.uptime_seconds:g}"]
    assert counted(r"selected_regions += \[(.*)\]", "uptime.tf") == ['"USA"'], "which are three places"
    assert size.starts == MONTH / size.uptime_seconds
    assert size.schedules == len(counted(r'resource "google_cloud_scheduler_job"', "*.tf"))
    assert counted(r'cpu = "(\d+)", memory = "(\d+)Gi"', "sweep.tf") == [
        (f"{size.sweep_vcpu:g}", f"{size.sweep_gib:g}")
    ]
    assert counted(r'cpu = "(\d+)", memory = "(\w+)"', "on_upload.tf") == [("1", "512Mi")]
    assert {s.releases for n, s in SIZES.items() if n != "idle"} == {
        float(*counted(r"keep_count = (\d+)", "registry.tf"))
    }
    assert counted(r'resource "(google_logging_project_exclusion)"', "logs.tf"), "else the log were stored twice"
    assert f"machineType: {usage.MACHINE}" in (ROOT / "cloudbuild.yaml").read_text()

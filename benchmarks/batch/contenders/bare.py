# SPDX-License-Identifier: Apache-2.0
"""The bare loop: Arrow, dictionary look-ups, onnxruntime, Parquet; no checks, no policy, no second problem.

`threads` or `processes`, two of either; the benchmark runs both and compares with the faster.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import sys
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.batch import child
from benchmarks.batch.contenders import forms

CORES = 2
pa.set_cpu_count(1)


class Loop:
    """One row group after another, by one worker.

    Args:
        folder: holds the model and the vocabularies.
    """

    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        self.codes = json.loads((folder / "codes.json").read_text())

    def groups(self, source: Path, sink: Path, which: range) -> None:
        """Predict those row groups, a file each."""
        file = pq.ParquetFile(source, read_dictionary=forms.TEXTS)
        for group in which:
            table = file.read_row_group(group, use_threads=False).combine_chunks()
            matrix = np.empty((table.num_rows, len(forms.TEXTS + forms.NUMBERS) + 1), dtype=np.float32)
            for place, name in enumerate(forms.TEXTS):
                coded = table[name].chunk(0)
                known = [self.codes[name].get(value, np.nan) for value in coded.dictionary.to_pylist()]
                matrix[:, place] = np.array(known, dtype=np.float32)[coded.indices.to_numpy()]
            for place, name in enumerate(forms.NUMBERS, len(forms.TEXTS)):
                matrix[:, place] = table[name].to_numpy()
            matrix[:, 6] = matrix[:, 3] * 24 + matrix[:, 4]
            late = self.session.run(["probabilities"], {"features": matrix})[0][:, 1]
            written = table.select(forms.KEY).append_column("prediction", pa.array(late, pa.float64()))
            pq.write_table(written, sink / f"{group:05d}.parquet", compression="zstd", store_schema=False)


LOOPS: list[Loop] = []
"""One in each process of the pool."""


def _open(folder: Path) -> None:
    LOOPS.append(Loop(folder))


def _groups(source: Path, sink: Path, which: range) -> None:
    LOOPS[0].groups(source, sink, which)


def load(folder: Path) -> child.Work:
    """Open the model in two workers."""
    pool: Executor
    job: Any = _groups
    if sys.argv[2] == "processes":
        context = multiprocessing.get_context("forkserver")
        pool = ProcessPoolExecutor(CORES, context, _open, (folder,))
    else:
        pool = ThreadPoolExecutor(CORES)
        loop = Loop(folder)  # a session may be run by several threads
        job = loop.groups
    list(pool.map(job, *zip(*[(folder / "few.parquet", folder, range(0))] * CORES, strict=True)))

    def work(source: Path, sink: Path) -> None:
        count = pq.ParquetFile(source).num_row_groups
        jobs = (range(group, group + 1) for group in range(count))
        list(pool.map(job, itertools.repeat(source), itertools.repeat(sink), jobs))

    return work


if __name__ == "__main__":
    child.serve(load)

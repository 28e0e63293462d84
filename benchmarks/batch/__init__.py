# SPDX-License-Identifier: Apache-2.0
"""How fast Dropfit predicts a whole file beside what else people use: `make bench-batch`.

One model, one Parquet file of keys drawn with a seed, Parquet out; every contender is a process of its own, which
imports, says that it is ready, and only then is timed. Time is the contender's own clock around the work; memory and
processor seconds are those of its whole process tree. Ratios are taken within a round, one right after another.
"""

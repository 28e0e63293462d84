# SPDX-License-Identifier: Apache-2.0
"""Which penguin is this? A problem of another kind than the default one, on data that a package ships.

A classifier with named classes, column names that need translating, missing measurements, a linear pipeline, and a
key of all features. Tests select it with DROPFIT_PROBLEM=penguins:problem; nothing else of Dropfit changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dropfit.contract import Category, Columns, Feature, Gate, Label, Number, Problem, Timestamp

SPECIES = {
    "Adelie Penguin (Pygoscelis adeliae)": "Adelie",
    "Gentoo penguin (Pygoscelis papua)": "Gentoo",
    "Chinstrap penguin (Pygoscelis antarctica)": "Chinstrap",
}
ISLAND = Category(name="island", values=("Biscoe", "Dream", "Torgersen"))
SEX = Category(name="sex", values=("MALE", "FEMALE"), missing=True)
LENGTH = Number(name="culmen_length_mm", minimum=20, maximum=80, missing=True)
DEPTH = Number(name="culmen_depth_mm", minimum=10, maximum=30, missing=True)
FLIPPER = Number(name="flipper_length_mm", minimum=100, maximum=300, integer=True, missing=True)
MASS = Number(name="body_mass_g", minimum=1000, maximum=9000, integer=True, missing=True)
FEATURES = (ISLAND, SEX, LENGTH, DEPTH, FLIPPER, MASS)


def prepare(file: Columns) -> Columns:
    """The field notebook's columns under the names of the features."""
    return {
        "species": np.array([SPECIES.get(name) for name in file["Species"]], dtype=object),
        "island": file["Island"],
        "sex": file["Sex"],
        "culmen_length_mm": file["Culmen Length (mm)"],
        "culmen_depth_mm": file["Culmen Depth (mm)"],
        "flipper_length_mm": file["Flipper Length (mm)"],
        "body_mass_g": file["Body Mass (g)"],
        "found": file["Date Egg"],
        "study": file["studyName"],
        "sample": file["Sample Number"],
    }


def derive(features: Columns) -> Columns:
    """The shape of the bill."""
    return {"culmen_ratio": features["culmen_length_mm"] / features["culmen_depth_mm"]}


def estimator(inputs: Sequence[Feature]) -> Any:
    """A linear model on scaled columns."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=500))


problem = Problem(
    name="penguins",
    title="Which penguin is this?",
    columns=(
        Category(name="Species"),
        Category(name="Island"),
        Category(name="Sex", missing=True),
        Number(name="Culmen Length (mm)", missing=True),
        Number(name="Culmen Depth (mm)", missing=True),
        Number(name="Flipper Length (mm)", missing=True),
        Number(name="Body Mass (g)", missing=True),
        Timestamp(name="Date Egg"),
        Category(name="studyName"),
        Number(name="Sample Number", integer=True),
    ),
    prepare=prepare,
    features=FEATURES,
    derived=(Number(name="culmen_ratio"),),
    derive=derive,
    target=Label(name="species", values=("Adelie", "Chinstrap", "Gentoo")),
    key=tuple(feature.name for feature in FEATURES),
    backoff=(("island", "sex"), ("island",), ()),
    identity=("study", "sample", "species"),
    time="found",
    estimator=estimator,
    gate=Gate(minimum_rows=40, tolerance=0.5),  # a season has some 20 holdout rows: chance moves the loss by a third
)

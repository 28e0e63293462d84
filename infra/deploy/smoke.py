# SPDX-License-Identifier: Apache-2.0
"""Does a deployment work? What a person would try after deploying, done and told.

    python -m infra.deploy.smoke dev                      # upload a small file, train, predict, roll back
    python -m infra.deploy.smoke dev --file rents.csv     # the same for a problem of your own
    python -m infra.deploy.smoke prod                     # /ready and one prediction; never a training

Exit status: 0 works, 1 does not and why, 2 not understood; then nothing was uploaded.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from dropfit import settings as config
from dropfit.contract import load_problem
from dropfit.errors import BadRequest, DropfitError, NotFound
from dropfit.rest import CLOUD, Api
from dropfit.settings import Settings

from .environment import Environment, not_the_laptops, read
from .trial import PATIENCE, Trial, example

FILE = typer.Option(
    help="A small data file; else the example's, where it fits.", exists=True, dir_okay=False, readable=True
)


def settings_of(environment: Environment, api: Api) -> Settings:
    """Where a deployment is, predict's address from Cloud Run itself.

    Raises:
        NotFound: when predict is not deployed.
        SettingsError: when its settings are malformed.
    """
    url = f"https://run.googleapis.com/v2/{environment.location}/services/{environment.name}-predict"
    address = str(api.get(url).get("uri", ""))
    if not address:
        raise NotFound(f"{environment.name}-predict has no address yet; the console of Cloud Run says why")
    given = {config.variable(field): str(value) for field, value in environment.settings.items()}
    named = {
        "project": environment.project,
        "region": environment.region,
        **{f"{what}_bucket": environment.bucket(what) for what in ("landing", "data", "models")},
        "dataset": environment.name.replace("-", "_"),
        "retrain_job": f"{environment.location}/jobs/{environment.name}-retrain",
        "predict_url": address,
    }
    return config.load(given | {config.variable(field): value for field, value in named.items()})


def may_train(key: str, asked: bool | None) -> bool:
    """Whether test data may be learned from here: in dev, or where somebody says so, and never in prod.

    What is not called dev is what somebody depends on: infra/pipeline/names.tf has it approved by the same rule.

    Raises:
        BadRequest: when somebody says so of prod.
    """
    if asked and key.startswith("prod"):  # here nobody can say so
        raise BadRequest(f"{key} is what users depend on: it is never trained on test data")
    return key == "dev" if asked is None else asked


def _some(minutes: float) -> float:
    if not 0 < minutes < math.inf:
        raise typer.BadParameter("a training takes some time: give a number above 0.")
    return minutes


def run(
    key: Annotated[str, typer.Argument(metavar="ENV", help="infra/ENV.tfvars")],
    file: Annotated[Path | None, FILE] = None,
    train: Annotated[bool | None, typer.Option("--train/--no-train", help="Default: in dev alone.")] = None,
    minutes: Annotated[float, typer.Option(help="Patience for one training.", callback=_some)] = PATIENCE / 60,
) -> None:
    """Try a deployment, and say what is proven."""
    training = may_train(key, train)
    settings = settings_of(read(key), Api(CLOUD))
    trial = Trial(settings, lambda line: print(line, flush=True), minutes * 60)
    with tempfile.TemporaryDirectory(prefix="dropfit-smoke-") as folder:
        if training:
            trial.trains(file or example(load_problem(settings.problem), Path(folder)))
        else:
            trial.serves(file)
    print(f"\n{key} works. Proven:", *(f"  {each}" for each in trial.proof.proven), sep="\n")
    if trial.proof.open:
        print("Not proven:", *(f"  {each}" for each in trial.proof.open), sep="\n")


def main() -> int:
    """The command line."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(run)
    try:
        not_the_laptops()
        app()
    except DropfitError as error:
        print(f"{error}\nThe deployment does not work, or could not be tried.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

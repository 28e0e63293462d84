# SPDX-License-Identifier: Apache-2.0
"""What a person can do about what Terraform says went wrong."""

from __future__ import annotations

import re

PASSING = (
    (
        r"SERVICE_DISABLED|has not been used in project|it is disabled",
        "Google takes some minutes until an API that was switched on answers: wait, and run it again.",
    ),
    (
        r"service agent|does not exist.{0,200}serviceAccount|Service account .{1,200}? does not exist"
        r"|or it may not exist|to propagate|propagated|publish to Cloud Pub/Sub|Pub/Sub publish",
        "Google takes some minutes until a new account or its role works: wait, and run it again.",
    ),
    (
        r"Cannot find metric|could take up to 10 minutes|metric referenced by the provided filter is unknown"
        r"|retrieving Metrics Scope",
        "Google takes some minutes until it knows a new metric: wait, and run it again.",
    ),
    (
        r"Not found: Dataset",
        "BigQuery takes a moment until it knows a dataset that Cloud Logging made: wait, and run it again.",
    ),
    (
        r"rateLimitExceeded|Exceeded rate limits",
        "Google wants fewer requests a minute: wait, and run it again.",
    ),
)
"""Of a first deployment: Google has not yet heard everywhere of what is new. Patterns, and what to do."""
KNOWN = (
    (
        r"could not find default credentials|no credentials loaded",
        "There are no credentials: `gcloud auth application-default login`.",
    ),
    (
        r"invalid_grant|invalid_rapt|reauth",
        "Your login has expired: `gcloud auth application-default login`.",
    ),
    (
        r"Error acquiring the state lock",
        "Somebody else is deploying this, see Who and Created. If nobody is any more: "
        "`{terraform} force-unlock ID` with the ID above.",
    ),
    *PASSING,
    (
        r"do not belong to a permitted customer|allowedPolicyMember",
        "Your organisation lets only accounts of its own be given rights "
        "(constraints/iam.allowedPolicyMemberDomains): take the others, and `predict_public = true`, out of "
        "infra/{env}.tfvars, or ask its administrators for an exception for this project.",
    ),
    (
        r"\bconstraints/[a-z]|\borg(anization)? policy|organization's policy",
        "Your organisation has a policy against it: the message names the constraint, and its administrators can "
        "make an exception for this project.",
    ),
    (
        r"deletion_protection|prevent_destroy",
        "It is protected, and would have to go to be made anew. If it never ran, `dropfit deploy {env}` takes its "
        "protection off by itself. If its name or region was changed, change that back, or remove what is there "
        "with `dropfit destroy {env}`, which keeps the data.",
    ),
    (
        r"billing account .{0,200}(not found|closed|disabled)|billing to be enabled|BILLING_DISABLED",
        "The project has no billing: `gcloud billing projects link PROJECT --billing-account ID`.",
    ),
    (
        r"[Qq]uota|RESOURCE_EXHAUSTED",
        "A quota is used up: `dropfit doctor {env}` shows which, and where to ask for more.",
    ),
    (
        r"alreadyExists|ALREADY_EXISTS|already exists|Error 409",
        "Something of that name is there and not in Terraform's state: made by hand, or the state is lost. "
        "`{terraform} import -var-file={env}.tfvars ADDRESS ID` takes it in; see docs/deploy.md.",
    ),
    (
        r"Error 403|PERMISSION_DENIED|permission",
        "A right is missing: `dropfit doctor {env}` says which role.",
    ),
    (
        r"registry\.terraform\.io|Failed to query available provider",
        "The provider could not be fetched: is registry.terraform.io reachable from here?",
    ),
)
ERROR = re.compile(r"^[│\s]*Error: (?P<text>.*(?:\n(?![│\s]*(?:Error|Warning): |╵).*)*)", re.MULTILINE)
LINES = 13
"""Of an error that are shown; Google's may be long."""
LONGEST = 1200


def of(said: str, key: str, terraform: str = "terraform -chdir=infra") -> str:
    """Its first error in few lines, how many more there are, and what to do.

    Args:
        said: all that Terraform wrote.
        key: of the deployment.
        terraform: how a person runs it on this deployment's state.
    """
    errors = _errors(said)
    found = [_legible("\n".join(text.splitlines()[:LINES])) for text in errors]
    first = (found[0] if found else _legible(said[-LONGEST:]))[:LONGEST] or "it ended without a word."
    more = f"\n({len(found) - 1} more errors.)" if len(found) > 1 else ""
    advice = next((text for pattern, text in KNOWN if any(_speaks(pattern, one) for one in errors or [said])), "")
    advice = (
        advice.format(env=key, terraform=terraform)
        if advice
        else "Mend it and run the same command again: it goes on where it was."
    )
    return f"{first}{more}\n{advice}"


def passes(said: str) -> bool:
    """Whether the same command is likely to get further a minute later: one error of those that pass is enough.

    Terraform goes on with what does not depend on a failure, and says all errors at the end, in no order. To try
    once more is harmless, whatever the others are.

    Args:
        said: all that Terraform wrote.
    """
    return any(_speaks(pattern, text) for text in _errors(said) for pattern, _ in PASSING)


def _errors(said: str) -> list[str]:
    """Each error, whole."""
    return [match["text"] for match in ERROR.finditer(said)]


def _speaks(pattern: str, text: str) -> bool:
    """Whether a text has the pattern, in whatever case, wherever Terraform broke its lines."""
    return bool(re.search(pattern, " ".join(text.replace("│", " ").split()), re.IGNORECASE))


def _legible(text: str) -> str:
    lines = (line.lstrip("│ ").rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and line not in ("╵", "╷"))

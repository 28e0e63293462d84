# SPDX-License-Identifier: Apache-2.0
"""A little Terraform for the tests of what runs it: a program on disk with a state, told what to want and to break.

As a module it makes the program; as a program it is one. Its world is world.json beside it:

    wanted    address -> attributes: what the configuration says
    state     address -> attributes: what there is
    changed   addresses that the next plan changes
    tainted   addresses of what did not become ready when it was made
    stillborn addresses that become such when an apply makes them, once: it fails by that
    drags     address -> addresses that depend on it, which a destroy takes with it
    outputs   what `output` says
    breaks    verb -> what it says and fails with, the first first, a list for many errors; a plan is applied by half
    slow      seconds that an apply takes; a SIGINT ends it when the resource at hand is done
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(sys.argv[0]).resolve().parent
PROTECTS = {
    "deletion_protection": True,
    "deletion_policy": "PREVENT",
    "force_destroy": False,
    "delete_contents_on_destroy": False,
}
"""What the provider refuses to delete, by the state alone; every bucket and dataset holds something."""


class FakeTerraform:
    """The program from outside.

    Args:
        folder: an empty one for it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.path = folder / "terraform"
        # Through sh: a first line that names the interpreter itself takes no blank in its path, and not a long one.
        program = folder / "terraform.py"
        program.write_text(Path(__file__).read_text())
        command = shlex.join([sys.executable, "-IS", str(program)])
        self.path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        self.path.chmod(0o755)
        self.tell(
            wanted={},
            state={},
            changed=[],
            tainted=[],
            stillborn=[],
            drags={},
            outputs={},
            breaks={},
            slow=0,
            serial=1,
        )

    def tell(self, **more: Any) -> None:
        """Change its world."""
        old = self.world if (self.folder / "world.json").exists() else {}
        (self.folder / "world.json").write_text(json.dumps(old | more))

    @property
    def world(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "world.json").read_text()))

    @property
    def state(self) -> dict[str, Any]:
        """What there is, by address."""
        return dict(self.world["state"])

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Each call: `verb`, `arguments`, `environ`, in their order."""
        file = self.folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def note(self, what: str) -> None:
        """Something else that happened, among the calls."""
        with (self.folder / "calls.jsonl").open("a") as stream:
            stream.write(json.dumps({"verb": what, "arguments": [], "chdir": "", "environ": {}}) + "\n")

    @property
    def verbs(self) -> list[str]:
        return [call["verb"] for call in self.calls]

    def arguments(self, verb: str) -> list[list[str]]:
        """Arguments of each call of a verb."""
        return [call["arguments"] for call in self.calls if call["verb"] == verb]


def kind(address: str) -> str:
    return address.partition("[")[0]


def planned(world: dict[str, Any], arguments: list[str]) -> list[dict[str, Any]]:
    """What each address would become."""
    targets = [one.partition("=")[2] for one in arguments if one.startswith("-target=")]
    state, wanted = world["state"], world["wanted"]

    def aimed(address: str) -> bool:
        return not targets or address in targets or kind(address) in targets

    if "-destroy" in arguments:
        gone = {address for address in state if aimed(address)}
        gone |= {dragged for address in gone for dragged in world["drags"].get(address, ()) if dragged in state}
        actions = {address: ["delete"] for address in gone}
    else:
        actions = {address: ["create"] for address in wanted if address not in state and aimed(address)}
        actions |= {address: ["update"] for address in world["changed"] if address in state and aimed(address)}
        actions |= {address: ["delete", "create"] for address in world["tainted"] if aimed(address)}
        actions |= {address: ["delete"] for address in state if address not in wanted and not targets}
    every = sorted({*state, *(a for a in wanted if aimed(a))})
    return [{"address": a, "mode": "managed", "change": {"actions": actions.get(a, ["no-op"])}} for a in every]


def held(world: dict[str, Any], address: str) -> bool:
    """Whether the provider refuses to delete it; it says so."""
    by = [name for name, value in world["state"][address].items() if PROTECTS.get(name) == value]
    if by:
        print(f"╷\n│ Error: cannot destroy {address} without setting {', '.join(by)}\n╵")
    return bool(by)


def applied(world: dict[str, Any], file: Path) -> int:
    """Do a plan; its status."""
    changes = [c for c in json.loads(file.read_text())["resource_changes"] if c["change"]["actions"] != ["no-op"]]
    broken = world["breaks"].get("apply")
    stop = []
    signal.signal(signal.SIGINT, lambda *_: stop.append(True))
    failed = False
    for change in changes[: len(changes) // 2 if broken else None]:
        address, actions = change["address"], change["change"]["actions"]
        print(f"{address}: working ...", flush=True)
        time.sleep(world["slow"])
        if "delete" in actions:
            if held(world, address):
                return 1
            del world["state"][address]
        if actions != ["delete"]:
            world["state"][address] = world["wanted"][address]
        if address in world["stillborn"]:
            print(f"╷\n│ Error: Error waiting to create {address}: the agent's role is yet to propagate\n╵")
            failed = True
        lists = {"changed": [], "tainted": [address] if address in world["stillborn"] else [], "stillborn": []}
        world.update({name: [one for one in world[name] if one != address] + more for name, more in lists.items()})
        if stop:
            break
    if stop:
        print("Interrupt received.\nGracefully shutting down...")
    world["serial"] += 1
    return 1 if stop or failed else 0


def stored(world: dict[str, Any]) -> dict[str, Any]:
    """The state as Terraform stores it."""
    resources = []
    for address, attributes in world["state"].items():
        type_, name, index = re.fullmatch(r"(\w+)\.(\w+)(?:\[(.+)\])?", address).groups()  # type: ignore[union-attr]
        instance = {"attributes": attributes} | ({"index_key": json.loads(index)} if index else {})
        instance |= {"status": "tainted"} if address in world["tainted"] else {}
        resources.append({"mode": "managed", "type": type_, "name": name, "instances": [instance]})
    return {"version": 4, "serial": world["serial"], "lineage": "l", "outputs": {}, "resources": resources}


def address_of(resource: dict[str, Any]) -> str:
    index = resource["instances"][0].get("index_key")
    return f"{resource['type']}.{resource['name']}" + (f"[{json.dumps(index)}]" if index is not None else "")


def pushed(world: dict[str, Any], given: dict[str, Any]) -> int:
    if given["serial"] <= world["serial"]:
        print("Error: cannot import state with serial", file=sys.stderr)
        return 1
    world["serial"] = given["serial"]
    world["state"] = {address_of(one): one["instances"][0]["attributes"] for one in given["resources"]}
    world["tainted"] = [address_of(one) for one in given["resources"] if one["instances"][0].get("status")]
    return 0


def answer(world: dict[str, Any], verb: str, arguments: list[str]) -> int:
    """One call of the program."""
    if verb == "plan":
        out = Path(next(one.partition("=")[2] for one in arguments if one.startswith("-out=")))
        changes = planned(world, arguments)
        moves = any(change["change"]["actions"] != ["no-op"] for change in changes)
        out.write_text(json.dumps({"resource_changes": changes, "applyable": moves}))
        print("Terraform will perform the following actions:" if moves else "No changes.")
    elif verb == "show":
        print(Path(arguments[-1]).read_text())
    elif verb == "apply":
        return applied(world, Path(arguments[-1]))
    elif verb == "output":
        print(json.dumps({name: {"value": value} for name, value in world["outputs"].items()}))
    elif verb == "state list":
        print("\n".join(["data.google_project.this", *world["state"]]))
    elif verb == "state pull":
        print(json.dumps(stored(world)))
    elif verb == "state push":
        return pushed(world, json.load(sys.stdin))
    return 0


def main() -> int:
    if sys.argv[1] == "version":
        print(json.dumps({"terraform_version": "1.11.4"}))
        return 0
    chdir, verb, *arguments = sys.argv[1:]
    if verb == "state":
        verb = f"state {arguments.pop(0)}"
    environ = {name: value for name, value in os.environ.items() if name.startswith("TF_")}
    call = {"verb": verb, "arguments": arguments, "chdir": chdir, "environ": environ}
    with (HERE / "calls.jsonl").open("a") as stream:
        stream.write(json.dumps(call) + "\n")
    world = json.loads((HERE / "world.json").read_text())
    code = answer(world, verb, arguments)
    broken = world["breaks"].get(verb)
    if broken:
        says = broken.pop(0)
        for error in [says] if isinstance(says, str) else says:
            print(f"╷\n│ Error: {error}\n│ \n╵")
        code = 1
    (HERE / "world.json").write_text(json.dumps(world))
    return code


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""A guard that no test misses is none."""

from __future__ import annotations

import guards
import pytest


@pytest.mark.parametrize("name", guards.GUARDS)
def test_each_guard_can_be_switched_off_and_says_what_it_guards(name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        guards.GUARDS[name].off(patch)
    assert guards.GUARDS[name].off.__doc__


@pytest.mark.verify
@pytest.mark.timeout(2400)
def test_with_each_guard_off_a_test_turns_red_and_with_all_on_none_does() -> None:
    figure = guards.run()
    assert [name for name, test in figure.red.items() if not test] == []
    assert figure.broken == ""

"""The registry of scenarios, and their options as users write them."""

import argparse
import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.settings import EdgeSettings, WorkerSettings
from common.settings import load as load_settings
from loadtest.options import choice, share, url, whole
from loadtest.scenario import (
    MODULES,
    BadScenario,
    Findings,
    Option,
    Scenario,
    Stage,
    Values,
    load,
    load_all,
    parse_values,
)

FOLDER = Path(__file__).parents[3] / "loadtest" / "scenarios"
HEAVY = ("numpy", "aiohttp", "redis", "uvloop", "matplotlib", "picows", "loadtest.generator")

MEMBERS = Option("members", whole, 40, "members")
CAUSE = Option("cause", choice("cut", "edge"), "cut", "cause")
LOSS = Option("loss", share, 0.5, "share")


async def run(_: Stage) -> Findings:
    return Findings()


PLAIN = Scenario("plain", "nothing", (MEMBERS, LOSS, CAUSE), run)


# --- the registry ---------------------------------------------------------------------------------------


def test_every_module_is_registered_under_the_name_that_it_has() -> None:
    assert sorted(MODULES.values()) == sorted(
        f"loadtest.scenarios.{path.stem}" for path in FOLDER.glob("*.py") if path.stem != "__init__"
    )
    for name, module in MODULES.items():
        assert module.rpartition(".")[2] == name.replace("-", "_")


def test_an_unknown_scenario_is_told_with_those_that_there_are() -> None:
    with pytest.raises(BadScenario, match="no scenario 'spaec'; it is one of space, "):
        load("spaec")


@pytest.mark.parametrize("scenario", load_all(), ids=lambda scenario: scenario.name)
def test_a_scenario_is_told_well(scenario: Scenario) -> None:
    names = [option.name for option in scenario.options]
    assert len(names) == len(set(names))
    for text in (scenario.summary, *(option.help for option in scenario.options)):
        assert text
        assert not text.endswith(".")
        assert "\n" not in text
    for option in scenario.options:
        assert option.name == option.name.lower().replace("_", "-")


@pytest.mark.parametrize("scenario", load_all(), ids=lambda scenario: scenario.name)
def test_a_default_as_it_is_listed_is_the_default(scenario: Scenario) -> None:
    for option in scenario.options:
        text = f"{option.default:g}" if isinstance(option.default, float) else str(option.default)
        assert option.parse(text) == option.default, option.name


@pytest.mark.parametrize("scenario", load_all(), ids=lambda scenario: scenario.name)
def test_the_settings_for_its_cluster_are_settings(scenario: Scenario) -> None:
    environ = {"ROOMRING_DEV": "1", **scenario.settings(Values(scenario.options))}
    load_settings(EdgeSettings, environ)
    load_settings(WorkerSettings, environ)


def test_listing_loads_nothing_heavy() -> None:
    """`list` and `--help` answer at once only while no scenario imports the generator at its top."""
    code = (
        "import sys\nfrom deploy.loadtest import list_scenarios\nfrom loadtest.scenario import load_all\n"
        f"list_scenarios(load_all())\nprint([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=FOLDER.parents[1]
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_scenarios_print_and_write_nothing() -> None:
    for path in FOLDER.glob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"print", "open"}, path.name


# --- options --------------------------------------------------------------------------------------------


def test_what_is_not_set_has_its_default() -> None:
    values = parse_values(PLAIN, ["members=7"])
    assert (values[MEMBERS], values[LOSS]) == (7, 0.5)
    assert values.as_dict() == {"members": 7, "loss": 0.5, "cause": "cut"}


def test_of_two_the_last_counts() -> None:
    assert parse_values(PLAIN, ["members=7", "members=8"])[MEMBERS] == 8


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("members", "--set 'members' must be NAME=VALUE, for example --set members=40"),
        ("=7", "must be NAME=VALUE"),
        ("member=7", "the scenario plain has no option 'member'; it has members, loss, cause"),
        ("members=x", "--set members: 'x' must be a whole number from 0"),
        ("members=-1", "'-1' must be a whole number from 0"),
        ("members=", "'' must be a whole number from 0"),
        ("loss=1.5", "'1.5' must be a share from 0 to 1"),
        ("cause=none", "--set cause: 'none' must be cut or edge"),
        ("loss=nan", "'nan' must be a share from 0 to 1"),
    ],
)
def test_a_wrong_setting_says_what_to_write(setting: str, part: str) -> None:
    with pytest.raises(BadScenario) as failure:
        parse_values(PLAIN, [setting])
    assert part in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (whole, "0", 0),
        (share, "1", 1.0),
        (url, "http://10.0.0.5:8080/", "http://10.0.0.5:8080"),
        (url, "https://rooms.example", "https://rooms.example"),
    ],
)
def test_good_values(parse: Callable[[str], Any], text: str, value: Any) -> None:
    assert parse(text) == value


@pytest.mark.parametrize("text", ["", "10.0.0.5:8080", "ws://10.0.0.5", "http://", "http://a b", "http:// "])
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a URL"):
        url(text)

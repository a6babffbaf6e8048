"""The table of threats names tests that are there; and rules over the whole code that no single room could keep."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests import evil

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "threats.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
THREATS = [f"T{number}" for number in range(1, 16)]


def rows() -> dict[str, list[tuple[str, str]]]:
    """{"T1": [(file, test)]} as the table says."""
    found = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\| (T\d+) \|", line):
            found[match[1]] = NAMED.findall(line)
    return found


def test_every_threat_has_its_tests():
    found = rows()
    assert list(found) == THREATS and all(found.values())


@pytest.mark.parametrize("threat", THREATS)
def test_every_named_test_is_there(threat):
    for file, name in rows()[threat]:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, (file, name)


def test_every_column_of_text_is_spoilt_for_the_browser_or_is_the_codes_own():
    """A new column must be named in one of the lists of `tests/evil.py`."""
    for table, names in evil.columns().items():
        assert set(names) <= {*evil.SPOILT.get(table, ()), *evil.IN_PART.get(table, ()), *evil.OURS}, table


# ---- the whole code -------------------------------------------------------------------------------------------------
CODE = [
    ROOT / "app.py",
    *(
        path
        for room in ("pages", "ui", "db", "jobs", "tempo_core", "migrations")
        for path in (ROOT / room).rglob("*.py")
    ),
]
RUNS_TEXT = {
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "pickle.load",
    "pickle.loads",
    "yaml.load",
}
OWN_WORK = {"tempo_core/video_llms/make_embedded.py"}
"""Reads back what the same command wrote into its own work folder a moment ago; no studio ever runs it."""


def runs_what_it_is_given(tree: ast.AST) -> list[str]:
    """Calls that would take text or bytes for code."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in RUNS_TEXT or options.get("shell", "False") != "False" or options.get("allow_pickle") == "True":
            found.append(ast.unparse(call))
        if name == "torch.load" and options.get("weights_only") != "True":
            found.append(ast.unparse(call))
        if options.get("trust_remote_code", "False") not in ("False", "TRUST_REMOTE_CODE"):
            found.append(ast.unparse(call))
    return found


def test_nothing_is_run_that_came_as_text():
    for path in CODE:
        name = str(path.relative_to(ROOT))
        assert name in OWN_WORK or not runs_what_it_is_given(ast.parse(path.read_text(encoding="utf-8"))), name


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run(line, shell=True)", "os.system(name)", "eval(text)", "pickle.loads(row)", "torch.load(path)",
        "np.load(path, allow_pickle=True)", "torch.load(path, weights_only=False)",
        "AutoModel.from_pretrained(folder, trust_remote_code=settings.trust)",
    ],
)  # fmt: skip
def test_the_rule_above_sees_what_it_is_for(line):
    assert runs_what_it_is_given(ast.parse(line))


def test_no_code_of_a_model_is_ever_trusted():
    from tempo_core.video_llms import base

    assert base.TRUST_REMOTE_CODE is False


SAFE = {
    "server": {
        "address": "127.0.0.1", "enableCORS": True, "enableXsrfProtection": True, "enableStaticServing": False,
        "enableAgentApi": False, "fileWatcherType": "none", "maxUploadSize": 512, "disconnectedSessionTTL": 120,
        "allowedHosts": [], "corsAllowedOrigins": [],
    },
    "client": {"showErrorDetails": "none", "showErrorLinks": False, "toolbarMode": "minimal", "allowedOrigins": []},
    "browser": {"gatherUsageStats": False},
    "runner": {"magicEnabled": False},
}  # fmt: skip


def test_the_server_is_configured_as_security_md_says_and_streamlit_knows_each_option():
    from streamlit import config

    stored = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert {section: stored[section] for section in SAFE} == SAFE
    known = config.get_config_options()
    assert not [f"{s}.{name}" for s, options in SAFE.items() for name in options if f"{s}.{name}" not in known]

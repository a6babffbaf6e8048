"""Who may import whom. If this fails, move the code, not the rule."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"app", "pages", "ui", "db", "jobs", "tempo_core", "migrations"}
HEAVY = {"torch", "torchvision", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers"}
TORCH_ROOMS = ("tempo_core/video_llms/", "tempo_core/training/", "tempo_core/benchmarks/")

ALLOWED = {
    "app": {"ui", "db", "jobs.launch", "tempo_core"},
    "pages": {"ui", "db", "jobs.launch", "jobs.payloads", "jobs.starting", "tempo_core"},
    "ui": {"ui", "db", "jobs.launch", "jobs.payloads", "jobs.experimenting", "jobs.health", "tempo_core"},
    "db": {"db", "tempo_core"},
    "jobs": {"jobs", "db", "tempo_core"},
    "tempo_core": {"tempo_core"},
}


def sources(room: str) -> list[Path]:
    return [ROOT / "app.py"] if room == "app" else sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module a file imports when it runs, wherever the import stands; types alone bring nothing."""
    found, tree = set(), ast.parse(path.read_text())
    types_only = {
        id(inside)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in node.body
        for inside in ast.walk(child)
    }
    for node in ast.walk(tree):
        if id(node) in types_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def top(name: str) -> str:
    return name.split(".")[0]


def breaks(room: str, name: str) -> bool:
    """Whether a file of `room` must not import `name`."""
    if top(name) not in OURS or top(name) == room:
        return False
    allowed = ALLOWED[room]
    return not any(name == rule or name.startswith(rule + ".") for rule in allowed) and not (
        name == "jobs" and "jobs.launch" in allowed
    )


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_in_one_direction_only(room):
    wrong = {(str(p.relative_to(ROOT)), n) for p in sources(room) for n in imports(p) if breaks(room, n)}
    assert not wrong


@pytest.mark.parametrize("room", ["app", "pages", "ui", "db"])
def test_no_room_of_the_web_process_names_a_heavy_library(room):
    wrong = {(str(p.relative_to(ROOT)), n) for p in sources(room) for n in imports(p) if top(n) in HEAVY}
    assert not wrong


def test_torch_is_imported_in_the_torch_rooms_only():
    files = [p for room in ("tempo_core", "jobs") for p in sources(room)]
    outside = [p for p in files if not str(p.relative_to(ROOT)).startswith(TORCH_ROOMS)]
    assert not {(str(p.relative_to(ROOT)), n) for p in outside for n in imports(p) if top(n) in HEAVY}


def test_torch_rooms_are_reached_by_name_only():
    """A plain import of a torch room would pull torch in wherever the importing module is read."""
    rooms = {prefix.rstrip("/").replace("/", ".") for prefix in TORCH_ROOMS}
    light = {"tempo_core.video_llms.checkpoints", "tempo_core.benchmarks.base"}
    files = [p for room in ("app", "pages", "ui", "db", "jobs", "tempo_core") for p in sources(room)]
    for path in files:
        name = str(path.relative_to(ROOT))
        if name.startswith(TORCH_ROOMS):
            continue
        for module in imports(path):
            inside = any(module.startswith(room + ".") for room in rooms)
            assert not inside or any(module == m or module.startswith(m + ".") for m in light), (name, module)


def test_pages_import_no_sqlalchemy():
    assert not {(p.name, n) for p in sources("pages") for n in imports(p) if top(n) == "sqlalchemy"}


def test_the_core_knows_no_web_page_and_no_database():
    assert not {(p.name, n) for p in sources("tempo_core") for n in imports(p) if top(n) in {"streamlit", "sqlalchemy"}}


LOADED = """
import sys
{before}
from pathlib import Path
import importlib
for name in ["ui.server", "jobs.launch"]:
    importlib.import_module(name)
for page in sorted(Path("pages").glob("*.py")):
    compile(page.read_text(), str(page), "exec")
    import ast
    for node in ast.walk(ast.parse(page.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            importlib.import_module(node.module)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
print(sorted(set(sys.modules) & {{"torch", "transformers", "trl", "datasets", "peft", "matplotlib"}}))
"""


def loaded_by_the_web_process(before: str = "") -> str:
    run = subprocess.run(
        [sys.executable, "-c", LOADED.format(before=before)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip().splitlines()[-1]


def test_the_web_process_never_loads_torch():
    assert loaded_by_the_web_process() == "[]"


def test_the_test_above_would_see_torch():
    assert "torch" in loaded_by_the_web_process(before="import torch")

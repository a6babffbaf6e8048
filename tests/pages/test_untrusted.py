"""Text that we did not write never reaches a place where Streamlit reads markdown: an image named there is a beacon.

A piece of text is safe if it is a literal, a constant in capitals, went through `escaped`, or is formatted as a number
(`:,` and `:d` refuse strings); and so is a name that its function binds to nothing else.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tempo_core.experiment_results import Answers
from tempo_core.experiment_results import figures as experiment_figures
from ui import charts, experiment_charts
from ui.palette import LIGHT

ROOT = Path(__file__).parent.parent.parent
FILES = [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py")), *sorted((ROOT / "ui").glob("*.py"))]
FILES.remove(ROOT / "ui" / "text.py")  # the one place that shows text of others, in plain-text widgets

FORBIDDEN = {"html", "image", "video", "audio", "download_button", "file_uploader", "table", "json", "write"}
"""They interpret text, or hand files to /media, which has no login. `st.write` guesses."""

READ_AS_MARKDOWN = {
    "markdown", "caption", "title", "header", "subheader", "error", "warning", "info", "success", "toast", "badge",
    "button", "form_submit_button", "link_button", "page_link", "checkbox", "toggle", "radio", "selectbox",
    "multiselect", "slider", "select_slider", "number_input", "text_input", "text_area", "segmented_control", "pills",
    "expander", "popover", "metric", "progress", "spinner", "status", "dialog",
}  # fmt: skip
OPTIONS_TOO = {"radio", "segmented_control", "pills"}
"""Selectbox and multiselect show their options as they are."""
LABELS = {"label", "help", "body", "icon", "placeholder"}
SAFE_CALLS = {"escaped", "level_word"}
NUMERIC = {",", "d", "g", "+.3f", ".2f", ".3f", ".0%"}


def unsafe(source: str) -> list[tuple[int, str]]:
    """(line, what) of every place in a file that breaks the rule."""
    tree = ast.parse(source)
    modules = _imported(tree) - {"st"}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    found = []
    for scope in functions or [tree]:
        known = _bound(scope)
        for call in (node for node in ast.walk(scope) if isinstance(node, ast.Call)):
            found += _wrong(call, modules, known)
    return sorted(set(found))


def _wrong(call: ast.Call, modules: set[str], known: set[str]) -> list[tuple[int, str]]:
    if any(keyword.arg == "unsafe_allow_html" for keyword in call.keywords):
        return [(call.lineno, "unsafe_allow_html")]
    if not isinstance(call.func, ast.Attribute):
        return []
    owner = call.func.value.id if isinstance(call.func.value, ast.Name) else ""
    if owner == "st" and call.func.attr in FORBIDDEN:
        return [(call.lineno, f"st.{call.func.attr}")]
    if owner in modules or call.func.attr not in READ_AS_MARKDOWN:
        return []
    return [(part.lineno, ast.unparse(part)) for part in _read_parts(call) if not safe(part, known)]


def _imported(tree: ast.Module) -> set[str]:
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {alias.asname or alias.name for node in imports for alias in node.names}


def _bound(scope: ast.AST) -> set[str]:
    """Names of a function that are only ever bound to safe text. Bindings are read in the order of the file."""
    known: set[str] = set()
    spoilt: set[str] = set()
    for node in ast.walk(scope):
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.For | ast.comprehension):
            pairs = list(_elements(node.target, node.iter))
        for target, value in pairs:
            names = {name.id for name in ast.walk(target) if isinstance(name, ast.Name)}
            (known if safe(value, known) else spoilt).update(names)
    return known - spoilt


def _elements(target: ast.expr, source: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """What a loop binds to what: `zip` and `enumerate` part by part."""
    called = source.func.id if isinstance(source, ast.Call) and isinstance(source.func, ast.Name) else ""
    if isinstance(target, ast.Tuple) and isinstance(source, ast.Call) and called == "zip":
        return list(zip(target.elts, source.args, strict=True))
    if isinstance(target, ast.Tuple) and isinstance(source, ast.Call) and called == "enumerate":
        return [(target.elts[0], ast.Constant(0)), *_elements(target.elts[1], source.args[0])]
    return [(target, source)]


def _read_parts(call: ast.Call) -> list[ast.expr]:
    """The label, help and texts of a call, and what its `format_func` returns."""
    at = 1 if isinstance(call.func, ast.Attribute) and call.func.attr == "progress" else 0
    parts = [*call.args[at : at + 1], *(k.value for k in call.keywords if k.arg in LABELS)]
    if isinstance(call.func, ast.Attribute) and call.func.attr == "page_link":
        parts = [keyword.value for keyword in call.keywords if keyword.arg == "label"]
    for keyword in call.keywords:
        if keyword.arg == "format_func" and call.func.attr in OPTIONS_TOO:
            value = keyword.value
            parts.append(value.body if isinstance(value, ast.Lambda) else ast.Call(value, [], [], lineno=call.lineno))
    return parts


def safe(node: ast.expr, known: set[str] = frozenset()) -> bool:  # type: ignore[assignment]
    inner: list[ast.expr]
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.Name):
        return node.id.isupper() or node.id in known
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        return name in SAFE_CALLS or (isinstance(node.func, ast.Attribute) and safe(node.func.value, known))
    if isinstance(node, ast.FormattedValue):
        return _formatted_as_number(node) or safe(node.value, known)
    if isinstance(node, ast.Attribute):
        return node.attr.isupper() or safe(node.value, known)
    if isinstance(node, ast.JoinedStr | ast.BoolOp):
        inner = list(node.values)
    elif isinstance(node, ast.Tuple | ast.List):
        inner = list(node.elts)
    elif isinstance(node, ast.IfExp):
        inner = [node.body, node.orelse]
    elif isinstance(node, ast.BinOp):
        inner = [node.left, node.right]
    elif isinstance(node, ast.Subscript):
        inner = [node.value]
    else:
        return False
    return all(safe(part, known) for part in inner)


def _formatted_as_number(node: ast.FormattedValue) -> bool:
    """Python refuses to format a string so: data that is no number ends in an error, not on the page."""
    return node.format_spec is not None and ast.unparse(node.format_spec)[2:-1] in NUMERIC


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_page_hands_data_to_markdown(path):
    assert unsafe(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "st.html('<b>x</b>')",
        "st.markdown('x', unsafe_allow_html=True)",
        "st.image(path)",
        "st.error(str(error))",
        "st.caption(f'{card.name}')",
        "column.button(f'Undo {name}')",
        "st.pills('Run', ids, format_func=lambda n: names[n])",
        "st.radio('Run', ids, format_func=names.__getitem__)",
        "st.text_input('Name', help=card.name)",
        "left.progress(0.5, job.progress_text)",
        "st.page_link('pages/pairs.py', label=name)",
        "def f():\n    name = 'ours'\n    name = card.name\n    st.caption(name)",
        "def f():\n    for name in names:\n        st.caption(name)",
    ],
)
def test_the_rule_sees_what_it_is_for(line):
    assert unsafe(line)


@pytest.mark.parametrize(
    "line",
    [
        "st.markdown('**Next**')",
        "st.error(escaped(str(error)), icon=':material/error:')",
        "st.caption(f'{n:,} pairs of {escaped(name)}')",
        "st.markdown(STATES[run.state])",
        "st.text(card.message)",
        "st.selectbox('Run', ids, format_func=names.__getitem__)",
        "st.button('Stopping' if stopping else 'Stop')",
        "def f():\n    for name, n in zip(NAMES, counts):\n        st.caption(f'{name} {n:,}')",
    ],
)
def test_the_rule_lets_literals_and_escaped_text_pass(line):
    assert not unsafe(line)


# ---- figures: Plotly reads tags in names, titles, ticks and categories -----------------------------------------------
LINK = "<a href='http://x/'><b>model</b></a> & co"


def _figures_of_hostile_names():
    dot = charts.Dot(LINK, LINK, 0.5, 0.4, 0.6, 9, None)
    groups = tuple(f"video {i}" for i in range(6))
    answers = {("b", "accuracy"): Answers(groups, groups, {0: (0.0,) * 6, 1: (1.0,) * 6}, chance=0.5)}
    arms = experiment_figures({LINK: answers, "second": answers}, LINK)
    yield charts.dots([dot], LIGHT, LINK)
    yield charts.differences([dot], LIGHT, LINK)
    yield charts.curves("Loss", {LINK: [(1, 0.5)]}, LIGHT)
    yield charts.by_level({LINK: [1, 2, 3, 4]}, charts.level_names(), LIGHT)
    yield from charts.histogram({LINK: [1, 2]}, {}, LIGHT).values()
    yield experiment_charts.values(arms, LIGHT)
    yield experiment_charts.changes(arms, LINK, LIGHT)


def test_names_are_shown_in_figures_as_they_are():
    for figure in _figures_of_hostile_names():
        figure.update_traces(customdata=None)  # what a click tells the page; no hover shows it
        drawn = str(figure.to_dict())
        assert "a href" in drawn and "<a" not in drawn and "<b" not in drawn, figure.layout.title.text
        assert "& co" not in drawn and "&amp; co" in drawn

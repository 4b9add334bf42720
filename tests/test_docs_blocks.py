"""What the documents show works: Python blocks run, commands exist, links lead somewhere.

The python blocks of a page run in one namespace, in an empty folder. `<!-- setup ... -->` holds
what a block needs and a reader does not. `<!-- not run: why -->` before a block spares it, and
`<!-- blocks: slow -->` at the head of a file leaves it to `./check --slow`.
"""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from scansmith.apps.cli import app
from scansmith.methods import METHODS, find_method
from scansmith.settings import load_settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(
    r"^<!-- setup\n(?P<setup>.*?)^-->$"
    r"|(?P<spared>^<!-- not run:[^>]*-->\n+)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


def blocks(text, kinds):
    """(line, text) of the blocks of some kinds that are not spared."""
    for match in BLOCK.finditer(text):
        line = text[: match.start()].count("\n") + 1
        if match["setup"] is not None and "python" in kinds:
            yield line, match["setup"]
        elif match["kind"] in kinds and not match["spared"]:
            yield line + (match["spared"] or "").count("\n"), match["text"]


def commands(text):
    """Command lines of sh blocks, continued lines joined, comments and variables left out."""
    for _, block in blocks(text, {"sh", "bash", "console"}):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"\w+=\S*", words[0]):
                words = words[1:]
            if ">" in words:
                words = words[: words.index(">")]
            if words:
                yield words


def check_command(words):
    """Parse the words of a `scansmith` command without running it; look at its settings too."""
    command, rest = get_command(app), words[1:]
    while hasattr(command, "commands"):
        assert rest, f"{shlex.join(words)}: a verb is missing"
        if rest[0].startswith("-"):
            assert rest[0] in {"--help", "-h", "--version"}, shlex.join(words)
            return
        assert rest[0] in command.commands, f"{shlex.join(words)}: no verb {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    given = command.make_context(words[-1], rest).params
    method = given.get("method")
    if method is not None:
        assert method in METHODS, shlex.join(words)
        kind = find_method(method)
        preset = kind.presets[given.get("preset") or "cpu"]
        load_settings(kind.settings_type, preset=preset, sets=given.get("sets") or ())


def pages_with(kinds):
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if any(True for _ in blocks(text, kinds)):
            slow = "<!-- blocks: slow -->" in text and "python" in kinds
            marks = [pytest.mark.slow] if slow else []
            yield pytest.param(page, marks=marks, id=str(page.relative_to(ROOT)))


@pytest.mark.parametrize("page", list(pages_with({"python"})))
def test_the_python_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "__main__"}
    for line, text in blocks(page.read_text(encoding="utf-8"), {"python"}):
        exec(compile("\n" * line + text, str(page), "exec"), space)


@pytest.mark.parametrize("page", list(pages_with({"sh", "bash", "console"})))
def test_the_commands_of_a_page_exist(page):
    for words in commands(page.read_text(encoding="utf-8")):
        if words[0] == "scansmith":
            check_command(words)
        elif words[0].startswith("./"):
            assert (ROOT / words[0]).stat().st_mode & 0o111, words[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name}: {target}"


def test_a_command_that_is_not_there_is_noticed():
    check_command(shlex.split("scansmith train magan S --out R --set train.steps=3"))
    for wrong in (
        "scansmith data prepair a b",
        "scansmith train magan S --output R",
        "scansmith train magan S --out R --set train.stepps=3",
        "scansmith train maggan S --out R",
    ):
        with pytest.raises(Exception, match=r"."):
            check_command(shlex.split(wrong))


def test_the_readme_shows_the_two_commands_and_a_short_example():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = [words[0] for words in commands(text)]
    assert {"./demo", "./check"} <= set(shown)
    _, example = next(blocks(text, {"python"}))
    assert len(re.findall(r"^\w+ = scansmith\.", example, re.MULTILINE)) == 5
    assert "not a medical device" in text.lower()

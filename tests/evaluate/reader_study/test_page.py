"""The page of a reader study at work: whose answers are whose. Node runs its script."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from scansmith.evaluate.reader_study.grid import Common, Greys
from scansmith.evaluate.reader_study.pages import Pages
from scansmith.evaluate.view import AXES

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="the page's script needs node")

# A browser as far as the page needs one: load() opens the page, and what it keeps outlives that.
BROWSER = """
const shelf = new Map(), saved = [];
const localStorage = {getItem: key => shelf.get(key), setItem: (key, text) => shelf.set(key, text)};
class Image {}
class Blob { constructor(parts) { this.text = parts.join(""); } }
const URL = {createObjectURL: blob => blob.text, revokeObjectURL() {}};
const soon = act => act(), yes = () => true;
function element() {
  return {value: "", textContent: "", style: {}, children: [], setAttribute() {}, focus() {},
    append(child) { this.children.push(child); }, addEventListener() {}, getContext() {},
    click() { saved.push([this.download, this.href]); }};
}
function load(storage = localStorage) {
  const all = {}, keys = [];
  const byId = id => all[id] ??= element();
  const document = {body: {className: "asking"}, getElementById: byId, createElement: element};
  const window = {addEventListener: (kind, act) => { if (kind === "keydown") keys.push(act); }};
  const given = {document, window, localStorage: storage, Image, Blob, URL, setTimeout: soon,
    confirm: yes};
  new Function(...Object.keys(given), script)(...Object.values(given));
  return {
    asks: () => document.body.className === "asking",
    text: id => byId(id).textContent,
    press: id => byId(id).onclick(),
    type: (id, text) => { byId(id).value = text; byId(id).oninput({target: byId(id)}); },
    enter: () => byId("start").onsubmit({preventDefault() {}}),
    key: (key, repeat = false) =>
      keys.forEach(act => act({key, repeat, target: {}, preventDefault() {}})),
  };
}
function begin(page, name) { page.type("reader", name); page.enter(); }
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of a page of three cases, abcd_1 to abcd_3, of four slices each."""
    folder = tmp_path_factory.mktemp("page")
    grid = Common((4, 16, 16), (1.0, 1.0, 1.0), AXES, 3)
    pages = Pages("abcd", grid, [Greys("ct", (0.0, 1.0))], 3)
    for number in (1, 2, 3):
        pages.add(f"abcd_{number}", np.zeros((1, 4, 16, 16), np.uint8))
    pages.write(folder, 1)
    page = (folder / "study.html").read_text()
    assert '<body class="asking">' in page
    return re.search(r"<script>(.*)</script>", page, re.DOTALL)[1]


def ran(script: str, acts: str) -> list:
    """What these acts say()."""
    head = f"const script = {json.dumps(script)}, told = [];\nconst say = what => told.push(what);"
    text = f"{head}\n{BROWSER}\n{acts}\nconsole.log(JSON.stringify(told));"
    done = subprocess.run(
        ["node", "-"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sheet(*answers: str) -> str:
    rows = [f'abcd_{n},{answer},""' for n, answer in enumerate(answers, 1)]
    return "\r\n".join(["case,answer,comment", *rows, ""])


def test_each_reader_at_one_computer_has_answers_of_his_own(script: str) -> None:
    acts = """
    const page = load();
    begin(page, "Anna"); page.press("real"); page.press("real"); page.press("synthetic");
    say(page.text("count")); page.press("save");
    page.press("other"); say(page.asks());
    begin(page, "Ben"); say(page.text("count")); page.press("synthetic"); page.press("save");
    """
    told = ran(script, acts + "say(saved);")
    assert told[:3] == ["3 of 3 answered", True, "0 of 3 answered"]
    assert told[3] == [
        ["answers-Anna.csv", sheet("real", "real", "synthetic")],
        ["answers-Ben.csv", sheet("synthetic", "", "")],
    ]


def test_a_reader_who_comes_back_goes_on_where_he_stopped(script: str) -> None:
    acts = """
    const first = load();
    begin(first, "Anna B."); first.press("real"); first.type("comment", "dark");
    const again = load(); say(again.asks());
    again.type("reader", "Ben"); say(again.text("known"));
    again.type("reader", "anna b"); say(again.text("known")); again.enter();
    say(again.text("count")); say(again.text("title")); again.press("save"); say(saved[0]);
    """
    asks, of_ben, of_anna, count, title, (name, text) = ran(script, acts)
    assert asks
    assert of_ben == ""
    assert of_anna.startswith("Under this name 1 of 3 cases are answered: Start goes on there.")
    assert count == "1 of 3 answered"
    assert title == "case 2 of 3 (abcd_2)"
    assert name == "answers-anna-b.csv"
    assert text.splitlines()[2] == 'abcd_2,,"dark"'


def test_a_browser_that_keeps_nothing_keeps_readers_apart_until_it_is_closed(script: str) -> None:
    acts = """
    const closed = () => { throw new Error("no storage"); };
    const page = load({getItem: closed, setItem: closed});
    begin(page, "Anna"); page.press("real"); page.press("other");
    begin(page, "Ben"); say(page.text("count")); page.press("other");
    begin(page, "Anna"); say(page.text("count"));
    """
    assert ran(script, acts) == ["0 of 3 answered", "1 of 3 answered"]


def test_nothing_is_answered_before_a_name_is_given(script: str) -> None:
    acts = """
    const page = load(); page.key("r");
    begin(page, " ?! "); say(page.asks()); say(page.text("known")); page.key("r");
    begin(page, "7"); say(page.asks()); say(page.text("count"));
    page.press("other"); page.key("r"); begin(page, "7"); say(page.text("count"));
    """
    asked = "Please give your name or number first."
    assert ran(script, acts) == [True, asked, False, "0 of 3 answered", "0 of 3 answered"]


def test_a_key_held_down_answers_one_case_but_scrolls_on(script: str) -> None:
    acts = """
    const page = load(); begin(page, "Anna");
    page.key("r"); for (let n = 0; n < 5; n++) page.key("r", true);
    say(page.text("count")); say(page.text("title"));
    page.key("s"); say(page.text("count"));
    page.key("ArrowLeft"); page.key("ArrowLeft", true); say(page.text("title"));
    """
    assert ran(script, acts) == [
        "1 of 3 answered",
        "case 2 of 3 (abcd_2)",
        "2 of 3 answered",
        "case 1 of 3 (abcd_1)",
    ]

"""Processes killed for real at several moments, and what resuming makes of their folders."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scansmith.synthesize.make import synthesize_with
from scansmith.synthesize.order import Order
from scansmith.synthesize.provenance import Origin

ORIGIN = Origin("runs-a", "0123abcd", "painter")
ORDER = Order(cases=4, seed=7)

# Importing takes seconds, so one process imports and then forks a victim for each moment.
SCRIPT = """
import importlib.util, os, signal, sys, time
from pathlib import Path

parts_file, store_path, root = map(Path, sys.argv[1:4])
spec = importlib.util.spec_from_file_location("parts", parts_file)
parts = importlib.util.module_from_spec(spec)
sys.modules["parts"] = parts
spec.loader.exec_module(parts)

from scansmith.data.store import Store
from scansmith.synthesize import folder
from scansmith.synthesize.make import synthesize_with
from scansmith.synthesize.order import Order
from scansmith.synthesize.provenance import Origin, row_line

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def at_file(last):
    calls, replace = [], os.replace
    def counted(source, target):
        calls.append(target)
        if len(calls) == last:
            die()
        replace(source, target)
    os.replace = counted

def in_row(last):
    calls, append = [], folder.append_row
    def torn(path, row):
        calls.append(row)
        if len(calls) < last:
            return append(path, row)
        line = row_line(row).encode()
        with path.open("ab") as file:
            file.write(line[: len(line) // 2])
        die()
    folder.append_row = torn

def victim(moment, out):
    kind, _, last = moment.partition("-")
    if kind == "file":
        at_file(int(last))
    if kind == "row":
        in_row(int(last))
    store = Store.open(store_path)
    method = parts.painter(store)
    if kind == "outside":
        paint = method.make
        method.make = lambda source, chance: (time.sleep(0.1), paint(source, chance))[1]
    synthesize_with(
        method, store, out, Order(cases=4, seed=7), Origin("runs-a", "0123abcd", "painter")
    )

for moment in sys.argv[4:]:
    out = root / moment
    pid = os.fork()
    if pid == 0:
        try:
            victim(moment, out)
        finally:
            os._exit(3)  # alive to the end, or an error
    if moment == "outside":
        rows = out / "provenance.jsonl"
        while not rows.exists() or not rows.stat().st_size:
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    print(moment, os.WTERMSIG(status) if os.WIFSIGNALED(status) else "not killed")
"""

# Of the moves of files (about five a case): the plan, a first image, a case half in place, ...
MOMENTS = [
    "file-1",
    "file-2",
    "file-5",
    "file-8",
    "file-13",
    "file-21",
    "row-1",
    "row-3",
    "outside",
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the victims are forked")
def test_a_killed_process_loses_and_doubles_nothing_once_resumed(liver, parts, tmp_path):
    whole = synthesize_with(parts.painter(liver), liver, tmp_path / "whole", ORDER, ORIGIN)
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT, parts.__file__, str(liver.path), str(tmp_path), *MOMENTS],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert told.stdout.split("\n")[:-1] == [f"{moment} 9" for moment in MOMENTS], told.stderr
    unfinished = 0
    for moment in MOMENTS:
        out: Path = tmp_path / moment
        unfinished += parts.contents(out) != parts.contents(whole)
        synthesize_with(parts.painter(liver), liver, out, ORDER, ORIGIN, resume=True)
        assert parts.contents(out) == parts.contents(whole), moment
    assert unfinished == len(MOMENTS)

"""Judging: what is said to be done is done."""

from __future__ import annotations

import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.studies.judge import Judging, judge_generators
from scansmith.studies.place import Place
from scansmith.studies.spec import Arm, DataPart, Generator, Spec
from scansmith.train.checkpoint import write_json


@pytest.mark.parametrize("name", ["gan", "gan 1:1, seed 3", "rate 0.5"])
def test_a_step_that_failed_is_not_called_done_whatever_the_generator_is_called(tmp_path, name):
    write_phantoms(tmp_path / "raw", "heart", 2, 1, (32, 32, 8))
    sets = {"data.size": [32, 32], "data.split": [0.5, 0, 0.5], "method.patch": 4}
    spec = Spec(
        data=DataPart(method="heart-gan", sets=sets),
        generators={name: Generator(method="heart-gan")},
        arms={"real": Arm(), "both": Arm(synthetic=1, by=name)},
    )
    place = Place(spec, tmp_path / "raw", tmp_path / "out")
    place.store()
    told = []
    # The generator has no finished run, so that nothing can be synthesized.
    (judged,), problems = judge_generators(place, (0,), Judging(), told.append)
    assert (judged["evaluate"], judged["audit"]) == (False, False)
    assert problems == told
    assert problems[0].startswith(f"{name}, seed 0, synthesize: ")
    assert "holds no finished run" in problems[0]
    done = place.run_of(name, 0).parent / f"{place.run_of(name, 0).name}.json"
    write_json(done, spec.generators[name].model_dump(mode="json"))
    assert place.is_trained(name, 0)
    _, problems = judge_generators(place, (0,), Judging(), told.append)
    assert "holds no finished run" not in problems[0]  # but nothing that was trained, either

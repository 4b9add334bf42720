import pytest
from pydantic import model_validator

from scansmith.scan import SettingsError
from scansmith.settings import (
    Section,
    Settings,
    TrainSettings,
    commented_yaml,
    load_settings,
    number,
)


class Painter(Section):
    weight: float = number(100.0, "weight of L1", "paper, Table 2", ge=0)
    widths: tuple[float, ...] = number((0.5, 1.0), "two\nwidths")
    head: str = number("tanh", "last layer: tanh or linear")


class Painting(Settings):
    method: Painter = Painter()


def mistakes(**given):
    with pytest.raises(SettingsError) as caught:
        load_settings(Painting, **given)
    return str(caught.value).splitlines()


def written(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_later_sources_win_preset_then_file_then_words(tmp_path):
    settings = load_settings(
        Painting,
        preset={"train.steps": 10, "train.batch": 2, "method.weight": 5},
        file=written(tmp_path, "train:\n  steps: 20\n  seed: 7\n"),
        sets=["train.seed=8"],
    )
    train = settings.train
    assert (train.steps, train.batch, train.seed, settings.method.weight) == (20, 2, 8, 5.0)


def test_naming_one_setting_of_a_section_leaves_its_others_as_they_are_there():
    class Long(Settings):
        train: TrainSettings = TrainSettings(steps=300_000, sample_at=(1, 5))

    for given in ({"preset": {"train.batch": 2}}, {"sets": ["train.batch=2"]}):
        train = load_settings(Long, **given).train
        assert (train.steps, train.batch, train.sample_at) == (300_000, 2, (1, 5))


def test_all_mistakes_are_listed_at_once_with_the_nearest_name(tmp_path):
    found = mistakes(
        file=written(tmp_path, "train:\n  stepps: 3\nmethod: {weight: heavy}\n"),
        sets=["train.batch=0", "nonsense", "data.sise=64", "weight=3", "train.precision=fp8"],
    )
    assert "train.stepps: no such setting. Did you mean train.steps?" in found
    assert "data.sise: no such setting. Did you mean data.size?" in found
    assert "weight: no such setting. Did you mean method.weight?" in found
    assert "--set nonsense: expected name=value. For example --set train.steps=100." in found
    assert any(line.startswith("train.batch: found 0.") for line in found)
    assert any(line.startswith("method.weight: found 'heavy'.") for line in found)
    assert any(line.startswith("train.precision: found 'fp8'.") for line in found)
    assert len(found) == 7


def test_a_name_below_a_setting_is_a_mistake_and_not_lost():
    found = mistakes(preset={"train.steps": 10}, sets=["train.steps.first=3"])
    assert found == ["train.steps.first: no such setting. Did you mean train.steps?"]


def test_a_misspelt_section_is_answered_with_the_section():
    assert mistakes(sets=["zzz=3"])[0].startswith("zzz: no such setting. There are data, ")
    assert mistakes(sets=["methods=3"]) == ["methods: no such setting. Did you mean method?"]


def test_a_section_given_a_number_is_one_mistake():
    found = mistakes(sets=["train=5", "train.steps=3"])
    assert found == ["train: found 5, expected its settings. Name one, for example train.steps."]


def test_lists_are_written_with_commas_or_brackets_or_alone():
    def size(text):
        return load_settings(Painting, sets=[f"data.size={text}"]).data.size

    assert size("96,64") == size("[96, 64]") == (96, 64)
    assert size("48") == (48,)
    settings = load_settings(Painting, sets=["data.modality=t1, flair", "method.widths=1e-4,2"])
    assert settings.data.modality == ("t1", "flair")
    assert settings.method.widths == (0.0001, 2.0)


def test_scientific_notation_without_a_point_is_a_number():
    assert load_settings(Painting, sets=["method.weight=1e-4"]).method.weight == 0.0001


@pytest.mark.parametrize("value", [".nan", ".inf", "nan"])
def test_what_is_not_finite_is_refused(value):
    found = mistakes(sets=[f"method.weight={value}"])
    assert len(found) == 1
    assert found[0].startswith("method.weight: found")


def test_a_value_may_hold_an_equals_sign():
    assert load_settings(Painting, sets=["method.head=a=b"]).method.head == "a=b"


def test_the_printed_file_gives_the_same_settings_back(tmp_path):
    settings = load_settings(
        Painting, sets=["train.steps=3", "data.modality=t1", "method.weight=1e-6"]
    )
    text = commented_yaml(settings)
    assert load_settings(Painting, file=written(tmp_path, text)) == settings
    plain = commented_yaml(Settings())
    assert load_settings(Settings, file=written(tmp_path, plain)) == Settings()


def test_every_printed_line_says_its_meaning_and_source():
    lines = commented_yaml(Painting()).splitlines()
    assert "  weight: 100.0  # weight of L1 [paper, Table 2]" in lines
    assert "  widths: [0.5, 1.0]  # two widths [our choice]" in lines
    assert all("  # " in line for line in lines if line.startswith(" "))


def test_a_section_can_be_set_as_a_whole_and_keeps_what_is_not_named():
    settings = load_settings(Painting, sets=["train.augment={moved: 0.5, flips: [1]}"])
    assert settings.train.augment.moved == 0.5
    assert settings.train.augment.flips == (1,)
    assert settings.train.augment.gain == 0  # as in training, not as for segmenters


def test_dotted_names_and_empty_sections_are_understood_in_a_file(tmp_path):
    file = written(tmp_path, "train.steps: 4\ntrain:\nmethod: {}\n")
    assert load_settings(Painting, file=file).train.steps == 4


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("train: {steps: 1, steps: 2}", "given twice"),
        ("a: &a [1]\nb: [*a, *a]", "alias"),
        ("train: [1, 2", "YAML"),
        ("- train", "found a list, expected lines of NAME: VALUE"),
        ("!!python/object/apply:os.getcwd []", "YAML"),
        ("[" * 5000, "YAML"),
        ("train: {seed: 2026-99-99}", "YAML"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path, text, word):
    found = "\n".join(mistakes(file=written(tmp_path, text)))
    assert "config.yaml: " in found
    assert word in found


def test_a_file_that_is_absent_or_not_text_is_a_clear_error(tmp_path):
    assert "cannot be read" in mistakes(file=tmp_path / "none.yaml")[0]
    assert "cannot be read" in mistakes(file=tmp_path)[0]
    path = tmp_path / "bytes.yaml"
    path.write_bytes(b"train: \xff\xfe")
    assert "bytes.yaml" in mistakes(file=path)[0]


def test_a_rule_about_several_settings_reads_like_any_other_mistake():
    class Ruled(Painter):
        @model_validator(mode="after")
        def _widths_are_two(self):
            if len(self.widths) != 2:
                raise ValueError("widths: expected two")
            return self

    class Rules(Settings):
        method: Ruled = Ruled()

    with pytest.raises(SettingsError, match=r"^method: widths: expected two\.$"):
        load_settings(Rules, sets=["method.widths=1"])

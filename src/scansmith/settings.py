"""Settings: one pydantic tree for YAML files, `--set a.b=c` and Python, all mistakes at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from scansmith.scan import SettingsError


class Section(BaseModel):
    """A group of settings; unknown names and wrong types are mistakes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )


def number(default: Any, what: str, source: str = "our choice", **limits: Any) -> Any:
    """A setting with its meaning (units included) and where its default comes from."""
    return Field(default, description=what, json_schema_extra={"source": source}, **limits)


class DataSettings(Section):
    """How scans become samples. A method overrides the defaults with its paper's."""

    size: tuple[int, ...] = number((256, 256), "pixels of a sample: H, W or D, H, W")
    modality: tuple[str, ...] = number((), "modalities to take; empty: all there are")
    seed: int = number(0, "seed of the split by patient", ge=0)
    split: tuple[float, float, float] = number(
        (0.8, 0.0, 0.2), "shares of patients for training, validation, test"
    )
    patients: int = number(
        0, "learn from so many training patients alone; 0: all. The others are not used", ge=0
    )


class Augmentation(Section):
    """How much is changed. Each sample draws its own numbers, evenly from +- the limit."""

    moved: float = number(0.8, "share of samples that are moved and bent", ge=0, le=1)
    flips: tuple[int, ...] = number(
        (), "axes of (D,) H, W, from 0, mirrored by chance; not W where labels name a side"
    )
    degrees: float = number(15.0, "rotation in each plane", ge=0)
    scale: float = number(0.15, "share by which the size differs", ge=0, lt=1)
    shift: float = number(0.05, "share of the image's size", ge=0, lt=1)
    bend: float = number(0.04, "sd of the elastic field's nodes, share of half the size", ge=0)
    nodes: int = number(5, "nodes of the elastic field along each axis", gt=1)
    gain: float = number(0.25, "share by which the contrast differs", ge=0, lt=1)
    offset: float = number(0.25, "brightness, in sd of the image", ge=0)
    noise: float = number(0.1, "largest sd of the noise, in sd of the image", ge=0)


class TrainSettings(Section):
    """The loop's settings, the same for every method."""

    steps: int = number(1000, "training steps", gt=0)
    batch: int = number(1, "samples in a step", gt=0)
    seed: int = number(0, "seed of everything random in training", ge=0)
    device: str = number("auto", "cpu, cuda, cuda:1, ...; auto: cuda when there is one")
    precision: Literal["fp32", "bf16"] = number(
        "fp32", "bf16: autocast; slow on CPUs that lack its instructions"
    )
    threads: int = number(0, "CPU threads; 0 leaves PyTorch's choice", ge=0)
    clip_norm: float = number(0.0, "largest gradient norm of a player; 0: no clipping", ge=0)
    ema: float = number(0.0, "decay of averaged generator weights; 0: none", ge=0, lt=1)
    augment: Augmentation = number(
        Augmentation(moved=0, gain=0, offset=0, noise=0), "what is learned from, changed by chance"
    )
    checkpoint_every: int = number(500, "steps between checkpoints", gt=0)
    keep: int = number(2, "checkpoints kept beside the best", gt=0)
    log_every: int = number(10, "steps between rows of log.jsonl", gt=0)
    validate_every: int = number(0, "steps between validations; 0: at checkpoints", ge=0)
    sample_at: tuple[int, ...] = number(
        (1, 10, 100, 1000, 10000, 100000), "steps at which sample grids are saved"
    )
    sample_every: int = number(0, "further sample grids every so many steps; 0: none", ge=0)


class Settings(Section):
    """Everything a run is made from. Methods narrow the three sections."""

    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()
    method: Section = Section()


S = TypeVar("S", bound=BaseModel)


def load_settings(
    model: type[S],
    *,
    preset: Mapping[str, Any] | None = None,
    file: Path | str | None = None,
    sets: Iterable[str] = (),
) -> S:
    """Defaults, then preset, then YAML file, then `--set` words; later ones win.

    Args:
        preset: dotted names -> values.
        file: YAML with the sections as nested mappings; dotted names are understood too.
        sets: "a.b=c" each; c is read as YAML, "a,b" as a list where a list is wanted.
    Raises:
        SettingsError: every mistake found, each with the nearest right name.
    """
    known = dict(walk(model))
    sections = set(_sections(model))
    mistakes: list[str] = []
    tree: dict[str, Any] = {}
    read = {} if file is None else read_yaml(Path(file))
    for name, value in _nested_defaults(model):
        _put(tree, name, value)
    asked = [*(preset or {}).items(), *read.items(), *_words(sets, known, mistakes)]
    for name, value in leaves(asked):
        if name in known:
            _put(tree, name, value)
        elif name not in sections:
            mistakes.append(f"{name}: no such setting. {_nearest(name, known)}")
        elif value not in (None, {}):
            mistakes.append(
                f"{name}: found {value!r}, expected its settings. {_inside(name, known)}"
            )
    try:
        settings = model.model_validate(tree)
    except ValidationError as error:
        mistakes += [_in_words(fault) for fault in error.errors()]
    if mistakes:
        raise SettingsError("\n".join(dict.fromkeys(mistakes)))
    return settings


def read_model(model: type[S], path: Path) -> S:
    """A model that has tables of named parts, which `load_settings` has not, from a YAML file.

    Raises:
        SettingsError: with every mistake, each under its name in the file.
    """
    return check_model(model, read_yaml(path), where=f"{path}: ")


def check_model(model: type[S], content: Any, where: str = "") -> S:
    """The same from what was read, or put together; `where` begins each line."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        mistakes = [f"{where}{_in_words(fault)}" for fault in error.errors()]
        raise SettingsError("\n".join(dict.fromkeys(mistakes))) from error


def walk(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting of a model as (dotted name, field), in the order of the file."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from walk(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _nested_defaults(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """What sections inside a model have by default there, which may not be what their class has.

    Without these, naming one setting of a section would set its others to the class' defaults.
    """
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from leaves({name: field.default.model_dump()})


def _sections(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield f"{prefix}{name}"
            yield from _sections(kind, f"{prefix}{name}.")


def commented_yaml(settings: BaseModel) -> str:
    """The settings as YAML in which every line says what it is and where its default is from."""
    return "\n".join(_commented(settings, "")) + "\n"


def _commented(part: BaseModel, indent: str) -> Iterator[str]:
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        extra = field.json_schema_extra
        source = extra.get("source", "our choice") if isinstance(extra, dict) else "our choice"
        meaning = " ".join(f"{field.description or name} [{source}]".split())
        if isinstance(value, BaseModel):
            head = f"{indent}{name}:" + ("" if type(value).model_fields else " {}")
            yield f"{head}  # {meaning}" if field.description else head
            yield from _commented(value, indent + "  ")
            continue
        plain = part.model_dump(mode="json", include={name})[name]
        text = yaml.safe_dump(plain, default_flow_style=True, width=10_000).strip()
        text = text.removesuffix("...").strip()
        yield f"{indent}{name}: {text}  # {meaning}"


class _Loader(yaml.SafeLoader):
    """YAML without its traps: a name given twice, and aliases, which can unfold without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name); write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise yaml.YAMLError(f"{', '.join(sorted(twice))} given twice")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[Any, Any]:
    """What a YAML file holds. Raises SettingsError if it cannot be read or is no mapping."""
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}). Check the path."
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(
            f"{path}: not YAML that can be used: {error}. Correct the file."
        ) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError(
            f"{path}: found a {type(tree).__name__}, expected lines of NAME: VALUE. Correct the "
            "file."
        )
    return tree


def _words(
    sets: Iterable[str], known: Mapping[str, FieldInfo], mistakes: list[str]
) -> Iterator[tuple[str, Any]]:
    """The `--set` words as (dotted name, value)."""
    for word in sets:
        name, equals, text = word.partition("=")
        if not equals or not name.strip():
            mistakes.append(
                f"--set {word}: expected name=value. For example --set train.steps=100."
            )
            continue
        name = name.strip()
        value = _value(text)
        if name in known and _is_tuple(known[name]) and not isinstance(value, list):
            value = [_value(part) for part in text.split(",") if part.strip()]
        yield name, value


def _value(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def _put(tree: dict[str, Any], name: str, value: Any) -> None:
    *sections, last = name.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[last] = value


def leaves(
    tree: Mapping[Any, Any] | Iterable[tuple[Any, Any]], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """{"a": {"b": 1}} as ("a.b", 1), the dotted names of presets."""
    for name, value in tree.items() if isinstance(tree, Mapping) else tree:
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_tuple(field: FieldInfo) -> bool:
    return str(field.annotation).startswith(("tuple", "typing.Tuple"))


def _in_words(fault: Any) -> str:
    name = ".".join(str(part) for part in fault["loc"])
    what = str(fault["msg"]).removeprefix("Value error, ").rstrip(".")
    found = fault.get("input")
    if isinstance(found, BaseModel | Mapping):  # a rule about several settings at once
        return f"{name or 'settings'}: {what}."
    return f"{name}: found {found!r}. {what}."


def _inside(section: str, known: Iterable[str]) -> str:
    names = [name for name in known if name.startswith(section + ".")]
    return f"Name one, for example {names[0]}." if names else "It has no settings."


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    sections = sorted({n.split(".", 1)[0] for n in names})
    if "." not in name and (section := difflib.get_close_matches(name, sections, n=1, cutoff=0.8)):
        return f"Did you mean {section[0]}?"
    last = {n.rsplit(".", 1)[-1]: n for n in reversed(names)}
    close = [last[word] for word in (name, name.rsplit(".", 1)[-1]) if word in last]
    close = close or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    close = close or [
        last[word]
        for word in difflib.get_close_matches(name.rsplit(".", 1)[-1], last, n=1, cutoff=0.6)
    ]
    return f"Did you mean {close[0]}?" if close else f"There are {', '.join(sections)}."

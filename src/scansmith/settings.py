"""Settings: one pydantic tree for YAML files, `--set a.b=c` and Python, all mistakes at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from scansmith.scan import SettingsError


class Section(BaseModel):
    """A group of settings; unknown names and wrong types are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


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


class TrainSettings(Section):
    """The loop's settings, the same for every method."""

    steps: int = number(1000, "training steps", gt=0)
    batch: int = number(1, "samples in a step", gt=0)
    seed: int = number(0, "seed of everything random in training", ge=0)
    device: str = number("auto", "cpu, cuda, cuda:1, ...; auto: cuda when there is one")
    precision: Literal["fp32", "bf16"] = number("fp32", "bf16 runs the networks in autocast")
    threads: int = number(0, "CPU threads; 0 leaves PyTorch's choice", ge=0)
    clip_norm: float = number(0.0, "largest gradient norm of a player; 0: no clipping", ge=0)
    ema: float = number(0.0, "decay of averaged generator weights; 0: none", ge=0, lt=1)
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
        file: YAML with the sections as nested mappings.
        sets: "a.b=c" each; c is read as YAML.
    Raises:
        SettingsError: every mistake found, each with the nearest right name.
    """
    mistakes: list[str] = []
    tree: dict[str, Any] = {}
    for name, value in (preset or {}).items():
        _put(tree, name, value)
    if file is not None:
        _merge(tree, _read_yaml(Path(file)))
    known = dict(walk(model))
    for word in sets:
        name, equals, text = word.partition("=")
        if not equals or not name:
            mistakes.append(
                f"--set {word}: expected name=value. For example --set train.steps=100."
            )
            continue
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        if name in known and isinstance(value, str | int | float) and _is_tuple(known[name]):
            value = _listed(text)
        _put(tree, name, value)
    for name in _leaves(tree):
        if name not in known and not any(k.startswith(name + ".") for k in known):
            mistakes.append(f"{name}: no such setting. {_nearest(name, known)}")
            _drop(tree, name)
    try:
        settings = model.model_validate(tree)
    except ValidationError as error:
        for fault in error.errors():
            name = ".".join(str(part) for part in fault["loc"])
            found = fault.get("input")
            mistakes.append(f"{name}: found {found!r}. {fault['msg']}.")
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return settings


def walk(model: type[BaseModel], prefix: str = "") -> Iterable[tuple[str, FieldInfo]]:
    """Every setting of a model as (dotted name, field), sections first."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from walk(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def commented_yaml(settings: BaseModel) -> str:
    """The settings as YAML in which every line says what it is and where its default is from."""
    lines: list[str] = []

    def write(part: BaseModel, indent: str) -> None:
        for name, field in type(part).model_fields.items():
            value = getattr(part, name)
            if isinstance(value, BaseModel):
                lines.append(f"{indent}{name}:")
                write(value, indent + "  ")
                continue
            extra = field.json_schema_extra
            source = extra.get("source", "") if isinstance(extra, dict) else ""
            plain = part.model_dump(mode="json", include={name})[name]
            text = yaml.safe_dump(plain, default_flow_style=True, width=10_000).strip()
            text = text.removesuffix("...").strip()
            lines.append(f"{indent}{name}: {text}  # {field.description} [{source}]")

    write(settings, "")
    return "\n".join(lines) + "\n"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}). Check the path."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid YAML ({error}). Correct the file.") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError(
            f"{path}: found a {type(tree).__name__}, expected sections. "
            "Start from the output of --print-config."
        )
    return tree


def _put(tree: dict[str, Any], name: str, value: Any) -> None:
    *sections, last = name.split(".")
    for section in sections:
        below = tree.get(section)
        tree = tree.setdefault(section, {}) if isinstance(below, dict | None) else {}
    tree[last] = value


def _merge(tree: dict[str, Any], other: Mapping[str, Any]) -> None:
    for name, value in other.items():
        if isinstance(value, dict) and isinstance(tree.get(name), dict):
            _merge(tree[name], value)
        else:
            tree[name] = value


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            names += _leaves(value, f"{prefix}{name}.")
        else:
            names.append(f"{prefix}{name}")
    return names


def _drop(tree: dict[str, Any], name: str) -> None:
    *sections, last = name.split(".")
    for section in sections:
        tree = tree[section]
    tree.pop(last, None)


def _is_tuple(field: FieldInfo) -> bool:
    return str(field.annotation).startswith("tuple")


def _listed(text: str) -> list[Any]:
    """ "128,128" and "128" are lists where a list is wanted."""
    return [yaml.safe_load(part) for part in text.split(",") if part.strip()]


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if not close:
        last = name.rsplit(".", 1)[-1]
        close = [n for n in names if n.rsplit(".", 1)[-1] == last][:1]
    return f"Did you mean {close[0]}?" if close else "See --print-config for all settings."

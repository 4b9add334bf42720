"""Label tables: values, names, and several values for one structure."""

from __future__ import annotations

import numpy as np
import pytest

from scansmith.labels.table import KNOWN, LabelTable
from scansmith.scan import DataError


def test_indices_are_the_ranks_of_the_values() -> None:
    table = LabelTable({4: "ET", 1: "NCR", 2: "edema"})
    assert table.values == (0, 1, 2, 4)
    assert table.structures == ("background", "necrosis", "oedema", "enhancing")
    assert table.encode(np.array([[4, 0], [2, 1]])).tolist() == [[3, 0], [2, 1]]
    assert table.decode(np.array([[3, 0], [2, 1]])).tolist() == [[4, 0], [2, 1]]


def test_a_value_that_is_not_in_the_table_is_told() -> None:
    with pytest.raises(DataError, match="unknown value 3, 9, expected 0, 1, 2, 4"):
        KNOWN["brats"].encode(np.array([1, 3, 9, 2]))


def test_wide_codes_need_more_than_a_byte() -> None:
    table = KNOWN["mmwhs"]
    assert table.decode(table.encode(np.array([820, 205, 0]))).tolist() == [820, 205, 0]
    assert table.decode(np.array([1])).dtype == np.int16


def test_more_structures_than_a_byte_counts_are_refused() -> None:
    most = {value: f"label {value}" for value in range(1, 256)}
    table = LabelTable(most)
    assert table.encode(np.array([0, 255])).tolist() == [0, 255]
    assert LabelTable(most | {256: "label 255"}).encode(np.array([256])).tolist() == [255]
    with pytest.raises(DataError, match="found 256 structures, expected at most 255"):
        LabelTable(most | {256: "label 256"})


def test_a_structure_is_found_under_its_synonyms() -> None:
    table = LabelTable({1: "Liver", 2: "liver_tumor"})
    assert table.index("tumour") == table.index("cancer") == table.index("liver tumor") == 2
    with pytest.raises(DataError, match="no structure 'spleen' among background, liver, tumour"):
        table.index("spleen")


def test_two_values_under_one_name_are_one_structure() -> None:
    table = LabelTable(KNOWN["mmwhs"].names | {421: "left atrium", 255: "background"})
    assert table.values == KNOWN["mmwhs"].values
    assert table.aliases == {255: 0, 421: 420}
    assert table.known == {*table.values, 255, 421}
    encoded = table.encode(np.array([420, 421, 255]))
    assert table.decode(encoded).tolist() == [420, 420, 0]
    kept = table.keep(("left atrium",))
    assert (kept.values, kept.known) == ((0, 420), {0, 420, 421})


def test_two_names_with_one_synonym_stay_two_structures() -> None:
    table = LabelTable({1: "lesion", 2: "tumour", 3: "myo"})
    assert table.structures == ("background", "lesion", "tumour", "myocardium")
    assert (table.index("lesion"), table.index("tumour")) == (1, 2)
    assert table.named_as(("myo",)) == ("background", "lesion", "tumour", "myo")
    assert table.named_as(()) == table.structures


def test_a_table_made_from_its_own_names_is_the_same() -> None:
    for table in (*KNOWN.values(), LabelTable({1: "lesion", 2: "tumour"})):
        assert LabelTable(table.names) == table


def test_keeping_some_structures_keeps_their_values() -> None:
    assert KNOWN["brats"].keep(("edema",)).names == {0: "background", 2: "oedema"}
    assert KNOWN["brats"].keep(()) == KNOWN["brats"]


def test_colours_differ_and_the_background_is_black() -> None:
    colours = KNOWN["mmwhs"].colours
    assert colours.shape == (8, 3)
    assert colours[0].tolist() == [0, 0, 0]
    assert len({tuple(colour) for colour in colours.round(2).tolist()}) == 8

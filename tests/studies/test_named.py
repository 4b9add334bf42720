from pathlib import Path

import pytest

from scansmith.scan import SettingsError
from scansmith.studies.named import named_folders


def test_a_name_has_its_folders_in_order():
    found = named_folders(["preset cpu=a,b", "other=c"])
    assert found == {"preset cpu": [Path("a"), Path("b")], "other": [Path("c")]}


@pytest.mark.parametrize("words", [["a"], ["=b"], ["a="], ["a=b", "a=c"]])
def test_a_word_without_name_or_folder_or_a_name_twice_is_refused(words):
    with pytest.raises(SettingsError, match="expected NAME=FOLDER"):
        named_folders(words)

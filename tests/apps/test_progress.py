import io

from rich.console import Console

from scansmith.apps.progress import lines, shown


def written(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with shown("prepare", console) as progress:
        progress(1, 3, "case [7]")
        progress(3, 3)
    return console.file.getvalue()


def test_a_log_file_gets_few_plain_lines_and_always_the_last():
    assert written(False).startswith("prepare: 3/3 (")
    assert written(False).count("\n") == 1


def test_a_terminal_gets_a_bar():
    text = written(True)
    assert "prepare" in text
    assert "3/3" in text


def test_brackets_in_names_are_text_and_not_markup():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with shown("check", console) as progress:
        progress(1, 1, "case [bold]7[/bold] [/]")
    assert "[/]" in console.file.getvalue()


def test_pieces_at_once_get_lines_on_a_terminal_too_so_often_as_is_asked():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with lines("gan, seed 0", console, every_s=0) as progress:
        progress(1, 3)
        progress(2, 3, "loss [0.5]")
    with lines("gan, seed 1", console) as progress:
        progress(1, 3)  # before a line is due
    found = console.file.getvalue().splitlines()
    assert found == ["gan, seed 0: 1/3 (0 s)", "gan, seed 0: 2/3, loss [0.5] (0 s)"]

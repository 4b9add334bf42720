import io

from rich.console import Console

from scansmith.apps.progress import shown


def lines(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with shown("prepare", console) as progress:
        progress(1, 3, "case [7]")
        progress(3, 3)
    return console.file.getvalue()


def test_a_log_file_gets_few_plain_lines_and_always_the_last():
    assert lines(False).startswith("prepare: 3/3 (")
    assert lines(False).count("\n") == 1


def test_a_terminal_gets_a_bar():
    text = lines(True)
    assert "prepare" in text
    assert "3/3" in text


def test_brackets_in_names_are_text_and_not_markup():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with shown("check", console) as progress:
        progress(1, 1, "case [bold]7[/bold] [/]")
    assert "[/]" in console.file.getvalue()

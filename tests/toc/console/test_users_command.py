"""`toc users` and the first account of `toc init`.

Invariants: there is no default password; a password is printed only where it was made here, once; nothing but a hash reaches
the disk; the API key stays the last line of `toc init`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from toc import cli
from toc.errors import TocError

PASSWORD = "a long enough pass phrase"


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str, given: str = "") -> Done:
    """The command in this process, which is quicker; `toc.cli.main` makes one line and exit code 1 of our errors."""
    result = CliRunner().invoke(cli.app, arguments, input=given)
    if isinstance(result.exception, TocError):
        return Done(1, result.stdout, str(result.exception))
    return Done(result.exit_code, result.stdout, result.stderr)


def init(folder: Path, *more: str, given: str = "") -> Done:
    return run("init", str(folder / "toc"), "--public-url", "https://click.example.com", *more, given=given)


def on_disk(folder: Path, text: str) -> bool:
    return any(text.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_first_password_is_made_and_shown_once(tmp_path: Path) -> None:
    made = init(tmp_path)
    assert made.returncode == 0
    lines = made.stdout.splitlines()
    password = lines[lines.index("Password of admin, shown only now:") + 1]
    assert len(password) == 24
    assert lines[-1].startswith("toc_")
    assert not on_disk(tmp_path, password)


def test_a_given_first_password_is_not_shown(tmp_path: Path) -> None:
    made = init(tmp_path, "--user", "Ops", "--password-stdin", given=PASSWORD + "\n")
    assert made.returncode == 0
    assert PASSWORD not in made.stdout
    assert "'ops'" in made.stdout
    assert not on_disk(tmp_path, PASSWORD)


def test_a_weak_first_password_leaves_nothing_behind(tmp_path: Path) -> None:
    made = init(tmp_path, "--password-stdin", given="password\n")
    assert (made.returncode, made.stdout) == (1, "")
    assert "8 characters" in made.stderr
    assert not (tmp_path / "toc").exists()


def test_the_life_of_an_account(tmp_path: Path) -> None:
    init(tmp_path)
    config = ("--config", str(tmp_path / "toc" / "toc.toml"))
    steps = [
        (("add", "bob", "--role", "analyst", "--password-stdin"), PASSWORD, 0, "bob is analyst now"),
        (("add", "bob", "--password-stdin"), PASSWORD, 1, "already"),
        (("add", "b b", "--password-stdin"), PASSWORD, 1, "no name"),
        (("add", "eve", "--role", "king", "--password-stdin"), PASSWORD, 1, "none of viewer, analyst, admin"),
        (("passwd", "bob", "--password-stdin"), "short", 1, "at least 12"),
        (("passwd", "bob", "--password-stdin"), PASSWORD + "2", 0, "signed out everywhere"),
        (("passwd", "nobody", "--password-stdin"), PASSWORD, 1, "no account"),
        (("disable", "admin"), "", 1, "last admin"),
        (("role", "bob", "admin"), "", 0, "bob is admin now"),
        (("disable", "admin"), "", 0, "admin is disabled"),
        (("role", "bob", "viewer"), "", 1, "last admin"),
        (("disable", "admin", "--undo"), "", 0, "may sign in again"),
    ]
    for arguments, given, code, words in steps:
        done = run("users", *arguments, *config, given=given)
        assert done.returncode == code, (arguments, done.stderr)
        assert words in (done.stdout + done.stderr), arguments
        assert given.strip() not in done.stdout or not given
    listed = run("users", "list", *config).stdout
    assert "bob" in listed
    assert "argon2" not in listed

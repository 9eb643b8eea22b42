"""The command line. Puts the commands together and turns every error into one clear line and an exit code.

0 fine, 1 refused with one line, 2 usage; ``rewrite`` and ``restore`` as a filter: 75 (EX_TEMPFAIL) in place of 1.
"""

from __future__ import annotations

import os
import sys
from typing import cast

import typer

from toc.commands import (
    access,
    demo,
    doctor,
    keys,
    lists,
    mail,
    milter,
    objects,
    policy,
    record,
    retention,
    service,
    users,
)
from toc.errors import TocError

app = typer.Typer(
    name="toc",
    help="Time-of-Click: signed links in mails, judged at the click.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for module in (service, mail, milter, keys, access, users, objects, lists, policy, record, retention, doctor, demo):
    module.register(app)


REFUSED = cast(type[typer.BadParameter], typer.BadParameter.__mro__[2])
"""click's ClickException, the base of all usage errors: newer versions of typer carry a click of their own."""


OTHERS = 0o027
"""Rights that no file of ours gives: the database says who clicked what. As in deploy/systemd."""


def main() -> None:
    """Entry of the command ``toc``."""
    os.umask(os.umask(OTHERS) | OTHERS)
    try:
        code = app(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except REFUSED as error:
        error.show()
        sys.exit(2)
    except typer.Abort:
        sys.exit(1)
    except TocError as error:
        print(f"toc: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    main()

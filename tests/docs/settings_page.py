"""docs/settings.md as `toc.config` says it: every section, setting, default and meaning."""

from __future__ import annotations

import typing

import msgspec

from toc.config import Config, PolicySettings, Section

HEAD = """# Settings

One TOML file (`--config FILE`, `TOC_CONFIG`, or `toc.toml` in the current folder). Paths in it are relative to it. Each setting
can also be given in the environment as `TOC_SECTION__KEY`, which wins over the file; lists and tables are written as in TOML.
An unknown name is an error. Policy rules and profiles: [policy.md](policy.md).

This page is written from the code by `scripts/docs`.
"""


def page() -> str:
    lines = [HEAD]
    for item in msgspec.structs.fields(Config):
        kind = _inner(item.type)
        if kind is not None and kind is not PolicySettings:
            lines += _section(item.name, kind, typing.get_origin(item.type) is tuple)
    return "\n".join(lines)


def _section(name: str, kind: type[Section], many: bool = False) -> list[str]:
    lines = [
        f"\n## `{'[[' if many else '['}{name}{']]' if many else ']'}`\n",
        "| setting | default | meaning |",
        "|---|---|---|",
    ]
    nested = []
    for item in msgspec.structs.fields(kind):
        inner = _inner(item.type)
        if inner is not None:
            nested += _section(f"{name}.{item.name}", inner, typing.get_origin(item.type) is tuple)
            continue
        default = "required" if item.default is msgspec.NODEFAULT else f"`{_shown(item.default)}`"
        lines.append(f"| `{item.name}` | {default} | {_meaning(item.type)} |")
    return [*lines, *nested] if len(lines) > 3 else nested


def _inner(kind: object) -> type[Section] | None:
    found = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else kind
    return found if isinstance(found, type) and issubclass(found, Section) else None


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value == ():
        return "[]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _meaning(kind: object) -> str:
    found = ""
    choices = ""
    if typing.get_origin(kind) is typing.Annotated:
        base, *metas = typing.get_args(kind)
        found = next((meta.description for meta in metas if isinstance(meta, msgspec.Meta) and meta.description), "")
        kind = base
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is typing.Literal:
        choices = " · ".join(f"`{word}`" for word in typing.get_args(kind))
    return " ".join(filter(None, (found.replace("|", "\\|"), f"({choices})" if choices else "")))

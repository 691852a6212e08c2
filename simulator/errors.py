"""What a user can get wrong, told in one line that says what to do next."""

from __future__ import annotations

from collections.abc import Iterable


class InputError(ValueError):
    """A mistake in what the user gave: a name, a number, a file. The message is one clear line."""


class UnknownNameError(InputError):
    """A name that does not exist."""


def unknown(kind: str, given: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that does not exist: the nearest known names, or else what names there are."""
    from difflib import get_close_matches  # only when something went wrong

    names = sorted(set(known))
    by_lower = {name.lower(): name for name in names}
    near = get_close_matches(str(given).lower(), by_lower, n=3, cutoff=0.6)
    if near:
        best = " or ".join(repr(by_lower[name]) for name in near[:2])
        return UnknownNameError(f"unknown {kind} {given!r}; did you mean {best}?")
    listed = ""
    for index, name in enumerate(names):
        if len(listed) + len(name) > 160:
            listed += f", ... ({len(names) - index} more)"
            break
        listed += f", {name}" if listed else name
    return UnknownNameError(f"unknown {kind} {given!r}; known: {listed or 'none'}")


def one_line(error: BaseException) -> str:
    """An exception of somebody else's code in a line: its kind, and the first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" ^")]
    return f"{type(error).__name__}: {lines[0]}"[:300] if lines else type(error).__name__

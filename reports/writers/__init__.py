"""Documents as files: one file a format here, named as users type it, with `write(document, album)`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ...simulator.errors import InputError, unknown
from ..document import Document, Picture, pictures
from ..pictures import PICTURE_FORMATS, encode, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOSE_PICTURES = tuple(form for form in PICTURE_FORMATS if form != "pdf")
"""Picture formats that may be asked for beside documents; pdf is a document's."""


class Album:
    """A document's pictures, each drawn once and encoded once a format."""

    def __init__(self) -> None:
        self._figures: dict[str, Figure] = {}
        self._encoded: dict[tuple[str, str], bytes] = {}

    def encoded(self, picture: Picture, form: str) -> bytes:
        """The picture's bytes as svg, png or pdf."""
        if (picture.stem, form) not in self._encoded:
            with style():
                if picture.stem not in self._figures:
                    self._figures[picture.stem] = picture.draw()
                self._encoded[picture.stem, form] = encode(self._figures[picture.stem], form)
        return self._encoded[picture.stem, form]


def formats() -> list[str]:
    """All that may be asked for: documents, then pictures alone."""
    return [*sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_")), *LOOSE_PICTURES]


def check(forms: Iterable[str]) -> list[str]:
    """The formats, each once. Raises InputError for an unknown one, or for none."""
    asked = list(dict.fromkeys(form.strip().lower() for form in forms if form.strip()))
    for form in asked:
        if form not in formats():
            raise unknown("format", form, formats())
    if not asked:
        raise InputError(f"no format is given; allowed: {', '.join(formats())}")
    return asked


def write(document: Document, forms: Iterable[str]) -> dict[str, bytes]:
    """Files by name. The same document gives the same bytes. Raises InputError for an unknown format, or where a
    library that it needs is missing."""
    album = Album()
    files: dict[str, bytes] = {}
    for form in check(forms):
        if form in LOOSE_PICTURES:
            files |= {f"{picture.stem}.{form}": album.encoded(picture, form) for picture in pictures(document)}
        else:
            files |= importlib.import_module(f"{__name__}.{form}").write(document, album)
    return files


def missing(form: str, error: ImportError) -> InputError:
    """What is said where an optional library is not installed."""
    return InputError(f"format {form} needs {error.name}: pip install 'attnsim[report]'")

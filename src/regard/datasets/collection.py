"""What a folder of radiographs holds: cases, and the reason for each that cannot be used."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from regard.core.errors import FileError, RegardError
from regard.io.guard import parsing

__all__ = ["Box", "Collection", "Gathered", "Radiograph"]


@dataclass(frozen=True)
class Box:
    """A finding's place: corner and size in pixels of the image, x along its columns."""

    x: float
    y: float
    w: float
    h: float
    finding: str = ""


@dataclass(frozen=True)
class Radiograph:
    """One image and what its collection says of it.

    Parameters
    ----------
    case, patient
        Ids; where a collection names no patients, each image is taken for a patient of its own.
    image
        The file.
    label
        1 for the finding that the collection is about (tuberculosis; in NIH any finding), 0 for normal, else None.
    twin
        The same radiograph without its bones, where there is one.
    boxes
        Of findings.
    columns
        ``age``, ``sex``, ``view``, ``findings`` and the like, as text.
    """

    case: str
    patient: str
    image: Path
    label: int | None = None
    twin: Path | None = None
    boxes: tuple[Box, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Collection:
    """What a folder holds.

    Parameters
    ----------
    name
        Of the layout.
    cases
        Those that can be used, by case id.
    failures
        Case id to the reason why it cannot be.
    """

    name: str
    cases: tuple[Radiograph, ...]
    failures: Mapping[str, RegardError]


class Gathered:
    """Cases and failures of one folder while it is read.

    Parameters
    ----------
    name
        Of the layout.
    folder
        The folder.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.cases: dict[str, Radiograph] = {}
        self.failures: dict[str, RegardError] = {}

    def add(self, case: str, make: Callable[[], Radiograph]) -> None:
        """Add what ``make`` gives, or its error."""
        try:
            found = make()
            with parsing(found.image, "PNG, JPEG or TIFF"), Image.open(found.image) as image:
                image.verify()
            if case in self.cases or case in self.failures:
                raise FileError(f"two files of case '{case}'", "one image a case", "take one away")
        except RegardError as error:
            self.failures[case] = error
            self.cases.pop(case, None)
        except (OSError, SyntaxError) as error:
            # Pillow tells of a broken PNG by a SyntaxError.
            self.failures[case] = FileError(f"'{self.folder / case}' cannot be read as an image", "PNG, JPEG or TIFF")
            self.failures[case].__cause__ = error
        else:
            self.cases[case] = found

    def collection(self) -> Collection:
        """All that was added, by case id.

        Raises
        ------
        FileError
            If nothing was.
        """
        if not self.cases and not self.failures:
            raise FileError(f"no radiograph in '{self.folder}'", f"the layout of {self.name}", "check the folder")
        return Collection(
            self.name, tuple(self.cases[c] for c in sorted(self.cases)), dict(sorted(self.failures.items()))
        )

"""Reads collections of videos and pictures as they come: which file is what, and who must stay together.

Each reader knows one folder layout and returns :class:`Medium` rows; nothing is opened. Splits are disjoint by
person and by source video:

* **FaceForensics++** ``AAA_BBB`` is the target AAA with the face of BBB: AAA, BBB and their fakes are one family.
  The official ``train.json``, ``val.json`` and ``test.json`` are obeyed where they lie beside the data.
* **DFD** and **Celeb-DF** swap everybody with everybody, so linking whoever shares a video would make one family of
  all. There each *person* is put on a side, and a fake whose two people are on different sides is left out.
* **DFDC** names the original of each fake but nobody's identity; the parts it comes in are kept whole.

Splits: ``train``, ``calibration`` (thresholds are chosen on it) and ``val`` (figures are reported on it). A reader
that leaves calibration to :func:`detection.training.datasets.read_manifest` gives ``train`` and ``val`` only.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from detection.engine.formats import FORMATS
from detection.training.datasets import in_calibration, linked_groups

EXTENSIONS: Final = frozenset(f".{extension}" for format_ in FORMATS for extension in format_.extensions)

# One family in five is validated on where nothing else decides.
VALIDATION_SHARE: Final = 5

LEFT_OUT: Final = ""  # the split of a medium that belongs to no side


class LayoutError(ValueError):
    """A folder is not laid out as expected; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class Medium:
    """One labelled video or picture.

    ``split`` is ``train``, ``calibration``, ``val``, or ``""`` for one that must be left out because it shows people
    of two sides. ``group`` is what must stay on one side; ``source`` names the medium within its collection.
    """

    path: Path
    label: int  # 0 real, 1 manipulated
    dataset: str
    method: str
    split: str
    group: str
    source: str

    @property
    def origin(self) -> str:
        return f"{self.dataset}-{self.method}"


class Layout(NamedTuple):
    """How a collection is recognised and read. ``expects`` completes "expected ..."."""

    expects: str
    fits: Callable[[Path], bool]
    read: Callable[[Path], list[Medium]]


def read_layout(root: Path, layout: str | None = None) -> list[Medium]:
    """List the media under ``root``, sorted by path.

    Args:
        root: folder of the collection.
        layout: a key of :data:`LAYOUTS`; recognised by its folders when left out.

    Raises:
        LayoutError: the folder does not exist, fits no layout (or not the one named), or holds no media.
    """
    if not root.is_dir():
        raise LayoutError(f"{root} is not a folder")
    if layout is None:
        layout = next((name for name, candidate in LAYOUTS.items() if candidate.fits(root)), None)
        if layout is None:
            raise LayoutError(f"no layout fits {root}; expected one of:\n{_expectations(LAYOUTS)}")
    elif layout not in LAYOUTS:
        raise LayoutError(f"there is no layout {layout!r}; there are:\n{_expectations(LAYOUTS)}")
    elif not LAYOUTS[layout].fits(root):
        raise LayoutError(f"{root} does not fit; expected:\n{_expectations([layout])}")
    media = sorted(LAYOUTS[layout].read(root), key=lambda medium: medium.path)
    if not media:
        raise LayoutError(f"{root} holds no media; expected:\n{_expectations([layout])}")
    return media


def _expectations(names: Collection[str]) -> str:
    return "\n".join(f"  {name}: {LAYOUTS[name].expects}" for name in names)


def _media_under(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in EXTENSIONS and path.is_file())


def _source(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def in_validation(family: str) -> bool:
    """Whether a family is validated on. Independent of :func:`~detection.training.datasets.in_calibration`."""
    # Which byte is arbitrary; the second would give Celeb-DF 3 of its 62 celebrities, this one gives it 14.
    return hashlib.sha256(family.encode()).digest()[5] % VALIDATION_SHARE == 0


def _side(family: str) -> str:
    if in_validation(family):
        return "val"
    return "calibration" if in_calibration(family) else "train"


# --- collections that swap everybody with everybody -----------------------------------------------------------------


def by_people(media: Sequence[tuple[Medium, frozenset[str]]], validated: Collection[str] = ()) -> list[Medium]:
    """Split media by the people in them and give each family of a side one group name.

    Args:
        media: each with the names of the people who lent body or face.
        validated: sources that are ``val`` whoever is in them, as an official test list wants. Nobody in them is
            trained or calibrated on.
    """
    known = {name for medium, people in media if medium.source in validated for name in people}
    split = [replace(medium, split=_side_of(medium, people, validated, known)) for medium, people in media]
    # Only people who are met in media that stay link families: those left out link across sides.
    staying = ["\n".join(sorted(people)) for medium, (_, people) in zip(split, media, strict=True) if medium.split]
    families = linked_groups(staying, separator="\n")
    return [
        replace(medium, group=families.get("\n".join(sorted(people)), medium.group))
        for medium, (_, people) in zip(split, media, strict=True)
    ]


def _side_of(medium: Medium, people: frozenset[str], validated: Collection[str], known: Collection[str]) -> str:
    if validated:
        if medium.source in validated:
            return "val"
        if not people.isdisjoint(known):
            return LEFT_OUT
        sides = {"calibration" if in_calibration(f"{medium.dataset}/{name}") else "train" for name in people}
    else:
        sides = {_side(f"{medium.dataset}/{name}") for name in people}
    return sides.pop() if len(sides) == 1 else LEFT_OUT


# --- FaceForensics++ and DFD ----------------------------------------------------------------------------------------

FFPP_METHODS: Final = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
COMPRESSIONS: Final = ("c0", "raw", "c23", "c40")
_FFPP_SPLITS: Final = {"train": "train", "val": "calibration", "test": "val"}
_PAIR: Final = re.compile(r"(\d{3})(?:_(\d{3}))?$")
_ACTORS: Final = re.compile(r"(\d\d)(?:_(\d\d))?__")


def _is_faceforensics(root: Path) -> bool:
    return (root / "original_sequences").is_dir() or (root / "manipulated_sequences").is_dir()


def _read_faceforensics(root: Path) -> list[Medium]:
    """Both FaceForensics++ and the DFD videos that come in the same tree.

    Older downloads have no ``youtube`` folder between ``original_sequences`` and the compression.
    """
    official = _official_pairs(root)
    pairs, actors = [], []
    for folder, method, label in _sequences(root):
        for path in _media_under(folder):
            if method in ("actors", "DeepFakeDetection"):
                actors.append(_dfd(path, root, label))
            else:
                name = "real" if label == 0 else method.lower()
                medium = Medium(path, label, "ffpp", name, "train", path.stem, _source(path, root))
                pairs.append(replace(medium, group=_family_name(path)))
    families = linked_groups([medium.group for medium in pairs])
    return [replace(m, split=_ffpp_split(m.group, families[m.group], official)) for m in pairs] + by_people(actors)


def _sequences(root: Path) -> Iterator[tuple[Path, str, int]]:
    """Folders of videos, each with the name of what is in them and its label."""
    for compression in COMPRESSIONS:
        for name in ("youtube", "actors"):
            yield root / "original_sequences" / name / compression / "videos", name, 0
        yield root / "original_sequences" / compression / "videos", "youtube", 0
        for name in (*FFPP_METHODS, "DeepFakeDetection"):
            yield root / "manipulated_sequences" / name / compression / "videos", name, 1


def _family_name(path: Path) -> str:
    if _PAIR.match(path.stem) is None:
        raise LayoutError(f"{path} is not named like a FaceForensics++ video (NNN or AAA_BBB)")
    return path.stem


def _official_pairs(root: Path) -> dict[str, str]:
    """Sequence number -> split, from ``{train,val,test}.json`` (lists of pairs) in the root or its ``splits``."""
    found = {}
    for name, split in _FFPP_SPLITS.items():
        for path in (root / f"{name}.json", root / "splits" / f"{name}.json"):
            if path.is_file():
                pairs = json.loads(path.read_text(encoding="utf-8"))
                found.update({str(number): split for pair in pairs for number in pair})
    return found


def _ffpp_split(group: str, family: str, official: dict[str, str]) -> str:
    if not official:
        return "val" if in_validation(f"ffpp/{family}") else "train"
    sides = {official.get(number, LEFT_OUT) for number in group.split("_")}
    return sides.pop() if len(sides) == 1 else LEFT_OUT


def _dfd(path: Path, root: Path, label: int) -> tuple[Medium, frozenset[str]]:
    """``01__scene.mp4`` shows actor 01, ``01_02__scene__CODE.mp4`` actor 01 with the face of 02."""
    found = _ACTORS.match(path.stem)
    if found is None:
        raise LayoutError(f"{path} is not named like a DFD video (NN__scene or NN_NN__scene__CODE)")
    people = frozenset(name for name in found.groups() if name)
    method = "real" if label == 0 else "deepfakedetection"
    return Medium(path, label, "dfd", method, "train", "_".join(sorted(people)), _source(path, root)), people


# --- Celeb-DF -------------------------------------------------------------------------------------------------------

_CELEB_FOLDERS: Final = {"celeb-real": 0, "youtube-real": 0, "celeb-synthesis": 1}
_TEST_LIST: Final = "List_of_testing_videos.txt"
_CELEBRITIES: Final = re.compile(r"(id\d+)(?:_(id\d+))?_\d+$")


def _celeb_folders(root: Path) -> list[Path]:
    return [path for path in sorted(root.iterdir()) if path.is_dir() and path.name.lower() in _CELEB_FOLDERS]


def _read_celebdf(root: Path) -> list[Medium]:
    """``idA_idB_NNNN`` swaps two celebrities; ``YouTube-real`` holds videos of other, unnamed people.

    The official list of test videos becomes ``val``. Its own labels (1 is real there) are not needed.
    """
    media = []
    for folder in _celeb_folders(root):
        kind = folder.name.lower()
        for path in _media_under(folder):
            people = _celebrities(path, kind)
            method = {"celeb-synthesis": "synthesis", "youtube-real": "youtube"}.get(kind, "real")
            source = f"{folder.name}/{path.stem}"  # some keep the videos one folder deeper; the list does not
            group = "_".join(sorted(people))
            media.append((Medium(path, _CELEB_FOLDERS[kind], "celebdf", method, "train", group, source), people))
    return by_people(media, _test_list(root, {medium.source for medium, _ in media}))


def _celebrities(path: Path, kind: str) -> frozenset[str]:
    if kind == "youtube-real":
        return frozenset({f"youtube-{path.stem}"})
    found = _CELEBRITIES.match(path.stem)
    if found is None:
        raise LayoutError(f"{path} is not named like a Celeb-DF video (idN_NNNN or idN_idN_NNNN)")
    return frozenset(name for name in found.groups() if name)


def _test_list(root: Path, sources: Collection[str]) -> frozenset[str]:
    path = root / _TEST_LIST
    if not path.is_file():
        return frozenset()
    names = (line.split()[-1] for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    listed = {str(Path(name).with_suffix("").as_posix()).lower() for name in names}
    return frozenset(source for source in sources if source.lower() in listed)


# --- DFDC -----------------------------------------------------------------------------------------------------------


def _dfdc_parts(root: Path) -> list[Path]:
    """Folders with a ``metadata.json``; archives unpack into one or two levels of folders."""
    return sorted(path.parent for depth in ("", "*/", "*/*/") for path in root.glob(f"{depth}metadata.json"))


def _read_dfdc(root: Path) -> list[Medium]:
    """``{"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}}`` in each part.

    With several parts a part is a group, since the same actors come back within it; with one, a group is an original
    with its fakes, and the same actor may be on both sides.
    """
    parts = _dfdc_parts(root)
    media = []
    for part in parts:
        entries = json.loads((part / "metadata.json").read_text(encoding="utf-8"))
        for name, entry in sorted(entries.items()):
            path = part / name
            if not path.is_file():
                continue  # people keep the metadata and delete what does not fit on the disk
            label = {"REAL": 0, "FAKE": 1}.get(entry["label"])
            if label is None:
                raise LayoutError(f"{part / 'metadata.json'}: the label of {name} is {entry['label']!r}")
            group = part.name if len(parts) > 1 else Path(entry.get("original") or name).stem
            held_out = entry.get("split", "train") != "train" or in_validation(f"dfdc/{group}")
            method = "real" if label == 0 else "fake"
            split = "val" if held_out else "train"
            media.append(Medium(path, label, "dfdc", method, split, group, _source(path, root)))
    return media


# --- a CSV beside the media, and plain folders ----------------------------------------------------------------------

_COLUMNS: Final = frozenset({"file", "label", "method", "split", "group"})


def _has_manifest(root: Path) -> bool:
    path = root / "manifest.csv"
    if not path.is_file():
        return False
    with path.open(newline="", encoding="utf-8") as file:
        columns = set(csv.DictReader(file).fieldnames or ())
    return columns >= _COLUMNS and "landmarks" not in columns  # with landmarks it lists crops, made already


def _read_manifest(root: Path) -> list[Medium]:
    """Without a ``dataset`` column, methods that are all FaceForensics++'s mean that the groups are, too."""
    with (root / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ffpp = {"real", *(method.lower() for method in FFPP_METHODS)}
    usual = "ffpp" if all(row["method"] in ffpp and _PAIR.match(row["group"]) for row in rows) else root.name.lower()
    media = []
    for row in rows:
        path = root / row["file"]
        dataset = row.get("dataset") or usual
        label = int(row["label"])
        media.append(Medium(path, label, dataset, row["method"], row["split"], row["group"], _source(path, root)))
    return media


_REAL_NAMES: Final = frozenset({"real", "reals", "original", "originals", "authentic", "pristine"})
_FAKE_NAMES: Final = frozenset({"fake", "fakes", "manipulated", "deepfake", "deepfakes"})
_SPLIT_NAMES: Final = {
    "train": "train",
    "training": "train",
    "calibration": "calibration",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "val",
}


def _labelled_folders(root: Path) -> list[tuple[Path, int, str | None]]:
    """Folders whose name is a label, directly in the root or in folders named after splits."""
    found = []
    splits = [(path, _SPLIT_NAMES.get(path.name.lower())) for path in sorted(root.iterdir()) if path.is_dir()]
    for parent, split in [(root, None), *((path, name) for path, name in splits if name)]:
        for folder in sorted(parent.iterdir()):
            name = folder.name.lower()
            if folder.is_dir() and name in _REAL_NAMES | _FAKE_NAMES:
                found.append((folder, int(name in _FAKE_NAMES), split))
    return found


def _has_both_labels(root: Path) -> bool:
    return {label for _, label, _ in _labelled_folders(root)} == {0, 1}


def _read_plain(root: Path) -> list[Medium]:
    """A subfolder of ``fake`` is a method and, below that, a folder is a group: ``fake/method/person/``.

    What is real has no method, but folders as deep: ``real/source/person/``. A file that lies higher up is its own
    group, and files of the same name are one: a fake and its original.
    """
    media = []
    for folder, label, split in _labelled_folders(root):
        for path in _media_under(folder):
            inner = path.relative_to(folder).parts[:-1]
            method = "real" if label == 0 else inner[0] if inner else "fake"
            group = "/".join(inner[1:]) or path.stem
            dataset = root.resolve().name.lower()
            side = split or ("val" if in_validation(f"{dataset}/{group}") else "train")
            media.append(Medium(path, label, dataset, method, side, group, _source(path, root)))
    return media


LAYOUTS: Final[dict[str, Layout]] = {
    "manifest": Layout(
        "manifest.csv with the columns file, label, method, split, group and perhaps dataset",
        _has_manifest,
        _read_manifest,
    ),
    "faceforensics": Layout(
        "original_sequences/{youtube,actors}/COMPRESSION/videos/ and manipulated_sequences/METHOD/COMPRESSION/videos/",
        _is_faceforensics,
        _read_faceforensics,
    ),
    "celebdf": Layout(
        f"Celeb-real/, Celeb-synthesis/, YouTube-real/ and perhaps {_TEST_LIST}",
        lambda root: {"celeb-real", "celeb-synthesis"} <= {path.name.lower() for path in _celeb_folders(root)},
        _read_celebdf,
    ),
    "dfdc": Layout("folders with videos and their metadata.json", lambda root: bool(_dfdc_parts(root)), _read_dfdc),
    "plain": Layout(
        "real/ and fake/ (also original/ and manipulated/), or both in train/ and val/", _has_both_labels, _read_plain
    ),
}

"""The list of parts: every one of every family, read without importing it."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from autoseg import parts
from autoseg.cli import main
from autoseg.core import part_list
from autoseg.core.family import Family
from autoseg.core.part_list import BESIDE, families, first_sentence, parts_of, sources_in
from autoseg.pipeline.part_table import part_table


def test_every_part_of_every_family_is_listed() -> None:
    there = {module.name for module in pkgutil.iter_modules(parts.__path__) if module.ispkg}
    assert {*families()} == there | {*BESIDE}
    for family, package in families().items():
        listed = parts_of(family)
        assert [part.name for part in listed] == [*Family(package, "")] and len(listed) > 0
        assert all(part.what and part.family == family for part in listed)


def test_the_table_fits_and_nothing_heavy_is_imported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parts"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100 and {"losses", "networks", "planners"} <= {*lines}
    assert max(map(len, part_table(parts_of("losses"), 60).splitlines())) <= 60
    shown = "print(sorted({'torch', 'numpy'} & {*sys.modules}))"
    code = f"import sys; from autoseg.cli import main; main(['parts']); {shown}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_one_family_and_lines_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parts", "losses", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    tversky = next(part for part in result["parts"] if part["name"] == "tversky")
    assert tversky["sources"] == ["Salehi et al. 2017"] and tversky["extra"] is None and tversky["lacking"] == []
    assert {part["family"] for part in result["parts"]} == {"losses"}
    assert main(["parts", "hats"]) == 2 and "choose one of augmentations" in capsys.readouterr().err
    assert main(["parts", "-c", "2d"]) == 2 and main(["parts", "losses", "-d", "4"]) == 2


@pytest.mark.parametrize("place", ["module", "class", "typed"])
def test_a_part_says_which_extra_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Of a package that is not there: neither it nor the part is imported."""
    said = {"module": 'EXTRA = "zoo"', "class": "", "typed": 'EXTRA: str = "zoo"'}[place]
    inside = 'EXTRA = "zoo"' if place == "class" else "pass"
    (tmp_path / "far.py").write_text(
        f'"""Far net (Doe and Roe, 2031). More."""\nimport nowhere\n{said}\nclass Spec:\n    {inside}\n'
    )
    (tmp_path / "_helper.py").write_text("1 / 0")
    monkeypatch.setattr(part_list, "_folder", lambda package: tmp_path)
    monkeypatch.setattr(part_list, "families", lambda: {"networks": "autoseg.parts.networks"})
    monkeypatch.setattr(part_list, "_lacking", lambda extra: ("monai",) if extra == "zoo" else ())
    (found,) = parts_of("networks")
    assert (found.name, found.what, found.sources) == ("far", "Far net (Doe and Roe, 2031)", ("Doe and Roe 2031",))
    assert (found.extra, found.lacking, found.install) == ("zoo", ("monai",), 'pip install "autoseg[zoo]"')
    assert 'needs pip install "autoseg[zoo]"' in part_table([found], 100)


@pytest.mark.parametrize(
    ("text", "told"),
    [(b"def (", "cannot be read: invalid syntax, line 1"), (b"a\0b", "cannot be read"), (b"\xff", "cannot be read"),
     (b"", "no description")],
)  # fmt: skip
def test_a_part_that_cannot_be_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, told: str
) -> None:
    (tmp_path / "broken.py").write_bytes(text)
    (tmp_path / "whole.py").write_text('"""A whole one."""')
    monkeypatch.setattr(part_list, "_folder", lambda package: tmp_path)
    monkeypatch.setattr(part_list, "families", lambda: {"losses": "autoseg.parts.losses"})
    listed = parts_of("losses")
    assert [part.name for part in listed] == ["broken", "whole"] and listed[0].what.startswith(told)
    assert [line.split()[0] for line in part_table(listed, 400).splitlines()] == ["losses", "broken", "whole"]


def test_packages_of_an_extra_that_are_lacking_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    part_list._lacking.cache_clear()
    lines = ["numpy>=1", 'numpy>=1; extra == "zoo"', 'nowhere-9>=1; extra == "zoo"', 'other-9; extra == "dev"']
    monkeypatch.setattr(part_list.metadata, "requires", lambda name: lines)
    assert part_list._lacking("zoo") == ("nowhere-9",)
    assert part_list._lacking("unknown") == ("autoseg[unknown]",)
    part_list._lacking.cache_clear()


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ('Taha and Hanbury, "Metrics for\nimages", BMC Medical Imaging 2015', ("Taha and Hanbury 2015",)),
        ("(Dou et al. 2020, arXiv 2001.03111), BraTS 2018, at CVPR 2005", ("Dou et al. 2020", "arXiv 2001.03111")),
        ("Caselles, Kimmel and Sapiro 1997; Otsu 1979", ("Caselles, Kimmel and Sapiro 1997", "Otsu 1979")),
    ],
)
def test_papers_are_found_in_docstrings(text: str, sources: tuple[str, ...]) -> None:
    assert sources_in(text) == sources


def test_the_first_sentence_ends_at_its_end() -> None:
    assert first_sentence("Dice (Lin et al. 2017) of v2.8.1.\nMore\nof it.") == "Dice (Lin et al. 2017) of v2.8.1"

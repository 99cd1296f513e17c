"""The section of map methods in the report: numbers, pictures, and damaged records."""

import re

import numpy as np
import pytest
from PIL import Image

from bench.report.saliency import saliency_tables
from bench.runs import saliency_record
from bench.runs.saliency_record import SHEET_IMAGES, SHEET_TILE_PIXELS
from tests.bench.runs.question_cases import write_saliency


@pytest.fixture
def run(tmp_path):
    """A run with a record of three methods, and a sheet of their maps."""
    run = tmp_path / "mbg-pan-s0-0123"
    run.mkdir()
    write_saliency(run)
    tile = SHEET_TILE_PIXELS
    sheet = np.zeros((4 * tile, SHEET_IMAGES * tile, 3), np.uint8)
    Image.fromarray(sheet).save(run / saliency_record.SHEET, "WEBP")
    return run


def test_the_table_has_the_numbers_of_the_record_and_a_strip_for_each_method(run):
    (table,) = saliency_tables(run.parent, [run.name, "without-a-record"])
    record = saliency_record.RECORD.read(run)
    assert table.title == run.name
    assert [row.method for row in table.rows] == ["attention", "gradient", "input-x-gradient", "oracle"]
    assert [bool(row.strip) for row in table.rows] == [True, True, True, False]
    assert not any(row.caution for row in table.rows)  # its background is a photograph
    assert table.cautions == []
    assert table.images.startswith("data:image/webp;base64,")
    names = [column.name for column in table.columns]
    value, bounds = table.rows[1].cells[names.index("iou_otsu")]
    assert value == f"{record.measures['gradient']['iou_otsu'].mean():.3f}"
    assert re.fullmatch(r"0\.\d{3}–0\.\d{3}", bounds)
    assert table.rows[0].cells[names.index("deletion")] == ("–", "")


@pytest.mark.parametrize("damage", ["missing", "truncated", "another size"])
def test_without_a_valid_sheet_the_table_has_no_pictures(damage, run, caplog):
    path = run / saliency_record.SHEET
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:20])
    else:
        Image.fromarray(np.zeros((70, 70, 3), np.uint8)).save(path, "WEBP")
    (table,) = saliency_tables(run.parent, [run.name])
    assert not table.images
    assert not any(row.strip for row in table.rows)
    assert bool(caplog.text) == (damage != "missing")


def test_a_damaged_record_is_skipped_with_a_warning(run, caplog):
    (run / saliency_record.RECORD.settings_file).write_text("{}")
    assert saliency_tables(run.parent, [run.name]) == []
    assert "damaged" in caplog.text

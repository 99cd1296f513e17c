"""Requests of small data sets."""

import pytest

from mnistref.generation.generate import Request


@pytest.fixture
def request_for(tmp_path, photo_folder, idx_folder):
    def request_for(variant: str = "mbg", name: str = "root", **changes) -> Request:
        defaults = {
            "root": tmp_path / name,
            "sizes": {"train": 21, "val": 8, "test": 9},
            "digits": str(idx_folder),
            "backgrounds": str(photo_folder),
        }
        return Request(variant, **{**defaults, **changes})

    return request_for

"""Sources in a manifest, and how they were used."""

from mnistref.storage.source import AS_USUAL, Source, SourceChoices


def test_origin_of_a_source_is_its_kind_or_else_its_name():
    known, former = Source("mine", "0" * 64, 9, "folder"), Source("mnist", "0" * 64, 9)
    assert (known.origin, former.origin) == ("folder", "mnist")
    assert known.as_dict() == {"name": "mine", "sha256": "0" * 64, "count": 9, "kind": "folder"}
    assert "kind" not in former.as_dict()


def test_choices_that_are_as_usual_are_not_recorded():
    assert AS_USUAL.as_dict() == {}
    assert SourceChoices(keep_copies=True).as_dict() == {"keep_copies": True}
    every = SourceChoices(skip_bad=True, keep_copies=True, shared_digits=3)
    assert SourceChoices(**every.as_dict()) == every

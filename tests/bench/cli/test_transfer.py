"""`bench transfer` prints what `transfer_run` returns."""

import json

import cli
from bench.runs import transfer_run
from bench.runs.transfer_run import Transfer
from tests.commands import call


def test_the_table_has_the_accuracy_and_the_width_of_the_features(tmp_path, monkeypatch):
    asked = []

    def answer(*arguments, **options):
        asked.append((*arguments, options))
        return Transfer("folder-photos-0123", 1500, 8, 512, (0.5, 0.75, 0.625, 0.625, 0.625))

    monkeypatch.setattr(transfer_run, "transfer_run", answer)
    options = ["--to", "folder:photos", "--root", tmp_path, "--device", "cpu", "--canvas", 48]
    text = call(cli.bench, "transfer", tmp_path, *options).stdout
    assert "1,500 of 8 classes, folder-photos-0123" in text
    assert "width of the features  512" in text
    assert "62.5 (s.d. over the folds 8.8)" in text
    assert asked[0][:3] == (tmp_path, "folder:photos", tmp_path)
    assert asked[0][4] == {"batch": 100, "canvas": 48}
    found = json.loads(call(cli.bench, "transfer", tmp_path, *options, "--json").stdout)
    assert (found["mean"], found["features"], len(found["accuracies"])) == (0.625, 512, 5)

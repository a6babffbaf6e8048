"""Promises that hold while somebody writes, in small: `benchmarks/trust` measures the same with 100,000 pairs."""

from benchmarks.trust import f07_metrics_live, f16_backups


def counts(rows):
    """What was counted; how long it took is measured where nothing else runs."""
    found = {row.what: row for row in rows if row.target.startswith("0 of")}
    assert found
    return {what: row.measured for what, row in found.items() if not row.held}


def test_every_metric_that_arrives_while_pages_look_is_there(tmp_path):
    assert counts(f07_metrics_live.measure(tmp_path, effort=0.01)) == {}


def test_each_backup_beside_a_writer_holds_what_was_decided_before_and_comes_back_equal(tmp_path):
    assert counts(f16_backups.measure(tmp_path, effort=0.01)) == {}

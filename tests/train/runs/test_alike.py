import math

import pandas as pd
from lmzoo.train.runs.alike import FIELDS, Alike, differing, likeness, together


def frame(*cards):
    rows = [{"variant": f"v{i}", "seed": 0, **dict.fromkeys(FIELDS["copy"]), **card} for i, card in enumerate(cards)]
    return pd.DataFrame(rows, dtype=object)


def test_records_that_differ_in_one_field_stand_apart_in_the_order_of_the_first():
    first, second = Alike.sets(frame({"dtype": "a"}, {"dtype": "b", "loss": 1.0}, {"dtype": "a"}), "copy")
    assert list(first.records["variant"]) == ["v0", "v2"]
    assert list(second.records["variant"]) == ["v1"]
    assert (first.label, second.label, second.suffix) == (" (1 of 2)", " (2 of 2)", "-2")
    assert first.why == second.why == ("dtype",)
    assert first.apart == " Apart because these differ: the precision (dtype)."


def test_what_no_field_names_keeps_nothing_apart():
    (one,) = Alike.sets(frame({"versions": {"torch": "1"}}, {"versions": {"torch": "2"}}), "copy")
    assert (one.label, one.suffix, one.why, one.apart) == ("", "", (), "")
    assert Alike.sets(frame(), "copy") == []


def test_a_field_that_is_not_there_is_none_and_nan():
    (one,) = Alike.sets(frame({"train_length": None}, {"train_length": math.nan}), "copy")
    assert one.train_length is None
    assert likeness({}, ["a"]) == likeness({"a": math.nan}, ["a"]) == {"a": None}


def test_a_field_is_the_records_own_or_its_passports():
    assert likeness({"a": 1, "passport": {"a": 2, "b": 3}}, ["a", "b"]) == {"a": 1, "b": 3}
    assert likeness({"a": 1, "passport": None}, ["b"]) == {"b": None}


def test_fields_that_differ_come_in_their_order():
    assert differing([{"b": 1, "a": 1, "c": 0}, {"b": 2, "a": 2, "c": 0}]) == ("b", "a")
    assert differing([]) == ()
    assert together("abcd", [1, 2, 1, 3]) == [["a", "c"], ["b"], ["d"]]

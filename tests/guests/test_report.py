"""What is concluded from a guest's lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guests import report


def line(count: int, *, bad: int = 0, passes: int = 0) -> bytes:
    return b"culvert-guest count=%d verified=%d bad=%d gen=1 pass=%d\n" % (count, count * 8, bad, passes)


def history(*lines: bytes) -> report.History:
    result = report.History()
    for at, text in enumerate(lines):
        result.feed(text, float(at))
    return result


def test_a_good_history_has_no_fault() -> None:
    good = history(b"culvert-guest boot pages=8\n", line(1), line(2), b"verify ok pages=8 bad=0 gen=1\n", line(3))
    good.check()
    assert (good.boots, len(good.reports), good.last and good.last.count) == (1, 3, 3)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([line(1), line(3)], "a gap in the counter: 3 came after 1"),
        ([line(5), line(5)], "a step back of the counter: 5 came after 5"),
        ([line(5), line(1)], "a step back of the counter: 1 came after 5"),
        ([line(1), line(2, bad=1)], "bad memory: 1 pages at count 2"),
        ([line(1, bad=2)], "bad memory: 2 pages at count 1"),
        ([line(1, passes=3), line(2, passes=2)], "a step back of the passes"),
        ([b"verify BAD page=3 word=7 expected=1 found=2\n"], "verify BAD page=3"),
        ([b"verify failed pages=8 bad=1 gen=0\n"], "verify failed"),
        ([b"culvert-guest boot a\n", b"culvert-guest boot b\n"], "booted again"),
    ],
)
def test_each_fault_is_told_in_words(lines: list[bytes], words: str) -> None:
    with pytest.raises(report.GuestFault, match=words):
        history(*lines).check()


def test_bad_memory_is_told_once() -> None:
    assert len(history(line(1, bad=1), line(2, bad=1)).faults) == 1


@given(st.lists(st.integers(1, 40)))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    data = b"[ 0.1] kernel\r\n" + b"".join(line(count) for count in range(1, 20)) + b"culvert-guest cou"
    whole, pieces = history(data), report.History()
    position = 0
    for cut in [*cuts, len(data)]:
        pieces.feed(data[position : position + cut], 0.0)
        position += cut
    assert pieces.reports == whole.reports
    assert pieces.other == whole.other == ["[ 0.1] kernel"]


def test_a_kernel_message_before_a_report_does_not_hide_it() -> None:
    assert history(b"[    1.0] random: init done" + line(1)).reports[0].count == 1


def test_longest_silence() -> None:
    reports = [report.Report(at, count, 0, 0, 0, 0) for count, at in enumerate([0.0, 1.0, 6.0, 6.5, 9.0])]
    assert report.longest_silence(reports) == report.Silence(5.0, 1, 2)
    assert report.longest_silence(reports, since=6.2) == report.Silence(2.5, 3, 4)
    assert report.longest_silence(reports, since=3.0) == report.Silence(5.0, 1, 2)
    assert report.longest_silence([]) == report.Silence(0.0, 0, 0)


@pytest.mark.parametrize(("more", "wanted"), [(b"", 0), (b" index=77", 77)])
def test_where_in_the_working_set_it_is(more: bytes, wanted: int) -> None:
    good = history(line(1).removesuffix(b"\n") + more + b"\n")
    assert [each.index for each in good.reports] == [wanted]

"""The page is well-formed, says what was found, and shows what came from outside as text only."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.dom import minidom

import attrs

from chaos.checkers.judge import judge
from chaos.history import FAILED, UNKNOWN, Fault, History, Status, Trouble
from chaos.model import Put, Range
from chaos.report import SHOWN_OPERATIONS, render
from tests.chaos.histories import Play, with_answer

EVIL = "</title><script>alert('x')</script>&\"<"


class Tags(HTMLParser):
    """Checks that every tag is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(page: str) -> Tags:
    """The page, read as a browser would."""
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert tags.open == []
    minidom.parseString(re.search("<svg.*</svg>", page, re.DOTALL)[0])  # type: ignore[index]
    return tags


def a_run() -> tuple[History, Play]:
    """A little of everything, with an ill-meant value in each place."""
    play = Play()
    play.do(Put(EVIL, EVIL))
    play.do(Put("x", "1"), outcome=UNKNOWN)
    refused = play.do(Put("x", "2"), outcome=FAILED, happens=False)
    play.operations[refused.id - 1] = attrs.evolve(refused, error=EVIL, workload=EVIL)
    play.do(Range(EVIL))
    history = play.history()
    more = [
        Fault(EVIL, 1.0, 2.0, EVIL),
        Status(0, 0.5, 1, 2, 3, 4),
        Status(0, 1.0, 1, 2, 5, 6),
        Status(0, 1.5, -1, 3, 5, 6),
        Trouble(1.0, EVIL),
    ]
    return History([*history.records, *more]), play


def test_a_page_is_well_formed_and_shows_what_came_as_text() -> None:
    history, _ = a_run()
    page = render(history, judge(history), command=f"python -m chaos {EVIL}")
    tags = parsed(page)
    assert "script" not in tags.seen
    assert "<script" not in page
    assert any(EVIL in text for text in tags.text)


def test_violations_are_on_the_page_and_marked_in_the_timeline() -> None:
    history, play = a_run()
    wrong = with_answer(history, play.operations[-1], results=((),))
    verdict = judge(wrong)
    page = render(wrong, verdict)
    text = "".join(parsed(page).text)
    assert verdict.line() in text
    assert verdict.violations[0].text in text
    assert 'class="wrong"' in page
    assert 'class="alarm"' in page


def test_leaders_and_terms_are_shown_while_they_last() -> None:
    history, _ = a_run()
    text = "".join(parsed(render(history, judge(history))).text)
    assert "leader n1, term 2, as n0 says" in text
    assert "leader none, term 3, as n0 says" in text


def test_a_long_run_is_thinned_but_keeps_what_is_special() -> None:
    play = Play()
    for _ in range(SHOWN_OPERATIONS + 500):
        play.do(Range("x"))
    play.do(Put("x", "1"), outcome=UNKNOWN)
    history = play.history()
    page = render(history, judge(history))
    assert page.count("<rect") <= SHOWN_OPERATIONS
    assert 'class="unknown"' in page
    assert "ordinary operations are not drawn" in page


def test_an_empty_history_has_a_page() -> None:
    parsed(render(History(), judge(History())))

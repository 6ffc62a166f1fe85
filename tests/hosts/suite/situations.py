"""Situations of the table: what the server, the person and the model do, and how the outcome is called."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Callable, Optional

from .model import Step

OK = "ok"
NEXT_START = "next start"  # the tools are there when the host is started once more, without another page
NO_TOOL = "no tool"
FAILED = "failed"

HI, FAR, SLOW, ANSWERED = "probe says hi", "probe was far", "probe took its time", "probe was answered"


@dataclass
class Situation:
    name: str
    title: str
    ranks: list[str]  # outcomes, the best first
    steps: Callable[["Stage"], list[Step]]
    judge: Callable[["Seen"], str]
    judge_list: Optional[Callable[["Seen"], str]] = None  # for a command that only prints the tools
    server_up_at: float = 0  # seconds after the host's start
    with_sign_in: bool = False
    signed_in_at: Optional[float] = None
    starts_again: bool = False  # without a tool, the host is started once more
    patience: float = 30  # seconds until the model gives up waiting for the tool
    limit: float = 150  # seconds until the host is ended


@dataclass
class Stage:
    """What the steps of a situation can do to the server."""

    stop_server_for: Callable[[float], None]
    wait_for_server: Callable[[], None]  # until it is there again
    call_seconds: int


@dataclass
class Seen:
    steps: list[Step]
    first_request: Optional[float]  # seconds
    model_saw: str  # descriptions of tools and all results
    screen: str
    offers_sign_in: bool = False
    addresses: list[str] = field(default_factory=list)  # of the pages that were opened


def calls(*names: str) -> Callable[[Stage], list[Step]]:
    return lambda _: [Step(name) for name in names]


def slow(progress: bool) -> Callable[[Stage], list[Step]]:
    return lambda stage: [Step("slow", {"seconds": stage.call_seconds, "progress": progress})]


def around_an_outage(stage: Stage) -> list[Step]:
    return [
        Step("hi"),
        Step("hi", before=lambda: stage.stop_server_for(OUTAGE)),
        Step("hi", before=stage.wait_for_server),
    ]


def said(words: str) -> Callable[[Seen], str]:
    def judge(seen: Seen) -> str:
        result = seen.steps[-1].result
        if result is None:
            return NO_TOOL
        return OK if words in result else FAILED
    return judge


def printed(tool: str) -> Callable[[Seen], str]:
    return lambda seen: OK if re.search(rf"\b{tool}\b", seen.screen) else FAILED


def judge_outage(seen: Seen) -> str:
    results = [step.result or "" for step in seen.steps]
    if HI not in results[0] or HI not in results[2]:
        return FAILED
    return OK if HI in results[1] else TOLD


def judge_nobody(seen: Seen) -> str:
    if seen.first_request is None:
        return NO_TURN
    if tells_address(seen.model_saw + seen.screen, seen):
        return TOLD
    if seen.offers_sign_in:
        return SIGN_IN
    return FROZEN if seen.first_request > FREEZE else SILENT


def judge_nobody_list(seen: Seen) -> str:
    if tells_address(seen.screen, seen):
        return TOLD
    return SIGN_IN if "sign_in" in seen.screen else SILENT


def tells_address(text: str, seen: Seen) -> bool:
    """Whether the text has the address of the sign-in page, or the short one that leads there."""
    return "/authorize" in text or any(address in text for address in seen.addresses) or bool(SHORT_ADDRESS.search(text))


def judge_form(seen: Seen) -> str:
    result = seen.steps[-1].result
    if result is None:
        return NO_TOOL
    if ANSWERED in result:
        return OK if "accept" in result else DECLINED
    return NOT_OFFERED if REFUSED_FORM.search(result) else FAILED


REFUSED_FORM = re.compile("elicitation|Method not found", re.I)
SHORT_ADDRESS = re.compile(r"http://(localhost|127\.0\.0\.1):\d+/(?![a-z])")
OUTAGE = 10  # seconds that the server is down
FREEZE = 60  # seconds to the first model request, after which a person takes the host for dead
TOLD, SIGN_IN, SILENT, FROZEN, NO_TURN = "told", "sign_in", "silent", "frozen", "no turn"
DECLINED, NOT_OFFERED = "declined", "not offered"

TOOLS = [OK, NEXT_START, NO_TOOL, FAILED]
CALL = [OK, FAILED, NO_TOOL]

SITUATIONS = [
    Situation("1", "plain", CALL, calls("hi"), said(HI), printed("hi")),
    Situation("2", "server up at 10 s", TOOLS, calls("hi"), said(HI), server_up_at=10, starts_again=True, patience=60),
    Situation("3a", "sign-in at 20 s", TOOLS, calls("hi"), said(HI), with_sign_in=True, signed_in_at=20, starts_again=True,
              patience=60),
    Situation("3a'", "sign-in at 75 s", TOOLS, calls("hi"), said(HI), with_sign_in=True, signed_in_at=75, starts_again=True,
              patience=110, limit=240),
    Situation("3b", "nobody signs in", [TOLD, SIGN_IN, SILENT, FROZEN, NO_TURN], calls("hi"), judge_nobody, judge_nobody_list,
              with_sign_in=True, patience=50, limit=240),
    Situation("4", "tool on page two", CALL, calls("far"), said(FAR), printed("far")),
    Situation("5", "long call, silent", CALL, slow(progress=False), said(SLOW), limit=240),
    Situation("5p", "long call, progress", CALL, slow(progress=True), said(SLOW), limit=240),
    Situation("6", "outage of 10 s", [OK, TOLD, FAILED], around_an_outage, judge_outage),
    Situation("7", "form", [OK, DECLINED, NOT_OFFERED, FAILED, NO_TOOL], calls("ask"), judge_form),
]

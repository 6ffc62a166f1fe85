"""Situations of the table: what the server, the person and the model do, and how the outcome is called."""
from __future__ import annotations

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
    call_seconds: int


@dataclass
class Seen:
    steps: list[Step]
    first_request: Optional[float]  # seconds
    model_saw: str  # descriptions of tools and all results
    screen: str
    addresses: list[str] = field(default_factory=list)  # of the pages that were opened


def calls(*names: str) -> Callable[[Stage], list[Step]]:
    return lambda _: [Step(name) for name in names]


def slow(progress: bool) -> Callable[[Stage], list[Step]]:
    return lambda stage: [Step("slow", {"seconds": stage.call_seconds, "progress": progress})]


def around_an_outage(stage: Stage) -> list[Step]:
    return [Step("hi"), Step("hi", before=lambda: stage.stop_server_for(OUTAGE)), Step("hi")]


def said(words: str) -> Callable[[Seen], str]:
    def judge(seen: Seen) -> str:
        result = seen.steps[-1].result
        if result is None:
            return NO_TOOL
        return OK if words in result else FAILED
    return judge


def judge_outage(seen: Seen) -> str:
    results = [step.result or "" for step in seen.steps]
    if HI not in results[0] or HI not in results[2]:
        return FAILED
    return OK if HI in results[1] else TOLD


def judge_nobody(seen: Seen) -> str:
    if seen.first_request is None:
        return NO_TURN
    everything = seen.model_saw + seen.screen
    if "/authorize" in everything or "Sign in: http" in everything:
        return TOLD
    return FROZEN if seen.first_request > FREEZE else SILENT


def judge_form(seen: Seen) -> str:
    result = seen.steps[-1].result
    if result is None:
        return NO_TOOL
    if ANSWERED in result:
        return OK if "accept" in result else DECLINED
    return NOT_OFFERED if "licitation" in result else FAILED


OUTAGE = 10  # seconds that the server is down
FREEZE = 60  # seconds to the first model request, after which a person takes the host for dead
TOLD, SILENT, FROZEN, NO_TURN = "told", "silent", "frozen", "no turn"
DECLINED, NOT_OFFERED = "declined", "not offered"

TOOLS = [OK, NEXT_START, NO_TOOL, FAILED]
CALL = [OK, FAILED, NO_TOOL]

SITUATIONS = [
    Situation("1", "plain", CALL, calls("hi"), said(HI)),
    Situation("2", "server up at 10 s", TOOLS, calls("hi"), said(HI), server_up_at=10, starts_again=True, patience=60),
    Situation("3a", "sign-in at 20 s", TOOLS, calls("hi"), said(HI), with_sign_in=True, signed_in_at=20, starts_again=True,
              patience=60),
    Situation("3a'", "sign-in at 75 s", TOOLS, calls("hi"), said(HI), with_sign_in=True, signed_in_at=75, starts_again=True,
              patience=110, limit=240),
    Situation("3b", "nobody signs in", [TOLD, SILENT, FROZEN, NO_TURN], calls("hi"), judge_nobody, with_sign_in=True,
              patience=50, limit=240),
    Situation("4", "tool on page two", CALL, calls("far"), said(FAR)),
    Situation("5", "long call, silent", CALL, slow(progress=False), said(SLOW), limit=240),
    Situation("5p", "long call, progress", CALL, slow(progress=True), said(SLOW), limit=240),
    Situation("6", "outage of 10 s", [OK, TOLD, FAILED], around_an_outage, judge_outage),
    Situation("7", "form", [OK, DECLINED, NOT_OFFERED, FAILED, NO_TOOL], calls("ask"), judge_form),
]

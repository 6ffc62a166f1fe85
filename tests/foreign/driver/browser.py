"""Stand-in for a browser and for the person in front of it.

As a program: `browser.py LOG URL [USER-CODE]`. It follows redirects and answers the first form or link of each
page that agrees to something, until it has brought the code back to the bridge. The log has a line of JSON for
each page that it was asked to open, each answer that it got, and its end.
"""
from __future__ import annotations

import http.client
import json
import re
import sys
import time
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Optional

PAGES = 30  # answers until it gives up
PAGE_LIMIT = 20  # seconds for one answer
MAX_PAGE = 1 << 20  # bytes of a page that are looked at
CALLBACK = "/oauth/callback"

AGREE = re.compile(r"\b(allow|approve|authori[sz]e|accept|agree|grant|confirm|continue|yes|ok|sign ?in|log ?in|submit)\b", re.I)
REFUSE = re.compile(r"\b(deny|cancel|reject|decline|abort|no|back|log ?out)\b", re.I)

# What the person types into a field, by the field's name or type.
ANSWERS = [
    (re.compile("pass", re.I), "correct horse battery staple"),
    (re.compile("mail", re.I), "ada@example.com"),
    (re.compile("user|login|name|account", re.I), "ada"),
    (re.compile("code", re.I), "123456"),
]


class BrowserLog:
    """The log as the driver reads it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def opened(self) -> int:
        return self._count("opened")

    def finished(self) -> int:
        """Pages that brought a code back."""
        return self._count("finished")

    def trouble(self) -> str:
        failures = [entry["failed"] for entry in self._entries() if "failed" in entry]
        return failures[-1] if failures else ""

    def _count(self, key: str) -> int:
        return sum(1 for entry in self._entries() if key in entry)

    def _entries(self) -> list[dict[str, Any]]:
        if not self.file.exists():
            return []
        return [json.loads(line) for line in self.file.read_text().splitlines()]


class Page(HTMLParser):
    """Forms and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []
        self.refresh = ""
        self._form: Optional[Form] = None
        self._button: Optional[dict[str, str]] = None
        self._link: Optional[str] = None
        self._words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "meta" and given.get("http-equiv", "").lower() == "refresh" and "=" in given.get("content", ""):
            self.refresh = given["content"].split("=", 1)[1].strip("'\" ")
        elif tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._form)
        elif tag == "a" and given.get("href"):
            self._link, self._words = given["href"], []
        elif tag == "button":
            self._button, self._words = given, []
        elif tag in ("input", "textarea") and self._form is not None:
            self._form.add(given)
        elif tag == "select" and self._form is not None:
            self._form.select = given.get("name", "")
        elif tag == "option" and self._form is not None and self._form.select:
            if "selected" in given or self._form.select not in self._form.fields:
                self._form.fields[self._form.select] = given.get("value", "")

    def handle_data(self, data: str) -> None:
        self._words.append(data)

    def handle_endtag(self, tag: str) -> None:
        words = " ".join(" ".join(self._words).split())
        if tag == "form":
            self._form = None
        elif tag == "a" and self._link is not None:
            self.links.append((words, self._link))
            self._link = None
        elif tag == "button" and self._button is not None:
            if self._form is not None and self._button.get("type", "submit") == "submit":
                self._form.buttons.append((words, self._button.get("name", ""), self._button.get("value", "")))
            self._button = None


class Form:
    def __init__(self, action: str, method: str) -> None:
        self.action = action
        self.method = method
        self.select = ""
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str, str]] = []  # words, name, value

    def add(self, given: dict[str, str]) -> None:
        name, kind, value = given.get("name", ""), given.get("type", "text").lower(), given.get("value", "")
        if kind in ("submit", "image"):
            self.buttons.append((value or "submit", name, value))
        elif kind in ("checkbox", "radio"):
            if name and (kind == "checkbox" or "checked" in given or name not in self.fields):
                self.fields[name] = value or "on"
        elif name and kind not in ("button", "reset", "file"):
            self.fields[name] = value if value or kind == "hidden" else typed(name, kind)

    def consent(self) -> Optional[tuple[str, str, str]]:
        """The button that the person presses; none if all of them refuse."""
        def willing(button: tuple[str, str, str]) -> int:
            words = " ".join(button)
            return 2 * bool(AGREE.search(words)) - 3 * bool(REFUSE.search(words))

        buttons = self.buttons or [("submit", "", "")]
        best = max(buttons, key=willing)
        return best if willing(best) >= 0 else None


def typed(name: str, kind: str) -> str:
    for pattern, answer in ANSWERS:
        if pattern.search(kind) or pattern.search(name):
            return answer
    return "ada"


class Cookies:
    """Cookies by host name and path. `Secure` counts as met: browsers trust this machine."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.kept: list[list[str]] = json.loads(file.read_text()) if file.exists() else []

    def header(self, host: str, path: str) -> str:
        return "; ".join(f"{name}={value}" for at, below, name, value in self.kept if at == host and path.startswith(below))

    def take(self, host: str, path: str, line: str) -> None:
        pair, *attributes = [part.strip() for part in line.split(";")]
        name, _, value = pair.partition("=")
        given = {key.strip().lower(): word.strip() for key, _, word in (part.partition("=") for part in attributes)}
        below = given.get("path") or path.rsplit("/", 1)[0] or "/"
        self.kept = [kept for kept in self.kept if kept[:3] != [host, below, name]]
        over = given.get("max-age", "1").lstrip("-") == "0" or given.get("max-age", "1").startswith("-")
        if value and not over and "1970" not in given.get("expires", ""):
            self.kept.append([host, below, name, value])

    def save(self) -> None:
        self.file.write_text(json.dumps(self.kept))


class Browser:
    def __init__(self, log: Path, user_code: str) -> None:
        self.log = log
        self.user_code = user_code
        self.cookies = Cookies(log.with_suffix(".cookies"))

    def say(self, **entry: Any) -> None:
        with self.log.open("a") as log:
            log.write(json.dumps(entry) + "\n")

    def visit(self, url: str) -> None:
        self.say(opened=url, at=time.time())
        request: tuple[str, str, str] = ("GET", url, "")
        opened = urllib.parse.urlsplit(url).netloc
        referrer = ""
        for _ in range(PAGES):
            method, url, body = request
            status, location, text = self.fetch(method, url, body, referrer)
            self.say(status=status, method=method, url=url, location=location, page="" if location else text[:2000])
            parts = urllib.parse.urlsplit(url)
            if parts.path == CALLBACK and parts.netloc != opened:
                key = "finished" if status < 400 and "code=" in url else "failed"
                return self.say(**{key: f"{status} {url}"})
            if status in (301, 302, 303) or (status in (307, 308) and method == "GET"):
                request = ("GET", urllib.parse.urljoin(url, location), "")
            elif status in (307, 308):
                request = (method, urllib.parse.urljoin(url, location), body)
            elif status >= 400:
                return self.say(failed=f"{status} at {url}: {' '.join(text.split())[:200]}")
            else:
                following = self.answer(url, Page(text))
                if following is None and self.user_code:
                    return self.say(finished=url)
                if following is None:
                    return self.say(failed=f"nothing to agree to at {url}: {' '.join(text.split())[:200]}")
                referrer, request = url, following
        self.say(failed=f"more than {PAGES} pages, the last {url}")

    def fetch(self, method: str, url: str, body: str, referrer: str) -> tuple[int, str, str]:
        parts = urllib.parse.urlsplit(url)
        headers = {"Accept": "text/html,*/*", "User-Agent": "Mozilla/5.0 (a stand-in)"}
        cookies = self.cookies.header(parts.hostname or "", parts.path or "/")
        if cookies:
            headers["Cookie"] = cookies
        if method == "POST":
            origin = urllib.parse.urlsplit(referrer)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            headers["Origin"] = f"{origin.scheme}://{origin.netloc}"
            headers["Referer"] = referrer
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=PAGE_LIMIT)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body or None, headers)
        answer = connection.getresponse()
        text = answer.read(MAX_PAGE).decode("utf-8", "replace")
        for line in answer.headers.get_all("Set-Cookie") or []:
            self.cookies.take(parts.hostname or "", parts.path or "/", line)
        self.cookies.save()
        return answer.status, answer.headers.get("Location", ""), text

    def answer(self, url: str, page: Page) -> Optional[tuple[str, str, str]]:
        """What the person does on the page: method, URL and body of the next request."""
        for form in page.forms:
            button = form.consent()
            if button is None:
                continue
            fields = dict(form.fields)
            for name in fields:
                if self.user_code and name == "user_code":
                    fields[name] = self.user_code
            if button[1]:
                fields[button[1]] = button[2]
            body = urllib.parse.urlencode(fields)
            target = urllib.parse.urljoin(url, form.action)
            if form.method == "post":
                return ("POST", target, body)
            return ("GET", urllib.parse.urlsplit(target)._replace(query=body).geturl(), "")
        if page.refresh:
            return ("GET", urllib.parse.urljoin(url, page.refresh), "")
        for words, link in page.links:
            if AGREE.search(words) and not REFUSE.search(words):
                return ("GET", urllib.parse.urljoin(url, link), "")
        return None


def main(arguments: list[str]) -> None:
    browser = Browser(Path(arguments[0]), arguments[2] if len(arguments) > 2 else "")
    try:
        browser.visit(arguments[1])
    except OSError as error:
        browser.say(failed=f"{error} at {arguments[1]}")


if __name__ == "__main__":
    main(sys.argv[1:])

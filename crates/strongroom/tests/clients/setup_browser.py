"""The first run's page in a real browser: with the keyboard, wrong and right entries, the summary.

LINK in the environment opens it, VALUE is the secret that is typed; FOLDER takes the browser's
profile. Speaks the browser's own protocol over two pipes.
"""

import json
import os
import subprocess
import time

LINK, VALUE, FOLDER = (os.environ[name] for name in ("LINK", "VALUE", "FOLDER"))
PATIENCE = 90


class Browser:
    def __init__(self):
        to_read, self.to = os.pipe()
        self.back, back_write = os.pipe()
        # The descriptors that the browser speaks on are 3 and 4.
        script = f"exec 3<&{to_read} 4>&{back_write}; exec \"$@\""
        words = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu"]
        words += ["--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe"]
        words += ["--user-data-dir=" + FOLDER, "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", script, "browser", *words],
            pass_fds=(to_read, back_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(back_write)
        self.rest = b""
        self.number = 0
        self.events = []
        self.session = None

    def read(self):
        while b"\0" not in self.rest:
            piece = os.read(self.back, 65536)
            assert piece, "the browser has ended"
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, url):
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(domain + ".enable")
        self.call("Page.navigate", url=url)

    def ask(self, text):
        answer = self.call(
            "Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, text):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if self.ask(text):
                    return
            except AssertionError:
                pass  # Between two pages.
            time.sleep(0.05)
        raise AssertionError(f"never: {text}; the page says: {self.ask('document.body.innerText')}")

    def until_title(self, title):
        self.until(f"document.getElementById('title').textContent === {title!r}")

    def press(self, name, code):
        for kind in ("keyDown", "keyUp"):
            key = {"type": kind, "key": name, "windowsVirtualKeyCode": code}
            if name == "Enter" and kind == "keyDown":
                key["text"] = "\r"
            self.call("Input.dispatchKeyEvent", **key)

    def tab_to(self, text):
        """Walks with the keyboard to what has the focus when `text` holds."""
        for _ in range(40):
            self.press("Tab", 9)
            if self.ask(f"(it => {text})(document.activeElement)"):
                return
        raise AssertionError(f"the keyboard does not reach {text}")

    def fits(self, width):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        wide = self.ask("document.documentElement.scrollWidth > innerWidth")
        assert not wide, f"the page is wider than {width}"


def go_through(page):
    page.open(LINK)
    page.until_title("Created for you")
    # The code is gone from the address, and from the history.
    assert "#" not in page.ask("location.href")
    page.fits(360)
    page.tab_to("it.textContent === 'Next'")
    page.press("Enter", 13)
    page.until_title("Your entries")
    assert page.ask("document.activeElement.id") == "title"
    page.fits(360)
    page.fits(1280)
    page.tab_to("it.id === 'field-0'")
    described = "document.getElementById(document.activeElement.getAttribute('aria-describedby')"
    assert page.ask(described + ".split(' ')[0]) !== null")
    # Entered at once, before it was checked while it was typed.
    page.call("Input.insertText", text="wrong")
    page.press("Enter", 13)
    page.until("document.getElementById('status').textContent.includes('nothing is lost')")
    assert "does not fit ^sk-" in page.ask("document.getElementById('field-0-problem').textContent")
    # What was typed is there, and the field has the focus.
    assert page.ask("document.getElementById('field-0').value") == "wrong"
    assert page.ask("document.activeElement.id") == "field-0"
    page.ask("document.activeElement.select()")
    page.call("Input.insertText", text=VALUE)
    page.until("document.getElementById('field-0-problem').textContent === '✓ fits'")
    assert page.ask("document.getElementById('status').textContent") == ""
    assert page.ask("document.getElementById('field-0').type") == "password"
    page.tab_to("it.textContent === 'Show'")
    page.press("Enter", 13)
    page.until("document.getElementById('field-0').type === 'text'")
    page.tab_to("it.id === 'field-1'")
    page.call("Input.insertText", text="something")
    page.tab_to("it.textContent === 'Save and go on'")
    page.press("Enter", 13)
    page.until_title("All is set")
    assert "Not yet used" not in page.ask("document.body.innerText")
    page.fits(360)
    page.tab_to("it.textContent === 'Continue'")
    page.press("Enter", 13)
    page.until("(document.getElementById('progress') || {}).textContent === 'The application is ready.'")
    page.until_title("The application runs")
    left = page.ask("document.documentElement.outerHTML + JSON.stringify(sessionStorage)")
    assert VALUE not in left
    # Names are texts, whatever stands in them.
    assert page.ask("document.images.length") == 0
    page.call("Page.reload")
    page.until_title("Created for you")
    change_settings(page)


def change_settings(page):
    """What is changed while the application runs; what is optional is taken away."""
    page.tab_to("it.textContent === 'Next'")
    page.press("Enter", 13)
    page.until_title("Your entries")
    assert page.ask("[...document.querySelectorAll('button')].map(it => it.textContent)"
                    ".filter(it => it === 'Remove').length") == 1
    page.tab_to("it.textContent === 'Remove'")
    page.press("Enter", 13)
    page.until("document.getElementById('field-1').disabled")
    page.tab_to("it.id === 'field-0'")
    page.call("Input.insertText", text=VALUE + "2")
    page.press("Enter", 13)
    page.until_title("All is set")
    told = page.ask("document.body.innerText")
    assert "Not yet used by: api" in told, told
    assert "Extra: ✓ left out" in told, told
    page.tab_to("it.textContent === 'Continue'")
    page.press("Enter", 13)
    page.until_title("The application runs")
    page.call("Page.reload")
    page.until_title("Created for you")
    page.tab_to("it.textContent === 'Next'")
    page.press("Enter", 13)
    page.until_title("Your entries")
    page.tab_to("it.textContent === 'Save and go on'")
    page.press("Enter", 13)
    page.until_title("All is set")
    page.tab_to("it.textContent === 'Restart api now'")
    page.press("Enter", 13)
    page.until("(document.getElementById('progress') || {}).textContent === 'The application is ready.'")
    page.until("!document.body.innerText.includes('Not yet used')")


def main():
    page = Browser()
    try:
        go_through(page)
        page.open(LINK)
        page.until_title("This page cannot be opened")
        sent = [event["params"] for event in page.events
                if event.get("method") == "Network.requestWillBeSent"]
        hosts = {event["request"]["url"].split("/")[2] for event in sent
                 if event["request"]["url"].startswith("http")}
        assert hosts == {LINK.split("/")[2]}, hosts
        names = {event.get("method") for event in page.events}
        assert "Page.javascriptDialogOpening" not in names
        assert "Runtime.exceptionThrown" not in names
    finally:
        page.process.terminate()
        page.process.wait()


main()

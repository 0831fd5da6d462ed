"""Drives a real headless Chromium through its debugging protocol."""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-port=0",
)


def find_chromium():
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser process with one page. `console` and `failures` collect what went wrong on the page."""

    def __init__(self, folder, *flags):
        self.folder = Path(folder)
        self.process = subprocess.Popen(
            [find_chromium(), *FLAGS, *flags, f"--user-data-dir={self.folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._numbers = itertools.count(1)
        self.console, self.failures = [], []
        self._stack = ExitStack()
        self._stack.callback(self._end)
        try:
            self._socket = self._stack.enter_context(connect(self._page_address(), max_size=64 * 2**20))
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def _page_address(self):
        limit = time.monotonic() + 30
        port_file = self.folder / "DevToolsActivePort"
        while time.monotonic() < limit:
            if port_file.exists() and port_file.read_text().strip():
                port = port_file.read_text().splitlines()[0]
                pages = httpx.get(f"http://127.0.0.1:{port}/json").json()
                page = next((each for each in pages if each["type"] == "page"), None)
                if page:
                    return page["webSocketDebuggerUrl"]
            time.sleep(0.05)
        raise TimeoutError("Chromium did not open its debugging port")

    def call(self, method, **parameters):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    def _note(self, message):
        method, values = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning"):
            self.console.append(" ".join(str(each.get("value", each)) for each in values["args"]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(
                values["exceptionDetails"].get("exception", {}).get("description", "exception")
            )
        elif method == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.console.append(f"{values['entry']['text']} {values['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.failures += [values["request"]["url"]] if not _local(values["request"]["url"]) else []

    def open(self, url, width=1400, height=950, dark=False):
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def run(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"].get("description"))
        return result["result"].get("value")

    def until(self, script, timeout=30.0):
        limit = time.monotonic() + timeout
        while time.monotonic() < limit:
            if value := self.run(script):
                return value
            time.sleep(0.1)
        raise TimeoutError(f"not within {timeout} s: {script}; console: {self.console}")

    def screenshot(self, path):
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        self._stack.close()

    def _end(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


def _local(url):
    return url.startswith(("http://127.0.0.1", "blob:", "data:", "about:", "chrome:"))

"What every test shares: a sandbox of its own, the console scripts, and small sets of images"
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1' # before torch is imported; for what the tests start too

import pytest

from dcgan.data.store import load, write_set

nowhere = 'http://127.0.0.1:9' # a closed port: what goes through this proxy fails at once
proxies = ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY')

@pytest.fixture(autouse=True)
def sandbox(tmp_path, monkeypatch):
    "A store, runs and figures of the test's own, in the working directory; no network"
    for name in ('DATA', 'RUNS', 'FIGURES'):
        monkeypatch.setenv(f'DCGAN_{name}', str(tmp_path/name.lower()))
    for name in proxies:
        monkeypatch.setenv(name, nowhere)
    for name in ('no_proxy', 'NO_PROXY', 'DCGAN_WEIGHTS', 'IN_TEST'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path

def script(name): # a console script of this environment
    return str(Path(sys.executable).with_name(name))

def command(name, *args, **options):
    return [name, *map(str, args), *[f'--{k}={v}' for k, v in options.items()]]

@pytest.fixture
def start():
    "Starts a console script: `start('dcgan-train', 'svhn32', batch=16)`; killed at the end"
    started = []
    def start(name, *args, cwd=None, **options):
        pipe = subprocess.PIPE
        said = command(script(name), *args, **options)
        started.append(subprocess.Popen(said, stdout=pipe, stderr=pipe, text=True, cwd=cwd))
        return started[-1]
    yield start
    for process in started:
        process.kill()
        process.communicate()

@pytest.fixture
def run(start):
    "Runs a console script to its end: `returncode`, `stdout` and `stderr` come back"
    def run(*args, **kw):
        process = start(*args, **kw)
        out, err = process.communicate(timeout=900)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)
    return run

@pytest.fixture
def error_of(monkeypatch):
    "What a console script gives to `sys.exit`, called as a function in this process"
    def error_of(function, *args, **options):
        monkeypatch.setattr(sys, 'argv', command(function.__name__, *args, **options))
        with pytest.raises(SystemExit) as stopped:
            function()
        return stopped.value.code
    return error_of

@pytest.fixture(scope='session')
def drawn():
    "256 labelled images of two worlds"
    sizes = dict(street_digits=32, digits=28)
    return {name: load(name, n=256, size=size) for name, size in sizes.items()}

@pytest.fixture
def store(sandbox, drawn):
    "A store with the sets `streets` (3×32×32) and `handwritten` (1×28×28)"
    for name, world in dict(streets='street_digits', handwritten='digits').items():
        images, labels = drawn[world].images, drawn[world].labels
        write_set(name, (images, labels), (images[:64], labels[:64]))
    return sandbox/'data'

# What is shown in a browser

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

@pytest.fixture(scope='session')
def serve():
    "Serves folders on this machine: `serve(folder)` gives the address"
    servers = []
    def serve(folder):
        handler = functools.partial(Quiet, directory=folder)
        servers.append(http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f'http://127.0.0.1:{servers[-1].server_port}'
    yield serve
    for server in servers:
        server.shutdown()

@pytest.fixture(scope='session')
def browser():
    "Chromium without a window"
    missing = 'playwright is not installed: make setup'
    sync_api = pytest.importorskip('playwright.sync_api', reason=missing)
    chromium = shutil.which('chromium')
    if not chromium:
        pytest.skip('no browser: install chromium')
    quiet = ['no-sandbox', 'disable-gpu', 'disable-quic', 'no-first-run', 'disable-sync',
             'disable-background-networking', 'disable-component-update']
    options = dict(executable_path=chromium, args=[f'--{a}' for a in quiet])
    with sync_api.sync_playwright() as playwright:
        with playwright.chromium.launch(**options) as browser:
            yield browser

def contents(folder): # path → bytes, of every file in it
    files = [p for p in sorted(Path(folder).rglob('*')) if p.is_file()]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}

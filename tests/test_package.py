"What is published: one version everywhere, an sdist that builds, a wheel with all that it needs"

import json
import re
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml
from copies import copy_repository

import dcgan

root = Path(__file__).parents[1]
parser = ConfigParser(delimiters=['='])
parser.read(root / 'settings.ini')
cfg = parser['DEFAULT']
lock = (root / 'lock-py311-linux.txt').read_text()


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((root / 'CITATION.cff').read_text())
    changes = (root / 'CHANGELOG.md').read_text()
    newest, day = re.search(r'^## (\S+), (\S+)$', changes, re.M).groups()
    zenodo = json.loads((root / '.zenodo.json').read_text())
    found = {cfg['version'], dcgan.__version__, citation['version'], zenodo['version'], newest}
    assert found == {cfg['version']} and str(citation['date-released']) == day
    assert citation['title'] == zenodo['title']
    assert citation['license'] == zenodo['license'] == 'Apache-2.0'


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    "A wheel built from the sdist, which is built from a copy of the repository"
    copy = copy_repository(tmp_path_factory.mktemp('copy') / 'repository')
    command = [sys.executable, '-m', 'build', '--no-isolation', '--outdir', 'dist', '.']
    built = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return next((copy / 'dist').glob(f"dcgan-{cfg['version']}-*.whl"))


def test_the_wheel_holds_every_module_and_the_pretrained_networks(wheel):
    names = {*zipfile.ZipFile(wheel).namelist()}
    modules = {p.relative_to(root).as_posix() for p in root.glob('dcgan/**/*.py')}
    weights = {f'dcgan/weights/{p.name}' for p in root.glob('figures/weights/*')}
    assert modules | weights <= names
    assert {n.split('/')[0] for n in names} == {'dcgan', f"dcgan-{cfg['version']}.dist-info"}


def test_an_installed_wheel_finds_its_networks_from_any_folder(wheel, tmp_path, monkeypatch):
    zipfile.ZipFile(wheel).extractall(tmp_path / 'site')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path / 'site'))
    code = 'import dcgan; print(dcgan.__file__, *dcgan.pretrained_names())'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    where, *names = done.stdout.split()
    assert where.startswith(str(tmp_path)), done.stderr
    assert names == sorted(p.stem for p in root.glob('figures/weights/*.safetensors'))


def test_a_notebook_runs_outside_a_checkout(wheel, run, tmp_path, monkeypatch):
    zipfile.ZipFile(wheel).extractall(tmp_path / 'site')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path / 'site'))
    (tmp_path / 'work').mkdir()
    notebook = root / 'nbs/14_claims.ipynb'
    done = run('papermill', notebook, 'out.ipynb', '-p', 'scale', 'smoke', cwd=tmp_path / 'work')
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / 'figures/smoke/claims.md').exists()


def test_the_lock_file_pins_what_was_tested_with_hashes_and_names_no_host():
    pins = dict(re.findall(r'^([\w.-]+)==(\S+) \\$', lock, re.M))
    normal = {re.sub('[-_.]+', '-', name).lower(): v for name, v in pins.items()}
    tested = re.findall(r'^([\w.-]+)==([^ ;]+)', (root / 'constraints.txt').read_text(), re.M)
    tested = {re.sub('[-_.]+', '-', name).lower(): v for name, v in tested}
    assert {k: v for k, v in tested.items() if normal.get(k, v) != v} == {}
    required = re.findall(r'[\w-]+(?=[<>=]|\s|$)', cfg['requirements'].replace('\n', ' '))
    assert {name.lower() for name in required if not name.isdigit()} <= normal.keys()
    assert lock.count('--hash=sha256:') >= len(pins) > 100 and '://' not in lock

"`dcgan-figures` from outside: a killed run is made again, a complete one is kept and not repeated"

import shutil
import time
from pathlib import Path

import nbformat
import pytest

from dcgan.tools.figures import figures_cli
from dcgan.tools.kept import picture_of

root = Path(__file__).parents[1]


@pytest.fixture
def project(sandbox):
    "A project with one notebook of the repository"
    for name in ('dcgan', 'settings.ini', 'nbs/lib/gan/nets.ipynb'):
        (sandbox / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (root / name).is_dir() else shutil.copy)(root / name, sandbox / name)
    return sandbox


def wait_for(path, seconds=60):
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f'{path} did not appear'
        time.sleep(0.05)


def test_killed_run_is_made_again_and_a_complete_one_is_kept(start, run, project):
    kept, running = (
        project / 'figures' / 'smoke' / 'notebooks' / 'nets.ipynb',
        project / 'runs' / 'executed' / 'nets.ipynb',
    )
    process = start('dcgan-figures', scale='smoke')
    wait_for(running)
    process.kill()
    assert not kept.exists()
    done = run('dcgan-figures', scale='smoke')
    assert done.returncode == 0 and '1 notebook at smoke' in done.stdout, done.stderr
    nb = nbformat.read(kept, 4)
    shown = [picture_of(o) for c in nb.cells for o in c.get('outputs', [])]
    assert 'fig01.png' in shown and nb.metadata.dcgan['left'] == ['fig01.json']
    assert (kept.parent / '../fig01.png').exists()
    assert str(project) not in kept.read_text() and not running.exists()
    assert 'nets: up to date' in run('dcgan-figures', scale='smoke').stdout


def test_elsewhere_and_a_damaged_result_end_with_one_clear_line(error_of, sandbox, monkeypatch):
    where = f'dcgan-figures: {sandbox / "nbs"} holds no notebooks'
    assert error_of(figures_cli).startswith(where)
    (sandbox / 'figures').mkdir()
    (sandbox / 'figures' / 'table2.json').write_text('<<<<<<< HEAD')
    monkeypatch.chdir(root)
    error = error_of(figures_cli)
    assert 'table2.json is damaged' in error and 'git checkout HEAD' in error

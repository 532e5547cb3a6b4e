"`dcgan-figures` from outside: a killed run is made again, a complete one is kept and not repeated"

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import nbformat
import pytest

from dcgan.base.core import hash_of
from dcgan.tools.budget import Ledger
from dcgan.tools.figures import figures_cli
from dcgan.tools.kept import picture_of, verify_cli

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


def git(folder, *args):
    who = dict(GIT_AUTHOR_NAME='a', GIT_AUTHOR_EMAIL='a', GIT_COMMITTER_NAME='a',
               GIT_COMMITTER_EMAIL='a')
    done = subprocess.run(['git', '-C', folder, *args], env=os.environ | who, check=True,
                          capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def traced(sandbox):
    "A repository with a kept result of its first commit"
    git(sandbox, 'init', '-q')
    git(sandbox, 'commit', '-q', '--allow-empty', '-m', 'sources')
    (sandbox / 'figures').mkdir()
    (sandbox / 'figures/line.png').write_text('a line')
    kept = dict(notebook='nets', commit=git(sandbox, 'rev-parse', '--short=12', 'HEAD'),
                files={'line.png': hash_of(sandbox / 'figures/line.png')})
    (sandbox / 'figures/line.json').write_text(json.dumps(kept))
    git(sandbox, 'add', '.')
    git(sandbox, 'commit', '-q', '-m', 'results')
    return sandbox


def test_commits_that_cannot_be_checked_are_no_faults(run, traced, monkeypatch, tmp_path):
    monkeypatch.delenv('DCGAN_FIGURES')
    done = run('dcgan-verify')
    assert (done.returncode, done.stdout) == (0, 'All results hold.\n')
    shallow = tmp_path / 'shallow'
    git(tmp_path, 'clone', '-q', '--depth=1', f'file://{traced}', str(shallow))
    done = run('dcgan-verify', cwd=shallow)
    assert 'git fetch --unshallow' in done.stdout and done.returncode == 0, done
    monkeypatch.setenv('PATH', '')
    done = run('dcgan-verify', cwd=traced)
    assert done.stdout.startswith('Commits are not checked') and done.returncode == 0, done


def test_nothing_kept_is_not_what_holds(error_of, sandbox):
    assert 'figures holds no kept results' in error_of(verify_cli)


@pytest.mark.parametrize('text', ['', '[1]', '{"table3": {}}', '\xff'])
def test_damaged_ledger_counts_as_empty(sandbox, capsys, text):
    (sandbox / 'state.json').write_text(text, encoding='latin1')
    ledger = Ledger(sandbox)
    assert ledger.parts == {} and 'state.json is damaged' in capsys.readouterr().out
    ledger.save()
    assert Ledger(sandbox).is_open('table3', '')

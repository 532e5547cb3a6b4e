"""README's commands, each run in a bare folder as a new user would

Trainings and samples are made small. Commands that run for long are checked as far as they start:
their targets, notebooks and parameters exist.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import papermill
import pytest
from PIL import Image

from dcgan.data.prepare import prepare_cli
from dcgan.data.store import resize_images, write_set
from dcgan.gan.launch import train_cli
from dcgan.tools.figures import asked_for, check_options, command_line, jobs_of, read_parameters
from dcgan.tools.use import generate_cli, score_cli, walk_cli

root = Path(__file__).parents[1]
blocks = re.findall(r'^```(\w*)\n(.*?)^```$', (root / 'README.md').read_text(), re.M | re.S)
lines = [re.sub(r' +#.*', '', x) for kind, text in blocks if not kind for x in text.splitlines()]
lines = [line for line in dict.fromkeys(lines) if re.match(r'[a-z]', line)]


@pytest.fixture
def folder(sandbox, drawn, monkeypatch):
    "A bare folder with sets, photos in FOLDER, and the networks of the checkout"
    d = drawn['street_digits']
    for name, size in dict(svhn=32, mine128=128).items():
        images = resize_images(d.images[:96], size)
        write_set(name, (images[:64], d.labels[:64]), (images[64:], d.labels[64:96]))
    Path('FOLDER').mkdir()
    for i, image in enumerate(drawn['street_digits'].images[:12]):
        Image.fromarray(image.transpose(1, 2, 0)).save(f'FOLDER/{i}.png')
    monkeypatch.setenv('DCGAN_FIGURES', str(root / 'figures'))
    return sandbox


def call(function, *small):
    "Runs a command in this process; what is given last counts"

    def run(words, monkeypatch):
        monkeypatch.setattr(sys, 'argv', [*words, *small])
        function()

    return run


def prepare(words, monkeypatch):
    "Images are prepared; what is missing here is said in one line: a network, LSUN's files, faces"
    monkeypatch.setattr(sys, 'argv', [*words, '--workers=1'])
    try:
        prepare_cli()
    except SystemExit as e:
        assert words[1] in ('svhn', 'lsun_bedroom', 'face_photos'), e
        assert str(e).startswith('dcgan-prepare: ') and '\n' not in str(e)


def make(words, monkeypatch):
    monkeypatch.chdir(root)
    said = subprocess.run([*words, '-n'], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    if words[1] == 'figures':
        command = shlex.split(re.search(r'dcgan-figures.*', said.stdout)[0])
        figures(command, monkeypatch)


def figures(words, monkeypatch):
    monkeypatch.chdir(root)
    parser = command_line()
    a = parser.parse_args(words[1:])
    check_options(a, parser)
    jobs_of(asked_for(a.notebooks), 'smoke', read_parameters(a.p, a.y))


def run_notebook(words, monkeypatch):
    _, notebook, _, *options = words
    known = papermill.inspect_notebook(str(root / notebook))
    assert options[::3] == ['-p'] * (len(options) // 3) and {*options[1::3]} <= {*known}


def torchrun(words, monkeypatch):
    run(words[words.index('dcgan-train') :], monkeypatch)


train = call(train_cli, '--images=16', '--batch=16', '--epochs=1', '--width=0.03', '--device=cpu')
ways = {'make': make, 'dcgan-figures': figures, 'papermill': run_notebook,
        'torchrun': torchrun, 'dcgan-train': train, 'dcgan-prepare': prepare,
        'dcgan-generate': call(generate_cli, '--n=4'),
        'dcgan-walk': call(walk_cli, '--points=2', '--steps=2'),
        'dcgan-score': call(score_cli, '--n=8')}  # fmt: skip


def run(words, monkeypatch):
    ways[words[0]](words, monkeypatch)


def test_every_block_is_of_a_kind_that_is_tested():
    assert {kind for kind, _ in blocks} == {'', 'python'} and len(lines) > 15
    others = [x for k, text in blocks if not k for x in text.splitlines() if x.strip() not in lines]
    others = [x for x in others if re.sub(r' +#.*', '', x) not in lines]
    assert all(re.match(r'[@}]| +\w+ += \{', x) for x in others), others  # how to cite


@pytest.mark.parametrize('line', lines)
def test_command(line, folder, monkeypatch):
    monkeypatch.chdir(folder)
    run(shlex.split(line), monkeypatch)


small = {'n=64': 'n=4', 'points=6': 'points=2', "train='svhn'": "train='svhn', n=8",
         "'normal')": "'normal', starts=1, steps=1)"}  # fmt: skip


@pytest.mark.parametrize('text', [text for kind, text in blocks if kind == 'python'])
def test_python(text, folder, capsys):
    for old, new in small.items():
        assert old in text
        text = text.replace(old, new)
    exec(text, {})
    assert "'kid'" in capsys.readouterr().out

"The commands for trained networks, as a shell calls them, and without the extras"

import json
import resource
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
import torch
from conftest import contents
from PIL import Image
from safetensors.torch import save_file

import dcgan
from dcgan.data.prepare import prepare_cli
from dcgan.gan.checkpoints import read_checkpoint
from dcgan.gan.launch import train, train_cli
from dcgan.gan.trainer import Recipe
from dcgan.tools.use import generate_cli, score_cli, walk_cli

root = Path(__file__).parents[1]


@pytest.fixture(scope='module')
def network(tmp_path_factory, drawn):
    "The folder of a tiny training"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('DCGAN_RUNS', str(tmp_path_factory.mktemp('runs')))
        recipe = Recipe('svhn32', 1 / 16, batch=64)
        yield train(recipe, drawn['street_digits'], device='cpu', progress=False).folder


@pytest.fixture
def call(monkeypatch):
    "Calls a command with a shell's arguments"

    def call(function, *args):
        monkeypatch.setattr(sys, 'argv', [function.__name__, *map(str, args)])
        function()

    return call


def test_images_of_a_network_are_scored_from_their_folder(call, network, store, capsys):
    call(generate_cli, network, '--out=fakes', '--n=40', '--seed=3', '--truncation=0.8')
    call(generate_cli, network, '--out=grid.png', '--n=9')
    assert len(contents('fakes')) == 40 and Image.open('grid.png').size == (100, 100)
    call(score_cli, 'fakes', 'streets', '--train=streets', '--out=scores.json')
    said, kept = capsys.readouterr().out, json.loads(Path('scores.json').read_text())
    assert '| memorisation % |' in said and kept['n'] == 40 and kept['kid'] > 0


@pytest.mark.parametrize('out', ['walk.gif', 'walk.mp4'])
def test_a_walk_is_written(call, network, out):
    call(walk_cli, network, f'--out={out}', '--points=2', '--steps=3', '--n=4')
    assert Path(out).stat().st_size > 1000


@pytest.mark.parametrize('out', ['walk.gif', 'walk.mp4'])
def test_a_walk_that_is_cut_short_leaves_the_older_film(error_of, network, out):
    Path(out).write_text('older')
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # stands for a full disk
    try:
        error = error_of(walk_cli, network, f'--out={out}', points=2, steps=3, n=4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"make room there and run it again): '{out}'" in error and '\n' not in error
    assert contents('.') == {out: b'older'}


wrong = [
    (generate_cli, 'nowhere', "no network in 'nowhere': give a folder that dcgan-train printed"),
    (generate_cli, 'NETWORK --n=0', 'n is 0: it must be a whole number from 1'),
    (generate_cli, 'NETWORK --truncation=0', 'truncation is 0.0: it must be a number from 0.05'),
    (generate_cli, 'NETWORK --out=.', '. is not empty: choose a new folder'),
    (generate_cli, 'NETWORK --out=a.jpg', "unknown ending of --out '.jpg': one of .png"),
    (walk_cli, 'NETWORK --label=3', 'NETWORK has no classes: leave the label out'),
    (walk_cli, 'NETWORK --kind=cubic', "unknown kind 'cubic': one of linear, spherical"),
    (walk_cli, 'NETWORK --out=walk.avi', "unknown ending of --out '.avi': one of .gif, .mp4"),
    (score_cli, 'NETWORK nowhere', "no images in 'nowhere': give a folder, or one of"),
    (score_cli, 'NETWORK streets --n=3', '3 images are too few: give at least 8 of each'),
    (train_cli, 'svhn32 --images=-1', 'images is -1: it must be a whole number from 1 upwards'),
    (train_cli, 'dcgan --size=100', 'unknown size 100: one of 32, 64, 128, 256'),
    (train_cli, 'svhn32 --size=64', 'svhn32 draws 32 pixels, not 64: use dcgan --size 64'),
]


@pytest.mark.parametrize(('command', 'args', 'line'), wrong)
def test_wrong_input_ends_with_one_line_that_names_the_remedy(
    error_of, network, store, command, args, line
):
    error = error_of(command, *args.replace('NETWORK', str(network)).split())
    name = f"dcgan-{command.__name__.removesuffix('_cli')}"
    line = line.replace('NETWORK', str(network))
    assert error.startswith(f'{name}: {line}') and '\n' not in error


def test_a_photo_without_a_face_is_refused_with_the_remedy(error_of, sandbox):
    Path('photos').mkdir()
    Image.new('RGB', (200, 200), 'grey').save('photos/wall.png')
    error = error_of(prepare_cli, 'face_photos', '--source=photos', '--workers=1', test_share=0)
    assert 'such as wall.png: no face of 32 pixels or more, seen from the front' in error
    assert '--size takes smaller ones, --kind folder whole photos' in error and '\n' not in error


def test_checkpoints_of_another_family_are_refused_with_the_remedy(error_of, network, sandbox):
    tensors, record = read_checkpoint(network / 'checkpoint.safetensors')
    record['recipe']['family'] = 'sphere3'
    save_file(tensors, 'other.safetensors', dict(trainer=json.dumps(record)))
    save_file(tensors, 'foreign.safetensors')
    remedies = {'other': "unknown family 'sphere3'", 'foreign': 'give one that dcgan-train wrote'}
    for name, remedy in remedies.items():
        error = error_of(generate_cli, f'{name}.safetensors')
        assert remedy in error and '\n' not in error


def test_a_network_for_128_pixels_is_trained_and_sampled(call, capsys):
    given = '--dataset=rooms', '--images=16', '--batch=8', '--width=0.0625', '--device=cpu'
    call(train_cli, 'dcgan', '--size=128', *given)
    folder = capsys.readouterr().out.splitlines()[-1]
    assert Path(folder).name.startswith('dcgan128_')
    assert dcgan.generate(folder, n=2).shape == (2, 3, 128, 128)


def test_names_at_the_top_are_lazy():
    code = "import sys, dcgan; assert 'torch' not in sys.modules; assert 'generate' in dir(dcgan)"
    subprocess.run([sys.executable, '-c', code], check=True)
    assert all(callable(getattr(dcgan, name)) for name in dcgan._lazy)


without = """
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.split('.')[0] not in {blocked}:
            return PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [Without if f is PathFinder else f for f in sys.meta_path]
import dcgan.base.core, dcgan.data.prepare, dcgan.gan.launch, dcgan.tools.hub, dcgan.tools.use
import dcgan.paper.invert, dcgan.paper.arithmetic
from dcgan.tools.commands import figures_command
figures_command()
"""


def test_what_training_and_sampling_import_is_installed_without_extras():
    parser = ConfigParser(delimiters=['='])
    parser.read(root / 'settings.ini')
    extras = [
        name.split('=')[0].replace('-', '_')
        for extra in ('paper', 'hub', 'workflow', 'dev')
        for name in parser['DEFAULT'][f'{extra}_requirements'].split()
    ]
    code = without.format(blocked=[*extras, 'IPython'])
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stderr.strip().splitlines() == [
        "nbformat is not installed: pip install 'dcgan[paper]'"
    ]


def test_the_same_seed_gives_the_same_images(network):
    a, b = dcgan.generate(network, 5, seed=1), dcgan.generate(network, 70, seed=1)[:5]
    assert torch.equal(a, b)

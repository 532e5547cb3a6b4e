"Parts under a time budget, and the bundle for a GPU machine: a killed call is gone on with"
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import papermill
import psutil
import pytest
import torch
from conftest import contents
from safetensors.torch import save_file

from dcgan.data.store import load
from dcgan.gan.nets import build
from dcgan.gan.trainer import Recipe, Trainer
from dcgan.tools import budget
from dcgan.tools.budget import Part

root = Path(__file__).parents[1]
sys.path.insert(0, str(root/'bundle'))

import install
import pack
import results
import smoke
import weights


def test_parts_name_notebooks_and_parameters_that_exist():
    for name, part in budget.parts.items():
        assert 1 <= part.lanes <= 3 and part.seconds > 0
        if part.runs.endswith('.py'):
            assert (root/part.runs).exists()
        else:
            known = papermill.inspect_notebook(str(root/'nbs'/f'{part.runs}.ipynb'))
            assert {'scale', *part.parameters} <= {*known}, name


def test_every_set_that_a_part_needs_can_travel():
    needed = {n for part in budget.parts.values() for n in part.data}
    assert needed <= {*pack.named} == {n for c in pack.copies.values() for n in c
                                       if n not in ('wheels', 'weights')}


def test_every_copy_can_be_packed(sandbox):
    for copy in pack.copies:
        assert pack.carried(copy, sandbox) == pack.copies[copy]
    assert pack.carried('wheels,mnist', sandbox) == ('wheels', 'mnist')
    with pytest.raises(SystemExit, match="pack: unknown 'cifar': one of A, B, C, D, wheels"):
        pack.carried('cifar', sandbox)
    (sandbox/'svhn').mkdir()
    (sandbox/'svhn/dataset.json').touch()
    assert pack.carried(None, sandbox) == ('wheels', 'weights', 'svhn')  # the whole


def test_wheels_are_those_of_this_environment_less_what_the_target_has():
    found = pack.resolve(['torchmetrics', 'numpy'], '3.12', {'torch', 'numpy'})
    assert 'torchmetrics' in found and not {'torch', 'numpy'} & {*found}
    assert 'sympy' not in found  # torch's
    assert pack.resolve(['nothing_of_the.kind>=1'], '3.12', set()) == {'nothing-of-the-kind': None}


def test_packages_that_only_the_target_needs_are_left_to_pip(sandbox, monkeypatch):
    asked = []
    def download(to, python, *args):
        asked.append(args)
        to.mkdir(parents=True, exist_ok=True)
        for name in ('aiohttp-3.9-cp312.whl', 'Multi_dict-6-cp312.whl', 'torch-2-cp312.whl'):
            (to/name).touch()
    monkeypatch.setattr(pack, 'root', sandbox)
    monkeypatch.setattr(pack, 'download', download)
    monkeypatch.setattr(pack, 'resolve', lambda *_: dict(aiohttp=None, pillow='11.0'))
    (sandbox/'settings.ini').write_text('[DEFAULT]\nrequirements = aiohttp\npaper_requirements =')
    (sandbox/'there').write_text('torch')
    to = pack.fetch_wheels('3.12', sandbox/'there')
    assert asked == [('--no-deps', 'pillow==11.0'), ('-c', str(to/'pinned.txt'), 'aiohttp')]
    assert sorted(p.name[:5] for p in to.glob('*.whl')) == ['Multi', 'aioht']  # no torch


@pytest.fixture
def precious(sandbox):
    "A folder of the user's, which no bundle may take the place of"
    (sandbox/'mine').mkdir()
    (sandbox/'mine/thesis.tex').write_text('all of it')
    return sandbox/'mine'


def test_bundle_takes_the_place_of_bundles_and_empty_folders_only(precious):
    with pytest.raises(SystemExit, match='mine is not empty and holds no bundle: choose a new'):
        pack.refuse_foreign(precious)
    with pytest.raises(SystemExit, match='thesis.tex is a file'):
        pack.refuse_foreign(precious/'thesis.tex')
    for above in (pack.root, pack.root.parent):
        with pytest.raises(SystemExit, match='holds this project: --to names a folder of its own'):
            pack.refuse_foreign(above)
    (precious/'.gpu').mkdir()
    (precious/'.gpu/commit').touch()
    pack.refuse_foreign(precious)
    pack.refuse_foreign(precious.parent/'new')
    (precious/'.git').touch()  # another checkout, into which a small copy was packed
    with pytest.raises(SystemExit, match='holds no bundle'):
        pack.refuse_foreign(precious)


def test_bundle_that_cannot_be_completed_leaves_the_older_one(precious, monkeypatch):
    def fails(*_):
        raise SystemExit('pack: mnist is not there')
    before = contents(precious.parent)
    monkeypatch.setattr(pack, 'copy_project', lambda new: new.mkdir())
    monkeypatch.setattr(pack, 'fill', fails)
    with pytest.raises(SystemExit):
        pack.write_bundle(precious, (), None)
    assert contents(precious.parent) == before
    monkeypatch.setattr(pack, 'fill', lambda gpu, *_: gpu.mkdir())
    pack.write_bundle(precious, (), None)
    assert [*precious.iterdir()] == [precious/'.gpu'] and [*precious.parent.iterdir()] == [precious]


@pytest.mark.parametrize('family', smoke.jobs)
def test_every_training_of_the_smoke_can_be_made(family):
    own = smoke.jobs[family] | dict(batch=4)
    assert smoke.advance(smoke.trainer(family, steps=2, **own), 1).step == 1


def test_proofs_come_last_and_alone():
    proofs = [p.parameters.get('scale') == 'smoke' for p in budget.parts.values()]
    assert proofs == sorted(proofs) and any(proofs)
    assert all(p.lanes == 3 for p, proof in zip(budget.parts.values(), proofs) if proof)


# Under a limit

def plan_for(commands, **own):
    return budget.Plan(lambda name: (commands[name], os.environ), todo_of(*commands), **own)


def todo_of(*names):
    return {name: Part(f'{name}.py', 1) for name in names}


def states(ledger):
    return {name: entry['status'] for name, entry in ledger.parts.items()}


def test_part_that_was_left_running_is_looked_after(sandbox):
    commands = dict(a=['sleep', '1.5'])
    ledger = budget.Ledger(sandbox)
    budget.run(todo_of('a'), ledger, plan_for(commands, later=60), time.time() + .5)
    later = budget.Ledger(sandbox)
    assert states(later) == dict(a='running') and not later.is_open('a', '')
    budget.run({}, later, plan_for(commands), time.time() + 20)
    assert states(later) == dict(a='done')


def test_part_killed_from_outside_counts_as_stopped(sandbox):
    ledger = budget.Ledger(sandbox)
    ledger.begin('a', ['sleep', '60'], os.environ, '')
    os.killpg(ledger.parts['a']['pid'], signal.SIGKILL)
    budget.run({}, ledger, plan_for(dict(a=[])), time.time() + 20)
    assert states(ledger) == dict(a='stopped') and ledger.is_open('a', '')


# The command, in a bundle of two scripts

script = '''
import time
from pathlib import Path
kept = Path({folder!r})/'{name}_steps'
done = int(kept.read_text()) if kept.exists() else 0
while done < {seconds} * 10 and not Path({folder!r}, 'hurry').exists():
    time.sleep(.1)
    done += 1
    kept.write_text(str(done))
print('{name} is done')
'''


@pytest.fixture
def go(sandbox, monkeypatch):
    "Runs `go` of a bundle of two scripts: a short one, and a long one that continues where it was"
    for name in ('dcgan', 'nbs/lib/gan'):
        shutil.copytree(root/name, sandbox/name)
    shutil.copy(root/'settings.ini', sandbox)
    bundle = shutil.copytree(root/'bundle', sandbox/'.gpu')
    for name, seconds in dict(short=1, long=60).items():
        source = script.format(folder=str(sandbox), name=name, seconds=seconds)
        (sandbox/f'{name}.py').write_text(source)
    with open(sandbox/'dcgan/tools/budget.py', 'a') as f:
        f.write("\nparts.clear()\n"
                "parts.update(short=Part('short.py', 1), long=Part('long.py', 5))\n")
    (sandbox/'else').mkdir()
    monkeypatch.chdir(sandbox/'else')
    env = os.environ | dict(DCGAN_KEEP='../keep', OUT='../out',  # of the caller's folder
                            DCGAN_COMMIT='0123456789ab')
    shutil.copy(bundle/'run', sandbox)
    command = [str(sandbox/'run'), '--scale', 'smoke', '--lanes', '3']

    def go(*args):
        return subprocess.Popen([*command, *map(str, args)], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, env=env | dict(PYTHON=sys.executable))
    return go


state = 'keep/runs/smoke/parts/smoke/state.json'


def statuses(sandbox):
    entries = json.loads((sandbox/state).read_text()) if (sandbox/state).exists() else {}
    return {name: entry['status'] for name, entry in entries.items()}


def test_command_stops_in_time_and_goes_on(sandbox, go):
    began = time.time()
    said = go('--minutes', 1).communicate(timeout=90)[0]  # 20 of 60 seconds are for the end
    assert time.time() - began < 62
    assert statuses(sandbox) == dict(short='done', long='stopped'), said
    assert 0 < int((sandbox/'long_steps').read_text()) < 600
    (sandbox/'long_steps').write_text('598')
    said = go('--minutes', 2).communicate(timeout=120)[0]
    assert statuses(sandbox) == dict(short='done', long='done'), said
    assert 'long begins' in said and 'short begins' not in said
    assert (sandbox/'long_steps').read_text() == '600'
    with tarfile.open(sandbox/'out/results.tgz') as tar:
        log = tar.extractfile('runs/smoke/parts/smoke/logs/long.log').read().decode()
    assert 'long is done' in log


def test_command_killed_in_the_middle_is_gone_on_with(sandbox, go):
    process = go('--minutes', 2)
    while not (sandbox/'long_steps').exists():
        time.sleep(.1)
    for child in psutil.Process(process.pid).children():
        child.kill()  # dcgan-figures, which looked after the parts
    process.kill()
    process.communicate()
    assert statuses(sandbox)['long'] == 'running'
    (sandbox/'hurry').touch()
    said = go('--minutes', 2).communicate(timeout=120)[0]  # looks after what still runs
    assert statuses(sandbox) == dict(short='done', long='done'), said


def test_part_killed_with_its_command_is_begun_again(sandbox, go):
    process = go('--minutes', 2)
    while not (sandbox/'long_steps').exists():
        time.sleep(.1)
    for child in psutil.Process(process.pid).children():
        child.kill()
    process.kill()
    process.communicate()
    os.killpg(json.loads((sandbox/state).read_text())['long']['pid'], signal.SIGKILL)
    (sandbox/'hurry').touch()
    said = go('--minutes', 2).communicate(timeout=120)[0]
    assert statuses(sandbox) == dict(short='done', long='done') and 'long begins' in said, said


def test_sets_of_the_store_travel(store):
    bundle, keep = store.parent/'.gpu', store.parent/'keep'
    (bundle/'data').mkdir(parents=True)
    pack.pack_set(store, 'streets', bundle/'data')
    (bundle/'data/sets').write_text('streets')
    (keep/'store').mkdir(parents=True)
    there = install.Store(bundle, keep)
    assert there.wait(time.time() + 30) == []
    assert there.has('streets') and contents(keep/'store/streets') == contents(store/'streets')
    with pytest.raises(SystemExit, match='pack: mnist is not in'):
        pack.pack_set(store, 'mnist', bundle/'data')


def test_large_pictures_come_back_beside_the_small_files(sandbox):
    (sandbox/'keep/figures').mkdir(parents=True)
    (sandbox/'out').mkdir()
    for name, size in dict(a=10, b=60, c=70, d=200).items():
        (sandbox/f'keep/figures/{name}.png').write_bytes(bytes(size))
    missing = results.pack_results(sandbox/'keep', sandbox/'out', 100)
    assert [p.name for p in missing] == ['d.png']
    for name, held in zip(results.archives, (['a', 'b'], ['c'])):
        with tarfile.open(sandbox/'out'/name) as tar:
            assert tar.getnames() == [f'figures/{x}.png' for x in held]


def test_set_that_cannot_be_unpacked_is_named(sandbox):
    (sandbox/'data').mkdir()
    (sandbox/'data/sets').write_text('mnist')
    (sandbox/'data/mnist.tar.gz').write_bytes(b'\x1f\x8b cut')
    assert install.Store(sandbox, sandbox/'keep').wait(time.time() + 30) == ['mnist']


def test_trainings_that_travel_never_replace_newer_ones(sandbox):
    path = sandbox/'runs/svhn32_1/checkpoint.safetensors'
    there = sandbox/'keep/runs/paper/svhn32_1/checkpoint.safetensors'
    path.parent.mkdir(parents=True)
    path.write_text('epoch 3')
    (there.parents[1]/'.svhn32_1.part').mkdir(parents=True)  # left by a killed call
    for text in ('epoch 3', 'epoch 40'):
        install.carry(sandbox, sandbox/'keep', 'paper')
        assert there.read_text() == text
        there.write_text('epoch 40')
    assert [*there.parents[1].iterdir()] == [there.parent]


def test_wheels_of_a_killed_call_are_installed_anew(sandbox, monkeypatch):
    def pip(*args):
        assert not part.exists()
        part.mkdir()
    (sandbox/'whl').mkdir()
    (sandbox/'whl/foo.whl').touch()
    part = sandbox/'keep/site.part'
    (part/'half').mkdir(parents=True)
    monkeypatch.setattr(install, 'pip', pip)
    monkeypatch.setattr(sys, 'path', [*sys.path])
    install.install(sandbox, sandbox/'keep')
    assert [*(sandbox/'keep/site').iterdir()] == []


def test_command_names_an_unknown_part(go):
    process = go('--parts', 'table9')
    assert "dcgan-figures: unknown part 'table9': one of short, long" in process.communicate()[0]
    assert process.returncode == 1


# What comes back

def checkpoint(folder, family, images, name='best', maps=8):
    "A checkpoint such as the trainer writes: a network pair, Adam's moments, a history"
    draw = torch.Generator().manual_seed(images)
    state = {f'{net}.w': torch.randn(maps, maps, 3, 3, generator=draw) for net in 'GD'}
    moments = {f'adam_{k}.exp_avg': torch.zeros_like(v) for k, v in state.items()}
    history = [dict(epoch=1, seconds=1., images_per_second=images)]
    path = folder/f'{family}_{images:04d}'/f'{name}.safetensors'
    path.parent.mkdir(parents=True)
    save_file(state | moments, path, dict(trainer=json.dumps(dict(history=history))))
    return path


def unpacked(out, to):
    "What `cat weights.tar.* | tar x` gives"
    whole = b''.join(p.read_bytes() for p in sorted(out.glob('weights.tar.*')))
    (to/'whole.tar').write_bytes(whole)
    with tarfile.open(to/'whole.tar') as tar:
        tar.extractall(to, filter='data')
        return tar.getnames()


@pytest.fixture
def keep(sandbox):
    "Trainings of two scales"
    for family, images in dict(lsun64=900, svhn32=20, mnist28=50, turing32=800).items():
        checkpoint(sandbox/'keep/runs/paper', family, images)
    checkpoint(sandbox/'keep/runs/paper', 'mnist28', 10)  # a shorter one of the same family
    checkpoint(sandbox/'keep/runs/smoke', 'imagenet32', 5000)
    (sandbox/'out').mkdir()
    return sandbox/'keep'


def test_networks_are_taken_by_value_and_never_from_smoke(sandbox, keep):
    names = ['mnist28_0050', 'svhn32_0020', 'lsun64_0900', 'turing32_0800', 'mnist28_0010']
    taken, missing = results.collect(keep, sandbox/'out', 'paper')
    wanted = [f'{name}.{net}.safetensors' for net in 'GD' for name in names]
    assert taken == unpacked(sandbox/'out', sandbox) == wanted and not missing
    few, left = results.pack_weights(keep/'runs/paper', sandbox/'out', 120_000)
    assert few and left and few + left == wanted
    shutil.rmtree(sandbox/'out')
    (sandbox/'out').mkdir()
    assert results.collect(keep, sandbox/'out', 'smoke') == ([], [])
    assert not [*sandbox.glob('out/weights*')]


def test_unfinished_training_leaves_its_newest_state(sandbox):
    path = checkpoint(sandbox, 'svhn32', 7, name='checkpoint')
    assert weights.by_value(sandbox) == [(path, 'G'), (path, 'D')]


def test_damaged_checkpoint_keeps_nothing_else_back(sandbox, keep, capsys):
    damaged = keep/'runs/paper/svhn32_0020/best.safetensors'
    shutil.copy(damaged, damaged.with_name('checkpoint.safetensors'))
    for path in (damaged, keep/'runs/paper/lsun64_0900/best.safetensors'):
        path.write_bytes(b'')
    taken, _ = results.collect(keep, sandbox/'out', 'paper')
    assert 'svhn32_0020.G.safetensors' in taken and 'mnist28_0050.G.safetensors' in taken
    assert 'lsun64_0900.G.safetensors' not in taken  # it has no other state
    assert f'{damaged} cannot be read and is left out' in capsys.readouterr().out


def test_large_networks_travel_in_eight_bits_and_pieces(sandbox, monkeypatch):
    (sandbox/'out').mkdir()
    path = checkpoint(sandbox/'runs', 'lsun64', 9, maps=64)
    halves, eighths = weights.slim(path, 'G'), weights.slim(path, 'G', most=1000)
    assert len(eighths) < .6 * len(halves)
    monkeypatch.setattr(results, 'piece', 50_000)
    results.pack_weights(sandbox/'runs', sandbox/'out', 10**6)
    assert len([*sandbox.glob('out/weights.tar.*')]) > 1 and unpacked(sandbox/'out', sandbox)
    (sandbox/'eighths').write_bytes(eighths)
    whole = torch.randn(64, 64, 3, 3, generator=torch.Generator().manual_seed(9))
    for name, most in {'lsun64_0009.G.safetensors': 1e-3, 'eighths': 1e-2}.items():
        lost = (weights.read(sandbox/name)['w'] - whole).norm() / whole.norm()
        assert 0 < lost < most


def test_what_comes_back_is_the_network_that_was_trained(sandbox):
    data, recipe = load('digits', size=28, n=64), Recipe('mnist28', 1/16, batch=32, ema=.9)
    t = Trainer(recipe, data, sandbox/'runs/mnist28_a', 'cpu').fit(progress=False)
    (sandbox/'G').write_bytes(weights.slim(sandbox/'runs/mnist28_a/checkpoint.safetensors', 'G'))
    G = build('mnist28', 1/16, seed=5)[0]
    G.load_state_dict(weights.read(sandbox/'G'))
    pairs = zip(G.parameters(), t.sampler.parameters())
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in pairs)

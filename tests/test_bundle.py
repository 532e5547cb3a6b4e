"The bundle for a GPU machine: its stages exist, a limit holds, a killed call is gone on with"
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
import pytest
import torch
from conftest import contents
from safetensors.torch import save_file

from dcgan.data.store import load
from dcgan.gan.nets import build
from dcgan.gan.trainer import Recipe, Trainer

root = Path(__file__).parents[1]
sys.path.insert(0, str(root/'bundle'))

import install
import pack
import results
import schedule
import stages
import weights
from stages import Stage


def test_stages_name_notebooks_and_parameters_that_exist():
    for name, stage in stages.stages.items():
        assert 1 <= stage.lanes <= 3 and stage.seconds > 0
        if stage.runs.endswith('.py'):
            assert (root/'bundle'/stage.runs).exists()
        else:
            known = papermill.inspect_notebook(str(root/'nbs'/f'{stage.runs}.ipynb'))
            assert {'scale', *stage.parameters} <= {*known}, name


def test_every_set_that_a_stage_needs_is_in_a_part():
    for name, stage in stages.stages.items():
        assert all(stages.part_of(n) for n in stage.data), name


def test_every_part_can_be_packed():
    for part in stages.parts:
        assert pack.carried(part) == stages.parts[part]
    assert pack.carried('wheels,mnist') == ('wheels', 'mnist')
    with pytest.raises(SystemExit, match="pack: unknown 'cifar': one of A, B, C, D, wheels"):
        pack.carried('cifar')


def test_proofs_come_last_and_alone():
    proofs = [s.parameters.get('scale') == 'smoke' for s in stages.stages.values()]
    assert proofs == sorted(proofs) and any(proofs)
    assert all(s.lanes == 3 for s, proof in zip(stages.stages.values(), proofs) if proof)


def test_unknown_stage_is_named():
    assert [*stages.chosen('rooms, table3')] == ['table3', 'rooms']  # in order of value
    with pytest.raises(ValueError, match="unknown stage 'table9': one of smoke"):
        stages.chosen('table9')


# Scheduling

def test_the_most_valuable_stage_that_fits_begins():
    waiting = dict(large=(500, 2), small=(50, 1))
    assert schedule.choose(waiting, {}, 3, left=600) == 'large'
    assert schedule.choose(waiting, {}, 3, left=100) == 'small'
    assert schedule.choose(waiting, {}, 3, left=10) == 'large'  # none fits: it leaves what it has
    assert schedule.choose({}, {}, 3, left=600) is None


def test_lanes_are_kept_for_the_stage_that_is_next():
    waiting = dict(large=(500, 2), small=(50, 1))
    assert schedule.choose(waiting, dict(other=(0, 2)), 3, left=600) is None
    assert schedule.choose(waiting, dict(other=(0, 1)), 3, left=600) == 'large'
    assert schedule.choose(dict(alone=(50, 3)), {}, 1, left=600) == 'alone'


def plan_for(commands, **own):
    return schedule.Plan(begin=lambda name: (commands[name], os.environ), **own)


def todo_of(*names):
    return {name: Stage('x.py', 1) for name in names}


def states(ledger):
    return {name: entry['status'] for name, entry in ledger.stages.items()}


def test_time_limit_stops_and_a_later_call_goes_on(sandbox):
    ledger = schedule.Ledger(sandbox)
    commands = dict(quick=['true'], broken=['false'], slow=['sleep', '60'], late=['true'])
    began = time.time()
    left = schedule.run(todo_of(*commands), ledger, plan_for(commands, lanes=1), began + 4)
    ledger.stop()
    assert time.time() - began < 12 and [*left] == ['late']
    assert states(ledger) == dict(quick='done', broken='failed', slow='stopped')
    ledger = schedule.Ledger(sandbox)  # as the next call reads it
    open_ones = [name for name in commands if ledger.is_open(name, '')]
    assert open_ones == ['slow', 'late']
    commands['slow'] = ['true']
    assert not schedule.run(todo_of(*open_ones), ledger, plan_for(commands), time.time() + 20)
    assert states(ledger)['slow'] == states(ledger)['late'] == 'done'
    assert ledger.spent('slow') > 1  # seconds of both calls


def test_failed_stage_is_begun_again_after_a_change(sandbox):
    ledger = schedule.Ledger(sandbox)
    schedule.run(todo_of('a'), ledger, plan_for(dict(a=['false']), commit='1'), time.time() + 20)
    assert not ledger.is_open('a', '1')
    assert ledger.is_open('a', '2') and ledger.is_open('a', '1', again=True)


def test_stage_that_was_left_running_is_looked_after(sandbox):
    commands = dict(a=['sleep', '1.5'])
    ledger = schedule.Ledger(sandbox)
    schedule.run(todo_of('a'), ledger, plan_for(commands, later=60), time.time() + .5)
    later = schedule.Ledger(sandbox)
    assert states(later) == dict(a='running') and not later.is_open('a', '')
    schedule.run({}, later, plan_for({}), time.time() + 20)
    assert states(later) == dict(a='done')


def test_stage_killed_from_outside_counts_as_stopped(sandbox):
    ledger = schedule.Ledger(sandbox)
    ledger.begin('a', ['sleep', '60'], os.environ, '')
    os.killpg(ledger.stages['a']['pid'], signal.SIGKILL)
    schedule.run({}, ledger, plan_for({}), time.time() + 20)
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
def go(sandbox):
    "Runs `go` of a bundle of two scripts: a short one, and a long one that continues where it was"
    bundle = shutil.copytree(root/'bundle', sandbox/'.gpu')
    for name, seconds in dict(short=1, long=40).items():
        source = script.format(folder=str(sandbox), name=name, seconds=seconds)
        (bundle/f'{name}.py').write_text(source)
    with open(bundle/'stages.py', 'a') as f:
        f.write("\nstages = dict(short=Stage('short.py', 1), long=Stage('long.py', 5))\n")
    env = os.environ | dict(DCGAN_KEEP=str(sandbox/'keep'), OUT=str(sandbox/'out'))
    command = [sys.executable, str(bundle/'go'), '--scale', 'smoke']

    def go(*args):
        return subprocess.Popen([*command, *map(str, args)], env=env, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return go


def statuses(sandbox):
    entries = json.loads((sandbox/'keep/state.json').read_text())
    return {name: entry['status'] for name, entry in entries.items()}


def test_command_stops_in_time_and_goes_on(sandbox, go):
    began = time.time()
    said = go('--seconds', 28).communicate(timeout=60)[0]  # 20 of them are for the end
    assert time.time() - began < 28
    assert statuses(sandbox) == dict(short='done', long='stopped'), said
    assert 0 < int((sandbox/'long_steps').read_text()) < 400
    (sandbox/'long_steps').write_text('398')
    said = go('--seconds', 60).communicate(timeout=60)[0]
    assert statuses(sandbox) == dict(short='done', long='done'), said
    assert 'to do: long' in said and (sandbox/'long_steps').read_text() == '400'
    with tarfile.open(sandbox/'out/results.tgz') as tar:
        log = tar.extractfile('logs/long.log').read().decode()
    assert 'long is done' in log


def test_command_killed_in_the_middle_is_gone_on_with(sandbox, go):
    process = go('--seconds', 60)
    while not (sandbox/'long_steps').exists():
        time.sleep(.1)
    process.kill()
    process.communicate()
    assert statuses(sandbox)['long'] == 'running'
    (sandbox/'hurry').touch()
    said = go('--seconds', 60).communicate(timeout=60)[0]  # looks after what still runs
    assert statuses(sandbox) == dict(short='done', long='done'), said


def test_sets_of_the_store_travel(store):
    bundle, keep = store.parent/'.gpu', store.parent/'keep'
    (bundle/'data').mkdir(parents=True)
    pack.pack_set(store, 'streets', bundle/'data')
    (bundle/'data/sets').write_text('streets')
    (keep/'store').mkdir(parents=True)
    there = install.Store(bundle, keep)
    assert there.lacks(['streets', 'handwritten']) == ['handwritten']
    there.wait(time.time() + 30)
    assert there.ready(['streets']) and contents(keep/'store/streets') == contents(store/'streets')
    with pytest.raises(SystemExit, match='pack: mnist is not in'):
        pack.pack_set(store, 'mnist', bundle/'data')


def test_command_names_an_unknown_stage(go):
    process = go('--parts', 'table9')
    assert "go: unknown stage 'table9': one of short, long" in process.communicate()[0]
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

"Training from the command line: killed and resumed, in two processes, from damaged files, with wrong values"
import json, os, re, time
from dataclasses import replace
from inspect import signature
from itertools import count

import pytest
import torch
from conftest import contents, script
from dcgan.core import runs_root
from dcgan.data import load
from dcgan.models import build
from dcgan.train import Diverged, Recipe, Trainer, objectives, read_checkpoint, train, train_cli
from safetensors import safe_open
from torch.distributed.run import get_args_parser

tiny = dict(width=1/8, batch=16, lr=5e-4, precision='fp32')
cuda = pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='torch sees no GPU'))

def the_run(): # the only training of this test
    folder, = runs_root().iterdir()
    return folder

def checkpoint(): return read_checkpoint(the_run()/'checkpoint.safetensors')

def position(): # of the checkpoint, in (epoch, step); (0, 0) while there is none
    for path in runs_root().glob('*/checkpoint.safetensors'):
        with safe_open(path, 'pt') as f: record = json.loads(f.metadata()['trainer'])
        return record['epoch'], record['step']
    return 0, 0

def losses(history): return [(h['epoch'], h['loss_G'], h['loss_D']) for h in history]

def assert_equal(a, b): # bit for bit
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k].cpu())] == []

# Killed and resumed

def kill_within_epoch(process):
    while position()[1] == 0 and process.poll() is None: time.sleep(.005)
    process.kill(), process.communicate()
    return position()

@pytest.mark.parametrize('device', ['cpu', cuda])
def test_killed_training_resumes_bit_for_bit(start, run, store, monkeypatch, device):
    recipe = dict(tiny, batch=4, epochs=2)
    command = dict(recipe, dataset='streets', save_every=1, device=device)
    epoch, step = kill_within_epoch(start('dcgan-train', 'svhn32', **command))
    assert epoch < 2 and 0 < step < 64
    resumed = run('dcgan-train', 'svhn32', **command)
    assert re.search(r'(\d+)/128', resumed.stderr)[1] == str(64 * epoch + step), 'it did not go on where it was killed'
    tensors, record = checkpoint()
    monkeypatch.setenv('DCGAN_RUNS', 'uninterrupted')
    whole = train(Recipe(**recipe), load('streets'), device=device)
    assert_equal(tensors, whole.state())
    assert losses(record['history']) == losses(whole.history) and len(whole.history) == 2

# Two processes

def torchrun(run, *args, **options):
    return run('python', '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2', '--no-python', script('dcgan-train'), *args, **options)

def drift(a, b, family):
    "How far apart the weights of two states are, as a part of the way they went: 0.8 and more where gradients or statistics are not shared"
    start = {f'{k}.{name}': p.data for k, net in zip('GD', build(family, tiny['width'])) for name, p in net.named_parameters()}
    return max(float((a[k] - b[k]).norm() / (b[k] - start[k]).norm()) for k in start)

@pytest.mark.parametrize('family, dataset, schedule', [('svhn32', 'streets', 'alternate'), ('svhn32', 'streets', 'both'), ('mnist28', 'handwritten', 'alternate')])
def test_two_processes_train_what_one_trains(run, store, family, dataset, schedule):
    recipe = dict(tiny, batch=32, schedule=schedule)
    two = torchrun(run, family, **recipe, dataset=dataset, device='cpu')
    assert two.returncode == 0, two.stderr
    tensors, record = checkpoint()
    one = Trainer(Recipe(family, **recipe), load(dataset), 'one', device='cpu').fit()
    assert drift(tensors, one.state(), family) < .05
    torch.testing.assert_close(losses(record['history']), losses(one.history), atol=1e-3, rtol=0)

def test_batch_that_two_processes_cannot_share(run, store):
    done = torchrun(run, 'svhn32', dataset='streets', batch=15, width=1/8, device='cpu')
    assert done.returncode and 'dcgan-train: batch is 15, which 2 processes cannot share equally: use a multiple' in done.stderr
    assert 'dcgan/train.py' not in done.stderr, 'a traceback'

def test_no_option_abbreviates_one_of_torchrun():
    "Else torchrun takes it for its own, and stops"
    theirs = [s for action in get_args_parser()._actions for s in action.option_strings]
    assert [p for p in signature(train_cli).parameters if any(s.startswith(f'--{p}') for s in theirs)] == []

# Damaged checkpoints

@pytest.mark.parametrize('damage', [lambda b: b[:len(b)//2], lambda b: b[:100], lambda b: b'', lambda b: os.urandom(len(b))], ids=['half', 'header', 'empty', 'random'])
def test_damaged_checkpoint_is_named_and_left_alone(store, damage):
    recipe, data = Recipe(**tiny), load('streets')
    path = train(recipe, data, device='cpu').folder/'checkpoint.safetensors'
    path.write_bytes(damaged := damage(path.read_bytes()))
    with pytest.raises(ValueError, match='checkpoint.safetensors is damaged .* move it away to train again from the start'): train(recipe, data, device='cpu')
    assert path.read_bytes() == damaged

def test_damaged_checkpoint_on_the_command_line(run, store):
    path = train(Recipe(**tiny), load('streets'), device='cpu').folder/'checkpoint.safetensors'
    os.truncate(path, 5000)
    done = run('dcgan-train', 'svhn32', **tiny, dataset='streets', device='cpu')
    assert done.returncode == 1 and done.stderr.startswith('dcgan-train: ') and done.stderr.count('\n') == 1
    assert 'move it away' in done.stderr and path.stat().st_size == 5000

# Wrong values

wrong = {
    'dcgan32': "unknown family 'dcgan32': one of lsun64, imagenet32, svhn32, mnist28, gan_mlp",
    'svhn32 --schedule=twice': "unknown schedule 'twice': one of alternate, both",
    'svhn32 --lr=5': 'lr is 5.0: it must be a number from 1e-08 to 1',
    'svhn32 --lr=nan': 'lr is nan: it must be a number from 1e-08 to 1',
    'svhn32 --epochs=0': 'epochs is 0: it must be a whole number from 1 to 100000',
    'svhn32 --save_every=0': 'save_every is 0: it must be a whole number from 1 to 1000000000',
    'svhn32 --device=tpu': "unknown device 'tpu': one of auto, cpu, cuda",
    'svhn32 --dataset=nowhere': "unknown data set 'nowhere': one of handwritten, streets",
    'svhn32 --dataset=handwritten': 'handwritten holds images of (1, 32, 32), svhn32 wants (3, 32, 32)',
    'svhn32 --batch=1024': 'batch is 1024, streets has 256 images: use a smaller batch'}

@pytest.mark.parametrize('command', wrong)
def test_wrong_value_ends_with_one_clear_line(error_of, store, command):
    error = error_of(train_cli, '--dataset=streets', '--width=0.125', '--device=cpu', *command.split())
    assert error.startswith(f'dcgan-train: {wrong[command]}') and '\n' not in error
    assert not runs_root().exists()

# Divergence

def nan_loss(D, x, fake, y): return D(x, y).mean() * float('nan')
def nan_gradient(D, x, fake, y): return (D(x, y) * 0).sqrt().mean() # 0, with a derivative of ∞·0

def diverge_at(n, how): # the standard objective, whose n-th loss of D is `how`
    standard, calls = objectives['standard'], count(1)
    return replace(standard, D=lambda *args: (how if next(calls) == n else standard.D)(*args))

@pytest.mark.parametrize('how', [nan_loss, nan_gradient])
def test_divergence_keeps_the_last_good_checkpoint(store, monkeypatch, how):
    recipe, data = Recipe(**tiny | dict(lr=1.)), load('streets')
    with monkeypatch.context() as patched:
        patched.setitem(objectives, 'standard', diverge_at(2, how))
        with pytest.raises(Diverged, match=r'not finite in epoch 1, step 4: lower lr \(1\)'): train(recipe, data, device='cpu', save_every=1)
    tensors, record = checkpoint()
    assert record['step'] == 3 and [k for k, v in tensors.items() if not v.isfinite().all()] == []
    assert train(recipe, data, device='cpu').epoch == 1

# The cache

def test_same_recipe_loads_and_a_changed_one_trains(store):
    recipe, data = Recipe(**tiny), load('streets')
    first = train(recipe, data, device='cpu')
    before = contents(first.folder)
    again = train(recipe, data, device='cpu')
    assert again.folder == first.folder and contents(first.folder) == before
    assert_equal(again.state(), first.state())
    others = [train(*changed, device='cpu').folder for changed in [(replace(recipe, seed=1), data), (recipe, data.subset(128))]]
    assert len({first.folder, *others}) == 3 and contents(first.folder) == before

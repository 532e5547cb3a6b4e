"""Training from the command line: killed and resumed, in several processes, in little memory,
from damaged files, with wrong values"""
import contextlib
import gc
import json
import os
import re
import resource
import signal
import time
from dataclasses import replace
from inspect import signature
from itertools import count
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
import torch.distributed as dist
from conftest import contents, script
from safetensors import safe_open
from torch.distributed.run import get_args_parser

from dcgan.base.core import runs_root
from dcgan.data.feed import Feed, to_float
from dcgan.data.store import load
from dcgan.gan.checkpoints import key_of, read_checkpoint, write_checkpoint
from dcgan.gan.launch import train, train_cli
from dcgan.gan.nets import build
from dcgan.gan.objectives import bce, objectives
from dcgan.gan.trainer import Diverged, Measure, Recipe, Trainer

tiny = dict(width=1/8, batch=16, lr=5e-4, precision='fp32')
without_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='torch sees no GPU')
cuda = pytest.param('cuda', marks=without_gpu)


def the_run():  # the only training of this test
    folder, = runs_root().iterdir()
    return folder


def checkpoint():
    return read_checkpoint(the_run()/'checkpoint.safetensors')


def position():  # of the checkpoint, in (epoch, step); (0, 0) while there is none
    for path in runs_root().glob('*/checkpoint.safetensors'):
        with safe_open(path, 'pt') as f:
            record = json.loads(f.metadata()['trainer'])
        return record['epoch'], record['step']
    return 0, 0


def losses(history):
    return [(h['epoch'], h['loss_G'], h['loss_D']) for h in history]


def assert_equal(a, b):  # bit for bit
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k].cpu())] == []


def assert_close(found, expected):  # losses of two histories
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


# What an update does

def logits(t, z):  # mean of D's answers to real, and to generated images
    with torch.no_grad():
        real, fake = t.D(to_float(t.data[:64])), t.D(t.G(z))
    return real.mean().item(), fake.mean().item()


def learns_what_is_real(objective):  # which of two promises training keeps
    "Does D rank real images above generated ones, and does G raise the logits of its images?"
    t = Trainer(Recipe(**tiny, objective=objective), load('streets'), 'unused', 'cpu')
    z = torch.randn(64, 100, generator=torch.Generator().manual_seed(0))
    for _ in range(6):
        t.update('D', t.data[:64], z)
    real, fake = logits(t, z)
    for _ in range(4):
        t.update('G', t.data[:64], z)
    return real > fake, logits(t, z)[1] > fake


@pytest.mark.parametrize('objective', ['standard', 'relativistic'])
def test_D_ranks_real_images_first_and_G_climbs(store, objective):
    assert learns_what_is_real(objective) == (True, True)


def calls_generated_images_real(D, x, x_fake, y):
    return bce(D(x, y), True) + bce(D(x_fake, y), True)


def calls_real_images_generated(D, x, x_fake, y):
    return bce(D(x, y), False) + bce(D(x_fake, y), True)


def wants_to_be_found_out(D, x, x_fake, y):
    return bce(D(x_fake, y), False)


def test_a_wrong_sign_is_noticed(store, monkeypatch):
    "The check above fails for each of these"
    def found(**wrong):
        monkeypatch.setitem(objectives, 'wrong', replace(objectives['standard'], **wrong))
        return learns_what_is_real('wrong')
    assert not found(D=calls_real_images_generated)[0]
    assert not found(G=wants_to_be_found_out)[1]


def test_losses_call_real_images_real_and_generated_ones_not():
    "In closed form, at a D that is right: logit 2 for real images and -2 for generated ones"
    def D(x, y):
        return 2 * x.mean((1, 2, 3))
    real, fake = torch.ones(4, 3, 8, 8), -torch.ones(4, 3, 8, 8)
    small, large = np.log1p(np.exp(-2)), np.log1p(np.exp(2))  # softplus of -2 and 2
    standard = objectives['standard']
    assert float(standard.D(D, real, fake, None)) == pytest.approx(2 * small, rel=1e-5)
    assert float(standard.G(D, real, fake, None)) == pytest.approx(large, rel=1e-5)
    wrong = float(calls_generated_images_real(D, real, fake, None))
    assert wrong == pytest.approx(small + large, rel=1e-5) and wrong > 5 * 2 * small


# Killed and resumed

def kill_within_epoch(process):
    while position()[1] == 0 and process.poll() is None:
        time.sleep(.005)
    process.kill()
    process.communicate()
    return position()


@pytest.mark.parametrize('device', ['cpu', cuda])
def test_killed_training_resumes_bit_for_bit(start, run, store, monkeypatch, device):
    recipe = dict(tiny, batch=4, epochs=2)
    command = dict(recipe, dataset='streets', save_every=1, device=device)
    epoch, step = kill_within_epoch(start('dcgan-train', 'svhn32', **command))
    assert epoch < 2 and 0 < step < 64
    resumed = run('dcgan-train', 'svhn32', **command)
    went_on_at = re.search(r'(\d+)/128', resumed.stderr)[1]
    assert went_on_at == str(64 * epoch + step), 'it did not go on where it was killed'
    tensors, record = checkpoint()
    monkeypatch.setenv('DCGAN_RUNS', 'uninterrupted')
    whole = train(Recipe(**recipe), load('streets'), device=device)
    assert_equal(tensors, whole.state())
    assert losses(record['history']) == losses(whole.history) and len(whole.history) == 2


@pytest.mark.parametrize('device', [cuda])
def test_graphs_compute_what_single_updates_do(store, device):
    def trained(graphs):
        recipe = Recipe('svhn32', **tiny, schedule='both')
        t = Trainer(recipe, load('streets'), 'unused', device, graphs=graphs)
        for x, y in t.feed.epoch(torch.arange(128), 16):
            t.minibatch(x, y)
        return t.state()
    for (name, a), b in zip(trained(True).items(), trained(False).values()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)


# Several processes

def torchrun(run, *args, n=2, each=(script('dcgan-train'),), **options):  # `run` or `start`
    launcher = '--standalone', f'--nproc-per-node={n}', '--no-python'
    return run('python', '-m', 'torch.distributed.run', *launcher, *each, *args, **options)


def with_its_own(variable):  # `each`: every process with a folder of its own, named by its number
    command = f'{variable}=${variable}/$RANK exec "$0" "$@"'
    return 'sh', '-c', command, script('dcgan-train')


def drift(a, b, family):
    """How far apart the weights of two states are, as a part of the way they went:
    0.8 and more where gradients or statistics are not shared"""
    start = {f'{k}.{name}': p.data for k, net in zip('GD', build(family, tiny['width']))
             for name, p in net.named_parameters()}
    return max(float((a[k] - b[k]).norm() / (b[k] - start[k]).norm()) for k in start)


shared_trainings = [('svhn32', 'streets', 'alternate'), ('svhn32', 'streets', 'both'),
                    ('mnist28', 'handwritten', 'alternate')]


@pytest.mark.parametrize('family, dataset, schedule', shared_trainings)
def test_two_processes_train_what_one_trains(run, store, family, dataset, schedule):
    recipe = dict(tiny, batch=32, schedule=schedule)
    two = torchrun(run, family, **recipe, dataset=dataset, device='cpu')
    assert two.returncode == 0, two.stderr
    tensors, record = checkpoint()
    one = Trainer(Recipe(family, **recipe), load(dataset), 'one', device='cpu').fit()
    assert drift(tensors, one.state(), family) < .05
    assert_close(losses(record['history']), losses(one.history))


def test_processes_share_each_minibatch(store, monkeypatch):
    t = Trainer(Recipe(**tiny), load('streets'), 'one', device='cpu')
    t.step = 3

    def share(k, n):
        monkeypatch.setattr(dist, 'is_initialized', lambda: True)
        monkeypatch.setattr(dist, 'get_rank', lambda: k)
        monkeypatch.setattr(dist, 'get_world_size', lambda: n)
        return torch.stack([x for x, _ in t.feed.epoch(t.order(), 16 // n)])
    shares = torch.stack([share(k, 4) for k in range(4)], 2).flatten(1, 2)
    assert torch.equal(shares, share(0, 1)), 'not each image of a minibatch once'


def test_only_the_first_process_writes_and_all_must_see_it(run, store):
    def train():
        each = with_its_own('DCGAN_RUNS')
        return torchrun(run, 'svhn32', **tiny, dataset='streets', device='cpu', each=each)
    done = train()
    assert done.returncode == 0, done.stderr
    written = {p.split('/', 2)[2] for p in contents('runs')}
    assert written == {'checkpoint.safetensors', 'log.jsonl', 'samples/0001.png'}
    assert not os.path.exists('runs/1')
    before = contents('runs')
    again = train()  # the second process finds no checkpoint
    why = 'dcgan-train: the processes differ in recipe, checkpoint or images'
    assert again.returncode and why in again.stderr
    assert 'dcgan/gan/' not in again.stderr, 'a traceback'
    assert contents('runs') == before


def test_batch_that_two_processes_cannot_share(run, store):
    done = torchrun(run, 'svhn32', dataset='streets', batch=15, width=1/8, device='cpu')
    why = 'dcgan-train: batch is 15, which 2 processes cannot share equally: use a multiple'
    assert done.returncode and why in done.stderr
    assert 'dcgan/gan/' not in done.stderr, 'a traceback'


def test_no_option_abbreviates_one_of_torchrun():
    "Else torchrun takes it for its own, and stops"
    theirs = [s for action in get_args_parser()._actions for s in action.option_strings]
    ours = [f'--{p}' for p in signature(train_cli).parameters]
    assert [p for p in ours if any(s.startswith(p) for s in theirs)] == []


# A process that is lost

def worker(torchrun, k):  # the k-th of its processes
    processes = psutil.Process(torchrun.pid).children()
    return next(p for p in processes if p.environ()['RANK'] == str(k))


def start_and_wait(launch, *args, **options):  # until there is a checkpoint within an epoch
    process = launch(*args, 'svhn32', **options, dataset='streets', save_every=1, device='cpu')
    while position()[1] == 0 and process.poll() is None:
        time.sleep(.005)
    return process


last_words = (r'^dcgan-train: rank (\d) of 2: (.*)\. The checkpoint in (\S+) holds epoch (\d+), '
              r'step (\d+): the same command goes on')


def told(process):  # the lines of its processes about their end: (number, why, epoch, step)
    said = process.communicate(timeout=120)[1]  # it does not hang
    assert process.returncode and 'dcgan/gan/' not in said, said
    lines = re.findall(last_words, said, re.M)
    assert {name for _, _, name, *_ in lines} == {the_run().name}, said
    return [(int(k), why, int(epoch) - 1, int(step)) for k, why, _, epoch, step in lines]


gone = ('another process has ended or does not answer|'
        'stopped by SIGTERM, as torchrun does when another process has ended')


@pytest.mark.parametrize('victim, then', [(0, 3), (1, 1)])
def test_killed_process_ends_the_run_and_another_number_goes_on(start, run, store, victim, then):
    recipe = dict(tiny, batch=12, epochs=2, lr=5e-5)  # at a small rate rounding errors do not grow
    process = start_and_wait(torchrun, start, **recipe)
    worker(process, victim).kill()
    (k, why, *said), = told(process)
    at = position()
    assert k == 1 - victim and re.fullmatch(gone, why) and (0, 0) < tuple(said) <= at < (2, 0)
    resumed = torchrun(run, 'svhn32', n=then, **recipe, dataset='streets', device='cpu')
    assert resumed.returncode == 0, resumed.stderr
    went_on_at = re.search(r'(\d+)/42', resumed.stderr)[1]
    assert went_on_at == str(21 * at[0] + at[1]), 'it did not go on where it was killed'
    tensors, record = checkpoint()
    whole = Trainer(Recipe(**recipe), load('streets'), 'whole', device='cpu').fit()
    assert drift(tensors, whole.state(), 'svhn32') < .01
    assert_close(losses(record['history']), losses(whole.history))


def test_process_that_does_not_answer_ends_the_run(start, store):
    process = start_and_wait(torchrun, start, **tiny | dict(epochs=9), patience=5)
    waiting, stopped = worker(process, 0), worker(process, 1)
    stopped.suspend()
    psutil.wait_procs([waiting], timeout=30)
    stopped.resume()
    assert told(process)[0][:2] == (0, 'another process has ended or does not answer')


def test_stopped_run_says_where_it_goes_on(start, store):
    process = start_and_wait(torchrun, start, **tiny | dict(epochs=9))
    process.terminate()
    assert {k for k, *_ in told(process)} == {0, 1}


def test_interrupted_training_says_where_it_goes_on(start, store):
    process = start_and_wait(start, 'dcgan-train', **tiny | dict(epochs=9))
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGINT and 'Traceback' not in said
    words = (rf'^dcgan-train: stopped by SIGINT. The checkpoint in {the_run().name} '
             r'holds epoch \d+, step \d+: the same')
    assert re.search(words, said, re.M)


# A store larger than memory

@contextlib.contextmanager
def memory_limit(n_bytes):  # that this process may take on top of what it has, without mapped files
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = psutil.Process().memory_info().data + n_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def write_sparse(folder, n, drawn):  # n images, all black but these
    folder.mkdir(parents=True)
    path, shape = folder/'train_images.npy', (n, 3, 32, 32)
    images = np.lib.format.open_memmap(path, 'w+', np.uint8, shape)
    noise = np.random.default_rng(0).integers(256, size=(len(drawn), *shape[1:]), dtype=np.uint8)
    images[drawn] = noise
    about = dict(name=folder.name, train=dict(shape=shape, labels=False))
    (folder/'dataset.json').write_text(json.dumps(about))


def test_store_larger_than_memory_trains_the_same(sandbox):
    order = torch.randperm(100_000)[:8 * 16]
    write_sparse(sandbox/'data/large', 100_000, order.numpy())

    def trained():
        t = Trainer(Recipe(**tiny), load('large'), 'large', device='cpu')
        for x, y in t.feed.epoch(order, 16):
            t.minibatch(x, y)
        return t
    resident = trained()
    assert resident.feed.resident and resident.step == 8
    tensors = {k: v.clone() for k, v in resident.state().items()}
    del resident
    gc.collect()  # it refers to itself
    with memory_limit(200 << 20):
        with pytest.raises((RuntimeError, MemoryError), match='alloc'):
            Feed(load('large'), resident=True)
        streamed = trained()
    assert not streamed.feed.resident
    assert_equal(streamed.state(), tensors)


# Damaged checkpoints

damages = dict(half=lambda b: b[:len(b)//2], header=lambda b: b[:100], empty=lambda b: b'',
               random=lambda b: os.urandom(len(b)))


@pytest.mark.parametrize('damage', damages)
def test_damaged_checkpoint_is_named_and_left_alone(store, damage):
    recipe, data = Recipe(**tiny), load('streets')
    path = train(recipe, data, device='cpu').folder/'checkpoint.safetensors'
    damaged = damages[damage](path.read_bytes())
    path.write_bytes(damaged)
    why = 'checkpoint.safetensors is damaged .* move it away to train again from the start'
    with pytest.raises(ValueError, match=why):
        train(recipe, data, device='cpu')
    assert path.read_bytes() == damaged


def test_damaged_checkpoint_on_the_command_line(run, store):
    path = train(Recipe(**tiny), load('streets'), device='cpu').folder/'checkpoint.safetensors'
    os.truncate(path, 5000)
    done = run('dcgan-train', 'svhn32', **tiny, dataset='streets', device='cpu')
    assert done.returncode == 1 and done.stderr.count('\n') == 1
    assert done.stderr.startswith('dcgan-train: ') and 'move it away' in done.stderr
    assert path.stat().st_size == 5000


# No room, no folder, another version


def tiny_training(error_of):  # what the command line says
    return error_of(train_cli, 'svhn32', **tiny, dataset='streets', device='cpu')


def test_full_disk_names_the_file_and_the_remedy(error_of, store):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, hard))
    try:
        error = tiny_training(error_of)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.startswith('dcgan-train: [Errno 27]') and '\n' not in error
    assert 'make room there' in error and 'checkpoint.safetensors' in error
    assert not [p for p in runs_root().rglob('*') if p.name.startswith('.')]
    assert train(Recipe(**tiny), load('streets'), device='cpu').epoch == 1


def test_file_in_the_place_of_a_folder(error_of, store, monkeypatch):
    runs_root().touch()
    monkeypatch.setattr(Trainer, 'run_epoch', None)  # it is noticed before
    error = tiny_training(error_of)
    assert 'a file is in the place of a folder' in error and str(runs_root()) in error


def test_checkpoint_of_another_version(error_of, store):
    path = train(Recipe(**tiny), load('streets'), device='cpu').folder/'checkpoint.safetensors'
    tensors, record = read_checkpoint(path)
    for changed in ({k: v for k, v in record.items() if k != 'made'},
                    record | dict(recipe=record['recipe'] | dict(newer=1))):
        write_checkpoint(path, tensors, changed)
        error = tiny_training(error_of)
        assert 'another version' in error and 'ove it away' in error and '\n' not in error


# Wrong values

wrong = {
    'dcgan31': "unknown family 'dcgan31': one of lsun64, imagenet32, svhn32, mnist28, gan_mlp",
    'svhn32 --schedule=twice': "unknown schedule 'twice': one of alternate, both",
    'svhn32 --lr=5': 'lr is 5.0: it must be a number from 1e-08 to 1',
    'svhn32 --lr=nan': 'lr is nan: it must be a number from 1e-08 to 1',
    'svhn32 --epochs=0': 'epochs is 0: it must be a whole number from 1 to 100000',
    'svhn32 --save_every=0': 'save_every is 0: it must be a whole number from 1 to 1000000000',
    'svhn32 --device=tpu': "unknown device 'tpu': one of auto, cpu, cuda",
    'svhn32 --dataset=nowhere': "unknown data set 'nowhere': one of handwritten, streets",
    'svhn32 --dataset=handwritten':
        'handwritten holds images of (1, 32, 32), svhn32 wants (3, 32, 32)',
    'svhn32 --batch=1024': 'batch is 1024, streets has 256 images: use a smaller batch'}


@pytest.mark.parametrize('command', wrong)
def test_wrong_value_ends_with_one_clear_line(error_of, store, command):
    common = '--dataset=streets', '--width=0.125', '--device=cpu'
    error = error_of(train_cli, *common, *command.split())
    assert error.startswith(f'dcgan-train: {wrong[command]}') and '\n' not in error
    assert not runs_root().exists()


# Divergence

def nan_loss(D, x, fake, y):
    return D(x, y).mean() * float('nan')


def nan_gradient(D, x, fake, y):  # 0, with a derivative of ∞·0
    return (D(x, y) * 0).sqrt().mean()


def diverge_at(n, how):  # the standard objective, whose n-th loss of D is `how`
    standard, calls = objectives['standard'], count(1)
    return replace(standard, D=lambda *args: (how if next(calls) == n else standard.D)(*args))


@pytest.mark.parametrize('how', [nan_loss, nan_gradient])
def test_divergence_keeps_the_last_good_checkpoint(store, monkeypatch, how):
    recipe, data = Recipe(**tiny | dict(lr=1.)), load('streets')
    why = r'not finite in epoch 1, step 4: lower lr \(1\)'
    with monkeypatch.context() as patched:
        patched.setitem(objectives, 'standard', diverge_at(2, how))
        with pytest.raises(Diverged, match=why):
            train(recipe, data, device='cpu', save_every=1)
    tensors, record = checkpoint()
    assert record['step'] == 3
    assert [k for k, v in tensors.items() if not v.isfinite().all()] == []
    assert train(recipe, data, device='cpu').epoch == 1


# The cache

def test_same_recipe_loads_and_a_changed_one_trains(store):
    recipe, data = Recipe(**tiny), load('streets')
    first = train(recipe, data, device='cpu')
    before = contents(first.folder)
    again = train(recipe, data, device='cpu')
    assert again.folder == first.folder and contents(first.folder) == before
    assert_equal(again.state(), first.state())
    changed = [(replace(recipe, seed=1), data), (recipe, data.subset(128))]
    others = [train(*job, device='cpu').folder for job in changed]
    assert len({first.folder, *others}) == 3 and contents(first.folder) == before


released_mnist = Recipe('mnist28', 1/2, epochs=100, l2=2.5e-5, decay_epochs=50, schedule='both',
                        seed=3)
every_option = Recipe('lsun64', .25, batch=64, objective='relativistic', precision='bf16', clip=5,
                      lr_D=1e-4, ema=.999, r1=1, augment='color, cutout', mirror=True, fresh=True)
svhn = Recipe('svhn32', 1., 60, batch=32, lr=2e-3, decay_epochs=30, schedule='both',
              precision='bf16')
on_digits = Measure('validation error %', None, every=10, inputs=('d4e5', 0))
on_svhn = Measure('validation error %', None, every=10, inputs=(
    '04a304d46dda885f', '71e0078912f3dfaf', [.0001, .0002, .0005, .001, .002, .005, .01], {}))
keys = {  # of trainings, by the code that first made them
    'b079f0de23174b3d': (Recipe(), 'a1b2c3', None),
    '27ef530ed2219b12': (released_mnist, 'a1b2c3', on_digits),
    '459bf9ac77bb0af9': (every_option, 'a1b2c3', None),
    'a7f67883ac223afa': (svhn, '04a304d46dda885f', on_svhn)}


@pytest.mark.parametrize('key', keys)
def test_key_of_a_kept_training_never_changes(key):
    "Else trainings of hours are not found again"
    recipe, fingerprint, measure = keys[key]
    assert key_of(recipe, SimpleNamespace(fingerprint=fingerprint), measure) == key

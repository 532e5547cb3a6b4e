"Training from the command line: killed and resumed, in several processes, in little memory, from damaged files, with wrong values"
import contextlib, gc, json, os, re, resource, signal, time
from dataclasses import replace
from inspect import signature
from itertools import count

import numpy as np
import psutil
import pytest
import torch
from conftest import contents, script
from dcgan.base.core import runs_root
from dcgan.data.store import Feed, load
from dcgan.gan.nets import build
from dcgan.gan.trainer import Diverged, Recipe, Trainer, objectives, read_checkpoint, train, train_cli
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

@pytest.mark.parametrize('device', [cuda])
def test_graphs_compute_what_single_updates_do(store, device):
    def trained(graphs):
        t = Trainer(Recipe('svhn32', **tiny, schedule='both'), load('streets'), 'unused', device, graphs=graphs)
        for x, y in t.feed.epoch(torch.arange(128), 16): t.minibatch(x, y)
        return t.state()
    for (name, a), b in zip(trained(True).items(), trained(False).values()): torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)

# Several processes

def torchrun(run, *args, n=2, each=(script('dcgan-train'),), **options): # `run` or `start`
    return run('python', '-m', 'torch.distributed.run', '--standalone', f'--nproc-per-node={n}', '--no-python', *each, *args, **options)

def with_its_own(variable): # `each`: every process with a folder of its own, named after its number
    return 'sh', '-c', f'{variable}=${variable}/$RANK exec "$0" "$@"', script('dcgan-train')

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

def test_processes_share_each_minibatch(store, monkeypatch):
    t = Trainer(Recipe(**tiny), load('streets'), 'one', device='cpu')
    t.step = 3
    def share(k, n):
        monkeypatch.setattr('dcgan.gan.trainer.process', lambda: k), monkeypatch.setattr('dcgan.gan.trainer.n_processes', lambda: n)
        return torch.stack([x for x, _ in t.feed.epoch(t._order(), 16 // n)])
    assert torch.equal(torch.stack([share(k, 4) for k in range(4)], 2).flatten(1, 2), share(0, 1)), 'not each image of a minibatch once'

def test_only_the_first_process_writes_and_all_must_see_it(run, store):
    train = lambda: torchrun(run, 'svhn32', **tiny, dataset='streets', device='cpu', each=with_its_own('DCGAN_RUNS'))
    done = train()
    assert done.returncode == 0, done.stderr
    assert {p.split('/', 2)[2] for p in contents('runs')} == {'checkpoint.safetensors', 'log.jsonl', 'samples/0001.png'} and not os.path.exists('runs/1')
    before = contents('runs')
    again = train() # the second process finds no checkpoint
    assert again.returncode and 'dcgan-train: the processes differ in recipe, checkpoint or images' in again.stderr
    assert 'dcgan/gan/trainer.py' not in again.stderr and contents('runs') == before

def test_batch_that_two_processes_cannot_share(run, store):
    done = torchrun(run, 'svhn32', dataset='streets', batch=15, width=1/8, device='cpu')
    assert done.returncode and 'dcgan-train: batch is 15, which 2 processes cannot share equally: use a multiple' in done.stderr
    assert 'dcgan/gan/trainer.py' not in done.stderr, 'a traceback'

def test_no_option_abbreviates_one_of_torchrun():
    "Else torchrun takes it for its own, and stops"
    theirs = [s for action in get_args_parser()._actions for s in action.option_strings]
    assert [p for p in signature(train_cli).parameters if any(s.startswith(f'--{p}') for s in theirs)] == []

# A process that is lost

def worker(torchrun, k): # the k-th of its processes
    return next(p for p in psutil.Process(torchrun.pid).children() if p.environ()['RANK'] == str(k))

def start_and_wait(launch, *args, **options): # until there is a checkpoint within an epoch
    process = launch(*args, 'svhn32', **options, dataset='streets', save_every=1, device='cpu')
    while position()[1] == 0 and process.poll() is None: time.sleep(.005)
    return process

def told(process): # the lines of its processes about their end: (number, why, epoch, step)
    said = process.communicate(timeout=120)[1] # it does not hang
    assert process.returncode and 'dcgan/gan/trainer.py' not in said, said
    lines = re.findall(r'^dcgan-train: rank (\d) of 2: (.*)\. The checkpoint in (\S+) holds epoch (\d+), step (\d+): the same command goes on', said, re.M)
    assert {name for _, _, name, *_ in lines} == {the_run().name}, said
    return [(int(k), why, int(epoch) - 1, int(step)) for k, why, _, epoch, step in lines]

gone = r'another process has ended or does not answer|stopped by SIGTERM, as torchrun does when another process has ended'

@pytest.mark.parametrize('victim, then', [(0, 3), (1, 1)])
def test_killed_process_ends_the_run_and_another_number_goes_on(start, run, store, victim, then):
    recipe = dict(tiny, batch=12, epochs=2, lr=5e-5) # at a small rate rounding errors do not grow
    process = start_and_wait(torchrun, start, **recipe)
    worker(process, victim).kill()
    (k, why, *said), = told(process)
    assert k == 1 - victim and re.fullmatch(gone, why) and (0, 0) < tuple(said) <= (at := position()) < (2, 0)
    resumed = torchrun(run, 'svhn32', n=then, **recipe, dataset='streets', device='cpu')
    assert resumed.returncode == 0, resumed.stderr
    assert re.search(r'(\d+)/42', resumed.stderr)[1] == str(21 * at[0] + at[1]), 'it did not go on where it was killed'
    tensors, record = checkpoint()
    whole = Trainer(Recipe(**recipe), load('streets'), 'whole', device='cpu').fit()
    assert drift(tensors, whole.state(), 'svhn32') < .01
    torch.testing.assert_close(losses(record['history']), losses(whole.history), atol=1e-3, rtol=0)

def test_process_that_does_not_answer_ends_the_run(start, store):
    process = start_and_wait(torchrun, start, **tiny | dict(epochs=9), patience=5)
    waiting, stopped = worker(process, 0), worker(process, 1)
    stopped.suspend(), psutil.wait_procs([waiting], timeout=30), stopped.resume()
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
    assert re.search(rf'^dcgan-train: stopped by SIGINT. The checkpoint in {the_run().name} holds epoch \d+, step \d+: the same', said, re.M)

# A store larger than memory

@contextlib.contextmanager
def memory_limit(n_bytes): # that this process may take on top of what it has; mapped files do not count
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (psutil.Process().memory_info().data + n_bytes, hard))
    try: yield
    finally: resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))

def write_sparse(folder, n, drawn): # n images, all black but these
    folder.mkdir(parents=True)
    images = np.lib.format.open_memmap(folder/'train_images.npy', 'w+', np.uint8, (n, 3, 32, 32))
    images[drawn] = np.random.default_rng(0).integers(256, size=(len(drawn), 3, 32, 32), dtype=np.uint8)
    (folder/'dataset.json').write_text(json.dumps(dict(name=folder.name, train=dict(shape=images.shape, labels=False))))

def test_store_larger_than_memory_trains_the_same(sandbox):
    order = torch.randperm(100_000)[:8 * 16]
    write_sparse(sandbox/'data/large', 100_000, order.numpy())
    def trained():
        t = Trainer(Recipe(**tiny), load('large'), 'large', device='cpu')
        for x, y in t.feed.epoch(order, 16): t.minibatch(x, y)
        return t
    resident = trained()
    assert resident.feed.resident and resident.step == 8
    tensors = {k: v.clone() for k, v in resident.state().items()}
    del resident; gc.collect() # it refers to itself
    with memory_limit(200 << 20):
        with pytest.raises((RuntimeError, MemoryError), match='alloc'): Feed(load('large'), resident=True)
        streamed = trained()
    assert not streamed.feed.resident
    assert_equal(streamed.state(), tensors)

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

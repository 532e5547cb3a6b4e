"What a GPU would refuse or wait for, looked for without one: meta tensors, stubs, counted work"
import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import dcgan.beyond.adversary  # noqa: F401  registers objectives, as the next three do families
import dcgan.beyond.cppn  # noqa: F401
import dcgan.beyond.deligan  # noqa: F401
import dcgan.beyond.turing  # noqa: F401
from dcgan.data.store import ImageSet
from dcgan.gan import launch, trainer
from dcgan.gan.nets import families
from dcgan.gan.objectives import objectives
from dcgan.gan.trainer import GraphedUpdate, Recipe, Trainer
from dcgan.measure import classifiers

# family → what its recipe has of its own
jobs = dict(
    svhn32={}, mnist28={}, gan_mlp={}, imagenet32={},
    lsun64=dict(augment='color,translation,cutout', r1=1., ema=.9, mirror=True),
    deligan28=dict(latent='mixture50'),
    turing32=dict(objective='t_sgan', schedule='double'),
    points=dict(),
    cppn26=dict(objective='eleven', clip=5., schedule='contest'),
    cppn26_paced=dict(objective='eleven_noise', clip=5., schedule='uneven'))


def black(family, n=32):
    "Labelled images that are all black, in a family's shape"
    f = families[family]
    shape = f.shape[0], *(side + f.margin for side in f.shape[1:])
    return ImageSet('black', 'train', np.zeros((n, *shape), np.uint8), np.arange(n) % 10)


def trainer_of(family, n=32, **own):
    "A trainer on the CPU that sees noise"
    width = 1. if family in ('points', 'cppn26', 'cppn26_paced') else 1/16
    data = black(family, n)
    data.images[:] = np.random.default_rng(0).integers(256, size=data.images.shape)
    recipe = Recipe(family, width, **dict(batch=8, precision='fp32', schedule='both') | own)
    return Trainer(recipe, data, 'unused', 'cpu')


# No host synchronisation, no operand on the CPU

@pytest.fixture
def on_meta(monkeypatch):
    "Makes trainers on the meta device, which refuses what would wait for a GPU"
    monkeypatch.setattr(trainer, 'pick_device', lambda device: torch.device('meta'))
    monkeypatch.setattr(torch, 'autocast', lambda *_, **kw: contextlib.nullcontext())
    monkeypatch.setattr(torch.optim.Adam, 'step', lambda self: None)

    def made(family, **own):
        width = 1. if family in ('points', 'cppn26', 'cppn26_paced') else 1/16
        recipe = Recipe(family, width, batch=16, precision='fp32', **own)
        return Trainer(recipe, black(family), 'unused')
    return made


def update_all(t):
    "One update of each network, on inputs such as `minibatch` gives"
    x, y = next(t.feed.epoch(t.order(), t.recipe.batch))
    x, y = t.prepare(x, 0), y if t.needs_labels else None
    for which in t.opts:
        t.update(which, x, t.draw_latents(0, which), y)


@pytest.mark.parametrize('family', jobs)
def test_an_update_waits_for_nothing_and_has_no_operand_on_the_cpu(on_meta, family):
    t = on_meta(family, **jobs[family])
    update_all(t)
    assert all(p.grad.is_meta for net in t.nets.values() for p in net.parameters())


faults = dict(
    item=lambda loss: loss * loss.item(), float=lambda loss: loss * float(loss),
    bool=lambda loss: loss if loss > 0 else -loss, numpy=lambda loss: loss + loss.numpy(),
    mask=lambda loss: loss[loss > 0].sum(), cpu=lambda loss: (loss[None] * torch.ones(2)).sum())


@pytest.mark.parametrize('fault', faults)
def test_that_test_notices(on_meta, monkeypatch, fault):
    right = objectives['standard'].D
    wrong = trainer.objectives['standard'].__class__(
        lambda *batch: faults[fault](right(*batch)), objectives['standard'].G)
    monkeypatch.setitem(objectives, 'standard', wrong)
    with pytest.raises((RuntimeError, TypeError, NotImplementedError)):
        update_all(on_meta('svhn32'))


# Capture: a graph knows tensors only, and repeats the same operators on the same memory

class Recording(TorchDispatchMode):
    "In place of `torch.cuda.CUDAGraph`: remembers operators, and repeats them on the CPU"

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        if op.name() in ('aten::_local_scalar_dense', 'aten::nonzero', 'aten::equal'):
            raise RuntimeError(f'{op} waits for the device inside a captured update')
        out = op(*args, **kwargs or {})
        self.calls.append((op, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def replay(self):
        for op, args, kwargs, out in self.calls:
            for old, new in zip(tree_leaves(out), tree_leaves(op(*args, **kwargs))):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@pytest.fixture
def graphs(monkeypatch):
    "CUDA's graphs, streams and random state, played on the CPU; a list of the graphs"
    made, stream = [], SimpleNamespace(wait_stream=lambda other: None)

    def new():
        made.append(Recording())
        return made[-1]
    stand_ins = dict(
        CUDAGraph=new, graph=lambda recording, **kw: recording, Stream=lambda: stream,
        current_stream=lambda: stream, stream=lambda s: contextlib.nullcontext(),
        get_rng_state=torch.get_rng_state, set_rng_state=torch.set_rng_state)
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return made


def after_an_epoch(t):
    for x, y in t.feed.epoch(t.order(), t.recipe.batch):
        t.minibatch(x, y)
    return t.state()


# without labels as one-hot vectors: on the CPU, `F.one_hot` looks for the largest
graphed = {k: jobs[k] for k in ('svhn32', 'lsun64', 'deligan28', 'points')}


@pytest.mark.parametrize('family', graphed)
def test_a_recorded_update_is_the_update(graphs, family):
    eager, recorded = (trainer_of(family, **graphed[family]) for _ in range(2))
    recorded.graphs = True
    a, b = after_an_epoch(eager), after_an_epoch(recorded)
    assert len(graphs) == 2 and all(g.calls for g in graphs)
    assert [k for k in a if not torch.equal(a[k], b[k])] == []


def test_a_number_in_a_recorded_update_is_noticed(graphs):
    "The stand-in fails where a graph would: a value that Python reads is not read again"
    total = torch.zeros(())
    with pytest.raises(RuntimeError, match='waits for the device'):
        GraphedUpdate(lambda x: total.add_(float(x.sum())), (torch.ones(3),), dict(total=total))
    total, counted = torch.zeros(()), iter(range(100))
    update = GraphedUpdate(lambda x: total.add_(x.sum() + next(counted)), (torch.ones(3),),
                           dict(total=total))
    update(torch.ones(3))
    update(2 * torch.ones(3))
    assert total == (3 + 3) + (6 + 3)  # the fourth count, 3, at each replay


def test_a_recorded_step_of_a_classifier_is_the_step(graphs):
    def trained(recorded):
        net = classifiers.classifier('svhn32', 1/16, dropout=.5)
        step = classifiers.ClassifierStep(net, 1e-3, 1e-4)
        step.graphs = recorded
        torch.manual_seed(3)
        t = trainer_of('svhn32')
        classifiers.classifier_epoch(step, t.feed, 8, torch.Generator().manual_seed(1))
        return step.state()
    a, b = trained(False), trained(True)
    assert len(graphs) == 1 and [k for k in a if not torch.equal(a[k], b[k])] == []


# Half precision with scaled gradients

def gradient_error(which, scale, weaker=1.):
    "‖g - g'‖ / ‖g‖ for the gradient g in fp32, g' in fp16; weaker: a factor of D's last weights"
    found = []
    for precision in ('fp32', 'fp16'):
        t = trainer_of('svhn32', precision=precision)
        if precision == 'fp16':
            t.scalers[which]._scale.fill_(scale)
        t.D.stages[-1].op.weight.data.mul_(weaker)
        t.update(which, t.data[:8], t.draw_latents(0, which))
        found.append(t.state()[f'adam_{which}.stages.1.op.weight.exp_avg'])
    return float((found[0] - found[1]).norm() / found[0].norm())


@pytest.mark.parametrize('which', 'GD')
def test_scaled_gradients_are_those_of_fp32(which):
    assert 0 < gradient_error(which, 2.**8) < .1


def test_small_gradients_need_the_scale():
    without, with_scale = (gradient_error('D', scale, 1e-5) for scale in (1., 2.**12))
    assert with_scale < .1 < .3 < without


def test_overflow_skips_a_step_and_halves_the_scale():
    t = trainer_of('svhn32', precision='fp16', schedule='alternate')
    t.scalers['G']._scale.fill_(2.**40)
    before = {k: v.clone() for k, v in t.state().items()}
    x, y = next(t.feed.epoch(t.order(), 8))
    t.update('G', x, t.draw_latents(0, 'G'))
    after = t.state()
    assert after['scale_G'] == 2.**39
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith(('G.', 'adam_G')))


def test_a_scale_is_resumed(sandbox):
    t = trainer_of('svhn32', precision='fp16')
    new = {*t.state()} - {*trainer_of('svhn32').state()}
    assert new == {'scale_G', 'scale_G.growth', 'scale_D', 'scale_D.growth'}
    t.scalers['D']._scale.fill_(2.**9)
    t.save()
    assert trainer_of('svhn32', precision='fp16').restore().state()['scale_D'] == 2.**9


@pytest.mark.parametrize('clip', [None, 5.])
def test_a_recorded_scaled_update_is_the_update(graphs, clip):
    eager, recorded = (trainer_of('svhn32', precision='fp16', clip=clip) for _ in range(2))
    recorded.graphs = True
    a, b = after_an_epoch(eager), after_an_epoch(recorded)
    assert [k for k in a if not torch.equal(a[k], b[k])] == []


# Several trainings on one GPU

def test_places_on_a_gpu_follow_its_memory(monkeypatch):
    monkeypatch.setattr(launch.os, 'cpu_count', lambda: 16)
    free = {}
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device: (free['bytes'], 0))
    for size, n in {70e9: 4, 20e9: 2, 7e9: 1}.items():
        free['bytes'] = int(size)
        assert launch.places(torch.device('cuda')) == n
    assert launch.places(torch.device('cpu')) == torch.get_num_threads()


def test_where_processes_fail_on_a_gpu_trainings_go_on_in_turn(monkeypatch):
    def fail(*_):
        raise MemoryError('CUDA out of memory')
    trained = []

    def train(*job, device):
        trained.append(job)
        return SimpleNamespace(park=lambda: trained.append('parked'))
    stand_ins = dict(_train_side_by_side=fail, train=train, is_done=lambda *_, **kw: False,
                     places=lambda device: 2)
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(launch, name, stand_in)
    jobs = [(Recipe(epochs=n), black('svhn32')) for n in (1, 2)]
    monkeypatch.setattr(launch, 'pick_device', lambda device: torch.device('cuda'))
    with pytest.warns(UserWarning, match='in turn: CUDA out of memory'):
        assert len(launch.train_all(jobs)) == 2
    assert trained == [jobs[0], 'parked', jobs[1], 'parked']
    monkeypatch.setattr(launch, 'pick_device', lambda device: torch.device('cpu'))
    with pytest.raises(MemoryError):
        launch.train_all(jobs)


def test_parked_training_keeps_its_networks_and_its_best_state(sandbox):
    t = trainer_of('svhn32')
    t.save()
    before = {k: v.clone() for k, v in t.state().items()}
    t.park()
    assert t.feed is None
    assert all(torch.equal(before[k], v) for k, v in t.restore().state().items())


def test_grids_are_seconds_apart_but_first_and_last_are_drawn():
    t = trainer_of('svhn32', epochs=5)
    t.drawn = float('inf')  # just now
    drawn = []
    for t.epoch in range(1, 6):
        drawn.append(t.wants_grid())
    assert drawn == [True, False, False, False, True]
    t.drawn, t.epoch = 0., 3
    assert t.wants_grid() and not trainer_of('points').wants_grid()


# The CPPN's stream as one kernel

@pytest.mark.parametrize('capability', [75, 90])  # of a T4, of an H100
def test_the_stream_compiles_for_a_gpu_without_one(capability):
    triton = pytest.importorskip('triton')
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from dcgan.beyond import one_kernel
    for kernel, own in ((one_kernel._forward, dict(KEEP=1)), (one_kernel._backward, {})):
        constants = dict(LAYERS=5, U=8, TILE=128) | own
        kinds = dict(P='i32', units='i32', blocks='i32') | dict.fromkeys(constants, 'constexpr')
        signature = {name: kinds.get(name, '*fp32') for name in kernel.arg_names}
        at = {(kernel.arg_names.index(k),): v for k, v in constants.items()}
        target = GPUTarget('cuda', capability, 32)
        made = triton.compile(ASTSource(kernel, signature, at), target)
        assert made.asm['cubin'] and made.metadata.shared < 2**12  # pixels stay in registers


def test_a_gpu_that_cannot_run_the_kernels_takes_operators(monkeypatch):
    from dcgan.beyond import cppn, one_kernel
    with pytest.warns(UserWarning, match="takes torch's operators"):
        plain = cppn.ways_of.__wrapped__(torch.device('cuda'), 6)  # there is none
    assert plain == (cppn.residual_stream, cppn.residual_back)
    monkeypatch.setattr(one_kernel, 'works', lambda plain, device: True)
    assert cppn.ways_of.__wrapped__(torch.device('cuda'), 6)[1] is one_kernel.stream_backward
    assert cppn.ways_of.__wrapped__(torch.device('cuda'), 32) == plain


# Sets that do not fit

def test_a_set_larger_than_half_of_the_free_memory_is_streamed(monkeypatch):
    from dcgan.data import feed
    images, held = black('svhn32'), []
    monkeypatch.setattr(feed, '_resident', lambda images, device: held.append(device))
    monkeypatch.setattr(torch, 'tensor', lambda x, device: torch.as_tensor(x))
    for free, resident in ((2.1, True), (1.9, False)):
        memory = int(free * images.images.nbytes), 0
        monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device, memory=memory: memory)
        t = feed.Feed(images, torch.device('cuda'))
        assert t.resident is resident and len(held) == 1
    monkeypatch.setattr(torch.Tensor, 'pin_memory', lambda x: x)
    assert torch.equal(t._read(torch.tensor([3, 5], device='cpu')), images[[3, 5]])


# Measures on the device

def test_measures_wait_for_nothing_and_have_no_operand_on_the_cpu():
    from dcgan.measure.kmeans import cluster, triangle
    from dcgan.measure.metrics import nearest
    meta = torch.device('meta')
    X, to = torch.empty(30, 4, device=meta), torch.empty(50, 4, device=meta)
    assert all(found.shape == (30,) for found in nearest(X, to, block=8, device=meta))
    centroids = cluster(to, 7)
    assert centroids.is_meta and triangle(X, centroids).shape == (30, 7)

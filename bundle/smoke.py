"""What a GPU can break, checked in about a minute: python bundle/smoke.py [CHECK …]

Each check stands alone, prints a line, and says on failure where it failed. The numbers go to
$OUT/smoke.json too. Without a GPU it checks the same on the CPU, with small networks.
"""
import copy
import itertools
import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

if __name__ == '__main__':
    os.environ['TQDM_DISABLE'] = '1'  # tqdm reads it when it is imported
    warnings.simplefilter('ignore')

import torch

import dcgan.beyond.adversary  # noqa: F401
import dcgan.beyond.cppn  # noqa: F401
import dcgan.beyond.deligan  # noqa: F401  registers families and objectives, as the next two do
import dcgan.beyond.turing  # noqa: F401
from dcgan.base.core import generator, pick_precision
from dcgan.gan.nets import build, latents, sample
from dcgan.gan.trainer import Recipe, Trainer
from dcgan.tools.speed import noise

gpu = torch.cuda.is_available()
device = torch.device('cuda' if gpu else 'cpu')
checks, facts, failed, began = {}, {}, [], time.time()


def check(f):
    "Add a function to the checks, in order"
    checks[f.__name__] = f
    return f


def why(error):
    "A failure in one line, with the innermost three places outside torch"
    frames = traceback.extract_tb(error.__traceback__)
    at = [f'{Path(x.filename).name}:{x.lineno}' for x in frames if '/torch/' not in x.filename]
    return f'FAILED {type(error).__name__}: {str(error)[:300]} | {" < ".join(at[:-4:-1])}'


def attempt(name, f):
    "What f says, or why it failed; an error of CUDA itself ends everything"
    try:
        return f()
    except Exception as error:
        failed.append(name)
        if gpu and 'CUDA error' in str(error):
            print(f'{name}: {why(error)}', flush=True)
            report()
            os._exit(3)  # the context is lost
        return why(error)


def report():
    "Write the numbers"
    out = Path(os.environ.get('OUT') or tempfile.gettempdir())
    out.mkdir(parents=True, exist_ok=True)
    (out/'smoke.json').write_text(json.dumps(facts, indent=1, default=str))


def wait():
    if gpu:
        torch.cuda.synchronize()


def seconds(f):
    "Seconds that f takes, the device's work included, and what it returns"
    wait()
    start = time.perf_counter()
    result = f()
    wait()
    return time.perf_counter() - start, result


def milliseconds(f, n=20):
    "Of one call, after a first that does not count"
    f()
    return 1000 / n * seconds(lambda: [f() for _ in range(n)])[0]


def by_device(large, small):
    return large if gpu else small


# family → what its recipe has of its own
jobs = dict(
    svhn32={}, mnist28={}, gan_mlp={},
    imagenet32=dict(batch=128), lsun64=dict(batch=128),
    deligan28=dict(latent='mixture50', batch=50),
    turing32=dict(objective='t_sgan', schedule='double'),
    points=dict(precision='fp32', batch=100),
    cppn26=dict(objective='eleven', precision='fp32', clip=5., schedule='contest',
                batch=100),
    cppn26_paced=dict(objective='eleven_noise', precision='fp32', clip=5., schedule='uneven',
                      batch=100))


def trainer(family, steps=8, graphs=True, folder=None, **own):
    "A trainer on noise with so many minibatches an epoch"
    wide = gpu or family in ('points', 'cppn26')
    options = dict(schedule='both', epochs=2) | own
    batch = by_device(options.pop('batch', 64), 8)
    recipe = Recipe(family, 1. if wide else 1/16, batch=batch, **options)
    folder = folder or tempfile.mkdtemp()
    return Trainer(recipe, noise(family, steps * batch), folder, device.type, graphs=graphs)


def advance(t, n):
    "n minibatches, ends of epochs included, as `fit` does"
    while n:
        for x, y in t.feed.epoch(t.order(), t.recipe.batch):
            t.minibatch(x, y)
            n -= 1
            if not n or t.step == t.steps:
                break
        if t.step == t.steps:
            t.end_epoch(1., t.steps)
    return t


def largest_difference(a, b):
    "Of two trainings' states; 0 means the same bits"
    pairs = zip(a.state().values(), b.state().values())
    return max(float((x.float() - y.float()).abs().max()) for x, y in pairs)


def first_batch(t):
    return next(t.feed.epoch(t.order(), t.recipe.batch))


def lines(said):
    return '\n               '.join(f'{k}: {v}' for k, v in said.items())


@check
def machine():
    query = 'nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader'
    name = os.popen(query).read().strip() if gpu else 'no GPU'
    path, data = Path(tempfile.mkdtemp())/'x', os.urandom(2**26)
    took = seconds(lambda: (path.write_bytes(data), os.sync()))[0]
    return (f'{name} | torch {torch.__version__}, cudnn {torch.backends.cudnn.version()}, '
            f'{os.cpu_count()} cores, {torch.get_num_threads()} threads, '
            f'{pick_precision("auto", device)}, disk {2**26 / took / 1e6:.0f} MB/s')


@check
def limits():
    from dcgan.tools.speed import copy_rate, matmul_rate
    said = {}
    for dtype in (torch.bfloat16, torch.float32):
        rates = matmul_rate(dtype, device, by_device((4096, 8192), (256,)), 2)
        said[str(dtype)] = {n: f'{r / 1e12:.1f} TFLOP/s' for n, r in rates.items()}
    return said | dict(copy=f'{copy_rate(device, by_device(2**30, 2**22), 2) / 1e9:.0f} GB/s')


@check
def graphs():
    said = {}
    for family, own in jobs.items():
        a, b, eager = (advance(trainer(family, graphs=g, **own), 5) for g in (True, True, False))
        said[family] = f'{largest_difference(a, b):.0e} {largest_difference(a, eager):.0e}'
    return f'replay − replay, replay − eager (0: the same bits): {said}'


@check
def resume():
    said = {}
    for family in ('svhn32', 'cppn26', 'deligan28'):
        own = jobs[family]
        whole = advance(trainer(family, **own), 12)
        killed = advance(trainer(family, **own), 5)
        killed.save()
        resumed = trainer(family, folder=killed.folder, **own).restore()
        said[family] = f'{largest_difference(whole, advance(resumed, 7)):.0e}'
    return f'resumed − whole (0: the same bits): {said}'


@check
def stream():
    from dcgan.beyond import cppn, one_kernel
    hidden = build('cppn26')[0].hidden.to(device).requires_grad_(False)
    W, b = hidden.weight, hidden.bias
    h = torch.randn(6, by_device(67_600, 500), device=device)
    ways = dict(operators=(cppn.residual_stream, cppn.residual_back))
    fused = one_kernel.stream_forward, one_kernel.stream_backward
    if cppn.ways_of(device, 6) == fused:
        ways['one kernel'] = fused
    elif gpu:
        raise RuntimeError('no kernel: the warning says why')
    said = {}
    for name, (forward, back) in ways.items():
        there = milliseconds(lambda f=forward: f(h, W, b), by_device(20, 2))
        kept = forward(h, W, b)
        back_again = milliseconds(lambda f=back, s=kept: f(s, W, b, h), by_device(20, 2))
        said[name] = f'{there:.2f} ms forwards, {back_again:.2f} back'
    return said


@check
def host():
    z = latents['uniform'](128, 100, generator('z'))
    pinned = z.pin_memory() if gpu else z
    timed = {
        'default_generator.manual_seed': lambda: torch.default_generator.manual_seed(5),
        'drawing z': lambda: latents['uniform'](128, 100, generator('z', 1)),
        'z.to': lambda: z.to(device),
        'pinned': lambda: pinned.to(device, non_blocking=True)}
    return 'µs: ' + ', '.join(f'{k} {1000 * milliseconds(f, 50):.0f}' for k, f in timed.items())


@check
def int8():
    from dcgan.measure.neighbours import Neighbours, is_exact, pick_product, products, search_rate
    drawn = torch.randint(256, (40, 1, 2, 2), generator=generator('int8'), dtype=torch.uint8)
    found = Neighbours(drawn, device, product='int8').update(drawn).index.tolist()
    right = [next(j for j in range(40) if (drawn[j] == x).all()) for x in drawn]
    rate = search_rate(*by_device((10_000, 200_000), (100, 200)), rounds=2, device=device)
    exact = [k for k, f in products.items() if is_exact(f, device)]
    return (f'exact {exact}, 4 features right {found == right}, picks {pick_product(device)}, '
            f'{rate["search"] / 1e12:.1f} T/s, {rate["share"]:.0%} of the product')


@check
def digits():
    from dcgan.measure.neighbours import Neighbours, generated
    G = build('mnist28', by_device(1., 1/16))[0].to(device)
    n, real = by_device((40, 10_000), (2, 100))
    near = Neighbours(torch.randint(256, (real, 1, 28, 28), dtype=torch.uint8), device)
    stream = generated(G)
    next(stream)
    drawing, blocks = seconds(lambda: list(itertools.islice(stream, n)))
    searching = seconds(lambda: [near.update(*b) for b in blocks])[0]
    images = sum(len(x) for x, _ in blocks)
    return (f'{images / drawing:,.0f} samples/s, {images / searching:,.0f} searched/s, '
            f'so 10M in {1e7 / images * (drawing + searching):.0f} s')


# Paths of single notebooks

def draw_exported(G, z):
    from dcgan.paper.walks import freeze
    from dcgan.tools.explorer import draw_onnx, export_onnx
    return draw_onnx(export_onnx(freeze(G, z), Path(tempfile.mkdtemp())/'G.onnx'), z[:2])


def cluster(images):
    from dcgan.measure.kmeans import PatchKMeans
    return PatchKMeans(16, 2000).fit(images).standardised(images, device)(images)


def encode(images):
    from dcgan.measure.dedup import codes, dedup_setting, fit_autoencoder
    net = fit_autoencoder(images[:], dedup_setting | dict(epochs=1, batch=64), 0, device)
    return codes(net, images.images)


def guide(D, scenes):
    from dcgan.measure.features import estimate_statistics
    from dcgan.paper.guided import guided_gradients
    frozen = estimate_statistics(D, scenes)
    return guided_gradients(frozen, torch.rand(8, 3, 64, 64, device=device), 3, 0)


def draw_drawing():
    from dcgan.beyond.drawings import draw_large
    return draw_large(build('cppn26')[0].to(device), torch.zeros(32), by_device(1080, 52))


def read_faces():
    from dcgan.measure.faces import fit_reader
    from dcgan.worlds.world import draw
    return fit_reader(*draw('faces', 640), 1, 0, device)


def drop_windows(G, z):
    from dcgan.measure.windows import train_detector
    from dcgan.paper.forget import drop, layer_maps
    train_detector(640, 20, 0, device)
    layer_maps(G, z)
    return drop(G, z, [0, 1])


def others_of(G, D):
    "name → function"
    z, images, scenes = torch.rand(256, 100), noise('svhn32', 600), noise('lsun64', 256)
    return {'freeze, export, onnx': lambda: draw_exported(G, z),
            'K-means features': lambda: cluster(images),
            'autoencoder': lambda: encode(images),
            'guided': lambda: guide(D, scenes),
            'large drawing': draw_drawing,
            'reader of faces': read_faces,
            'detector, maps dropped': lambda: drop_windows(G, z),
            'streamed': lambda: advance(streamed(), 3),
            'checkpoint of lsun64': lambda: trainer('lsun64', steps=1).save()}


@check
def others():
    G, D = (net.to(device) for net in build('lsun64', by_device(1., 1/16)))
    said = {}
    for name, f in others_of(G, D).items():
        said[name] = attempt(name, lambda f=f: f'{seconds(f)[0]:.2f} s')
    return lines(said)


def streamed():
    "A trainer whose images stay on the host"
    from dcgan.data.feed import Feed
    t = trainer('svhn32')
    t.feed = Feed(t.data, device, resident=False)
    return t


# FLOP of an image, for one update of G and one of D
flop = dict(lsun64=15.31e9, imagenet32=6.43e9, svhn32=.656e9, mnist28=.472e9, gan_mlp=.0424e9,
            turing32=1.101e9)


@check
def speed():
    return lines({family: rate_of(family, own) for family, own in jobs.items()})


def rate_of(family, own):
    "Time of a minibatch with both updates, of each update alone, images/s and TFLOP/s"
    t = trainer(family, **own)
    batch = first_batch(t)
    ms = milliseconds(lambda: t.minibatch(*batch), by_device(30, 4))
    said = f'{ms:.2f} ms'
    for which, update in t.updates.items() if gpu else ():
        said += f', {which} alone {milliseconds(update.graph.replay):.2f}'
    said += f', {1000 * t.recipe.batch / ms:,.0f}/s'
    if family in flop:
        said += f', {flop[family] * t.recipe.batch / ms / 1e9:.0f} TFLOP/s'
    return said


@check
def algorithms():
    if not gpu:
        return 'no GPU'
    cudnn, said = torch.backends.cudnn, {}
    t = trainer('lsun64', batch=128, graphs=False)
    batch = first_batch(t)
    for settings in itertools.product((True, False), (False, True)):
        cudnn.deterministic, cudnn.benchmark = settings
        ms = milliseconds(lambda: t.minibatch(*batch), 8)
        said[f'deterministic, benchmark {settings}'] = f'{ms:.2f} ms eager'
    cudnn.deterministic, cudnn.benchmark = True, False
    return lines(said | sampling_rates(t.G))


def sampling_rates(G):
    "How fast G samples, by type and layout"
    z, said = torch.rand(512, 100), {}
    plain = copy.deepcopy(G).to(memory_format=torch.contiguous_format)
    for name, net, tf32, bf16 in (('fp32, channels last', G, False, False),
                                  ('fp32, contiguous', plain, False, False),
                                  ('TF32, channels last', G, True, False),
                                  ('bf16, channels last', G, False, True)):
        torch.backends.cudnn.allow_tf32 = tf32
        with torch.autocast('cuda', torch.bfloat16, enabled=bf16):
            ms = milliseconds(lambda net=net: sample(net, z), 3)
        said[f'sampling, {name}'] = f'{512_000 / ms:,.0f}/s'
    torch.backends.cudnn.allow_tf32 = False
    return said


@check
def features():
    from dcgan.measure.svm import fit_path
    n, width = by_device((3000, 28_672), (200, 300))
    X, y = torch.randn(n, width, generator=generator('svm')), torch.arange(n) % 10
    X[torch.arange(n), y] += 4
    half, few = X.to(device, torch.bfloat16), X[:, :512]
    took = seconds(lambda: fit_path(half, y, [1e-5, 1e-4]))[0]
    there = fit_path(few.to(device), y, [1e-3])[0].decision_function(few.to(device)).cpu()
    here = fit_path(few, y, [1e-3])[0].decision_function(few)
    return (f'{n}×{width:,} bf16, two C: {took:.1f} s; fp32 against the CPU '
            f'{float((there - here).abs().max()):.1e}; features {extraction_rate():,.0f}/s')


def extraction_rate():
    "Images/s that the features of imagenet32 are extracted from"
    from dcgan.measure.features import estimate_statistics, extract_features
    images, dtype = noise('imagenet32', by_device(4000, 256)), pick_precision('auto', device)
    D = estimate_statistics(build('imagenet32', by_device(1., 1/16))[1].to(device), images)
    return len(images) / seconds(lambda: extract_features(D, images, dtype=dtype))[0]


@check
def worlds():
    from dcgan.worlds.world import draw
    from dcgan.worlds.world import worlds as names
    said, n = {}, by_device(1024, 64)
    for name in names:
        cpu, a = seconds(lambda name=name: draw(name, n)[0])
        draw(name, 64, device=device)
        own, b = seconds(lambda name=name: draw(name, n, device=device)[0])
        off = int((a.int() - b.cpu().int()).abs().max())
        said[name] = f'off {off}, cpu {n / cpu:,.0f}/s, {device.type} {n / own:,.0f}/s'
    return said


@check
def profile():
    from dcgan.tools.speed import top_operators, trainer_turn
    t = trainer('lsun64', batch=128, steps=4)
    list(trainer_turn(t))
    shares = top_operators(lambda: list(trainer_turn(t)), device)
    return {k[:60]: f'{v:.0%}' for k, v in itertools.islice(shares.items(), 8)}


@check
def memory():
    if not gpu:
        return 'no GPU'
    most, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return f'{most / 1e9:.1f} GB at most, reserved {reserved / 1e9:.1f}'


def main():
    for name, f in checks.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        facts[name] = attempt(name, f)
        print(f'{time.time() - began:5.0f} s  {name:14s} {facts[name]}', flush=True)
    report()
    print(f'{len(failed)} failed: {", ".join(failed) or "none"}; {time.time() - began:.0f} s')
    sys.exit(bool(failed))


if __name__ == '__main__':
    main()

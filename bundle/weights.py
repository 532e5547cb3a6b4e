"""What a training learned, without Adam's moments: G or D in half precision, or in 8 bits

A network whose halves would fill more than one file travels as 8-bit integers with one scale per
channel; the relative error of its weights, ‖ŵ − w‖ / ‖w‖, is written beside them.
"""
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

order = ('mnist28', 'svhn32', 'imagenet32', 'lsun64')  # families by value; others come after them


def record_of(path):
    "What the trainer wrote into a checkpoint: recipe, epoch, history"
    with safe_open(path, 'pt') as f:
        return json.loads(f.metadata()['trainer'])


def images_seen(record):
    "How many images a training has looked at, which tells the long from the short one"
    return sum(h['images_per_second'] * h['seconds'] for h in record['history'])


def checkpoint_of(folder):
    "A training's best state, else its newest, and how many images it has seen; None without one"
    for path in (folder/f'{name}.safetensors' for name in ('best', 'checkpoint')):
        try:
            if path.exists():
                return path, images_seen(record_of(path))
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as e:
            print(f'{path} cannot be read and is left out: {e}', flush=True)
    return None


def by_value(folder):
    """(checkpoint, 'G' or 'D') of the trainings in a folder, the most valuable first.

    All generators come before all discriminators. The longest training of each family comes
    before the second longest of any, families in the order of `order`.
    """
    longest, ranked = {}, []
    found = [f for f in map(checkpoint_of, sorted(Path(folder).glob('[!.]*_*/'))) if f]
    for path, _ in sorted(found, key=lambda f: -f[1]):
        family = path.parent.name.rpartition('_')[0]
        longest[family] = longest.get(family, -1) + 1
        place = order.index(family) if family in order else len(order)
        ranked.append((longest[family], place, path))
    return [(path, net) for net in 'GD' for *_, path in sorted(ranked)]


def eighths(w):
    "w in 8 bits, with one scale per row or per column, whichever loses less: (integers, scale)"
    tried = []
    for axis in (0, 1):
        others = [d for d in range(w.dim()) if d != axis]
        scale = (w.abs().amax(others, keepdim=True) / 127).clamp(min=1e-12)
        integers = (w / scale).round()
        tried.append(((integers * scale - w).norm(), integers.to(torch.int8), scale))
    return min(tried, key=lambda t: t[0])[1:]


def network(path, net):
    "Weights and metadata of 'G' or 'D' in a checkpoint; of G its average, where there is one"
    with safe_open(path, 'pt') as f:
        averaged = net == 'G' and any(k.startswith('average.') for k in f.keys())
        prefix = 'average.' if averaged else f'{net}.'
        state = {k[len(prefix):]: f.get_tensor(k) for k in f.keys() if k.startswith(prefix)}
        return state, f.metadata()


def slim(path, net, most=16_000_000):
    "'G' or 'D' of a checkpoint as bytes: halves, or 8 bits where halves need more than `most`"
    state, metadata = network(path, net)
    small = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    if sum(v.nbytes for v in small.values()) > most:
        for k in [k for k, v in state.items() if v.is_floating_point() and v.dim() > 1]:
            small[k], small[f'{k}.scale'] = eighths(state[k])
    metadata['loss'] = f'{relative_error(small, state):.1e}'
    return save({k: v.contiguous() for k, v in small.items()}, metadata)


def restored(small):
    "Weights in fp32 from what `slim` wrote, by name"
    wide = {k: v.float() if v.is_floating_point() else v for k, v in small.items()}
    for k in [k for k in wide if f'{k}.scale' in wide]:
        wide[k] = wide[k].float() * wide.pop(f'{k}.scale')
    return wide


def relative_error(small, state):
    "‖ŵ − w‖ / ‖w‖ over all weights of a network"
    wide = restored(small)
    pairs = [(wide[k], v) for k, v in state.items() if v.is_floating_point()]
    lost = sum((a - b).square().sum() for a, b in pairs)
    whole = sum(b.square().sum() for _, b in pairs)
    return float((lost / whole).sqrt())


def read(path):
    "The weights of a file that `slim` wrote, in fp32, ready for `load_state_dict`"
    return restored(load(Path(path).read_bytes()))

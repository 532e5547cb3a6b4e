"""A CUDA device that is none: tensors that say they are on cuda:0 and are computed on the CPU

    python bundle/pretend.py nbs/05_svhn.ipynb [-p NAME VALUE …]    a notebook's cells, at smoke

What a GPU would refuse is refused: operands on two devices, NumPy on a CUDA tensor, a CPU generator
for CUDA numbers and, inside an update that is captured as a graph, anything that waits for the
device. Waits elsewhere are counted by line. Not seen: kernels, speed, memory, C++ extensions, other
processes. PRETEND_CAPABILITY=7 is a GPU without bf16; PRETEND_WAITS=12 lines are listed.
"""
import collections
import json
import os
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter, tree_map_only

T, CUDA, CPU = torch.Tensor, torch.device('cuda', 0), torch.device('cpu')
plainly = torch._C.DisableTorchFunctionSubclass
waits, state = collections.Counter(), threading.local()


class Gpu(T):
    "A tensor that says it is on cuda:0"


class Refused(RuntimeError):
    "What CUDA would not do"


def is_cuda(device):
    if device is None or isinstance(device, T):
        return False
    return torch.device(device).type == 'cuda'


def wrap(x):
    return x.as_subclass(Gpu) if isinstance(x, T) and not isinstance(x, Gpu) else x


def plain(x):
    return x.as_subclass(T) if isinstance(x, Gpu) else x


def tensors_in(tree):
    return [t for t in tree_iter(tree) if isinstance(t, T)]


def on_cpu(tree):
    "CPU tensors that CUDA cannot take as an operand: those with a dimension"
    return [t for t in tensors_in(tree) if not isinstance(t, Gpu) and t.dim()]


def where():
    "The innermost line of the project or of a notebook"
    for f in reversed(traceback.extract_stack(limit=60)[:-3]):
        if '/dcgan/' in f.filename or f.filename.startswith('<'):
            return f'{Path(f.filename).name}:{f.lineno} {(f.line or "")[:90]}'
    return '?'


def refuse(what):
    raise Refused(f'{what}: {where()}')


def wait(what):
    "Count a wait for the device; inside a captured update there must be none"
    if getattr(state, 'capturing', False):
        refuse(f'{what} waits for the device inside a captured update')
    waits[f'{what} at {where()}'] += 1


# The attributes that answer for a GPU, by their getters
answers = {getattr(T, name).__get__: value
           for name, value in dict(device=CUDA, is_cuda=True, is_cpu=False).items()}
waiting = set('item tolist __bool__ __float__ __int__ __index__ __contains__ nonzero unique '
              'masked_select equal allclose __format__ __repr__ unique_consecutive bincount '
              'argwhere'.split())
mixing = set('copy_ __getitem__ __setitem__ to cpu cuda index_put_ __get__ __set__ set_ type_as '
             'new_tensor as_tensor tensor backward grad to_pil_image load_state_dict result_type '
             'promote_types can_cast _has_compatible_shallow_copy_type as_subclass apply'.split())


def is_mask(index):
    "Does an index hold truth values, whose number CUDA has to be asked for?"
    if isinstance(index, list) and index and all(isinstance(v, bool) for v in index):
        return True
    return any(t.dim() and t.dtype in (torch.bool, torch.uint8) for t in tensors_in(index))


def check_index(name, x, index, value=None):
    "What indexing costs, or why it is refused"
    if is_mask(index):
        wait('mask')
    if not isinstance(x, Gpu) and any(t.dim() for t in tensors_in(index) if isinstance(t, Gpu)):
        refuse('a CPU tensor indexed with CUDA indices')
    if on_cpu(index):
        wait('CPU index of a CUDA tensor')
    if name == '__setitem__' and on_cpu(value):
        if any(t.dim() for t in tensors_in(index)):
            refuse('index_put_ of CPU values into a CUDA tensor')
        wait('pageable copy to the device')


class Generator(torch.Generator):
    "A generator of the CPU that knows which device it stands for"

    def __new__(cls, device='cpu'):
        made = super().__new__(cls, 'cpu')
        made.on_cuda = is_cuda(device)
        return made


def of_the_cpu(drawn):
    return drawn is not None and not getattr(drawn, 'on_cuda', False)


def check_generator(name, kwargs):
    if not of_the_cpu(kwargs.get('generator')) or name == 'randperm':
        return
    if not is_cuda(kwargs.get('device')):
        refuse(f'{name} of a CUDA tensor with a CPU generator')


def without_waiting(x, kwargs):
    return kwargs.get('non_blocking') and getattr(x, 'pinned', False)


def check_copy(to, source, kwargs):
    if not isinstance(to, Gpu):
        wait('copy from the device')
    elif isinstance(source, T) and not isinstance(source, Gpu):
        if not without_waiting(source, kwargs):
            wait('pageable copy to the device')


def check(name, args, kwargs):
    "Does a call touch the device? `Refused` where CUDA would not do it"
    gpu = any(isinstance(t, Gpu) for t in tree_iter((args, kwargs)))
    if not gpu or getattr(state, 'engine', 0):
        return gpu
    if name in ('numpy', '__array__'):
        raise TypeError(f"can't convert cuda:0 device type tensor to numpy: {where()}")
    if name in waiting:
        wait(name)
    if name in ('__getitem__', '__setitem__'):
        check_index(name, *args)
        return True
    check_generator(name, kwargs)
    if name not in mixing and on_cpu((args, kwargs)):
        refuse(f'{name}: tensors on cuda:0 and on cpu')
    if name == 'copy_':
        check_copy(*args[:2], kwargs)
    return True


def target_of(name, args, kwargs):
    "Where `.to(…)`, `.cuda()` or `.cpu()` goes: True for CUDA, False for the CPU, None for neither"
    if name != 'to':
        return name == 'cuda'
    for a in [*args[1:], kwargs.get('device'), kwargs.get('other')]:
        if isinstance(a, T):
            return isinstance(a, Gpu)
        if isinstance(a, (str, torch.device)):
            return is_cuda(a)
    return None


def cast(x, args, kwargs):
    "`x.to(…)` with every device replaced by the CPU"
    places = (str, torch.device)
    args = [CPU if isinstance(a, places) else plain(a) for a in args]
    kwargs = {k: CPU if k == 'device' and v is not None else plain(v) for k, v in kwargs.items()}
    return T.to(plain(x), *args, **kwargs)


def move(name, args, kwargs):
    "A tensor on its way between the devices"
    x, to, was = args[0], target_of(name, args, kwargs), isinstance(args[0], Gpu)
    moves = to is not None and to != was
    if moves and not without_waiting(x, kwargs):
        wait('copy from the device' if was else 'pageable copy to the device')
    with plainly():
        out = cast(x, args[1:], kwargs) if name == 'to' else plain(x)
        if moves and out.data_ptr() == x.data_ptr():
            out = out.clone(memory_format=torch.preserve_format)
    return wrap(out) if (was if to is None else to) else plain(out)


def deepcopy(x, memo):
    with plainly():
        new = plain(x).detach().clone(memory_format=torch.preserve_format)
        new = wrap(new).requires_grad_(x.requires_grad)
    if getattr(x, '_is_param', False):
        new._is_param = True
    memo[id(x)] = new
    return new


def placed(name, kwargs, gpu):
    "A call's keywords with the CPU for its device, and whether its result is on the GPU"
    if 'device' not in kwargs:
        return kwargs, gpu
    made = is_cuda(kwargs['device'])
    if made and of_the_cpu(kwargs.get('generator')):
        refuse(f'{name} on CUDA with a CPU generator')
    if made or gpu:
        kwargs['device'] = None if kwargs['device'] is None else CPU
    if not made and name.startswith(('new_', 'empty', 'zeros', 'ones', 'full', 'rand')):
        gpu = False
    return kwargs, gpu or made


def compute(func, name, args, kwargs):
    "The call itself, on the CPU"
    engine = name in ('backward', 'grad') or func is torch.autograd.grad
    state.engine = getattr(state, 'engine', 0) + engine
    try:
        with plainly():
            return func(*args, **kwargs)
    finally:
        state.engine -= engine


class Pretend(TorchFunctionMode):
    "Sees every call of a function of torch"

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), getattr(func, '__name__', str(func))
        if args and isinstance(args[0], Gpu):
            for getter, value in answers.items():
                if func == getter:
                    return value
        gpu = check(name, args, kwargs)
        if name == '__deepcopy__' and isinstance(args[0], Gpu):
            return deepcopy(*args)
        if name in ('to', 'cuda', 'cpu') and isinstance(args[0], T):
            return move(name, args, kwargs)
        kwargs, gpu = placed(name, kwargs, gpu)
        if name == 'register_hook' and gpu:
            hook = args[1]
            args = (args[0], lambda gradient: hook(wrap(gradient)))
        out = compute(func, name, args, kwargs)
        return tree_map_only(T, wrap, out) if gpu and name not in ('numpy', 'tolist') else out


class Replay:
    "In place of the trainer's graph: an update in which nothing may wait"

    def __init__(self, update, inputs, held):
        self.update, self.inputs = update, [i.clone() for i in inputs]
        saved = {k: v.clone() for k, v in held.items()}
        if not all(isinstance(i, Gpu) for i in inputs):
            raise Refused('an input of the graph is not on the device')
        for _ in range(3):
            update(*self.inputs)
        self.captured()
        for k, v in held.items():
            v.copy_(saved[k])

    def captured(self):
        state.capturing = True
        try:
            self.update(*self.inputs)
        finally:
            state.capturing = False

    def __call__(self, *inputs):
        for static, new in zip(self.inputs, inputs):
            static.copy_(new, non_blocking=True)
        self.captured()


class CpuAutocast(torch.autocast):
    def __init__(self, device_type, *args, **kw):
        super().__init__('cpu', *args, **kw)


def grouped(found):
    "torch's grouping of tensors by device, whose C++ sees the CPU"
    def group(lists, *args, **kw):
        return {(CUDA if isinstance(next(t for t in lists[0] if t is not None), Gpu) else d, t): v
                for (d, t), v in found(lists, *args, **kw).items()}
    return group


def pin(x):
    out = x.clone()
    out.pinned = True
    return out


def answer_for_cuda():
    "torch.cuda as it answers with one GPU of 80 GB"
    fixed = dict(is_available=True, device_count=1, is_bf16_supported=True,
                 get_device_capability=(int(os.environ.get('PRETEND_CAPABILITY', 9)), 0),
                 get_device_name='a pretended GPU', mem_get_info=(70 * 2**30, 80 * 2**30),
                 memory_allocated=0, max_memory_allocated=0, memory_reserved=0,
                 max_memory_reserved=0)
    silent = ('synchronize', 'reset_peak_memory_stats', 'empty_cache', 'manual_seed_all',
              'manual_seed', 'set_device')
    for name, value in (fixed | dict.fromkeys(silent)).items():
        setattr(torch.cuda, name, lambda *_, value=value: value)


def install():
    "Make torch pretend, from here on"
    import torch.nn.utils.clip_grad as clip
    import torch.optim.optimizer as optimizer
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    answer_for_cuda()
    for name in ('_cuda_graph_capture_health_check', '_accelerator_graph_capture_health_check'):
        setattr(torch.optim.Optimizer, name, lambda self: None)
    found = grouped(clip._group_tensors_by_device_and_dtype)
    clip._group_tensors_by_device_and_dtype = found
    optimizer._group_tensors_by_device_and_dtype = found
    torch.Generator = Generator
    torch.autocast = torch.amp.autocast = torch.amp.autocast_mode.autocast = CpuAutocast
    T.pin_memory = pin
    Pretend().__enter__()
    replace_graphs({})


def replace_graphs(space):
    "Put `Replay` where the trainer looks for its graphs, and where a notebook defines them"
    import dcgan.gan.trainer
    dcgan.gan.trainer.GraphedUpdate = Replay
    if 'GraphedUpdate' in space:
        space['GraphedUpdate'] = Replay


def cells(path):
    "Code cells of a notebook that run here: (source, tags)"
    for cell in json.loads(Path(path).read_text())['cells']:
        source = ''.join(cell['source'])
        exports = 'nbdev_export' in source or 'export_library' in source
        if cell['cell_type'] == 'code' and not exports and '#| eval: false' not in source:
            yield source, cell['metadata'].get('tags', [])


def tell(path, i, source, error, began):
    "Print where a cell failed"
    print(f'FAILED {path.stem} cell {i} after {time.time() - began:.0f} s: '
          f'{type(error).__name__}: {str(error)[:500]}')
    for f in traceback.extract_tb(error.__traceback__):
        if 'pretend.py' in f.filename or '/torch/' in f.filename:
            continue
        line = source.split('\n')[f.lineno - 1] if f.filename.startswith('<') else f.line
        print(f'    {Path(f.filename).name}:{f.lineno} in {f.name}: {(line or "")[:140]}')


def run(path, given):
    "Run a notebook's cells in __main__; 1 if one fails"
    space, began = sys.modules['__main__'].__dict__, time.time()
    space.update(display=lambda *_: None)
    for i, (source, tags) in enumerate(cells(path)):
        try:
            exec(compile(source, f'<{path.stem} cell {i}>', 'exec'), space)
        except Exception as error:
            tell(path, i, source, error, began)
            return 1
        replace_graphs(space)
        if 'parameters' in tags:
            space.update(given)
    print(f'ok {path.stem}, {time.time() - began:.0f} s')
    return 0


def main():
    folder = Path(tempfile.mkdtemp())
    os.environ.setdefault('MPLBACKEND', 'agg')
    for name in ('FIGURES', 'RUNS'):
        os.environ.setdefault(f'DCGAN_{name}', str(folder/name.lower()))
    install()
    given = {k: json.loads(v) for k, v in zip(sys.argv[3::3], sys.argv[4::3])}
    code = run(Path(sys.argv[1]), dict(scale='smoke') | given)
    for line, n in waits.most_common(int(os.environ.get('PRETEND_WAITS', 12))):
        print(f'{n:7d} × {line}')
    sys.exit(code)


if __name__ == '__main__':
    import pretend  # under its own name: the notebook's cells run in __main__
    pretend.main()

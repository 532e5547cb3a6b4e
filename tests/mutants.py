"""Changes of meaning, one at a time, that a notebook's own tests should notice

    python tests/mutants.py nbs/lib/gan/objectives.ipynb

An operator, a sign, a constant, a name or the order of two arguments is changed in an exported
cell. That cell and those after it run in a process of their own, up to the first that fails. What
passes has survived: no test looks, or the change means nothing. Not part of `make test`.
"""
import argparse
import ast
import copy
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

os.environ |= dict(IN_TEST='1', OMP_NUM_THREADS='1', MPLBACKEND='Agg')

operators = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.FloorDiv: ast.Mod, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.And: ast.Or, ast.Or: ast.And}
names = dict(min='max', max='min', mean='sum', any='all', all='any', argmax='argmin', exp='log',
             adaptive_max_pool2d='adaptive_avg_pool2d', softplus='relu', sorted='list')


def changes(node):  # functions that change a node in place
    if isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in operators:
        yield lambda n: setattr(n, 'op', operators[type(n.op)]())
    if isinstance(node, ast.Compare) and type(node.ops[0]) in operators:
        yield lambda n: setattr(n, 'ops', [operators[type(n.ops[0])](), *n.ops[1:]])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        sign = isinstance(node.op, ast.USub)
        yield lambda n: setattr(n, 'op', ast.UAdd() if sign else ast.Not())
        if not sign:
            yield lambda n: setattr(n, 'operand', ast.UnaryOp(ast.Not(), n.operand))
    if isinstance(node, (ast.If, ast.IfExp)):
        yield lambda n: setattr(n, 'test', ast.UnaryOp(ast.Not(), n.test))
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        value = node.value
        yield lambda n: setattr(n, 'value', not value if isinstance(value, bool) else value + 1)
    if isinstance(node, ast.Call) and len(node.args) > 1:
        yield lambda n: n.args.__setitem__(slice(0, 2), n.args[1::-1])
    for field in ('id', 'attr'):
        if getattr(node, field, None) in names:
            yield lambda n, field=field: setattr(n, field, names[getattr(n, field)])


def inside(tree):  # nodes of definitions and values, without annotations
    for field, value in ast.iter_fields(tree):
        if field in ('annotation', 'returns', 'keywords' if isinstance(tree, ast.ClassDef) else ''):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST):
                yield node
                yield from inside(node)


def mutants(source):  # yields line, before, after, and the whole source
    tree = ast.parse(source)
    for i, node in enumerate(inside(tree)):
        for k, _ in enumerate(changes(node)):
            other = copy.deepcopy(tree)
            changed = list(inside(other))[i]
            before = ast.unparse(changed)
            list(changes(changed))[k](changed)
            after = ast.unparse(changed)
            if after != before:
                yield getattr(node, 'lineno', 0), before[:70], after[:70], ast.unparse(other)


def passes(shell, sources):
    return all(shell.run_cell(source, silent=True).success for source in sources)


def killed(shell, sources, seconds):  # in a process of its own, up to the first cell that fails
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        sys.path.insert(0, f'{home}/library')
        with suppress(BaseException):
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                good = passes(shell, sources)
            os._exit(0 if good else 1)
        os._exit(1)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status != 0
        time.sleep(.01)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def code_of(path):  # the sources of the cells that run
    cells = [c for c in json.loads(path.read_text())['cells'] if c['cell_type'] == 'code']
    sources = [''.join(c['source']) for c in cells]
    return [s for s in sources if '#| eval: false' not in s and 'export_library()' not in s]


def write_library(cells):  # with the change, for the processes that the notebook starts
    name = re.search(r'#\| default_exp (\S+)', cells[0])[1].replace('.', '/')
    exported = [c for c in cells if '#| export' in c]
    Path(f'{home}/library/dcgan/{name}.py').write_text('\n\n'.join(exported))


def planned(cells, a):  # cell → mutants, at most `a.most` of all, drawn at random
    found = [(i, m) for i, cell in enumerate(cells) if '#| export' in cell
             for m in mutants(cell) if any(text in cell for text in a.only)]
    drawn = random.Random(0).sample(found, min(len(found), a.most))
    return {i: [m for j, m in found if j == i and (j, m) in drawn] for i in range(len(cells))}


@contextmanager
def files_of_its_own():  # what a child writes into temporary folders must not reach the next one
    here = tempfile.gettempdir()
    shutil.copytree(here, f'{here}_before', symlinks=True)
    try:
        yield
    finally:
        shutil.rmtree(here)
        os.rename(f'{here}_before', here)


def campaign(path, a):  # how many were killed; how many there were
    from IPython.core.interactiveshell import InteractiveShell
    os.chdir(path.parent)
    shell, cells = InteractiveShell(), code_of(path)
    dead = n = 0
    for i, some in planned(cells, a).items():
        for line, before, after, source in some:
            n += 1
            changed = f'#| export\n{source}'
            write_library([*cells[:i], changed, *cells[i + 1:]])
            with files_of_its_own():
                dies = killed(shell, [source, *cells[i + 1:]], a.seconds)
            if dies:
                dead += 1
            else:
                where = f'{path.stem}, code cell {i}, line {line}'
                print(f'  {where}: {before}  →  {after}', flush=True)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            good = passes(shell, [cells[i]])
        if not good:
            sys.exit(f'{path}: code cell {i} fails unchanged')
    return dead, n


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('notebooks', nargs='+', type=Path)
    parser.add_argument('--seconds', type=float, default=120, help='for the cells after a change')
    parser.add_argument('--only', nargs='+', default=[''], help='cells that hold such a text')
    parser.add_argument('--most', type=int, default=10**6, help='changes of each notebook')
    a = parser.parse_args()
    home = tempfile.mkdtemp(prefix='mutants')
    tempfile.tempdir = os.environ['DCGAN_RUNS'] = f'{home}/files'
    os.mkdir(tempfile.tempdir)
    shutil.copytree(Path(__file__).parents[1]/'dcgan', f'{home}/library/dcgan')
    for path in [p.absolute() for p in a.notebooks]:
        dead, n = campaign(path, a)
        write_library(code_of(path))
        print(f'{path.stem}: {dead} of {n} killed', flush=True)
    shutil.rmtree(home)
    os._exit(0)  # without waiting for what the notebooks started

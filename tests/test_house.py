"The house of DESIGN: packages in layers, no private name across modules, notebooks in plain code"

import ast
import json
import re
from pathlib import Path

import pytest

root = Path(__file__).parents[1]
layers = ['base', 'worlds', 'data', 'gan', 'measure', 'paper', 'beyond', 'tools']
modules = sorted((root / 'dcgan').glob('*/[!_]*.py'))
notebooks = sorted((root / 'nbs').rglob('[!.]*.ipynb'))


def imports(path):
    "The library's modules that a module imports, as (package, module), and the names it takes"
    here = path.relative_to(root / 'dcgan').parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            whole = [*filter(None, (node.module or '').split('.'))]
            if node.level:
                whole = [*here[: len(here) + 1 - node.level], *whole]
            elif whole[0] == 'dcgan':  # as nbdev leaves an import over several lines
                whole = whole[1:]
            else:
                continue
            names = [alias.name for alias in node.names]
            if len(whole) == 1:  # from ..worlds import faces, rooms
                yield from (((whole[0], name), []) for name in names)
            elif whole:
                yield tuple(whole[:2]), names


def code(path):
    "The code cells of a notebook, without magics"
    cells = json.loads(path.read_text())['cells']
    sources = [''.join(c['source']) for c in cells if c['cell_type'] == 'code']
    return [re.sub(r'(?m)^\s*[%!].*', '', s) for s in sources]


def test_every_module_lies_in_a_layer():
    assert {p.parent.name for p in modules} == {*layers}


@pytest.mark.parametrize('path', modules, ids=lambda p: f'{p.parent.name}.{p.stem}')
def test_imports_go_down_only(path):
    own = layers.index(path.parent.name)
    upward = [f'{p}.{m}' for (p, m), _ in imports(path) if layers.index(p) > own]
    assert upward == []


def test_there_is_no_circle():
    graph = {(p.parent.name, p.stem): {m for m, _ in imports(p)} for p in modules}
    while free := {m for m, needed in graph.items() if not needed & graph.keys()}:
        graph = {m: needed for m, needed in graph.items() if m not in free}
    assert graph == {}


def test_no_private_name_crosses_a_module():
    taken = [(p.stem, n) for p in modules for _, names in imports(p) for n in names]
    assert [(module, name) for module, name in taken if name.startswith('_')] == []
    for path in notebooks:
        found = re.findall(r'from dcgan\.[\w.]+ import [^\n]*\b(_\w+)', '\n'.join(code(path)))
        assert found == [], path.name


@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.stem)
def test_one_statement_a_line(path):
    "No `a(), b()` in place of two statements, but a last line that is shown; ruff checks the rest"
    for cell in code(path):
        tree = ast.parse(cell)
        shown = tree.body[-1:]
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Tuple):
                assert node in shown, f'{path.name}: {ast.unparse(node)}'


def test_readme_names_every_notebook():
    said = (root / 'README.md').read_text()
    assert [p.stem for p in notebooks if f'`{p.stem}`' not in said and p.stem != 'index'] == []

"The library's names, read from its source: signatures, docments, pages, and links to them"

import ast
import copy
import io
import re
import tokenize


def docments(node, notes):
    "The comments of a signature: argument → meaning; `returns` for what comes back"
    args = [
        a
        for a in (
            *node.args.posonlyargs,
            *node.args.args,
            node.args.vararg,
            *node.args.kwonlyargs,
            node.args.kwarg,
        )
        if a
    ]
    owner = {a.lineno: a.arg for a in args} | (
        {node.returns.end_lineno: 'returns'} if node.returns else {}
    )
    lines = range(node.lineno, max(node.body[0].lineno, node.lineno + 1))
    return {
        owner.get(line, 'returns'): notes[line]
        for line in lines
        if line in notes and (line in owner or line > max(owner, default=0))
    }


def fields(node, notes):  # of a dataclass
    return {
        f.target.id: notes[f.lineno]
        for f in node.body
        if isinstance(f, ast.AnnAssign) and f.lineno in notes
    }


def signature(node, known, method=False):
    "A signature in one line, its types by their full names"

    class Full(ast.NodeTransformer):
        def visit_Name(self, name):
            return ast.Name(known.get(name.id, name.id))

    node = copy.deepcopy(node)
    node.args.args = node.args.args[method:]
    for a in ast.walk(node.args):
        if isinstance(a, ast.arg) and a.annotation:
            a.annotation = Full().visit(a.annotation)
    return f'({ast.unparse(node.args)})' + (
        f' -> {ast.unparse(Full().visit(node.returns))}' if node.returns else ''
    )


def imported(tree, package=''):
    "What a module of a package, or a cell, imports from the library: name → full name"
    found = {}
    for n in ast.walk(tree):
        if isinstance(n, ast.ImportFrom):
            above = ['dcgan', package][: 3 - n.level] if n.level else []
            whole = '.'.join([*above, *filter(None, [n.module])])
            if whole.split('.')[0] == 'dcgan':
                found |= {a.asname or a.name: f'{whole}.{a.name}' for a in n.names}
    return found


def plain(source):
    return re.sub(r'(?m)^\s*[%!].*', '', source)  # without magics


def decorators(node):
    return [ast.unparse(d) for d in node.decorator_list]


def members(node, notes, known):
    "The entries of a class: itself, then its public methods"
    functions = {f.name: f for f in node.body if isinstance(f, ast.FunctionDef)}
    start, is_data = functions.get('__init__'), any('dataclass' in d for d in decorators(node))
    given = (
        signature(start, known, method=True)
        if start
        else f"({', '.join(ast.unparse(f) for f in node.body if isinstance(f, ast.AnnAssign))})"
        if is_data
        else ''
    )
    yield 'class', node.name, given, node, docments(start, notes) if start else fields(node, notes)
    for f in functions.values():
        if not f.name.startswith('_'):
            yield method(f, node.name, notes, known)


def method(node, of, notes, known):
    prop = any(
        d in ('property', 'functools.cached_property', 'cached_property') or 'as_prop' in d
        for d in decorators(node)
    )
    return (
        'property' if prop else 'method',
        f'{of}.{node.name}',
        '' if prop else signature(node, known, method='staticmethod' not in decorators(node)),
        node,
        docments(node, notes),
    )


def entries(source, package=''):
    "The public names of a module, in order: (kind, name, signature, node, meanings)"
    tree = ast.parse(source)
    notes = {
        t.start[0]: t.string.lstrip('# ')
        for t in tokenize.generate_tokens(io.StringIO(source).readline)
        if t.type == tokenize.COMMENT
    }
    public = next(
        (
            ast.literal_eval(n.value)
            for n in tree.body
            if isinstance(n, ast.Assign) and n.targets[0].id == '__all__'
        ),
        [],
    )
    known = imported(tree, package) | {
        n.name: n.name for n in tree.body if isinstance(n, ast.ClassDef)
    }
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in public:
            yield from members(node, notes, known)
        elif (
            isinstance(node, ast.FunctionDef)
            and any(d.startswith('patch') for d in decorators(node))
            and not node.name.startswith('_')
        ):
            yield method(node, ast.unparse(node.args.args[0].annotation), notes, known)
        elif isinstance(node, ast.FunctionDef) and node.name in public:
            yield 'function', node.name, signature(node, known), node, docments(node, notes)
        elif isinstance(node, ast.Assign):
            for t in node.targets:
                if isinstance(t, ast.Name) and t.id in public:
                    yield 'data', t.id, '', node, {}


class Library:
    "The modules, their entries, and where a name leads"

    def __init__(self, folder, notebooks):
        self.notebooks = notebooks
        sources = {
            '.'.join(p.relative_to(folder).with_suffix('').parts): p.read_text()
            for p in sorted(folder.rglob('[!_]*.py'))
        }
        self.notebook = {
            m: re.search(r'File to edit: .*?(\w+)\.ipynb', s)[1] for m, s in sources.items()
        }
        self.doc = {m: ast.get_docstring(ast.parse(s)) or '' for m, s in sources.items()}
        self.entries = {m: list(entries(s, m.split('.')[0])) for m, s in sources.items()}
        self.imports = {
            m: imported(ast.parse(s), m.split('.')[0]) for m, s in sources.items()
        }
        self.full = {
            f'dcgan.{m}.{e[1]}': e[1] for m, es in self.entries.items() for e in es
        }  # full name → name
        self.page = {
            f'dcgan.{m}.{e[1]}': f'api/{m}.html' for m, es in self.entries.items() for e in es
        }

    def own(self, module):
        return {
            k: f'dcgan.{module}.{e[1]}'
            for e in self.entries[module]
            for k in (e[1], e[1].split('.')[-1])
        }

    def known(self, name, notebook):
        "The names that a notebook's page knows: those it imports, and those it exports"
        cells = [c.source for c in notebook.cells if c.cell_type == 'code']
        found = {
            k: v
            for source in cells
            for k, v in imported(ast.parse(plain(source))).items()
            if v in self.full
        }
        return found | {
            k: v for m, n in self.notebook.items() if n == name for k, v in self.own(m).items()
        }

    def shadowed(self, notebook):
        "Names that a notebook uses for variables of its own"
        cells = [
            c.source
            for c in notebook.cells
            if c.cell_type == 'code' and not re.match(r'#\|\s*export', c.source)
        ]
        return {
            n.id
            for source in cells
            for n in ast.walk(ast.parse(plain(source)))
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }

    def find(self, name, known):
        "The full name of a name in prose: the page's own, else the only one there is, or None"
        if name in known or name in self.full:
            return known.get(name, name)
        same = [f for f, n in self.full.items() if n == name]
        return same[0] if len(same) == 1 and re.search('[_.A-Z]', name) else None

    def linked(self, text, known):
        "Markdown in which names in backticks are links; code blocks and headings stay as they are"

        def link(m):
            if m[1] in self.notebooks and m[1] not in known:
                return f'[`{m[1]}`](/{m[1]}.ipynb)'
            if m[1].removeprefix('dcgan.') in self.entries and m[1].startswith('dcgan.'):
                return f"[`{m[1]}`](/api/{m[1].removeprefix('dcgan.')}.md)"
            full = self.find(m[1], known)
            return f'{{py:obj}}`{m[1]}{m[2] or ""} <{full}>`' if full else m[0]

        parts = re.split(r'(?ms)(^```.*?^```|^#+ .*?$)', text)
        return ''.join(
            p if i % 2 else re.sub(r'(?<![`\[}])`([\w.]+)(\(\))?`(?![`\]])', link, p)
            for i, p in enumerate(parts)
        )


# Pages


def entry(module, kind, name, given, node, meaning, library):
    "A name of the library: signature, docstring, arguments, and the notebook that explains it"
    known = library.own(module) | library.imports[module]

    def say(text):
        return library.linked(re.sub(r'([$*<|])', r'\\\1', text), known)

    doc = (
        say(ast.get_docstring(node) or '')
        if kind != 'data'
        else f'```python\n{ast.unparse(node)[:1000]}\n```'
    )
    rows = [
        f'| {"*returns*" if k == "returns" else f"`{k}`"} | {say(v)} |' for k, v in meaning.items()
    ]
    table = '\n'.join(['| | |', '|---|---|', *rows]) if rows else ''
    where = (
        f'<a class="where" href="../{library.notebook[module]}.html#{name.split(".")[-1]}">'
        f'explained in {library.notebook[module]}</a>'
        if kind != 'data'
        else ''
    )
    body = '\n\n'.join(filter(None, [doc, table, where]))
    return f'````{{py:{kind}}} {name}{given}\n:module: dcgan.{module}\n\n{body}\n````'


def api(module, library):
    "The page of a module"
    nb, doc = (
        library.notebook[module],
        re.sub(r'(?<=[^.?!])$', '.', library.linked(library.doc[module], {})),
    )
    head = (
        f'# dcgan.{module}\n\n{doc} Explained and tested in [`{nb}`](/{nb}.ipynb).\n\n'
        f'```{{py:module}} dcgan.{module}\n```'
    )
    return (
        '\n\n'.join([head, *(entry(module, *e, library) for e in library.entries[module])]) + '\n'
    )

"The site (`make docs`): pages of notebooks with their outputs, of modules, and a front page"

import ast
import html
import json
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import nbformat
import yaml
from findings import findings
from generators import buttons, outdated, write_all
from house import house
from library import Library, api
from light import lighten
from moving import figure as moving
from nbdev.serve import proc_nbs
from PIL import Image
from report import report
from sphinx.cmd.build import build_main

from dcgan.tools.kept import picture_of
from dcgan.tools.readings import stale

root = Path(__file__).resolve().parents[1]
nbs, figures, packages, proc, site = (
    root / 'nbs',
    root / 'figures',
    root / 'docs/node_modules',
    root / '_proc',
    root / '_docs',
)
models = proc / '_static/explorer/models'
paths = {p.stem: p for p in nbs.rglob('[!._]*.ipynb') if '.ipynb_checkpoints' not in p.parts}
plan = yaml.safe_load((root / 'docs/site.yml').read_text())
vendored = dict(
    mathjax=['es5/output/chtml/fonts/woff-v2/*.woff'],
    **{
        'onnxruntime-web': [
            f'dist/{f}'
            for f in (
                'ort.wasm.min.mjs',
                'ort-wasm-simd-threaded.mjs',
                'ort-wasm-simd-threaded.wasm',
                'ort.jspi.min.mjs',
                'ort-wasm-simd-threaded.jspi.mjs',
                'ort-wasm-simd-threaded.jspi.wasm',
            )
        ]
    },
)


def stem(entry):
    return re.search(r'(\w+)>?$', entry)[1]  # of an entry of the sidebar


def listed(notebooks, sidebar):
    "The names in the sidebar's order; a `ValueError` for those in no group, or in two"
    names = [stem(n) for group in sidebar.values() for n in group]
    if twice := [n for n, k in Counter(names).items() if k > 1]:
        raise ValueError(f"{', '.join(twice)}: more than once in docs/site.yml")
    if lost := sorted(set(notebooks) - {*names, 'index'}):
        raise ValueError(
            f"{', '.join(lost)}: in no group of the sidebar; give each a place in docs/site.yml"
        )
    return [n for n in names if n in notebooks]


# Notebooks


def light(output):
    "An output as the site shows it; None for progress bars, warnings and names of local files"
    texts = [
        output.get('text', ''),
        *(t for kind, t in output.get('data', {}).items() if kind.startswith('text/')),
    ]
    if output.get('name') == 'stderr' or 'application/vnd.jupyter.widget-view+json' in output.get(
        'data', {}
    ):
        return None
    if re.search(r'\.venv/lib|site-packages/|/__w/|/tmp/ipykernel', '\n'.join(texts)):
        return None
    if (name := picture_of(output)) and (figures / name).exists():
        return markdown(f'![](figures/{name})')
    if 'text/markdown' in output.get('data', {}):
        output.data['text/markdown'] = re.sub(
            r'\]\(\.\./([^)/]+)\)', r'](figures/\1)', output.data['text/markdown']
        )
    return output


def markdown(text):
    return nbformat.v4.new_output('display_data', {'text/markdown': text})


def merged(notebook, executed):
    "The notebook with the outputs of its run, and how many code cells have changed since"
    ran = {}
    for c in executed.cells:
        ran.setdefault(c.source, []).append(c)
    code = [c for c in notebook.cells if c.cell_type == 'code' and c.source]
    for c in code:
        c.outputs = (
            [o for o in map(light, ran[c.source].pop(0).outputs) if o] if ran.get(c.source) else []
        )

    def tagged(nb, tag):
        return [c for c in nb.cells if tag in c.metadata.get('tags', [])]

    for c in tagged(notebook, 'parameters')[:1]:
        i = notebook.cells.index(c) + 1
        notebook.cells[i:i] = tagged(executed, 'injected-parameters')[:1]
    sources = {c.source for c in executed.cells}
    return notebook, sum(c.source not in sources for c in code)


def conclusion(cells):
    "The code cells of the section *What was seen*"
    title, found = '', []
    for c in cells:
        if c.source.startswith('## '):
            title = c.source.splitlines()[0]
        if c.cell_type == 'code' and title == '## What was seen':
            found.append(c)
    return found


def conclude(notebook, executed, kept):
    "Where the code of the conclusion has changed since: what its run printed, or that it is stale"
    code = conclusion(notebook.cells)
    if not code or any(c.outputs for c in code):
        return
    printed = [o for c in conclusion(executed.cells) for o in map(light, c.outputs) if o]
    if not printed or any(map(stale, kept.values())):
        code[-1].outputs = [markdown('*The kept run printed no conclusion that still holds: '
                                     'see its tables above.*')]
        return
    said = '*As the kept run printed it; the code has changed since.*'
    code[-1].outputs = [markdown(said), *printed]


def flat(text):
    "Links between notebooks, whose pages lie side by side whatever folders they come from"
    text = re.sub(r'\]\((?:\.\./)+docs/(\w+\.md)', r'](/\1', text)
    return re.sub(r'\]\((?:[\w.]+/)*(\w+\.ipynb)', r'](/\1', text)


def illustrated(text):
    "A page of docs/ with its links as on the site, without pictures that no run has kept yet"
    def picture(found):
        return found[0].replace('../', '') if (root / 'docs' / found[1]).exists() else ''
    return flat(re.sub(r'!\[[^]]*\]\((\.\./figures/[^)]+)\)', picture, text))


def is_imports(source):
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return False
    return bool(body) and all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in body)


def joined(cells):
    "Cells, with imports that follow on imports in one cell"
    found = []
    for c in cells:
        if found and all(x.cell_type == 'code' and is_imports(x.source) for x in (found[-1], c)):
            found[-1].source = re.sub(
                r'(?m)^#\|\s*export\n', '', f'{found[-1].source}\n\n{c.source}'
            )
            found[-1].outputs += c.outputs
        else:
            found.append(c)
    return found


def runs(cells):
    "Cells, with code that follows on code without outputs in one cell, to be folded as one"
    found = []
    for c in cells:
        last = found[-1] if found else None
        if last and last.cell_type == c.cell_type == 'code' and not last.outputs:
            last.source = f'{last.source}\n\n{c.source}'
            last.outputs = c.outputs
        else:
            found.append(c)
    return found


def folded(name):
    "Is the code of a page folded? That of paper notebooks is, but for those that teach it"
    return paths[name].parent == nbs and name not in plan['open']


def looks(cell, fold):
    "A cell's metadata: folded code says how long it is, and what the library exports has a class"
    if cell.cell_type != 'code':
        return {}
    imports = is_imports(cell.source)
    exported = ['export'] * bool(re.match(r'#\|\s*export', cell.source))
    if not (imports or fold):
        return dict(tags=exported)
    n = len([line for line in cell.source.splitlines() if line.strip()])
    said = 'Imports' if imports else f'Code, {n} line{"s" * (n != 1)}'
    prompt = dict(code_prompt_show=said, code_prompt_hide=said)
    return dict(tags=['hide-input', *exported], mystnb=prompt)


def on_first_screen(cells):
    "The cell that shows a notebook's kept result, and the names of what it shows"
    for c in cells:
        if names := re.findall(r'<!-- figures/(\w+)\.\w+ -->', c.source):
            return c, names
    return None, []


def provenance(name):
    return {
        p.stem: json.loads(p.read_text())
        for p in sorted(figures.glob('*.json'))
        if json.loads(p.read_text()).get('notebook') == name
    }


def run_line(kept, executed, changed):
    "When, where and at which commit results were made, each with its provenance"

    def each(key):
        return ', '.join(
            dict.fromkeys(re.sub(r'\b1 threads', '1 thread', str(k[key])) for k in kept.values())
        )

    date = executed and executed.metadata.get('papermill', {}).get('start_time')
    minutes = max(k['seconds'] for k in kept.values()) / 60
    said = [
        f"Run at {each('scale')} scale",
        f'on {date[:10]}' if date else '',
        f"at commit {each('commit')}",
        f"on {each('device')}",
        f"in {minutes:.0f} minutes" if minutes >= 1.5 else 'in a minute',
        '(trainings kept from before not counted).',
    ]
    since = (
        f' {changed} code cell{"s" * (changed > 1)} changed since: of what '
        f'{"it" if changed == 1 else "they"} printed, only kept tables and figures stand here.'
        if changed
        else ''
    )
    links = ' · '.join(f'<a href="_static/provenance/{k}.json">{k}</a>' for k in kept)
    details = f'<summary>Provenance of each table and figure</summary>{links}'
    text = ' '.join(filter(None, said))
    if old := html.escape('; '.join(dict.fromkeys(filter(None, map(stale, kept.values()))))):
        since += f' <b class="stale">Before a correction, so it decides nothing: {old}.</b>'
    return f'<p>{text}{since}</p><details>{details}</details>'


def how_to_run(name, ran, made):
    "The command that runs a notebook, its executed copy, and how its results were made"
    path = paths[name].relative_to(root).as_posix()
    copy = f'<a href="_static/notebooks/{name}.ipynb" download>executed copy</a>'
    also = ' · '.join([f'the kept run: {copy}'] * ran + ['<a href="running.html">more ways</a>'])
    line = f'<code>papermill {path} out.ipynb</code>'
    command = f'<p><b>Run this notebook</b> {line} <span>{also}</span></p>'
    return f'<div class="run">{command}{made}</div>'


def results(kept, notebook, shown):
    "The kept tables and figures that neither an output of the page nor its first screen shows"
    outputs = '\n'.join(
        o.data.get('text/markdown', '')
        for c in notebook.cells
        for o in c.get('outputs', [])
        if 'data' in o
    )
    for name, k in kept.items():
        if k['caption'] in outputs or name in shown:
            continue
        table = figures / f'{name}.md'
        pictures = [p for e in ('png', 'gif') if (p := figures / f'{name}.{e}').exists()]
        text = table.read_text() if table.exists() else k['caption']
        if pictures or table.exists():
            yield name, '\n\n'.join([*(f'![](figures/{p.name})' for p in pictures[:1]), text])


def keeps(cell, name):
    "Does this code keep that result? Names may be made as it runs: 'fig04_{name}'"
    if cell.cell_type != 'code' or 'keep_' not in cell.source:
        return False
    made = re.findall(r"'(\w{3}[\w{}.]*)'", cell.source)
    return any(re.fullmatch(re.sub(r'\{[\w.]*\}', r'\\w*', m), name) for m in made)


def put_in_place(unseen, cells):
    "Show results under the code that keeps them; those that no code names come back"
    rest = []
    for name, text in unseen:
        if cell := next((c for c in cells if keeps(c, name)), None):
            cell.outputs.append(markdown(text))
        else:
            rest.append(text)
    return rest


def first_sentence(caption):
    return re.split(r'(?<=\.)(?<!Fig\.) ', caption)[0].replace('`', '')


def described(text):
    "Kept pictures with the first sentence of their caption as alternative text"

    def picture(m):
        if not (kept := figures / f'{m[2]}.json').exists():
            return m[0]
        said = first_sentence(json.loads(kept.read_text())['caption'])
        return f'![{re.sub(r"[][*]", "", said)}]({m[1]})'

    return re.sub(r'!\[\w*\]\(((?:\.\./)?figures/((?:paper/)?\w+)\.\w+)\)', picture, text)


def told_once():
    "A function for the texts of a page, in order: scale and data are told where they change"
    last = ''

    def told(m):
        nonlocal last
        if m[0] == last:
            return 'Scale and data as above.'
        last = m[0]
        return last

    return lambda text: re.sub(r'Scale: \w+\. Data: [^\n*]*', told, text)


def finish(cells):
    "Texts and outputs as they are read: alternative texts, and no scale and data twice in a row"
    shorter = told_once()
    for c in cells:
        if c.cell_type == 'markdown':
            c.source = shorter(described(c.source))
        for o in c.get('outputs', []):
            if text := o.get('data', {}).get('text/markdown'):
                o.data['text/markdown'] = shorter(described(text))


def page(name, library):
    "A notebook as it goes to nbdev's `proc_nbs`"
    notebook, ran = nbformat.read(paths[name], 4), figures / f'notebooks/{name}.ipynb'
    executed, changed, kept, known = None, 0, provenance(name), library.known(name, notebook)
    if ran.exists():
        notebook, changed = merged(notebook, executed := nbformat.read(ran, 4))
        conclude(notebook, executed, kept)
    notebook.metadata.pop('widgets', None)
    notebook.cells = joined(c for c in notebook.cells if not c.source.startswith('#| default_exp'))
    first, shown = on_first_screen(notebook.cells)
    lost = put_in_place(results(kept, notebook, shown), notebook.cells)
    fold = folded(name)
    if fold:
        notebook.cells = runs(notebook.cells)
    for c in notebook.cells:
        c.metadata = looks(c, fold)
        if c.cell_type == 'markdown':
            c.source = library.linked(flat(c.source), known)

    def add(text, i):
        return notebook.cells.insert(i, nbformat.v4.new_markdown_cell(text))

    begins = 1
    if first:  # the result, right under the title, where there is one; then the question
        begins = 2
        notebook.cells.remove(first)
        if any(map(result, shown)):
            begins = 3
            notebook.cells.insert(1, first)
    if paths[name].parent == nbs:
        made = run_line(kept, executed, changed) if kept else ''
        add(how_to_run(name, ran.exists(), made), begins)
    elif kept:
        add(f'<div class="run">{run_line(kept, executed, changed)}</div>', 1)
    if lost:
        add('## Results\n\n' + '\n\n'.join(lost), len(notebook.cells))
    finish(notebook.cells)
    defined = {
        k: v for m, n in library.notebook.items() if n == name for k, v in library.own(m).items()
    }
    variables = library.shadowed(notebook)
    used = {
        k: v
        for k, v in known.items()
        if '.' not in library.full.get(v, '.') and k not in variables
    }
    return notebook, [
        {k: f'{library.page[v]}#{v}' for k, v in some.items()} for some in (defined, used)
    ]


# The pages that are no notebooks


def on_site(text):
    "README's links, which start at the root, for pages side by side; tables: their notebooks"
    def at_its_notebook(found):
        return f"](/{json.loads(result(found[1]).read_text())['notebook']}.ipynb)"

    text = re.sub(r'\]\(figures/(\w+)\.md\)', at_its_notebook, text)
    return text.replace('](docs/', '](').replace('](bundle/README.md', '](bundle.md')


def sections():
    "nbs/index.ipynb by its headings: title → text; the introduction has the title ''"
    cells = [
        c.source for c in nbformat.read(nbs / 'index.ipynb', 4).cells if c.cell_type == 'markdown'
    ]
    parts = re.split(r'(?m)^## (.+)$', on_site('\n\n'.join(cells)))
    return dict(zip(['', *parts[1::2]], parts[::2]))


def thumbnail(picture, size=(760, 480)):
    "A small JPEG of a picture; its path from the front page"
    path = proc / f'_static/thumbnails/{picture.stem}.jpg'
    path.parent.mkdir(parents=True, exist_ok=True)
    (small := Image.open(picture).convert('RGB')).thumbnail(size, Image.Resampling.LANCZOS)
    small.save(path, quality=85)
    return path.relative_to(proc).as_posix()


def said(text):
    return re.sub(r'`([^`]+)`', r'<code>\1</code>', html.escape(text))


def result(name):
    "The provenance of a table or figure, at the paper's scale if it was made and is not stale"
    paths = [folder / f'{name}.json' for folder in (figures / 'paper', figures)]
    there = [p for p in paths if p.exists()]
    return min(there, key=lambda p: bool(stale(json.loads(p.read_text()))), default=None)


def marked(kept):
    "HTML that says why a result is stale; '' where it is not"
    return f'<b class="stale">Before a correction: {said(stale(kept))}.</b> ' if stale(kept) else ''


def shown(path, link):
    "A kept table's measured numbers beside the paper's, or a kept picture, with its caption"
    kept = json.loads(path.read_text())

    def number(v):
        return '' if v is None else f'{v:.2f}' if isinstance(v, float) else f'{v}'

    text, _, made = kept['caption'].partition(' Scale: ')
    if (picture := path.with_suffix('.png')).exists():
        alt = html.escape(first_sentence(text))
        body = f'<a href="{link}"><img src="{thumbnail(picture)}" alt="{alt}"></a>'
    else:
        rows = [r for r in kept['rows'] if r['ours'] is not None]
        cells = [
            (
                said(', '.join(r[k] for k in ('model', 'labels') if k in r)),
                number(r['paper']),
                f"<b>{number(r['ours'])}</b> ± {number(r['interval'])}",
            )
            for r in rows
        ]
        body = (
            '<table><tr><td></td><th>paper</th><th>ours</th></tr>'
            + ''.join(f'<tr><td>{m}</td><td>{p}</td><td>{o}</td></tr>' for m, p, o in cells)
            + '</table>'
        )
    made = f'{marked(kept)}Scale: {said(made)}'
    return f'<figure>{body}<figcaption>{said(text)}<br>{made}</figcaption></figure>'


def card(title, notebook, paper, shows):
    link, there = f'{notebook}.html', filter(None, map(result, shows))
    ours = ''.join(shown(p, link) for p in there) or '<p class="made">Not made yet.</p>'
    more = f'<a class="more" href="{link}">Open {notebook}</a>'
    states = (
        f'<div><h3><a href="{link}">{title}</a></h3>'
        f'<p><b class="label">Paper</b>{said(paper)}</p>{more}</div>'
    )
    ours = f'<b class="label">Ours</b><div class="shown">{ours}</div>'
    return f'<div class="card-ours">{states}<div class="ours">{ours}</div></div>'.replace('\n', ' ')


def verdicts():
    "How many claims stand, from the ledger, where there is one"
    if not (ledger := figures / 'claims.json').exists():
        return ''
    kept = json.loads(ledger.read_text())
    counts, claims = (
        Counter(r['verdict'] for r in kept['rows']),
        len({d['id'] for d in kept['details']}),
    )
    first = [v for v in ('supported', 'contradicted', 'undecided') if v in counts]
    each = ', '.join(f'**{counts[v]} {v}**' for v in [*first, *sorted(counts.keys() - {*first})])
    return (
        f'\n## What stands\n\n[The ledger](/14_claims.ipynb) has {counts.total()} rows, from '
        f'{claims} claims of the paper and of the systems beside it: {each}.\n'
    )


def first_screen():
    "A moving picture, what this is, three findings, and two ways on"
    path = figures / f"generators/{plan['moving']}.onnx"
    picture = ''
    if path.exists():
        kept = json.loads(path.with_suffix('.json').read_text())
        made = kept['caption'].partition(' Scale: ')[2]
        name = plan['moving'].capitalize()
        what = f'{name} that a generator draws while its random input changes.'
        if 'procedural world' in made:
            what += ' It learnt from drawn images, no photographs.'
        text = f'{said(what)} {marked(kept)}Scale: {said(made)}'
        picture = moving(path, proc / '_static', text)
    found = ''.join(
        f'<li><a href="{f["notebook"]}.html"><b>{said(f["number"])}</b> {said(f["text"])}</a></li>'
        for f in findings(plan['findings'], result)
    )
    ways = [
        ('read', '00_one_sitting', 'Read', 'a DCGAN in one sitting'),
        ('play', 'gan2d', 'Play', 'train a small GAN'),
        ('play', 'explorer', 'Play', 'draw with a trained one'),
    ]
    buttons = ''.join(
        f'<a class="way {kind}" href="{page}.html"><b>{verb}</b> {what}</a>'
        for kind, page, verb, what in ways
        if there(page)
    )
    buttons += '<a class="way" href="_static/dcgan.pdf"><b>PDF</b> all results</a>'
    return (
        f'<div class="first">{picture}<p class="what">A GAN trains two networks against each '
        'other: a generator draws images from random numbers, a discriminator tells them from '
        'real ones. Radford, Metz and Chintala (<a href="https://arxiv.org/abs/1511.06434">2015'
        '</a>) built both of convolutions, the DCGAN. Here notebooks that you can run make every '
        'table and figure of their paper again, and test each claim against a control.</p>'
        f'<nav class="ways" aria-label="Ways on">{buttons}</nav>'
        f'<ul class="findings" aria-label="What was found">{found}</ul></div>'
    )


def there(entry):
    "Is the page of a sidebar's entry laid out?"
    return any((proc / f'{stem(entry)}{e}').exists() for e in ('.ipynb', '.md'))


def front(library):
    "The front page: first screen, gallery, introduction, and the sidebar's order"
    intro = re.sub(r'(?m)^(# .*|> .*|!\[.*)$', '', sections()['']).strip()
    state = '\n\n'.join(re.findall(r'(?m)^\*\*State\.\*\*.*', intro))  # before what it speaks of
    galleries = [
        f'\n## {group}\n\n<div class="cards">' + '\n'.join(card(**c) for c in cards) + '</div>\n'
        for group, cards in plan['gallery'].items()
    ]

    return '\n'.join(
        [
            '# The DCGAN paper as notebooks\n',
            f'```{{raw}} html\n{first_screen()}\n```\n',
            library.linked(state, {}),
            *galleries,
            verdicts(),
            '\n## About\n',
            library.linked(intro.replace(state, ''), {}),
            *(tree(*g) for g in groups().items() if not g[0].startswith(of_library)),
        ]
    )


of_library = 'Library: '


def groups():
    "The sidebar: group → the entries whose pages are laid out"
    return {g: n for g, names in plan['sidebar'].items() if (n := list(filter(there, names)))}


def tree(caption, names):
    return '\n'.join(['```{toctree}', ':hidden:', f':caption: {caption}', '', *names, '```\n'])


def shelf(library):
    "The page of the library's notebooks, apart from the paper's: a table for each package"
    text = [
        '# The library, notebook by notebook\n',
        'The methods stand here, each explained, built and tested in a notebook and exported to '
        'the package `dcgan`. [The layers](/house.md) show how they build on each other.\n',
    ]
    of = {n: m for m, n in library.notebook.items()}
    for group, names in groups().items():
        if group.startswith(of_library):
            package = group.removeprefix(of_library)
            rows = [
                f'| [{n}](/{n}.ipynb) | {library.linked(library.doc[of[n]], {})} |'
                for n in map(stem, names)
            ]
            text += [f'\n## {package}\n\n{plan["house"][package]}.\n']
            text += ['| notebook | what it is for |', '|---|---|', *rows, '', tree(group, names)]
    return '\n'.join(text) + '\n'


def gan2d(notebooks):
    "The page of the GAN in the plane; guidelines are linked where their notebook is there"
    there = '01_guidelines' in notebooks

    def guideline(m):
        link = f'<a href="01_guidelines.html">{m[1]}</a>' if there else m[1]
        return f'The guideline: {link}.'

    return re.sub(r'\{guideline:([^}]*)\}', guideline, (root / 'docs/gan2d.md').read_text())


# Putting it together


def assets():
    "Copy what the pages show or run: figures, provenance, libraries from npm, generators"
    copies = {p: proc / 'figures' / p.name for e in ('png', 'gif') for p in figures.glob(f'*.{e}')}
    copies |= {p: proc / 'figures/paper' / p.name for p in figures.glob('paper/*.png')}
    copies |= {p: proc / '_static/provenance' / p.name for p in figures.glob('*.json')}
    copies |= {p: models / p.name for p in figures.glob('generators/*')}
    copies |= {p: proc / '_static/notebooks' / p.name for p in figures.glob('notebooks/*.ipynb')}
    for package, files in vendored.items():
        for f in files:
            folder, _, name = f.partition('/')  # such as dist/
            at, to = packages / package / folder, proc / '_static/vendor' / package
            copies |= {p: to / p.relative_to(at) for p in at.glob(name)} or {at / name: to}
    if lost := [p for p in copies if not p.exists()]:
        raise FileNotFoundError(
            f'{lost[0].relative_to(root)} is not there: `make docs` gets it with npm'
        )
    for source, to in copies.items():
        to.parent.mkdir(parents=True, exist_ok=True), shutil.copyfile(source, to)
    write_all(figures / 'weights', models)


def page_of(path): # of the site, of a text without its ending: docs/failing → failing
    folder, name = path.split('/')
    return folder if name == 'README' else name


def build():
    "Lay out the pages in _proc, and make _docs of them"
    os.chdir(root)
    library, names = Library(root / 'dcgan', paths.keys() - {'index'}), {}
    with tempfile.TemporaryDirectory() as folder:
        for name in listed([*paths], plan['sidebar']):
            notebook, names[name] = page(name, library)
            nbformat.write(notebook, Path(folder) / f'{name}.ipynb')
        proc_nbs(path=folder, n_workers=0, force=True)
    assets()
    parts = sections()

    def write(name, text):
        (proc / name).parent.mkdir(exist_ok=True)
        (proc / name).write_text(text)

    if list(models.glob('*.onnx')):
        text = library.linked((root / 'docs/explorer.md').read_text(), {})
        text = text.replace('{generators}', buttons(models)).replace('{stale}', outdated(models))
        write('explorer.md', text)
    for path in ('docs/failing', 'docs/asked', 'docs/cluster', 'bundle/README'):
        text = illustrated((root / f'{path}.md').read_text())
        write(f'{page_of(path)}.md', library.linked(text, {}))
    write('gan2d.md', gan2d(names))
    running = '\n'.join(f'## {s}\n{parts[s]}' for s in plan['running'] if s in parts)
    write('running.md', f'# Running it\n{library.linked(running, {})}')
    write('house.md', house(library, plan['house']))
    write('library.md', shelf(library))
    report(plan, figures, result, proc / '_static/dcgan.pdf')
    write('names.json', json.dumps(names))
    for module in library.entries:
        write(f'api/{module}.md', api(module, library))
    write('index.md', front(library))
    if failed := build_main(
        [*'-b html -q -W --keep-going -c docs -d _proc/_doctrees _proc _proc/_site'.split()]
    ):
        return failed
    lighten(proc / '_site')
    shutil.rmtree(site, ignore_errors=True)
    (proc / '_site').rename(site)
    print('The site is in _docs: python -m http.server -d _docs')


if __name__ == '__main__':
    sys.exit(build())

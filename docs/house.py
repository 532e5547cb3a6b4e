"The page of the house: packages in layers, drawn from the modules' imports, and their modules"

import html
from collections import defaultdict

letter, chip, gap = 6.7, 20, 6  # a character's width, a box's height and the space between boxes


def graph(library):
    "What the modules import from other packages: package → package → the modules that do so"
    found = defaultdict(lambda: defaultdict(set))
    for module, names in library.imports.items():
        package = module.split('.')[0]
        for full in names.values():
            to = full.split('.')[1]
            if to != package:
                found[package][to].add(module)
    return found


def in_layers(library, layers):
    "The modules of each package, base first; a `ValueError` for a package that has no layer"
    found = {package: [] for package in layers}
    for module in library.entries:
        if (package := module.split('.')[0]) not in found:
            raise ValueError(f'{package}: not in the house of docs/site.yml')
        found[package].append(module)
    return found


def rows(packages, right):
    "Each package's row, tools on top: (package, y, height, [(module, x, y, width), …])"
    found, y = [], 1
    for package in reversed(packages):
        boxes, x, line = [], 10, y + 26
        for module in packages[package]:
            width = letter * len(module.split('.')[1]) + 12
            if x + width > right - 10:
                x, line = 10, line + chip + gap
            boxes.append((module, x, line, width))
            x += width + gap
        height = line + chip + 10 - y
        found.append((package, y, height, boxes))
        y += height + 14
    return found


def box(module, x, y, width, library):
    name, doc = module.split('.')[1], html.escape(library.doc[module])
    return (
        f'<a href="api/{module}.html"><title>{doc}</title>'
        f'<rect class="box" x="{x:.0f}" y="{y}" width="{width:.0f}" height="{chip}" rx="4"/>'
        f'<text x="{x + 6:.0f}" y="{y + 14}">{name}</text></a>'
    )


def drawing(library, packages, width, lane):
    "The house as an SVG: a vertical line for each package that others import, with an arrow"
    needs = graph(library)
    used = [p for p in reversed(packages) if any(p in to for to in needs.values())]
    right = width - lane * len(used) - 12
    at = {p: right + 8 + lane * (i + 0.5) for i, p in enumerate(used)}
    parts, start = [], {}
    for package, y, height, boxes in rows(packages, right):
        out, arrives = y + 13, y + height - 13
        size = f'width="{right - 1}" height="{height}"'
        parts.append(f'<rect class="row" x="1" y="{y}" {size} rx="6"/>')
        parts.append(f'<text class="package" x="10" y="{y + 18}">{package}</text>')
        parts += [box(*b, library) for b in boxes]
        if package in start:  # from those above, which come first
            x = at[package]
            parts.append(f'<path d="M{x} {start[package]}V{arrives}H{right + 5}"/>')
            parts.append(f'<path class="head" d="M{right} {arrives}l7 -4v8z"/>')
        if to := [at[p] for p in needs[package]]:
            parts.append(f'<path d="M{right} {out}H{max(to)}"/>')
            parts += [f'<circle cx="{x}" cy="{out}" r="3"/>' for x in to]
        start = dict.fromkeys(needs[package], out) | start
        bottom = y + height + 1
    said = ', '.join(packages)
    return (
        f'<svg viewBox="0 0 {width} {bottom}" aria-label="Packages from the bottom up: {said}">'
        + ''.join(parts)
        + '</svg>'
    )


def house(library, layers):
    "The page: the drawing, wide and for a phone, and a table of modules for each package"
    packages = in_layers(library, layers)
    text = [
        '# The library in layers',
        'The library `dcgan` has its packages in layers: a module imports only from its own '
        'package or from layers below it. Each module is exported from a notebook, which explains '
        'and tests it; the paper notebooks stand on top and import from all of them. '
        '`tests/test_house.py` keeps it so.',
        '```{raw} html',
        '<figure class="house">',
        f'<div class="wide">{drawing(library, packages, 760, 15)}</div>',
        f'<div class="narrow">{drawing(library, packages, 344, 9)}</div>',
        '<figcaption>Drawn from the imports. A dot: the package of this row imports the one that '
        'the arrow below leads to. Boxes lead to the modules.</figcaption>',
        '</figure>',
        '```',
    ]
    for package, modules in packages.items():
        lines = [
            f'| [{m.split(".")[1]}](/api/{m}.md) | {library.linked(library.doc[m], {})} |'
            for m in modules
        ]
        text += [f'## {package}', f'{layers[package]}.']
        text += ['\n'.join(['| module | what it is for |', '|---|---|', *lines])]
    pages = [f'{m} <api/{m}>' for modules in packages.values() for m in modules]
    text += ['\n'.join(['```{toctree}', ':hidden:', '', *pages, '```'])]
    return '\n\n'.join(text) + '\n'

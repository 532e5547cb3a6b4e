"Pages without what they do not need: formulas are set when the site is built, icons come from CSS"

import html
import json
import re
import subprocess
from pathlib import Path

docs = Path(__file__).parent
formula = re.compile(r'(?s)<(span|div) class="math notranslate nohighlight"([^>]*)>(.*?)</\1>')
heavy = [
    r'<script>window\.MathJax = .*?</script>',
    r'<script[^>]*/vendor/mathjax/[^>]*></script>',
    r'<script[^>]*/fontawesome\.js[^>]*></script>',
]
icon = re.compile(r'(?:\.fa-[\w-]+,?)+\{--fa:"[^}]*\}')  # a rule of Font Awesome
search = [r'<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>']
names = [  # of controls, for screen readers: their text where they have one
    ('<summary aria-label="Toggle hidden content">', '<summary>'),
    (r'<summary>(?=<span class="toctree-toggle")', '<summary aria-label="Pages below this one">'),
    (r'(<div id="pst-primary-sidebar")', r'\1 role="navigation" aria-label="Site"'),
    (r'(<button class="btn search-button-field[^>]*?) aria-label="Search"', r'\1'),
    ('"Toggle primary sidebar"', '"All pages"'),
    ('"Toggle secondary sidebar"', '"On this page"'),
]

parameters = re.compile(r'<dl>\n(?:<dd><em class="sig-param">.*?</dd>\n)+</dl>')


interval = re.compile(r'(<td[^>]*><p>[\d.,]+) ± ')  # a number and its interval: one line


def listed(match):
    "The lines of a long signature as a list: Sphinx writes them as definitions without terms"
    text = match[0].replace('<dl>', '<ul class="parameters">').replace('</dl>', '</ul>')
    return text.replace('<dd>', '<li>').replace('</dd>', '</li>')


def tex_of(match):
    "The TeX in an element of Sphinx"
    text = html.unescape(match[3]).strip()
    return text.removeprefix(r'\(').removesuffix(r'\)').removeprefix(r'\[').removesuffix(r'\]')


def set_formulas(all_tex):
    "What MathJax makes of [(TeX, displayed?), …]: their HTML and one style sheet"
    done = subprocess.run(
        ['node', docs / 'formulas.cjs'], input=json.dumps(all_tex), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f'the formulas could not be set: {done.stderr.strip()[-500:]}')
    told = json.loads(done.stdout)
    return dict(zip(all_tex, told['html'])), told['css']


def drop_icons(site, pages):
    "Take the rules of icons that no page shows out of the theme's style sheet"
    scripts = [p.read_text() for p in site.glob('_static/scripts/*theme.js')]
    used = {name for text in [*pages, *scripts] for name in re.findall(r'fa-[\w-]+', text)}
    path = site / '_static/styles/pydata-sphinx-theme.css'

    def kept(m):
        return m[0] if used & {*re.findall(r'fa-[\w-]+', m[0])} else ''

    path.write_text(icon.sub(kept, path.read_text()))


def lighten(site):
    "Set the formulas of all pages, and take out scripts and styles that they do not need"
    pages = {p: p.read_text() for p in site.rglob('*.html') if '_static' not in p.parts}
    found = {(tex_of(m), m[1] == 'div') for text in pages.values() for m in formula.finditer(text)}
    of, css = set_formulas(sorted(found))
    (site / '_static/formulas.css').write_text(css)

    def done(m):
        return f'<{m[1]} class="math"{m[2]}>{of[tex_of(m), m[1] == "div"]}</{m[1]}>'

    for path, text in pages.items():
        up = '../' * (len(path.relative_to(site).parts) - 1)
        style = f'<link rel="stylesheet" href="{up}_static/formulas.css">\n</head>'
        if formula.search(text):
            text = formula.sub(done, text).replace('</head>', style, 1)
        for pattern in [*heavy, *([] if path.stem == 'search' else search)]:
            text = re.sub(pattern, '', text)
        for pattern, name in names:
            text = re.sub(pattern, name, text)
        text = interval.sub(r'\1&nbsp;±&nbsp;', parameters.sub(listed, text))
        path.write_text(text)
    drop_icons(site, pages.values())

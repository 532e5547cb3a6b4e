"Sphinx's configuration; docs/build.py lays out the pages that it reads"

import json
import re
from pathlib import Path

project = html_title = 'dcgan'
author, copyright = 'the dcgan authors', '2026 the dcgan authors'
extensions = ['myst_nb']
root_doc, exclude_patterns = 'index', ['_*', 'figures', 'jupyter_execute']
suppress_warnings = ['myst.header', 'mystnb.mime_priority']

nb_execution_mode, nb_merge_streams, nb_render_markdown_format, nb_ipywidgets_js = (
    'off',
    True,
    'myst',
    {},
)
nb_code_prompt_show, nb_code_prompt_hide = 'Imports', 'Imports'
myst_enable_extensions = ['dollarmath', 'amsmath']
python_maximum_signature_line_length, add_module_names, toc_object_entries_show_parents = (
    80,
    False,
    'hide',
)

html_theme = 'sphinx_book_theme'
html_theme_options = dict(
    use_download_button=False,
    use_fullscreen_button=False,
    show_toc_level=2,
    show_navbar_depth=1,
    navbar_persistent=[],
    collapse_navbar=True,
    secondary_sidebar_items={'**': ['page-toc'], 'index': [], 'gan2d': []},
)
html_context, html_favicon = dict(default_mode='auto'), '_static/favicon.svg'
html_static_path, html_css_files = ['_static', '../_proc/_static'], ['site.css']
html_js_files = [('site.js', dict(defer='defer'))]
html_copy_source = html_show_sourcelink = html_show_sphinx = html_use_index = False
highlight_language, mathjax_path = 'none', 'vendor/mathjax/none.js'  # see light.py

names = json.loads(
    (Path(__file__).parents[1] / '_proc/names.json').read_text()
)  # page → defined there, and used there → name → its entry
_code_name = re.compile(
    r'(?<!<span class="o">\.</span>)<span class="(n|nf|nc)">(\w+)</span>'
    r'(?!<span class="o">=</span>)'
)


def link_code(app, page, template, context, doctree):
    "Link names of the library in a page's code to their API entries, and give definitions ids"
    if page not in names:
        return
    defined, used = (dict(n) for n in names[page])

    def link(m):
        entry, here = (
            (used.get(m[2]), '') if m[1] == 'n' else (defined.pop(m[2], None), f' id="{m[2]}"')
        )
        return f'<a class="name" href="{entry}"{here}>{m[0]}</a>' if entry else m[0]

    context['body'] = _code_name.sub(link, context['body'])


def lead_on(app, page, template, context, doctree):
    "Around a page of the sidebar are those of the sidebar, not the many that a page lists"
    sidebar = [root_doc, *app.env.toctree_includes[root_doc]]
    if page not in sidebar:
        return
    at = sidebar.index(page)
    around = dict(prev=sidebar[:at][-1:], next=sidebar[at + 1 :][:1])
    for side, there in around.items():
        context[side] = None
        for name in there:
            link = app.builder.get_relative_uri(page, name)
            context[side] = dict(link=link, title=app.env.titles[name].astext())


def setup(app):
    app.connect('html-page-context', link_code)
    app.connect('html-page-context', lead_on)

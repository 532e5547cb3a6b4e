"The explorer's generators: those that 10a_explorer keeps, and those of figures/weights as files"

import html
import json
from pathlib import Path

import torch

from dcgan.gan.nets import families
from dcgan.tools.explorer import export_onnx, page_of
from dcgan.tools.pretrained import read_weights
from dcgan.tools.readings import stale
from dcgan.tools.use import draw_block, frozen_generator

first = ('rooms', 'faces', 'digits')  # in the order of the page
titles = dict(svhn='House numbers', lfw='Photographed faces', mnist='MNIST', cifar10='CIFAR-10')


def can_be_shown(networks):
    "Does it draw grey or colour images from vectors that a page can draw?"
    family = families[networks.recipe.family]
    drawable = networks.recipe.latent in ('uniform', 'normal') and family.shape[0] in (1, 3)
    return networks.G is not None and drawable


def write(path, folder):
    "Write a kept network as an ONNX file, with what the page is told beside it"
    networks = read_weights(path)
    if not can_be_shown(networks):
        return
    name, recipe, kept = path.stem, networks.recipe, networks.provenance
    G, low = frozen_generator(networks, 'cpu'), families[recipe.family].low
    export_onnx(G, folder / f'{name}.onnx', low)
    page = page_of(G, draw_block(recipe, 0)[:9], low, latent=recipe.latent)
    told = {k: kept[k] for k in ('notebook', 'datasets', 'scale', 'commit')}
    told |= dict(protocol=kept.get('protocol', 1))
    what = f'The generator of a DCGAN ({recipe.family}, width {recipe.width:g}), kept as weights.'
    caption = f"{what} Scale: {kept['caption'].partition(' Scale: ')[2]}"
    text = json.dumps(dict(told, caption=caption, page=page))
    (folder / f'{name}.json').write_text(text)


def write_all(weights, folder):
    "Those of figures/weights that a page can draw; a kept generator of the same name stays"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(weights).glob('*.safetensors')):
        if not (folder / f'{path.stem}.onnx').exists():
            with torch.no_grad():
                write(path, folder)


def outdated(folder):
    "HTML that names the stale generators of a folder, and why; '' where none is"
    names = {}
    for path in sorted(folder.glob('*.json')):
        names.setdefault(stale(json.loads(path.read_text())), []).append(path.stem)
    return ''.join(
        f'<p class="hint"><b class="stale">Before a correction: {", ".join(found)}; '
        f'{html.escape(why)}.</b></p>'
        for why, found in names.items() if why
    )


def buttons(folder):
    "HTML of a button for each generator of a folder"
    names = sorted(p.stem for p in folder.glob('*.onnx'))
    ordered = [n for n in first if n in names] + [n for n in names if n not in first]
    shown = {n: titles.get(n, n.replace('_', ' ').capitalize()) for n in ordered}
    return '\n'.join(
        f'    <button type="button" data-name="{n}" aria-pressed="false">{text}</button>'
        for n, text in shown.items()
    )

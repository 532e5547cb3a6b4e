"The explorer's thumbnails of training images, of procedural worlds: `python docs/nearest.py`"

import json
from pathlib import Path

import numpy as np
from PIL import Image

from dcgan.data.store import load, resize_images

folder = Path(__file__).parent / '_static/explorer/nearest'
worlds = ('rooms', 'faces')
n, columns, size, compared = 2048, 64, 32, 16  # thumbnails; pixels of one, and as they are compared


def small(images):
    "Mean colours of 2×2 pixels, one row an image: N×C×32×32 → N×768"
    step = size // compared
    blocks = images.reshape(len(images), 3, compared, step, compared, step)
    return blocks.mean((3, 5), dtype=np.float32).reshape(len(images), -1)


def distances(x, among):
    "Root mean square differences in grey levels from each x to its nearest, N"
    squares = (x**2).sum(1)[:, None] - 2 * x @ among.T + (among**2).sum(1)
    return np.sqrt(squares.min(1).clip(0) / x.shape[1])


def sprite(images):
    "One picture of all thumbnails: N×3×32×32 → H×W×3"
    rows = images.reshape(-1, columns, 3, size, size)
    return rows.transpose(0, 3, 1, 4, 2).reshape(-1, columns * size, 3)


def thumbnails(picture):
    "The inverse of `sprite`"
    rows = np.asarray(picture).reshape(-1, size, columns, size, 3)
    return rows.transpose(0, 2, 4, 1, 3).reshape(-1, 3, size, size)


def keep(world):
    "Writes the thumbnails, and how far new pictures of the world are from the nearest of them"
    images = resize_images(load(world, 'train', size=64, n=n).images, size)
    path = folder / f'{world}.webp'
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(sprite(images)).save(path, quality=70, method=6)
    new = resize_images(load(world, 'test', size=64, n=256).images, size)
    kept = thumbnails(Image.open(path).convert('RGB'))
    low, middle, high = np.quantile(distances(small(new), small(kept)), [0.05, 0.5, 0.95])
    told = dict(n=n, columns=columns, size=size, compared=compared, new=len(new))
    told |= {k: round(float(v), 1) for k, v in dict(low=low, median=middle, high=high).items()}
    (folder / f'{world}.json').write_text(json.dumps(told, indent=1) + '\n')


if __name__ == '__main__':
    for world in worlds:
        keep(world)

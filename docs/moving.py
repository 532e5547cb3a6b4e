"The moving picture of the front page: closed walks of a kept generator, as one strip of frames"

import json

import numpy as np
import onnxruntime
from PIL import Image

tiles, points, between = 12, 4, 8  # walks; latent vectors of each; frames from one to the next


def mixed(a, b, t):
    "A vector between two, as long as they are on average"
    z = (1 - t) * a + t * b
    length = (1 - t) * np.linalg.norm(a) + t * np.linalg.norm(b)
    return z * length / np.linalg.norm(z)


def walks(size, seed=0):
    "Closed walks through uniform latent vectors: tiles×frames×size"
    corners = np.random.default_rng(seed).uniform(-1, 1, (tiles, points, size))
    steps = np.arange(between) / between
    frames = [
        [mixed(row[k], row[(k + 1) % points], t) for k in range(points) for t in steps]
        for row in corners
    ]
    return np.array(frames, dtype=np.float32)


def drawn(path, z):
    "What a generator's file draws: N×z → N×H×W×3, uint8"
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    parts = [session.run(None, dict(z=part))[0] for part in np.array_split(z, tiles)]
    x = np.concatenate(parts).transpose(0, 2, 3, 1)  # N×C×H×W → N×H×W×C
    return (255 * x).round().clip(0, 255).astype(np.uint8)


def strip(path, folder):
    "Writes moving.webp, a row for each walk, and its first frames; (frames, size in pixels)"
    z = walks(json.loads(path.with_suffix('.json').read_text())['page']['z'])
    n = z.shape[1]
    x = drawn(path, z.reshape(tiles * n, -1))
    size = x.shape[1]
    rows = x.reshape(tiles, n, size, size, 3).transpose(0, 2, 1, 3, 4)  # tile, y, frame, x, colour
    folder.mkdir(parents=True, exist_ok=True)
    all_frames = Image.fromarray(rows.reshape(tiles * size, n * size, 3))
    all_frames.save(folder / 'moving.webp', quality=78)
    first = x.reshape(tiles, n, size, size, 3)[:, 0].reshape(2, 6, size, size, 3)
    still = first.transpose(0, 2, 1, 3, 4).reshape(2 * size, 6 * size, 3)
    Image.fromarray(still).save(folder / 'moving_still.webp', quality=85)
    return n, size


def figure(path, folder, text):
    "The figure, which _static/moving.js sets going"
    frames, size = strip(path, folder)
    data = f'data-tiles="{tiles}" data-frames="{frames}" data-size="{size}"'
    seen = 'Twelve generated pictures, each of which changes smoothly into others'
    return (
        f'<figure class="moving" {data}>'
        f'<div class="screen"><img src="_static/moving_still.webp" alt="{seen}">'
        f'<canvas role="img" aria-label="{seen}" hidden></canvas>'
        '<button type="button" hidden>Pause</button></div>'
        f'<figcaption>{text}</figcaption></figure>'
        '<script type="module" src="_static/moving.js"></script>'
    )
